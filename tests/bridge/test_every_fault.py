"""Client and mirror under every fault that the simulator can make, in each of its phases, at its poorest and with pages.

Whatever happens to the calls of a reading: nothing but a VplusError comes out of it, the last good data stay, nobody is
called gone by a listing that failed or was short, nothing runs backwards, and the next reading in peace makes it all
good. The faults come from the simulator's own table, so that a new one is under test from its first day.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from tenants.scope import every_tenant
from tests.cleaning import empty_database
from tests.conftest import STEADY, VPLUS_PASSWORD, make_cast
from tests.processes import eventually
from vplus_bridge import jobs
from vplus_bridge.client import Endpoint, VplusClient, VplusError
from vplus_bridge.mirror.infrastructure import read_infrastructure
from vplus_bridge.mirror.models import Backup, BackupDestination, InfrastructureItem, ReadState, Task, VirtualMachine
from vplus_bridge.mirror.policies import read_policies
from vplus_simulator.control import TaskChoice
from vplus_simulator.faults import LIST_KINDS, PHASES, SESSION_KINDS, Fault
from vplus_simulator.http import SimulatorServer
from vplus_simulator.options import ServerOptions
from vplus_simulator.seed.plan import SeedPlan
from vplus_simulator.settings import Settings

PATIENCE = 0.2  # seconds of one call
OUTAGE = 0.2
LISTS = (
    "/virtual-machines",
    "/tasks",
    "/backups",
    "/projects",
    "/backup-destinations",
    "/hypervisor-managers",
    "/hypervisors",
    "/hypervisor-clusters",
    "/hypervisor-storages",
)
SHORTENING = {"missing_rows", "changing_total", "larger_total", "duplicate_rows"}
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "latency": [{"seconds": 1.5 * PATIENCE}],
    "status": [{"status": status} for status in (302, 403, 404, 429, 500)],
    "html": [{"status": 200}, {"status": 404}, {"status": 502}],
    "empty": [{"status": 200}, {"status": 204}],
    "body": [{"status": 200, "body": body} for body in ("{}", "null", '[null, 7, "x"]', "[[]]", '[{"guid": 5}]')],
    "content_type": [{"content_type": "text/html"}],
    "truncated": [{"bytes": 0}, {"bytes": 1}, {"bytes": 40}],
    "member": [
        *({"member": name, "rows": 2} for name in ("guid", "name", "state", "status", "present", "protectedEntity")),
        *({"member": name, "value": value} for name, value in (("guid", 7), ("state", ["x"]))),
    ],
    "cut": [{"bytes": 0}, {"bytes": 250}],
    "reset": [{"bytes": 0}, {"bytes": 250}],
    "tls": [{"bytes": 0}, {"bytes": 250}],
    "drip": [{"bytes": 1, "seconds": 0.05}],
    "late": [{"seconds": 1}],
    "outage": [{"seconds": OUTAGE, "count": 1}],
}
KINDS = [(kind, phase) for kind, phases in PHASES.items() for phase in phases]
SPARES_SIGN_INS = LIST_KINDS | SESSION_KINDS | {"late"}
EVERY_FAULT = [
    *(("poorest", kind, phase, "read") for kind, phase in KINDS),
    *(("poorest", kind, phase, "sign_in") for kind, phase in KINDS if kind not in SPARES_SIGN_INS),
    *(("plain", kind, phase, "read") for kind, phase in KINDS),
]


class World:
    """A simulated vPlus and the portal's readings of it."""

    def __init__(self, server: SimulatorServer) -> None:
        self.server, self.control = server, server.control
        self.client = VplusClient(
            Endpoint(
                url=server.url,
                username="portal",
                password=VPLUS_PASSWORD,
                ca_bundle=str(server.ca_path),
                read_total_seconds=PATIENCE,
                listing_total_seconds=PATIENCE,
                connect_seconds=PATIENCE,
                sign_in_cooling_seconds=0,
                page_size=5,
            ),
            sleep=lambda _seconds: None,
        )

    def readings(self) -> list[Callable[[], object]]:
        """Every reading of a worker, each to be tried by itself."""
        return [
            lambda: jobs.inventory_once(self.client),
            lambda: jobs.poll_once(self.client, full=True),
            self._histories,
            lambda: read_infrastructure(self.client),
            lambda: read_policies(self.client),
        ]

    def _histories(self) -> None:
        with every_tenant("test"):
            VirtualMachine.objects.update(history_tried_at=None, history_read_at=None)
        while jobs.histories_once(self.client, seconds=10, limit=100):
            pass

    def read_in_peace(self) -> None:
        for reading in self.readings():
            reading()

    def export(self, guid: str) -> None:
        """Start a backup past the portal."""
        with requests.Session() as http:
            http.trust_env, http.verify = False, str(self.server.ca_path)
            sign_in = {"login": "portal", "password": VPLUS_PASSWORD}
            http.post(f"{self.server.url}/session/login", json=sign_in, timeout=5).raise_for_status()
            body = {"backupType": {"name": "FULL"}, "protectedEntities": [{"guid": guid}]}
            http.post(f"{self.server.url}/tasks/export", json=body, timeout=5).raise_for_status()

    def answers(self) -> bool:
        """Tell whether vPlus lets us in."""
        try:
            return self.client.virtual_machine("vm-lab").present
        except VplusError:
            return False

    def arm(self, kind: Any, phase: Any, more: dict[str, Any]) -> None:
        if kind in SHORTENING and not self.server.settings.pages:
            # Without a number of rows a list that is short each time is the truth as far as anybody can tell.
            for path in LISTS:
                self.control.arm(Fault(kind=kind, phase=phase, path=path, count=1, **more))
        else:
            self.control.arm(Fault(kind=kind, phase=phase, **more))


