"""assign_vms SLUG GUID...: virtual machines become a tenant's, with their history."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tenants.refusals import Invalid
from tenants.scope import every_tenant
from vplus_bridge.ownership.by_provider import assign_noted
from vplus_bridge.protection.verdict import judge


class Command(BaseCommand):
    """Assigns virtual machines to a tenant."""

    help = "Assigns virtual machines to a tenant; a single - reads guids from standard input."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("slug")
        parser.add_argument("guid", nargs="+")
        parser.add_argument("--hand-over", action="store_true", help="history goes along from another tenant")

    def handle(self, *args: Any, **options: Any) -> None:
        """Assign all, or none and say which guid is not known."""
        guids = sys.stdin.read().split() if options["guid"] == ["-"] else options["guid"]
        try:
            with every_tenant("command assign_vms"):
                done = assign_noted(
                    None,
                    slug=options["slug"],
                    vm_guids=guids,
                    by="command assign_vms",
                    hand_over=options["hand_over"],
                    via="command assign_vms",
                )
                judge(guids)
        except Invalid as refusal:
            raise CommandError(refusal.in_one_line()) from None
        self.stdout.write(
            f"{len(guids)} virtual machines are {done.tenant.name}'s; {len(done.changed)} were not before."
        )
