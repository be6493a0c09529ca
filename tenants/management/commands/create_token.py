"""create_token EMAIL (--tenant SLUG | --provider) ...: prints the token, and nothing else, on standard output."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from tenants import audit
from tenants.onboarding import member_for_token, provider_person_for_token
from tenants.refusals import Invalid
from tenants.rights import Right
from tenants.scope import every_tenant
from tenants.tokens import make_token


class Command(BaseCommand):
    """Makes a token of one person in one tenant, or of one of the provider's people."""

    help = "Makes an API token and prints it, once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("email")
        place = parser.add_mutually_exclusive_group(required=True)
        place.add_argument("--tenant", metavar="SLUG")
        place.add_argument("--provider", action="store_true")
        parser.add_argument("--name", default="command line")
        # Several after one --scope, or one after each: people write both.
        parser.add_argument("--scope", action="extend", nargs="+", default=[], choices=list(Right))
        parser.add_argument("--expires-days", type=int)

    def handle(self, *args: Any, **options: Any) -> None:
        """Make it, or say which argument is wrong."""
        days = options["expires_days"]
        if days is not None and not 0 < days <= 3650:  # noqa: PLR2004  # ten years
            raise CommandError("--expires-days: use 1 to 3650.")
        try:
            with every_tenant("command create_token"):
                if options["provider"]:
                    tenant_id, person_id, owner = None, *provider_person_for_token(options["email"])
                else:
                    tenant_id, person_id, owner = member_for_token(options["email"], options["tenant"])
                row, text = make_token(
                    tenant_id=tenant_id,
                    person_id=person_id,
                    owner_name=owner,
                    name=options["name"],
                    scopes=options["scope"],
                    expires_at=timezone.now() + timedelta(days=days) if days else None,
                )
                audit.record(
                    None,
                    "token.create",
                    tenant_id=tenant_id,
                    object_kind="token",
                    object_id=str(row.pk),
                    object_name=f"{row.name} of {owner}",
                    via="command create_token",
                )
        except Invalid as refusal:
            raise CommandError(refusal.in_one_line()) from None
        self.stdout.write(text)
