"""sync_inventory: reads infrastructure, inventory and every history that is due, waits, prints counts."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from vplus_bridge import jobs
from vplus_bridge.client import VplusError
from vplus_bridge.connection import client
from vplus_bridge.mirror.infrastructure import read_infrastructure
from vplus_bridge.mirror.policies import read_policies

ONE_ROUND = 30.0


class Command(BaseCommand):
    """Reads vPlus now, without waiting for the workers."""

    help = "Reads vPlus's inventory now, then histories that were never read, and prints counts."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--no-histories", action="store_true", help="leave histories to the workers")

    def handle(self, *args: Any, **options: Any) -> None:
        """Read, or say in one sentence why it cannot be read."""
        try:
            read_infrastructure(client())
            read = jobs.inventory_once(client())
            if read is None:
                raise CommandError("A worker is reading the inventory at this moment; try again in a minute.")
            read_policies(client())
            self.stdout.write(
                f"{read.listed} virtual machines listed: {len(read.added)} new, {len(read.changed)} changed, "
                f"{len(read.absent)} no longer listed{'' if read.complete else '; incomplete: ' + read.shortcoming}."
            )
            if not options["no_histories"]:
                total = 0
                while count := jobs.histories_once(client(), seconds=ONE_ROUND, limit=10_000):
                    total += count
                self.stdout.write(f"{total} histories read.")
        except VplusError as problem:
            raise CommandError(f"vPlus cannot be read: {problem.user_message}.") from None
        jobs.after_infrastructure()
