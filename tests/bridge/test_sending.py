"""Sending, line by line of the protocol: claim, prepare, mark, send, record (docs/decisions/0003-sending.md).

Each test that closes a crash point names it.
"""

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from tenants.scope import every_tenant
from tests.bridge.scenes import (
    WEB,
    ask,
    attempts,
    backup_row,
    exports_sent,
    ms,
    operation,
    sent_operation,
    task_row,
)
from tests.conftest import VPLUS_PASSWORD, Bridge, Cast, StartSimulator, assign_everything
from vplus_bridge import connection as vplus_connection
from vplus_bridge.client import Outcome as Answer
from vplus_bridge.client import OutcomeKind, TaskRecord, Unavailable, WriteRequest, guide
from vplus_bridge.database_time import database_now
from vplus_bridge.models import AllowedDestination, Attempt, ChainTask, Operation, Task
from vplus_bridge.operations import send, settle, transitions
from vplus_bridge.operations.moves import MOVES, State, allowed
from vplus_bridge.operations.request import Asked
from vplus_bridge.operations.writes.export import STAMP_APART, next_free_second
from vplus_simulator.faults import Fault
from vplus_simulator.http import SimulatorServer
from vplus_simulator.options import ServerOptions
from vplus_simulator.settings import Settings


def in_threads(count: int, work: Callable[[], Any]) -> list[Any]:
    """Do the same in so many threads at once, each with a connection of its own."""
    together = threading.Barrier(count)

    def one() -> Any:
        try:
            together.wait(30)
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return [future.result(60) for future in [pool.submit(one) for _ in range(count)]]


def claim(asked: Asked) -> send.Claim | None:
    attempt = attempts(asked)[-1]
    return send._claim(attempt.tenant_id, attempt.pk)


def claimed(asked: Asked) -> send.Claim:
    taken = claim(asked)
    assert taken is not None
    return taken


def set_mark(claim: send.Claim, found: send.Prepared) -> WriteRequest | None:
    return send._mark(claim, found, guide)


def prepared(**facts: Any) -> send.Prepared:
    return send.Prepared(**{"baseline_tasks": [], "baseline_backups": [], "clock_offset": timedelta(), **facts})


def in_step(bridge: Bridge) -> None:
    """Bring vPlus's clock, which stood still while a test was set up, to ours: windows are told by vPlus's."""
    control = bridge.simulator.control
    control.step(max(0.0, time.time() - control.summary().now / 1000))


