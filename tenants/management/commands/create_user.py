"""create_user EMAIL [--tenant SLUG --role ROLE] [--provider ROLE]: a person, with a password from standard input or a link."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from tenants.entrance import invitation_path
from tenants.models.membership import Role
from tenants.models.person import ProviderRole
from tenants.onboarding import make_person
from tenants.refusals import Invalid
from tenants.scope import every_tenant


class Command(BaseCommand):
    """Makes a person, or gives one that exists another place."""

    help = "Makes a person. The password comes on standard input; without one an invitation link is printed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("email")
        parser.add_argument("--name", default="")
        parser.add_argument("--tenant", metavar="SLUG")
        parser.add_argument("--role", choices=Role.values)
        parser.add_argument("--provider", choices=ProviderRole.values)

    def handle(self, *args: Any, **options: Any) -> None:
        """Make the person, or say which argument is wrong."""
        if bool(options["tenant"]) != bool(options["role"]):
            raise CommandError("--tenant and --role belong together.")
        password = None if sys.stdin is None or sys.stdin.isatty() else sys.stdin.readline().rstrip("\n") or None
        try:
            with every_tenant("command create_user"):
                person = make_person(
                    email=options["email"],
                    name=options["name"],
                    password=password,
                    tenant_slug=options["tenant"],
                    role=options["role"],
                    provider_role=options["provider"],
                )
        except Invalid as refusal:
            raise CommandError(refusal.in_one_line()) from None
        if person.has_usable_password():
            self.stdout.write(f"{person.email} can sign in at {settings.PORTAL_BASE_URL}/")
        else:
            self.stdout.write(f"{settings.PORTAL_BASE_URL}{invitation_path(person)}")
