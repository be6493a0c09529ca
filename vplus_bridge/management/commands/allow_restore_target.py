"""allow_restore_target SLUG --name NAME (--hypervisor GUID | --hypervisor-manager GUID) ...: a tenant may restore there."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tenants.refusals import Invalid
from tenants.scope import every_tenant
from vplus_bridge.ownership.allowances import allow_restore_target
from vplus_bridge.ownership.assignment import tenant_by_slug


class Command(BaseCommand):
    """Allows a place to restore to."""

    help = "Allows a tenant to restore to one bundle of platform places, under the name its people will see."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("slug")
        parser.add_argument("--name", required=True)
        platform = parser.add_mutually_exclusive_group(required=True)
        platform.add_argument("--hypervisor", default="", metavar="GUID")
        platform.add_argument("--hypervisor-manager", default="", metavar="GUID")
        parser.add_argument("--cluster", default="", metavar="UUID")
        parser.add_argument("--storage", default="", metavar="UUID")
        parser.add_argument("--data-center", default="", metavar="NAME")
        parser.add_argument("--project", default="", metavar="NAME")

    def handle(self, *args: Any, **options: Any) -> None:
        """Allow it, or say what is wrong."""
        try:
            with every_tenant("command allow_restore_target"):
                tenant = tenant_by_slug(options["slug"])
                allowed = allow_restore_target(
                    tenant_id=tenant.pk,
                    label=options["name"],
                    hypervisor_guid=options["hypervisor"],
                    manager_guid=options["hypervisor_manager"],
                    cluster_uuid=options["cluster"],
                    storage_uuid=options["storage"],
                    data_center=options["data_center"],
                    project=options["project"],
                )
        except Invalid as refusal:
            raise CommandError(refusal.in_one_line()) from None
        self.stdout.write(f"{tenant.name} can restore to {allowed.label}.")
