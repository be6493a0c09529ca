"""One cycle of the poll while 2,000 tasks are active (10,000 with --large), on a simulated vPlus over HTTPS.

Calls to vPlus by the simulator's own count, rows written and time: the first cycle, one in which nothing changed, and one
in which some tasks ended. Baseline, in the same run: the two listings read and decoded, nothing else.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

from django.conf import settings

from bench.ground import database
from bench.simulator import SimulatorProcess, simulator_process
from tenants.scope import every_tenant
from tests.conftest import VPLUS_PASSWORD

ACTIVE, LARGE_ACTIVE = 2_000, 10_000
ENDED = 20
DAY_MS = 86_400_000


def main(*, large: bool) -> None:
    """Print the figures."""
    count = LARGE_ACTIVE if large else ACTIVE
    with TemporaryDirectory() as name, database(), simulator_process(Path(name), vms=count, tenants=100) as vplus:
        settings.VPLUS_URL, settings.VPLUS_CA_BUNDLE = vplus.url, str(vplus.ca_path)
        settings.VPLUS_USERNAME, settings.VPLUS_PASSWORD = "portal", VPLUS_PASSWORD
        _measure(vplus, count)


def _measure(vplus: SimulatorProcess, count: int) -> None:
    from vplus_bridge import jobs
    from vplus_bridge.connection import client
    from vplus_bridge.models import Task

    client.cache_clear()
    api = client()
    api.ensure_session()
    start = int(time.time() * 1000) + DAY_MS  # far ahead, so that all of them stay queued
    guids = [f"vm-{number}" for number in range(1, count + 1)]
    for number in range(0, count, 500):
        _export(api, guids[number : number + 500], start)

    def cycle(what: str) -> None:
        vplus.clear_counters()
        began = time.monotonic()
        read = jobs.poll_once(api)
        took = time.monotonic() - began
        calls = vplus.calls()
        told = ", ".join(f"{number} x {call}" for call, number in sorted(calls.items()))
        assert read is not None
        print(f"   {what}: {took:.2f} s, {len(read.changed):,} rows written, {told}")

    cycle("the first cycle")
    cycle("a cycle in which nothing changed")
    with every_tenant("bench"):
        ended = list(Task.objects.filter(live=True).order_by("guid").values_list("guid", flat=True)[:ENDED])
    for guid in ended:
        with api.open_write() as channel:
            channel.send(api.dialect.cancel_queued_request(guid))
    cycle(f"a cycle in which {ENDED} tasks went")
    vplus.clear_counters()
    began = time.monotonic()
    listed = sum(len(page) for state in ("QUEUED", "RUNNING") for page in api.tasks(state=state))
    print(f"   baseline, the two listings alone: {time.monotonic() - began:.2f} s for {listed:,} tasks")
    print("   to beat: two listings (by pages where the server pages) and one call for each task that ended")


def _export(api: object, guids: list[str], start: int) -> None:
    import json

    from vplus_bridge.client import Expectation, VplusClient, WriteRequest

    assert isinstance(api, VplusClient)
    body = {
        "windowStart": start,
        "windowEnd": start + DAY_MS,
        "priority": 50,
        "backupType": {"name": "FULL"},
        "protectedEntities": [{"guid": guid} for guid in guids],
    }
    request = WriteRequest("POST", "/tasks/export", json.dumps(body), Expectation.ANYTHING, "/tasks/export")
    with api.open_write() as channel:
        outcome = channel.send(request)
    assert outcome.status in range(200, 300), outcome
