"""create_tenant SLUG --name NAME [--vplus-tenant-id ID] [--time-zone ZONE]."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tenants.onboarding import make_tenant
from tenants.refusals import Invalid
from tenants.scope import every_tenant


class Command(BaseCommand):
    """Makes a tenant."""

    help = "Makes a tenant."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("slug", help="short name in addresses: lower-case letters, digits, hyphens")
        parser.add_argument("--name", required=True)
        parser.add_argument("--vplus-tenant-id", default="", help="OpenStack project uuid")
        parser.add_argument("--time-zone", default="UTC", help="IANA zone, such as Europe/Warsaw")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make it, or say which argument is wrong."""
        try:
            with every_tenant("command create_tenant"):
                tenant = make_tenant(
                    slug=options["slug"],
                    name=options["name"],
                    vplus_tenant_id=options["vplus_tenant_id"],
                    time_zone=options["time_zone"],
                )
        except Invalid as refusal:
            raise CommandError(refusal.in_one_line()) from None
        self.stdout.write(f"Tenant {tenant.slug} ({tenant.name}) is ready.")