@pytest.fixture(scope="module")
def world(request: Any, living_database: None, tls_dir: Any) -> Iterator[World]:
    """One vPlus for all faults, one after the other; ``plain`` has pages and tells how many rows there are."""
    options = ServerOptions(
        seed=SeedPlan(name="small"),
        settings=Settings(**{**STEADY, "richness": request.param}),
        tls_dir=tls_dir,
        password=VPLUS_PASSWORD,
        stepped=True,
    )
    make_cast()  # whose machines are read; they stay nobody's
    with SimulatorServer(options) as server:
        world = World(server)
        world.read_in_peace()
        yield world
    empty_database()


RANKS = {"QUEUED": 0, "FINISHED": 2, "FAILED": 2, "CANCELLED": 2}


def known() -> dict[str, dict[str, Any]]:
    """What the mirror says of everything, so that two moments can be compared."""
    with every_tenant("test"):
        return {
            "machines": {row.guid: (row.name, row.present, row.absent_since) for row in VirtualMachine.objects.all()},
            "tasks": {row.guid: RANKS.get(row.state, 1) for row in Task.objects.all()},
            "backups": {row.guid: (row.gone_at, row.status == "SUCCESS") for row in Backup.objects.all()},
            "destinations": {row.guid: row.gone_at for row in BackupDestination.objects.all()},
            "places": {row.guid: row.gone_at for row in InfrastructureItem.objects.all()},
        }


def assert_nothing_lost(before: dict[str, dict[str, Any]]) -> None:
    after = known()
    for part, rows in before.items():
        assert rows.keys() <= after[part].keys(), part
    for part in ("destinations", "places"):
        assert {guid: after[part][guid] for guid in before[part]} == before[part], "a place is gone"
    assert after["machines"] == before["machines"], "a machine is gone, or lost its name"
    assert [guid for guid, (gone, _) in after["backups"].items() if gone] == []
    assert [guid for guid, rank in before["tasks"].items() if after["tasks"][guid] < rank] == [], "it ran backwards"
    good = [guid for guid, (_, good) in before["backups"].items() if good]
    assert [guid for guid in good if not after["backups"][guid][1]] == [], "a good backup stays good"


def assert_all_is_known(world: World) -> None:
    """The mirror says what vPlus has, and that there is contact."""
    with every_tenant("test"):
        tasks = dict(Task.objects.filter(vanished_at=None).values_list("guid", "state"))
        machines = set(VirtualMachine.objects.filter(present=True).values_list("guid", flat=True))
        backups = dict(Backup.objects.values_list("guid", "status"))
        troubled = set(ReadState.objects.exclude(problem="").values_list("name", flat=True))
    assert {row.guid: row.state for row in world.control.objects("tasks")}.items() <= tasks.items()
    assert {row.guid for row in world.control.objects("vms") if row.present} == machines
    assert {row.guid: row.status for row in world.control.objects("backups")} == backups
    assert troubled <= {"projects"}, "what the account may not read is a named gap"


@pytest.mark.parametrize(("world", "kind", "phase", "calls"), EVERY_FAULT, indirect=["world"])
def test_no_fault_loses_anything(
    kind: str, phase: str, calls: str, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.export("vm-alpha-web")
    world.control.step(5)
    jobs.poll_once(world.client)
    before = known()
    world.control.step(30)  # the export ends, so that there is news to be missed
    for more in VARIANTS.get(kind, [{}])[: 1 if calls == "sign_in" else None]:
        if calls == "sign_in":
            world.control.end_sessions()
        world.arm(kind, phase, {**more, "calls": calls})
        for reading in world.readings():
            with contextlib.suppress(VplusError):
                reading()
        world.control.disarm()
        assert_nothing_lost(before)
    assert "one of many failed" not in caplog.text, "trouble with vPlus is never a crash"
    world.control.step(60)
    if kind == "outage":
        time.sleep(2 * OUTAGE)  # it begins a moment after the call that brought it on
    eventually("vPlus answers", world.answers, pause=0.02)
    world.read_in_peace()
    assert_all_is_known(world)
    assert_nothing_lost(before)
    world.control.forget_tasks(TaskChoice())
