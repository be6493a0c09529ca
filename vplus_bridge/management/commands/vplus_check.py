"""vplus_check: connects, signs in, and says the version, the rights, and what the account can and cannot read."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from tenants.scope import every_tenant
from vplus_bridge.client import Forbidden, NotFound, VplusClient, VplusError
from vplus_bridge.client.paging import Listing
from vplus_bridge.client.spoken import Sign, signs, version_told
from vplus_bridge.connection import client
from vplus_bridge.mirror.models import VirtualMachine

# What is missing where a listing cannot be read.
CONSEQUENCES = {
    "virtual machines": "nothing works without it",
    "tasks": "no operation can be followed",
    "projects": "nothing is assigned by project; assign virtual machines by hand",
    "backup destinations": "none can be allowed to tenants",
    "policies": "policies are not shown, and no promise is known",
    "schedules": "schedules are not shown, and no promise is known",
    "hypervisor managers": "no restore target can be allowed",
    "hypervisors": "no single hypervisor can be a restore target",
    "hypervisor clusters": "restore targets cannot name a cluster",
    "hypervisor storages": "restore targets cannot name a storage",
    "restore jobs": "the end of a restore is known by its tasks alone",
}


class Command(BaseCommand):
    """Checks the connection to vPlus."""

    help = "Connects to vPlus, signs in, and lists what can be read and what cannot, with the consequence."

    def handle(self, *args: Any, **options: Any) -> None:
        """Print what works; fail with one sentence where there is no contact at all."""
        log = logging.getLogger("vplus")
        level = log.level
        log.setLevel(logging.CRITICAL)  # each no is a line of the answer already
        try:
            self._check(client())
        finally:
            log.setLevel(level)

    def _check(self, vplus: VplusClient) -> None:
        self.stdout.write(f"Address      {settings.VPLUS_URL}")
        self.stdout.write(f"Dialect      {settings.VPLUS_DIALECT}")
        self.stdout.write(f"Trust        {_trust()}")
        try:
            info = vplus.sign_in()
        except VplusError as problem:
            raise CommandError(f"vPlus cannot be used: {problem.user_message}.") from None
        privileges = "not told" if info.privileges is None else ", ".join(info.privileges) or "none"
        self.stdout.write(f"Sign-in      accepted, privileges: {privileges}")
        offset = vplus.clock_offset_ms
        self.stdout.write(f"Clock        {'not told' if offset is None else f'{offset / 1000:+.1f} s from ours'}")
        self.stdout.write(f"Version      {version_told(vplus)}")
        calls: dict[str, Callable[[], Listing[Any]]] = {
            "virtual machines": vplus.virtual_machines,
            "tasks": vplus.tasks,
            "projects": vplus.projects,
            "backup destinations": vplus.backup_destinations,
            "policies": vplus.policies,
            "schedules": vplus.schedules,
            "hypervisor managers": vplus.hypervisor_managers,
            "hypervisors": vplus.hypervisors,
            "hypervisor clusters": vplus.hypervisor_clusters,
            "hypervisor storages": vplus.hypervisor_storages,
            "restore jobs": partial(vplus.restore_jobs, self._some_machine()),
        }
        gaps = 0
        for name, call in calls.items():
            line, good = self._read(name, call)
            gaps += not good
            self.stdout.write(line)
        if doubt := _doubt(signs(vplus)):
            self.stdout.write(f"DOUBTFUL     dialect: {doubt}")
        self.stdout.write("Everything can be read." if not gaps else f"{gaps} of {len(calls)} cannot be read.")

    @staticmethod
    def _some_machine() -> str:
        """Return a machine to ask about where one has to be named; before the first inventory there is none, so any word."""
        with every_tenant("command vplus_check"):
            return VirtualMachine.objects.order_by("guid").values_list("guid", flat=True).first() or "none"

    @staticmethod
    def _read(name: str, call: Callable[[], Listing[Any]]) -> tuple[str, bool]:
        try:
            listing = call()
            count = sum(len(page) for page in listing)
        except Forbidden:
            return f"NOT READ     {name}: the account may not (403); {CONSEQUENCES[name]}", False
        except NotFound:
            return f"NOT READ     {name}: this server does not have it (404); {CONSEQUENCES[name]}", False
        except VplusError as problem:
            return f"NOT READ     {name}: {problem.user_message}; {CONSEQUENCES[name]}", False
        completeness = listing.completeness
        paging = "unpaged" if completeness.paging_ignored or completeness.announced is None else "paged"
        short = "" if completeness.complete else f", incomplete: {completeness.reason}"
        return f"Read         {name}: {count}, {paging}{short}", True


def _doubt(seen: list[Sign]) -> str:
    """Return the sentence about a dialect that may be the wrong one; empty where nothing speaks against it."""
    against = [sign for sign in seen if sign.dialect != settings.VPLUS_DIALECT]
    if not against or len(against) < len(seen):
        return ""
    what = " and ".join(sign.words for sign in against)
    other = against[0].dialect
    return f"this server {what}, as {other} has it; set VPLUS_DIALECT={other} unless you know better"


def _trust() -> str:
    if settings.VPLUS_CERT_SHA256:
        return "one pinned certificate"
    name = f", expecting the name {settings.VPLUS_TLS_NAME}" if settings.VPLUS_TLS_NAME else ""
    return f"certificate authorities of {settings.VPLUS_CA_BUNDLE or 'this system'}{name}"
