"""allow_destination SLUG GUID [--name NAME]: a tenant may store backups there."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tenants.refusals import Invalid
from tenants.scope import every_tenant
from vplus_bridge.ownership.allowances import allow_destination
from vplus_bridge.ownership.assignment import tenant_by_slug


class Command(BaseCommand):
    """Allows a backup destination to a tenant."""

    help = "Allows a backup destination to a tenant, under the name its people will see."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("slug")
        parser.add_argument("guid")
        parser.add_argument("--name", default="")

    def handle(self, *args: Any, **options: Any) -> None:
        """Allow it, or say what is wrong."""
        try:
            with every_tenant("command allow_destination"):
                tenant = tenant_by_slug(options["slug"])
                allowed = allow_destination(tenant_id=tenant.pk, guid=options["guid"], label=options["name"])
        except Invalid as refusal:
            raise CommandError(refusal.in_one_line()) from None
        self.stdout.write(f"{tenant.name} can store backups on {allowed.label}.")
