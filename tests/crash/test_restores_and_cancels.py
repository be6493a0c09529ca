"""The same for writes that carry no stamp: a restore is never sent again by itself, a cancel is asked for once.

vPlus takes a second cancel of work that still stops for "remove by force", and a second restore makes a second machine.
Each test names the crash point that it closes, and compares with the simulator's own journal.
"""

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from tenants.scope import every_tenant, in_tenant
from tests.bridge.scenes import ask_restore
from tests.crash.conftest import Gate, Scene
from tests.end_to_end.conftest import Portal
from tests.processes import eventually
from vplus_bridge.operations import cancel
from vplus_bridge.ownership.allowances import allow_restore_target
from vplus_simulator.faults import Fault
from vplus_simulator.world import Outcome

RESTORE = {"method": "POST", "path": "/tasks/restore-and-import", "count": 1}
CANCEL = {"method": "PUT", "path": "/tasks/{guid}/state", "count": 1}
QUICK_RESTORE = {
    "restore_seconds": (0.5, 0.5),
    "import_seconds": (0.5, 0.5),
    "import_gap_seconds": 0.2,
    "cancel_seconds": 0.5,
}
MakeGate = Callable[[Any], Gate]


@pytest.fixture
def restoring(scene: Scene, portal: Portal) -> Scene:
    """The poorest vPlus, in which nothing bears a stamp, and places to restore to."""
    scene.control.change(show=[], **QUICK_RESTORE)
    with every_tenant("test"):
        for tenant in (portal.cast.alpha, portal.cast.beta):
            allow_restore_target(tenant_id=tenant.pk, label="Production", manager_guid="hvm-openstack")
    return scene


def ask(scene: Scene, point: str = "backup-web-full") -> UUID:
    cast = scene.portal.cast
    asked = ask_restore(cast.mallory if point.startswith("backup-beta") else cast.oscar, point)
    return UUID(str(asked.operations[0].pk))


def restores(scene: Scene, operation: UUID) -> int:
    """How often vPlus accepted this restore: the portal's own name for the new machine tells."""
    name = scene.operation(operation).restored_name
    journal = scene.control.journal()
    return sum(
        entry.call == "POST /tasks/restore-and-import" and entry.asked["restoredPeName"] == name for entry in journal
    )


def ended(scene: Scene, operation: UUID) -> tuple[str, str, int]:
    [row] = scene.wait_for_the_end(operation)
    return row.state, row.error_code, restores(scene, operation)


def test_a_restore_between_claim_and_mark(restoring: Scene) -> None:
    made: list[UUID] = []
    held = Fault(kind="latency", seconds=1.5, method="GET", path="/backups", count=1)
    restoring.held_in_vplus(held, lambda: made.append(ask(restoring)))
    restoring.portal.kill("victim")
    restoring.worker()
    assert ended(restoring, made[0]) == ("succeeded", "", 1)


def test_a_restore_after_the_mark_before_a_byte_is_for_a_person(restoring: Scene, gate: MakeGate) -> None:
    point = gate("mark")
    asked = ask(restoring)
    point.wait_for_somebody()
    restoring.portal.kill("victim")
    point.open()
    restoring.marked(asked)
    restoring.worker()
    assert ended(restoring, asked) == ("needs_attention", "arrival_unknown", 0)


@pytest.mark.parametrize("phase", ["before", "after"])
def test_a_restore_while_sending(phase: Any, restoring: Scene) -> None:
    made: list[UUID] = []
    fault = Fault(kind="latency", phase=phase, seconds=1.5, **RESTORE)
    restoring.held_in_vplus(fault, lambda: made.append(ask(restoring, "backup-db-full")))
    restoring.portal.kill("victim")
    restoring.worker()
    assert ended(restoring, made[0]) == ("succeeded", "", 1)


def test_a_restore_before_the_record(restoring: Scene, gate: MakeGate) -> None:
    point = gate("record")
    asked = ask(restoring, "backup-beta-full")
    point.wait_for_somebody()
    restoring.portal.kill("victim")
    point.open()
    restoring.worker()
    assert ended(restoring, asked) == ("succeeded", "", 1)


def test_restores_whose_connection_is_cut_in_each_phase(restoring: Scene) -> None:
    """What vPlus has was found, what it has not is for a person; nothing is sent twice."""
    for number, phase in enumerate(("before", "reading", "processing", "answering")):
        restoring.control.arm(Fault(kind="cut", phase=phase, bytes=30, seconds=0.2, skip=number, **RESTORE))
    points = ("backup-web-full", "backup-db-full", "backup-gone-full", "backup-beta-full")
    made = [ask(restoring, point) for point in points]
    ends = sorted(ended(restoring, pk) for pk in made)
    assert ends == 2 * [("needs_attention", "arrival_unknown", 0)] + 2 * [("succeeded", "", 1)]


def cancelled(scene: Scene, operation: UUID) -> int:
    """How often vPlus was asked to stop the operation's tasks, by its own journal."""
    made = {
        guid
        for entry in scene.control.journal()
        if entry.asked and _stamped(scene, operation, entry)
        for guid in entry.tasks
    }
    calls = {"PUT /tasks/{guid}/state", "DELETE /tasks/{guid}"}
    return sum(entry.call in calls and entry.guid in made for entry in scene.control.journal())


def _stamped(scene: Scene, operation: UUID, entry: Any) -> bool:
    stamps = {round(one.stamp.timestamp() * 1000) for one in scene.attempts(operation) if one.stamp}
    return entry.call == "POST /tasks/export" and entry.asked["windowStart"] in stamps


def ask_cancel(scene: Scene, operation: UUID) -> str:
    actor = scene.portal.cast.oscar.actor
    with in_tenant(actor.tenant_id):
        return str(cancel.request_cancel(actor, operation, now=timezone.now()).state)


def running(scene: Scene, machine: str = "vm-alpha-web") -> UUID:
    """A backup that vPlus is at, and does not get on with."""
    scene.control.next_outcome(Outcome(type="EXPORT", outcome="hold"))
    asked = scene.ask(machine)
    eventually("it runs", lambda: scene.operation(asked).state == "running")
    return asked


def test_a_cancel_before_the_mark_is_final(restoring: Scene) -> None:
    restoring.portal.kill("victim")
    asked = restoring.ask("vm-alpha-db")
    assert ask_cancel(restoring, asked) == "cancelled"
    restoring.worker()
    time.sleep(1.5)  # some sweeps
    assert (restoring.operation(asked).state, restoring.exports(asked)) == ("cancelled", 0)
    restoring.reckoned(asked)


@pytest.mark.parametrize("phase", ["before", "after"])
def test_a_cancel_while_sending(phase: Any, restoring: Scene) -> None:
    asked = running(restoring)
    fault = Fault(kind="latency", phase=phase, seconds=1.5, **CANCEL)
    restoring.held_in_vplus(fault, lambda: ask_cancel(restoring, asked))
    restoring.portal.kill("victim")
    restoring.worker()
    [row] = restoring.wait_for_the_end(asked)
    assert (row.state, cancelled(restoring, asked)) == ("cancelled", 1)
    restoring.reckoned(asked)


def test_a_cancel_before_the_record(restoring: Scene, gate: MakeGate) -> None:
    asked = running(restoring)
    point = gate("record")
    ask_cancel(restoring, asked)
    point.wait_for_somebody()
    restoring.portal.kill("victim")
    point.open()
    restoring.worker()
    [row] = restoring.wait_for_the_end(asked)
    assert (row.state, cancelled(restoring, asked)) == ("cancelled", 1)
    restoring.reckoned(asked)
