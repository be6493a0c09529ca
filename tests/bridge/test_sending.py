"""Sending, the second half of the protocol: send, record, and what a worker that died leaves (docs/decisions/0003-sending.md).

Each test that closes a crash point names it.
"""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tenants.scope import every_tenant
from tests.bridge.scenes import (
    WEB,
    ask,
    attempts,
    exports_sent,
    operation,
)
from tests.bridge.sending_scenes import (
    NOT_ACCEPTED,
    UNCERTAIN,
    change,
    change_operation,
    claimed,
    in_threads,
    prepared,
    set_mark,
    taken_task,
)
from tests.conftest import Bridge, Cast, StartSimulator, assign_everything
from vplus_bridge.client import Outcome as Answer
from vplus_bridge.client import OutcomeKind, TaskRecord
from vplus_bridge.database_time import database_now
from vplus_bridge.models import Attempt, ChainTask, Operation, Task
from vplus_bridge.operations import send, settle, transitions
from vplus_bridge.operations.moves import MOVES, State, allowed
from vplus_simulator.faults import Fault

# Send and record


def test_a_rejected_session_is_signed_in_once_and_sent(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    mirrored.client.ensure_session()
    mirrored.simulator.control.arm(Fault(kind="status", method="POST", path="/tasks/export", status=401, count=1))
    mirrored.send()
    first, second = attempts(asked)
    assert (first.outcome, first.status_code) == ("not_accepted", 401)
    assert second.due_at <= database_now(), "at once"
    mirrored.simulator.control.clear_counters()
    mirrored.send()
    assert mirrored.simulator.control.counters().sign_ins == 1
    assert len(exports_sent(mirrored.simulator)) == 1
    assert operation(asked).state == "submitted"


def test_a_session_that_is_rejected_twice_waits(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    mirrored.simulator.control.arm(Fault(kind="status", method="POST", path="/tasks/export", status=401, count=2))
    mirrored.send()
    mirrored.send()
    assert [attempt.outcome for attempt in attempts(asked)] == ["not_accepted", "not_accepted", ""]
    assert attempts(asked)[-1].due_at > timezone.now()
    assert exports_sent(mirrored.simulator) == []


@pytest.mark.parametrize(
    ("asked_for", "at_least", "at_most"), [(30, 30, 31), (400, 400, 401), (10**6, 900, 901), (None, 3, 10)]
)
def test_vplus_is_given_the_time_that_it_asks_for(
    asked_for: float | None, at_least: float, at_most: float, cast: Cast, mirrored: Bridge
) -> None:
    asked = ask(cast.oscar)
    mine = claimed(asked)
    set_mark(mine, prepared())
    send.record(mine, Answer(OutcomeKind.NOT_ACCEPTED, 429, "slow down", retry_after_seconds=asked_for))
    pause = (attempts(asked)[-1].due_at - timezone.now()).total_seconds()
    assert at_least - 1 <= pause <= at_most


def test_pauses_double_up_to_a_minute(settings: Any) -> None:
    settings.VPLUS_SEND_BACKOFF_SECONDS = 5
    pauses = [send._pause(setbacks, None) for setbacks in range(12)]
    for pause, usual in zip(pauses, [5, 10, 20, 40, *[60] * 8], strict=True):
        assert 0.8 * usual <= pause <= 1.2 * usual


def test_a_good_answer_names_the_task(cast: Cast, start_simulator: StartSimulator) -> None:
    bridge = Bridge(start_simulator(task_response="array"))
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    asked = ask(cast.oscar)
    bridge.send()
    [attempt], [sent] = attempts(asked), exports_sent(bridge.simulator)
    assert (attempt.outcome, attempt.task_guid) == ("accepted", sent.tasks[0])
    with every_tenant("test"):
        assert ChainTask.objects.get().linked_by == "answer"


@pytest.mark.parametrize("shape", ["one", "array", "batch", "empty"])
def test_each_shape_of_answer_ends_in_one_operation_done(
    shape: str, cast: Cast, start_simulator: StartSimulator
) -> None:
    bridge = Bridge(start_simulator(task_response=shape))
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    asked = ask(cast.oscar)
    bridge.send()
    bridge.run(steps=12, seconds=5)
    assert (operation(asked).state, len(exports_sent(bridge.simulator))) == ("succeeded", 1)


@pytest.mark.parametrize("which", ["one that was there before", "one that another operation has made"])
def test_an_answer_that_names_old_work_is_not_believed(which: str, cast: Cast, mirrored: Bridge) -> None:
    other = ask(cast.oscar, "vm-alpha-db")
    theirs = claimed(other)
    set_mark(theirs, prepared())
    send.record(theirs, taken_task("t-theirs"))
    asked = ask(cast.oscar)
    mine = claimed(asked)
    set_mark(mine, prepared(baseline_tasks=["t-old"]))
    send.record(mine, taken_task("t-old" if which.endswith("before") else "t-theirs"))
    assert (attempts(asked)[0].outcome, attempts(asked)[0].task_guid) == ("uncertain", None)
    assert operation(asked).state == "submitted"
    assert attempts(other)[0].task_guid == "t-theirs"


@pytest.mark.parametrize("members", [{"vm_guid": "vm-beta-web"}, {"type": "RESTORE"}])
def test_an_answer_that_names_anothers_task_is_not_believed(
    members: dict[str, str], cast: Cast, mirrored: Bridge
) -> None:
    asked = ask(cast.oscar)
    mine = claimed(asked)
    set_mark(mine, prepared())
    task = TaskRecord(**{"guid": "t-theirs", "type": "EXPORT", "vm_guid": WEB, **members})
    send.record(mine, Answer(OutcomeKind.ACCEPTED, 201, "accepted", tasks=(task,)))
    assert (attempts(asked)[0].outcome, attempts(asked)[0].task_guid) == ("uncertain", None)
    with every_tenant("test"):
        assert not Task.objects.filter(guid="t-theirs").exists()


def test_a_late_answer_clears_up_what_was_uncertain(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    mine = claimed(asked)
    set_mark(mine, prepared())
    send.record(mine, UNCERTAIN)
    send.record(mine, taken_task())
    assert (attempts(asked)[0].outcome, attempts(asked)[0].task_guid) == ("accepted", "t-1")
    send.record(mine, UNCERTAIN)
    send.record(mine, NOT_ACCEPTED)
    assert attempts(asked)[0].outcome == "accepted", "what is certain stays"
    assert len(attempts(asked)) == 1


def test_a_late_answer_takes_an_operation_out_of_attention(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    mine = claimed(asked)
    set_mark(mine, prepared())
    send.record(mine, UNCERTAIN)
    change_operation(asked, state="needs_attention", error_code="arrival_unknown", finished_at=timezone.now())
    send.record(mine, taken_task())
    found = operation(asked)
    assert (found.state, found.error_code, found.finished_at) == ("submitted", "", None)


def test_a_late_answer_never_makes_two_active_operations_of_one_machine(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    mine = claimed(asked)
    set_mark(mine, prepared())
    send.record(mine, UNCERTAIN)
    change_operation(asked, state="needs_attention", error_code="arrival_unknown")
    second = ask(cast.oscar)
    assert second.operations[0].pk != asked.operations[0].pk
    send.record(mine, taken_task())
    assert operation(asked).state == "needs_attention"
    assert attempts(asked)[0].task_guid == "t-1", "what is known is kept"


def test_word_that_nothing_was_sent_lets_it_be_sent_after_all(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    mine = claimed(asked)
    set_mark(mine, prepared())
    change(asked, outcome="uncertain")
    change_operation(asked, state="needs_attention", error_code="arrival_unknown")
    send.record(mine, NOT_ACCEPTED)
    change(asked, due_at=timezone.now())
    assert operation(asked).state == "requested"
    mirrored.send()
    assert len(exports_sent(mirrored.simulator)) == 1


def test_record_and_settle_do_not_wait_for_each_other_for_ever(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    mine = claimed(asked)
    set_mark(mine, prepared())
    send.record(mine, UNCERTAIN)
    attempt = attempts(asked)[0]

    def both() -> None:
        for _ in range(10):
            send.record(mine, UNCERTAIN)
            with every_tenant("test"):
                settle.settle(attempt.pk, whole=False)

    in_threads(2, both)
    assert attempts(asked)[0].outcome == "uncertain"


def test_after_a_refusal_nothing_is_sent_again_and_the_originals_stay_the_providers(
    cast: Cast, mirrored: Bridge
) -> None:
    asked = ask(cast.oscar)
    mirrored.simulator.control.arm(Fault(kind="status", method="POST", path="/tasks/export", status=409, count=1))
    mirrored.send()
    done = operation(asked)
    assert (done.state, done.error_code, done.vendor_text) == (
        "failed",
        "refused_by_vplus",
        "The server is not available",
    )
    assert done.finished_at is not None
    assert mirrored.send() == 0


@pytest.mark.parametrize(
    ("fault", "journal"),
    [
        (Fault(kind="cut", phase="before", method="POST", path="/tasks/export", count=1), 0),
        (Fault(kind="cut", phase="after", method="POST", path="/tasks/export", count=1), 1),
        (Fault(kind="cut", phase="answering", method="POST", path="/tasks/export", count=1, bytes=20), 1),
        (Fault(kind="status", phase="after", method="POST", path="/tasks/export", status=500, count=1), 1),
        (Fault(kind="status", phase="before", method="POST", path="/tasks/export", status=503, count=1), 0),
        (Fault(kind="html", phase="after", method="POST", path="/tasks/export", status=200, count=1), 1),
    ],
    ids=["cut before", "cut after", "cut while answering", "500 after", "503 before", "a web page after"],
)
def test_what_may_have_run_is_uncertain_and_not_sent_again(
    fault: Fault, journal: int, cast: Cast, mirrored: Bridge
) -> None:
    """Crash points: the connection is cut, or something else answers, at each phase after the first byte."""
    asked = ask(cast.oscar)
    mirrored.simulator.control.arm(fault)
    mirrored.send()
    assert attempts(asked)[0].outcome == "uncertain"
    assert operation(asked).state == "submitted"
    assert len(exports_sent(mirrored.simulator)) == journal
    assert mirrored.send() == 0


# Died


def test_a_worker_that_died_while_sending_is_noted_and_not_before(cast: Cast, mirrored: Bridge, settings: Any) -> None:
    """Crash point: after the mark, before the record."""
    asked = ask(cast.oscar)
    set_mark(claimed(asked), prepared())
    longest = settings.VPLUS_SEND_TOTAL_SECONDS + settings.VPLUS_SETTLE_DIED_SECONDS
    with every_tenant("test"):
        assert settle.note_deaths() == 0, "it may still be sending"
    assert operation(asked).state == "requested"
    change(asked, sent_at=timezone.now() - timedelta(seconds=longest + 1))
    with every_tenant("test"):
        assert settle.note_deaths() == 1
        assert settle.note_deaths() == 0
    [attempt] = attempts(asked)
    assert (attempt.outcome, attempt.outcome_reason) == ("uncertain", "the worker died while sending")
    assert operation(asked).state == "submitted"
    assert mirrored.send() == 0


def test_what_was_marked_is_never_ended_by_the_deadline(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    set_mark(claimed(asked), prepared())
    change_operation(asked, send_until=timezone.now() - timedelta(seconds=1))
    with every_tenant("test"):
        assert settle.expire_unsent() == 0
    change(asked, outcome="uncertain")
    change_operation(asked, state="submitted")
    with every_tenant("test"):
        assert settle.expire_unsent() == 0


def test_what_came_to_nothing_and_was_not_sent_again_in_time_is_ended(cast: Cast, mirrored: Bridge) -> None:
    """Lost: an operation that was sent, shown to have come to nothing, and whose new attempt found no vPlus."""
    asked = ask(cast.oscar)
    mine = claimed(asked)
    set_mark(mine, prepared())
    send.record(mine, UNCERTAIN)
    with every_tenant("test"):
        attempt = Attempt.objects.select_related("step").get(pk=attempts(asked)[0].pk)
        attempt.outcome = "not_accepted"
        attempt.save()
        transitions.again(attempt, timezone.now(), after=0)
    change_operation(asked, send_until=timezone.now() - timedelta(seconds=1))
    assert operation(asked).state == "submitted"
    assert mirrored.send() == 0
    with every_tenant("test"):
        assert settle.expire_unsent() == 1
    assert (operation(asked).state, operation(asked).error_code) == ("failed", "not_sent_in_time")


# The table of moves


def test_ended_operations_never_move_again() -> None:
    for state in (State.SUCCEEDED, State.FAILED, State.CANCELLED):
        assert MOVES[state] == frozenset()
        assert [other for other in State if allowed(state, other)] == [state]


def test_no_state_runs_backwards_but_out_of_attention() -> None:
    order = [State.REQUESTED, State.SUBMITTED, State.RUNNING, State.CANCELLING]
    for position, state in enumerate(order):
        assert not any(earlier in MOVES[state] for earlier in order[:position])
    assert set(MOVES) == set(State)


def test_every_move_of_the_table_and_no_other_is_made() -> None:
    now = timezone.now()
    for before in State:
        for after in State:
            row = Operation(state=before, error_code="x")
            transitions.move(row, after, now)
            assert row.state == (after if allowed(before, after) else before)
            if row.state != before:
                assert (row.finished_at is None) == row.active
                assert row.last_news_at == now


def test_a_lost_wake_up_is_found_by_the_sweeper(cast: Cast, mirrored: Bridge, settings: Any) -> None:
    """Redis wiped: the row alone is enough."""
    asked = ask(cast.oscar)
    with every_tenant("test"):
        [due] = settle.due_attempts(10)
    assert due.attempt_id == attempts(asked)[0].pk
    assert mirrored.send() == 1
    assert operation(asked).state == "submitted"
