"""attach_policy SLUG GUID: a policy that is in vPlus already can be read by a tenant; --detach takes that back."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tenants.refusals import Invalid
from tenants.scope import every_tenant
from vplus_bridge.ownership.assignment import tenant_by_slug
from vplus_bridge.protection.attached import attach_policy, detach_policy

VIA = "command attach_policy"


class Command(BaseCommand):
    """Attaches a policy of vPlus to a tenant."""

    help = "Lets a tenant read a policy that is in vPlus already; it stays yours to change."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("slug")
        parser.add_argument("guid")
        parser.add_argument("--name", default="", help="what the tenant's people call it; else vPlus's name")
        parser.add_argument("--detach", action="store_true", help="take it back")

    def handle(self, *args: Any, **options: Any) -> None:
        """Attach or detach, or say why not."""
        try:
            with every_tenant("command attach_policy"):
                tenant = tenant_by_slug(options["slug"])
                if options["detach"]:
                    policy = detach_policy(tenant_id=tenant.pk, guid=options["guid"], via=VIA)
                else:
                    policy = attach_policy(tenant_id=tenant.pk, guid=options["guid"], name=options["name"], via=VIA)
                members = policy.members.count()
        except Invalid as refusal:
            raise CommandError(refusal.in_one_line()) from None
        if options["detach"]:
            self.stdout.write(f"{policy.name} is no longer {tenant.name}'s to read.")
        else:
            self.stdout.write(f"{tenant.name} can read {policy.name}: {members} virtual machines of theirs are in it.")
