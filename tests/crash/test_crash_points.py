"""Workers killed, paused and cut off at each point of the sending protocol (design.md 6, Sending).

Each test names the point that it closes, and compares the portal's word with the simulator's own journal afterwards:
nothing lost, nothing doubled, nothing misreported.
"""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections

from portal.celery import app
from tests.crash.conftest import WAITS, Gate, Scene
from tests.processes import eventually
from vplus_bridge.operations.wake import SEND
from vplus_simulator.faults import PHASES, Fault

WEB, DB, FRESH, MAIL, OTHER = "vm-alpha-web", "vm-alpha-db", "vm-alpha-new", "vm-beta-mail", "vm-beta-web"
EXPORT = {"method": "POST", "path": "/tasks/export", "count": 1}
PREPARING = Fault(kind="latency", seconds=1.5, method="GET", path="/virtual-machines/{guid}", count=1)
MakeGate = Callable[[Any], Gate]


def waited(name: str, more: float = 0.3) -> None:
    """Let one of the waits pass."""
    time.sleep(float(WAITS[name]) + more)


def cut_every_connection_to_postgresql() -> None:
    """What every process sees when PostgreSQL restarts; done by the login that they share."""
    with connections["default"].cursor() as cursor:
        cursor.execute(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE usename = current_user AND datname = current_database() AND pid <> pg_backend_pid()
            """
        )


def test_before_the_claim(scene: Scene) -> None:
    """The wish is in PostgreSQL, its wake-up is lost with Redis, and the worker is gone."""
    scene.portal.kill("victim")
    asked = scene.ask(WEB)
    scene.portal.wipe_redis()
    scene.worker()
    scene.succeeded_once(asked)


def test_between_claim_and_mark(scene: Scene) -> None:
    """The claim ends by itself, and another worker takes over the same attempt."""
    made: list[Any] = []
    scene.held_in_vplus(PREPARING, lambda: made.append(scene.ask(DB)))
    scene.portal.kill("victim")
    scene.worker()
    scene.succeeded_once(*made)
    assert [(one.fence > 1, one.number) for one in scene.attempts(made[0])] == [(True, 1)]


def test_after_the_mark_before_a_byte(scene: Scene, gate: MakeGate) -> None:
    """PostgreSQL commits the mark of a worker that is dead: the write is uncertain, then absent, then sent anew."""
    point = gate("mark")
    asked = scene.ask(MAIL)
    point.wait_for_somebody()
    scene.portal.kill("victim")
    point.open()
    scene.marked(asked)
    scene.worker()
    scene.succeeded_once(asked)
    first, second = scene.attempts(asked)
    assert (first.outcome, first.task_guid, second.outcome) == ("not_accepted", None, "accepted")
    assert first.stamp != second.stamp


@pytest.mark.parametrize("phase", ["before", "after"])
def test_while_sending(phase: Any, scene: Scene) -> None:
    """vPlus has the request, and nobody is there for its answer; it is found by its stamp and never sent again."""
    made: list[Any] = []
    fault = Fault(kind="latency", phase=phase, seconds=1.5, **EXPORT)
    scene.held_in_vplus(fault, lambda: made.append(scene.ask(FRESH)))
    scene.portal.kill("victim")
    scene.worker()
    scene.succeeded_once(*made)
    [attempt] = scene.attempts(made[0])
    assert attempt.outcome_reason.startswith("the worker died"), "settled, not answered"


def test_before_the_record(scene: Scene, gate: MakeGate) -> None:
    """The answer was read and is lost with the worker that read it."""
    point = gate("record")
    asked = scene.ask(WEB)
    point.wait_for_somebody()
    scene.portal.kill("victim")
    point.open()
    scene.worker()
    scene.succeeded_once(asked)
    assert len(scene.attempts(asked)) == 1


@pytest.mark.parametrize("kind", ["cut", "reset"])
def test_the_connection_to_vplus_is_cut_in_each_phase(kind: Any, scene: Scene) -> None:
    """One of the first exports meets each phase, and each operation ends with exactly one export."""
    for number, phase in enumerate(PHASES[kind]):
        scene.control.arm(Fault(kind=kind, phase=phase, bytes=30, seconds=0.2, skip=number, **EXPORT))
    made = [scene.ask(machine) for machine in (WEB, DB, FRESH, MAIL, OTHER)]
    scene.succeeded_once(*made)
    assert not scene.control.faults(), "each phase was met"


@pytest.mark.parametrize("point", ["mark", "record"])
def test_postgresql_cuts_every_connection(point: Any, scene: Scene, gate: MakeGate) -> None:
    """At COMMIT of the mark it rolls back, so the attempt was never marked; at the record the answer is lost."""
    held = gate(point)
    asked = scene.ask(DB)
    held.wait_for_somebody()
    cut_every_connection_to_postgresql()
    held.open()
    scene.succeeded_once(asked)


def test_postgresql_cuts_every_connection_while_sending(scene: Scene) -> None:
    made: list[Any] = []
    fault = Fault(kind="latency", phase="after", seconds=1, **EXPORT)
    scene.held_in_vplus(fault, lambda: made.append(scene.ask(MAIL)))
    cut_every_connection_to_postgresql()
    scene.succeeded_once(*made)


def test_redis_is_emptied_again_and_again(scene: Scene) -> None:
    made = [scene.ask(machine) for machine in (WEB, DB, FRESH, MAIL)]
    for _ in range(20):
        scene.portal.wipe_redis()
        time.sleep(0.1)
    scene.succeeded_once(*made)


def test_two_workers_that_are_woken_many_times(scene: Scene) -> None:
    """The claim is one row or nothing: whoever comes second does nothing."""
    scene.worker("second")
    made = [scene.ask(machine) for machine in (WEB, DB, FRESH, MAIL)]
    with app.connection_for_write(scene.portal.environment["REDIS_URL"].replace("unix://", "redis+socket://")) as redis:
        for _ in range(10):
            for pk in made:
                [attempt, *_] = scene.attempts(pk)
                names = [str(attempt.tenant_id), str(attempt.pk)]
                app.send_task(SEND, names, queue="send", connection=redis)
    scene.succeeded_once(*made)
    assert [len(scene.attempts(pk)) for pk in made] == [1, 1, 1, 1]
    scene.portal.kill("second")


def test_paused_between_claim_and_mark_for_longer_than_the_claim(scene: Scene) -> None:
    """The fence has moved on meanwhile: the one that wakes up may not mark."""
    made: list[Any] = []
    scene.held_in_vplus(PREPARING, lambda: made.append(scene.ask(WEB)))
    scene.portal.pause("victim")
    scene.worker("second")
    scene.succeeded_once(*made)
    scene.portal.resume("victim")
    waited("VPLUS_SEND_CLAIM_SECONDS")
    scene.succeeded_once(*made)
    scene.portal.kill("second")


def test_paused_after_the_mark_for_longer_than_allowed(scene: Scene, gate: MakeGate) -> None:
    """The one that wakes up sends nothing, and says so: the attempt is not accepted, and a new one is made."""
    point = gate("mark")
    asked = scene.ask(DB)
    point.wait_for_somebody()
    scene.portal.pause("victim")
    point.open()
    scene.marked(asked)
    waited("VPLUS_SEND_MARK_SECONDS")
    scene.portal.resume("victim")
    scene.succeeded_once(asked)
    first, _second = scene.attempts(asked)
    assert (first.outcome, first.outcome_reason) == ("not_accepted", "not sent: the worker was held up")


def test_paused_after_the_mark_until_others_took_it_for_dead(scene: Scene, gate: MakeGate) -> None:
    """Another worker has settled it and sent anew before the first one wakes up; that one stays silent."""
    point = gate("mark")
    asked = scene.ask(MAIL)
    point.wait_for_somebody()
    scene.portal.pause("victim")
    point.open()
    scene.marked(asked)
    scene.worker("second")
    scene.succeeded_once(asked)
    scene.portal.resume("victim")
    waited("VPLUS_SEND_CLAIM_SECONDS")
    scene.succeeded_once(asked)
    scene.portal.kill("second")


def test_paused_in_the_middle_of_the_record(scene: Scene, gate: MakeGate) -> None:
    """Its transaction has the operation's row and does nothing any more: PostgreSQL ends it, and others settle the write."""
    point = gate("record")
    asked = scene.ask(MAIL)
    point.wait_for_somebody()
    scene.portal.pause("victim")
    point.open()
    scene.worker("second")
    scene.succeeded_once(asked)
    assert [one.outcome for one in scene.attempts(asked)] == ["accepted"]
    scene.portal.resume("victim")
    waited("VPLUS_SEND_CLAIM_SECONDS")
    scene.succeeded_once(asked)
    scene.portal.kill("second")


def test_paused_while_sending_until_others_took_it_for_dead(scene: Scene) -> None:
    """The late answer names the task that was found meanwhile, and changes nothing."""
    made: list[Any] = []
    fault = Fault(kind="latency", phase="after", seconds=0.5, **EXPORT)
    scene.held_in_vplus(fault, lambda: made.append(scene.ask(FRESH)))
    scene.portal.pause("victim")
    scene.worker("second")
    scene.succeeded_once(*made)
    scene.portal.resume("victim")
    eventually("the late answer was looked at", lambda: "write recorded" in scene.portal.log("victim"), patience=15)
    scene.succeeded_once(*made)
    scene.portal.kill("second")
