"""One whole sync of the inventory: 20,000 virtual machines of a simulated vPlus over HTTPS (100,000 with --large).

Worker CPU, rows written and memory; the first sync, then an unchanged one. Baseline, in the same run: read and decode the
same pages, and COPY the same rows into a temporary table.
"""

import gc
import resource
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from django.conf import settings
from django.db import connection

from bench.ground import database
from bench.simulator import simulator_process
from tenants.scope import every_tenant
from tests.conftest import VPLUS_PASSWORD

VMS, LARGE_VMS = 20_000, 100_000


def main(*, large: bool) -> None:
    """Print the figures."""
    count = LARGE_VMS if large else VMS
    with TemporaryDirectory() as name, database(), simulator_process(Path(name), vms=count, tenants=1000) as vplus:
        settings.VPLUS_URL, settings.VPLUS_CA_BUNDLE = vplus.url, str(vplus.ca_path)
        settings.VPLUS_USERNAME, settings.VPLUS_PASSWORD = "portal", VPLUS_PASSWORD
        _measure(count)


def _measure(count: int) -> None:
    from vplus_bridge import jobs
    from vplus_bridge.connection import client
    from vplus_bridge.mirror import inventory
    from vplus_bridge.mirror.read_state import INVENTORY, state_of

    client.cache_clear()
    vplus = client()
    vplus.ensure_session()

    def baseline() -> None:
        inventory._make_room()
        for page in vplus.virtual_machines():
            inventory._take_in(page)

    first = _cpu("the first sync", lambda: jobs.inventory_once(vplus))
    before = _peak()
    unchanged = _cpu("an unchanged sync", lambda: jobs.inventory_once(vplus))
    counts = state_of(INVENTORY).counts
    for _ in range(2):
        jobs.inventory_once(vplus)
    grown = _peak() - before
    base = _cpu("baseline: decode and COPY to a temporary table", baseline)
    with every_tenant("bench"), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM vplus_bridge_virtualmachine")
        [rows] = cursor.fetchone() or [0]
    print(f"   {rows:,} of {count:,} virtual machines in the mirror")
    print(
        f"   unchanged / baseline: {unchanged / base:.2f} x CPU (to beat: 3 x); first / baseline: {first / base:.2f} x"
    )
    print(
        f"   rows written by an unchanged sync: {counts['added'] + counts['changed'] + counts['absent']} (to beat: 0)"
    )
    print(f"   memory of three more syncs: +{grown / 1024:.1f} MiB at the peak, of {_peak() / 1024:.0f} MiB")


def _cpu(what: str, work: Callable[[], object]) -> float:
    gc.collect()
    began, clock = time.process_time(), time.monotonic()
    work()
    used, took = time.process_time() - began, time.monotonic() - clock
    print(f"   {what}: {used:.2f} s CPU of this process, {took:.2f} s in all")
    return used


def _peak() -> float:
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