def from_now(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts in which a length of time means so long from now: what is collected may run minutes later."""
    now = timezone.now()
    return {name: now + value if isinstance(value, timedelta) else value for name, value in facts.items()}


def change(asked: Asked, **facts: Any) -> None:
    with every_tenant("test"):
        Attempt.objects.filter(step__operation=asked.operations[0].pk).update(**facts)


def change_operation(asked: Asked, **facts: Any) -> None:
    with every_tenant("test"):
        Operation.objects.filter(pk=asked.operations[0].pk).update(**facts)


def taken_task(guid: str = "t-1") -> Answer:
    return Answer(OutcomeKind.ACCEPTED, 201, "accepted", tasks=(TaskRecord(guid=guid),))


UNCERTAIN = Answer(OutcomeKind.UNCERTAIN, None, "the connection broke")
NOT_ACCEPTED = Answer(OutcomeKind.NOT_ACCEPTED, None, "nothing was sent")

# Claim


def test_only_one_of_many_workers_gets_the_claim(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    got = in_threads(6, lambda: claim(asked))
    assert [one.fence for one in got if one is not None] == [1]


def test_many_workers_send_one_export(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    attempt = attempts(asked)[0]
    in_threads(4, lambda: send.send_attempt(mirrored.client, attempt.tenant_id, attempt.pk))
    assert len(exports_sent(mirrored.simulator)) == 1
    assert operation(asked).state == "submitted"


@pytest.mark.parametrize(
    ("attempt", "asked_for"),
    [
        ({"sent_at": timedelta()}, {}),
        ({"outcome": "refused"}, {}),
        ({"due_at": timedelta(minutes=1)}, {}),
        ({"claimed_until": timedelta(minutes=1)}, {}),
        ({}, {"state": "failed"}),
        ({}, {"state": "cancelled"}),
        ({}, {"state": "needs_attention"}),
        ({}, {"send_until": timedelta(minutes=-1)}),
    ],
)
def test_what_is_not_to_be_sent_cannot_be_claimed(
    attempt: dict[str, Any], asked_for: dict[str, Any], cast: Cast, mirrored: Bridge
) -> None:
    asked = ask(cast.oscar)
    change(asked, **from_now(attempt))
    change_operation(asked, **from_now(asked_for))
    assert claim(asked) is None
    with every_tenant("test"):
        assert settle.due_attempts(10) == [], "the sweeper and the claim agree"


def test_a_dead_workers_claim_is_taken_over_and_it_can_do_nothing_any_more(cast: Cast, mirrored: Bridge) -> None:
    """Crash point: a worker stops between claim and mark, another takes over, and then the first wakes up."""
    asked = ask(cast.oscar)
    first = claimed(asked)
    assert claim(asked) is None
    change(asked, claimed_until=timezone.now() - timedelta(seconds=1))
    second = claimed(asked)
    assert second.fence == first.fence + 1
    assert set_mark(first, prepared()) is None
    send._give_up(first, "vm_gone")
    assert operation(asked).state == "requested"
    send._release(first, Unavailable("away", 503))
    assert attempts(asked)[0].setbacks == 0
    assert set_mark(second, prepared()) is not None


# Prepare


def test_the_baseline_is_what_was_there_before(cast: Cast, mirrored: Bridge) -> None:
    first = ask(cast.oscar)
    mirrored.send()
    mirrored.run(steps=30)
    assert operation(first).state == "succeeded"
    task_row("t-known", state="FINISHED", tenant_id=cast.alpha.pk)
    backup_row("b-known", tenant_id=cast.alpha.pk)
    second = ask(cast.oscar)
    mirrored.send()
    attempt = attempts(second)[0]
    listed = {task.guid for task in mirrored.simulator.control.objects("tasks") if task.vm == WEB}
    assert len(attempt.baseline_tasks) == 3
    assert set(attempt.baseline_tasks) - listed == {"t-known"}, "what only the mirror still knows is old too"
    assert {"b-known", "backup-web-full", operation(first).backup_guid} == set(attempt.baseline_backups)


def test_trouble_while_preparing_is_not_accepted_and_tried_later(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    mirrored.simulator.control.arm(Fault(kind="html", method="GET", path="/tasks", status=200, count=1))
    mirrored.send()
    [attempt] = attempts(asked)
    assert (attempt.sent_at, attempt.outcome, attempt.claimed_until, attempt.setbacks) == (None, "", None, 1)
    assert attempt.due_at > timezone.now()
    change(asked, due_at=timezone.now())
    mirrored.send()
    assert len(exports_sent(mirrored.simulator)) == 1


def test_a_machine_that_vplus_knows_no_history_of_is_backed_up_all_the_same(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    mirrored.simulator.control.arm(Fault(kind="status", method="GET", path="/backups", status=404))
    mirrored.send()
    assert operation(asked).state == "submitted"


def test_a_destination_that_was_taken_away_is_not_used(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    with every_tenant("test"):
        AllowedDestination.objects.all().delete()
    mirrored.send()
    assert (operation(asked).state, operation(asked).error_code) == ("failed", "destination_not_allowed")
    assert exports_sent(mirrored.simulator) == []


def test_a_machine_that_went_meanwhile_is_not_asked_for(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    mirrored.simulator.control.remove_vm(WEB)
    mirrored.simulator.control.sync()
    mirrored.send()
    assert (operation(asked).state, operation(asked).error_code) == ("failed", "vm_gone")


# Mark


@pytest.mark.parametrize(
    ("attempt", "asked_for"),
    [
        ({"claimed_until": timedelta(seconds=-1)}, {}),
        ({"fence": 7}, {}),
        ({"sent_at": timedelta()}, {}),
        ({}, {"send_until": timedelta(seconds=-1)}),
        ({}, {"state": "cancelled"}),
    ],
)
def test_no_mark_without_a_living_claim_before_the_deadline(
    attempt: dict[str, Any], asked_for: dict[str, Any], cast: Cast, mirrored: Bridge
) -> None:
    asked = ask(cast.oscar)
    mine = claimed(asked)
    change(asked, **from_now(attempt))
    change_operation(asked, **from_now(asked_for))
    assert set_mark(mine, prepared()) is None
    assert attempts(asked)[0].stamp is None


def test_whoever_ends_an_operation_and_whoever_marks_it_take_turns(cast: Cast, mirrored: Bridge) -> None:
    """Race: the sweeper ends it in the moment in which a worker marks it; then nothing may be sent."""
    asked = ask(cast.oscar)
    mine = claimed(asked)
    marked: list[Any] = []

    def mark() -> None:
        try:
            marked.append(set_mark(mine, prepared()))
        finally:
            connection.close()

    thread = threading.Thread(target=mark)
    with every_tenant("test"):
        row = Operation.objects.select_for_update().get(pk=asked.operations[0].pk)
        thread.start()
        thread.join(0.5)
        assert marked == [], "it waits"
        row.state = "failed"
        row.save()
    thread.join(30)
    assert marked == [None]


def test_an_operation_that_is_being_marked_is_not_ended_by_its_deadline(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    change_operation(asked, send_until=timezone.now() - timedelta(seconds=1))
    done: list[int] = []

    def expire() -> None:
        try:
            with every_tenant("test"):
                done.append(settle.expire_unsent())
        finally:
            connection.close()

    with every_tenant("test"):
        Operation.objects.select_for_update(no_key=True).get(pk=asked.operations[0].pk)
        thread = threading.Thread(target=expire)
        thread.start()
        thread.join(30)
    assert done == [0]


def test_the_mark_is_committed_with_exactly_what_is_sent(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar, priority=70)
    mirrored.send()
    [attempt], [sent] = attempts(asked), exports_sent(mirrored.simulator)
    assert json.loads(attempt.body) == sent.asked
    assert sent.asked["windowStart"] == ms(attempt.stamp)
    assert sent.asked["priority"] == 70


def test_a_worker_that_was_paused_after_its_mark_stays_silent(
    cast: Cast, mirrored: Bridge, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Crash point: paused between mark and send, longer than others may take it for alive."""
    settings.VPLUS_SEND_MARK_SECONDS = 0.1
    real = send._mark

    def slow(*arguments: Any) -> Any:
        request = real(*arguments)
        time.sleep(0.2)
        return request

    monkeypatch.setattr(send, "_mark", slow)
    asked = ask(cast.oscar)
    mirrored.send()
    assert exports_sent(mirrored.simulator) == []
    first, second = attempts(asked)
    assert (first.outcome, first.outcome_reason) == ("not_accepted", "not sent: the worker was held up")
    assert first.sent_at is not None, "a mark is never cleared"
    assert second.sent_at is None
    assert operation(asked).state == "requested"


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


# Stamps and clocks

BASE = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
moments = st.integers(0, 240_000).map(lambda offset: BASE + timedelta(milliseconds=offset))
stamps = st.lists(st.integers(0, 240).map(lambda offset: BASE + timedelta(seconds=offset)), max_size=30)


@given(wished=moments, taken=stamps)
def test_a_stamp_names_its_export_alone(wished: datetime, taken: list[datetime]) -> None:
    stamp = next_free_second(wished, taken)
    assert stamp >= wished, "not before it was wished"
    assert stamp.microsecond == 0
    assert stamp.second != 0, "schedules fire there"
    assert all(abs(stamp - other) >= STAMP_APART for other in taken)


@given(wished=moments, taken=stamps)
def test_no_free_second_is_passed_over(wished: datetime, taken: list[datetime]) -> None:
    stamp = next_free_second(wished, taken)
    second = wished.replace(microsecond=0) + timedelta(seconds=1 if wished.microsecond else 0)
    while second < stamp:
        assert second.second == 0 or any(abs(second - other) < STAMP_APART for other in taken)
        second += timedelta(seconds=1)


def test_a_stamp_keeps_away_from_those_of_the_same_machine(cast: Cast, mirrored: Bridge) -> None:
    start = (timezone.now() + timedelta(hours=1)).replace(second=30, microsecond=0)
    sent_operation(cast.alpha, stamp=start + timedelta(seconds=1), state="succeeded")
    sent_operation(cast.alpha, stamp=start + timedelta(seconds=4), state="succeeded", subject="vm-alpha-db", task="t-2")
    asked = ask(cast.oscar, window_start=start)
    in_step(mirrored)
    mirrored.send()
    assert attempts(asked)[0].stamp == start + timedelta(seconds=4)


@pytest.mark.parametrize("offset", [-7200.0, 7200.0])
def test_windows_are_told_by_vpluss_own_clock(
    offset: float, cast: Cast, start_simulator: StartSimulator, tls_dir: Any, settings: Any
) -> None:
    """A server whose clock is two hours off: without the offset the window would be over, or far ahead."""
    server = SimulatorServer(
        ServerOptions(
            settings=Settings(pickup_seconds=0.1, inventory_sync_seconds=0, daily_cleanup=False, schedules_fire=False),
            tls_dir=tls_dir,
            password=VPLUS_PASSWORD,
            clock_offset_seconds=offset,
        )
    ).start()
    try:
        settings.VPLUS_URL, settings.VPLUS_CA_BUNDLE = server.url, str(server.ca_path)
        settings.VPLUS_USERNAME, settings.VPLUS_PASSWORD = "portal", VPLUS_PASSWORD
        vplus_connection.client.cache_clear()
        bridge = Bridge(server)
        bridge.sync()
        assign_everything(server, cast)
        asked = ask(cast.oscar)
        bridge.send()
        [sent], [attempt] = exports_sent(server), attempts(asked)
        ahead = (attempt.stamp - timezone.now()).total_seconds()
        assert abs(ahead - offset) < 10
        length = (sent.asked["windowEnd"] - sent.asked["windowStart"]) / 1000
        assert 6 * 3600 - 10 < length <= 6 * 3600 + 1
        assert 0 <= sent.asked["windowStart"] - sent.at < 10_000, "by its clock it may begin now"
    finally:
        server.stop()


def test_a_window_that_is_over_is_not_sent(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    with every_tenant("test"):
        row = Operation.objects.get(pk=asked.operations[0].pk)
        row.plan["window_end"] = ms(timezone.now())
        row.save()
    mirrored.send()
    assert attempts(asked)[0].sent_at is None
    assert exports_sent(mirrored.simulator) == []


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
