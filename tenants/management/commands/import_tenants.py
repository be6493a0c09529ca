"""import_tenants FILE.csv (slug,name,vplus_tenant_id,time_zone)."""

import csv
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tenants.models import Tenant
from tenants.onboarding import make_tenant
from tenants.refusals import Invalid
from tenants.scope import every_tenant

COLUMNS = ["slug", "name", "vplus_tenant_id", "time_zone"]


class Command(BaseCommand):
    """Makes many tenants from a file: all of them, or none."""

    help = "Makes many tenants from a CSV file with the columns slug, name, vplus_tenant_id, time_zone."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        """Make those that do not exist yet; name the line of the first that is wrong, and then make none."""
        try:
            with options["file"].open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file)
                if reader.fieldnames != COLUMNS:
                    raise CommandError(f"{options['file']}: the first line has to be {','.join(COLUMNS)}.")
                rows = list(reader)
        except (OSError, UnicodeDecodeError) as problem:
            raise CommandError(f"{options['file']} cannot be read: {problem}.") from None
        made = 0
        with every_tenant("command import_tenants"):
            known = set(Tenant.objects.values_list("slug", flat=True))
            for line, row in enumerate(rows, start=2):
                if row["slug"] in known:
                    continue
                try:
                    make_tenant(**{column: (row[column] or "").strip() for column in COLUMNS})
                except Invalid as refusal:
                    raise CommandError(f"{options['file']}, line {line}: {refusal.in_one_line()}") from None
                made += 1
        self.stdout.write(f"{made} tenants made, {len(rows) - made} were there.")
