"""Settling: what became of a write whose answer did not tell, by what the mirror holds of the machine."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tenants.scope import every_tenant
from tests.bridge.scenes import (
    WEB,
    ask,
    attempts,
    backup_row,
    exports_sent,
    operation,
    sent_operation,
    task_row,
    vm_row,
)
from tests.conftest import Bridge, Cast, StartSimulator, assign_everything
from vplus_bridge.models import Attempt, ChainTask, Operation, Task
from vplus_bridge.operations import settle
from vplus_simulator.faults import Fault

SENT = timezone.now() - timedelta(minutes=10)
STAMP = SENT.replace(microsecond=0, second=30)


@pytest.fixture
def uncertain(cast: Cast) -> Operation:
    """An export that was sent ten minutes ago; nobody knows if it arrived."""
    vm_row(tenant_id=cast.alpha.pk)
    return sent_operation(cast.alpha, task=None, sent_at=SENT, stamp=STAMP, baseline_tasks=["t-old"])


def attempt_of(row: Operation, number: int = 1) -> Attempt:
    with every_tenant("test"):
        return Attempt.objects.select_related("step").get(step__operation=row, number=number)


def settled(row: Operation, *, whole: bool = True, number: int = 1) -> tuple[Operation, Attempt]:
    with every_tenant("test"):
        settle.settle(attempt_of(row, number).pk, whole=whole)
        return Operation.objects.get(pk=row.pk), attempt_of(row, number)


def looked_twice(row: Operation, *, number: int = 1) -> tuple[Operation, Attempt]:
    """Two whole reads that had nothing, a minute apart."""
    settled(row, number=number)
    with every_tenant("test"):
        Attempt.objects.filter(absent_since__isnull=False, outcome="uncertain").update(
            absent_since=timezone.now() - timedelta(seconds=61)
        )
    return settled(row, number=number)


def echoing(cast: Cast, *, exactly: bool = True, machine: str = "vm-alpha-db") -> None:
    """An earlier export of ours, of which the server showed its windowStart."""
    earlier = STAMP - timedelta(hours=1)
    sent_operation(cast.alpha, task=f"t-{machine}", subject=machine, state="succeeded", stamp=earlier, sent_at=earlier)
    shown = earlier if exactly else earlier + timedelta(milliseconds=1)
    task_row(f"t-{machine}", state="FINISHED", virtual_machine_guid=machine, window_start=shown)


@pytest.mark.parametrize("off", [timedelta(), timedelta(milliseconds=999), timedelta(milliseconds=-999)])
def test_a_task_with_our_stamp_is_ours_also_before_all_was_read(off: timedelta, uncertain: Operation) -> None:
    task_row("t-1", window_start=STAMP + off)
    found, attempt = settled(uncertain, whole=False)
    assert (attempt.outcome, attempt.task_guid) == ("accepted", "t-1")
    assert found.warnings == []
    with every_tenant("test"):
        assert ChainTask.objects.get().linked_by == "stamp"


def test_the_only_new_task_is_ours_once_all_were_read_and_that_is_told(uncertain: Operation) -> None:
    task_row("t-1")
    found, attempt = settled(uncertain, whole=False)
    assert attempt.task_guid is None, "there may be another one that this reading has missed"
    assert (found.state, found.error_code) == ("submitted", "")
    found, attempt = settled(uncertain)
    assert attempt.task_guid == "t-1"
    assert found.warnings == ["identified_by_absence_of_others"]
    assert settled(uncertain)[0].warnings == ["identified_by_absence_of_others"], "told once"


@pytest.mark.parametrize(
    "facts",
    [
        {"window_start": STAMP + timedelta(seconds=1)},
        {"window_start": STAMP - timedelta(seconds=1)},
        {"origin_type": "SCHEDULE"},
        {"origin_type": "SYSTEM_SCHEDULE"},
        {"kind": "STORE"},
        {"virtual_machine_guid": "vm-alpha-db"},
        {"guid": "t-old"},
    ],
)
def test_what_something_contradicts_is_not_ours(facts: dict[str, Any], uncertain: Operation) -> None:
    task_row(**{"guid": "t-1", **facts})
    found, attempt = settled(uncertain)
    assert (attempt.task_guid, found.state) == (None, "submitted")


def test_what_another_chain_holds_is_not_ours(cast: Cast, uncertain: Operation) -> None:
    sent_operation(cast.alpha, task="t-1", state="succeeded")
    task_row("t-1")
    assert settled(uncertain)[1].task_guid is None


def test_several_that_fit_are_for_a_person(uncertain: Operation) -> None:
    task_row("t-1")
    task_row("t-2")
    found, attempt = settled(uncertain)
    assert (found.state, found.error_code) == ("needs_attention", "several_tasks_fit")
    assert attempt.task_guid is None


@pytest.mark.parametrize(
    ("states", "ours"),
    [(("FAILED", "RUNNING"), "t-1"), (("FAILED", "FAILED", "QUEUED"), "t-2"), (("FAILED", "FAILED"), "t-1")],
)
def test_copies_of_a_failed_task_are_one_chain(states: tuple[str, ...], ours: str, uncertain: Operation) -> None:
    for number, state in enumerate(states):
        seen = SENT + timedelta(seconds=10 * (number + 1))
        task_row(f"t-{number}", state=state, window_start=STAMP, first_seen_at=seen)
    assert settled(uncertain)[1].task_guid == ours


def test_two_with_one_stamp_that_both_work_are_no_copies(uncertain: Operation) -> None:
    for number in range(2):
        task_row(f"t-{number}", state="RUNNING", window_start=STAMP)
    assert settled(uncertain)[0].state == "needs_attention"


def test_absence_is_believed_only_after_the_waits_and_two_whole_reads_apart(
    cast: Cast, uncertain: Operation, settings: Any
) -> None:
    echoing(cast)
    wait = settings.VPLUS_SEND_TOTAL_SECONDS + settings.VPLUS_SETTLE_ABSENT_SECONDS
    with every_tenant("test"):
        Attempt.objects.update(sent_at=timezone.now() - timedelta(seconds=wait - 5))
    assert settled(uncertain)[1].absent_since is None, "too early to tell"
    with every_tenant("test"):
        Attempt.objects.update(sent_at=timezone.now() - timedelta(seconds=wait + 1))
    assert settled(uncertain, whole=False)[1].absent_since is None, "not everything was read"
    assert settled(uncertain)[1].absent_since is not None
    found, attempt = settled(uncertain)
    assert (attempt.outcome, found.state) == ("uncertain", "submitted"), "the second read came too soon"
    found, attempt = looked_twice(uncertain)
    assert attempt.outcome == "not_accepted"
    again = attempt_of(uncertain, 2)
    assert (again.sent_at, again.stamp, again.outcome) == (None, None, "")
    with every_tenant("test"):
        assert [due.attempt_id for due in settle.due_attempts(10)] == [again.pk]


def test_a_task_that_turns_up_between_the_two_reads_is_found(cast: Cast, uncertain: Operation) -> None:
    echoing(cast)
    settled(uncertain)
    task_row("t-1", window_start=STAMP)
    assert looked_twice(uncertain)[1].task_guid == "t-1"


@pytest.mark.parametrize("told", ["nothing", "changed", "both"])
def test_nothing_is_sent_again_on_a_server_that_does_not_show_our_stamps(
    told: str, cast: Cast, uncertain: Operation
) -> None:
    if told == "both":
        echoing(cast)
    if told != "nothing":
        echoing(cast, exactly=False, machine="vm-alpha-new")
    found, attempt = looked_twice(uncertain)
    assert (found.state, found.error_code) == ("needs_attention", "arrival_unknown")
    assert attempt.outcome == "uncertain"


def test_it_is_sent_again_three_times_at_most(cast: Cast, uncertain: Operation) -> None:
    echoing(cast)
    for number in (1, 2, 3):
        _found, attempt = looked_twice(uncertain, number=number)
        assert attempt.outcome == "not_accepted"
        with every_tenant("test"):
            Attempt.objects.filter(step__operation=uncertain, number=number + 1).update(
                sent_at=SENT, stamp=STAMP + timedelta(seconds=10 * number), outcome="uncertain"
            )
    found, attempt = looked_twice(uncertain, number=4)
    assert (found.state, found.error_code, attempt.outcome) == ("needs_attention", "arrival_unknown", "uncertain")


def test_setbacks_before_it_do_not_use_up_the_times_it_may_be_sent_again(cast: Cast, uncertain: Operation) -> None:
    """Five times "slow down" are no five attempts that may have run."""
    echoing(cast)
    with every_tenant("test"):
        Attempt.objects.filter(step__operation=uncertain).update(number=6)
    assert looked_twice(uncertain, number=6)[1].outcome == "not_accepted"


def test_after_its_deadline_nothing_is_sent_again(cast: Cast, uncertain: Operation) -> None:
    echoing(cast)
    with every_tenant("test"):
        Operation.objects.filter(pk=uncertain.pk).update(send_until=timezone.now() - timedelta(seconds=1))
    assert looked_twice(uncertain)[0].state == "needs_attention"


def test_a_new_backup_that_no_task_explains_is_for_a_person_and_not_sent_again(
    cast: Cast, uncertain: Operation
) -> None:
    """Its task may have been cleared away; without this it would wait for ever."""
    echoing(cast)
    backup_row("b-new", first_seen_at=timezone.now())
    assert looked_twice(uncertain)[0].error_code == "arrival_unknown"


def test_a_backup_that_a_schedule_made_does_not_count_as_ours(cast: Cast, uncertain: Operation) -> None:
    echoing(cast)
    backup_row("b-new", first_seen_at=timezone.now())
    task_row("t-theirs", state="FINISHED", origin_type="SCHEDULE", backup_guid="b-new")
    assert looked_twice(uncertain)[1].outcome == "not_accepted"


def test_what_can_never_be_read_whole_does_not_wait_for_ever(uncertain: Operation) -> None:
    assert settled(uncertain, whole=False)[0].state == "submitted"
    with every_tenant("test"):
        Operation.objects.update(send_until=timezone.now() - timedelta(seconds=1))
    assert settled(uncertain, whole=False)[0].error_code == "arrival_unknown"


def test_only_what_is_open_is_settled(cast: Cast, uncertain: Operation) -> None:
    with every_tenant("test"):
        assert [(guid, pk) for pk, guid in settle.unsettled()] == [(WEB, attempt_of(uncertain).pk)]
        Operation.objects.update(state="needs_attention")
        assert settle.unsettled() == []
        Operation.objects.update(state="submitted")
        Attempt.objects.update(outcome="accepted", task_guid="t-1")
        assert settle.unsettled() == []
        settle.settle(attempt_of(uncertain).pk, whole=True)
    assert attempt_of(uncertain).task_guid == "t-1"


# With a whole vPlus


def make_short(settings: Any) -> None:
    settings.VPLUS_SEND_TOTAL_SECONDS, settings.VPLUS_SETTLE_ABSENT_SECONDS = 0.0, 0.0
    settings.VPLUS_SETTLE_READS_APART_SECONDS = 0.0


def test_a_write_that_never_arrived_is_sent_again_with_another_stamp(
    cast: Cast, start_simulator: StartSimulator, settings: Any
) -> None:
    """Crash point: the connection is cut before vPlus has processed a byte; nothing is lost and nothing doubled."""
    bridge = Bridge(start_simulator(richness="generous"))
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    first = ask(cast.oscar, "vm-alpha-db")
    bridge.send()
    bridge.poll()
    asked = ask(cast.oscar)
    bridge.simulator.control.arm(Fault(kind="cut", phase="before", method="POST", path="/tasks/export", count=1))
    bridge.send()
    assert attempts(asked)[0].outcome == "uncertain"
    make_short(settings)
    bridge.poll()
    bridge.poll()
    lost, again = attempts(asked)
    assert lost.outcome == "not_accepted"
    bridge.send()
    again = attempts(asked)[1]
    assert again.stamp >= lost.stamp + timedelta(seconds=3)
    settings.VPLUS_SEND_TOTAL_SECONDS = 60
    bridge.run(steps=12, seconds=5)
    assert (operation(asked).state, operation(first).state) == ("succeeded", "succeeded")
    of_web = [one for one in exports_sent(bridge.simulator) if one.asked["protectedEntities"] == [{"guid": WEB}]]
    assert len(of_web) == 1


def test_on_the_poorest_vplus_a_write_that_never_arrived_is_for_a_person(
    cast: Cast, mirrored: Bridge, settings: Any
) -> None:
    asked = ask(cast.oscar)
    mirrored.simulator.control.arm(Fault(kind="cut", phase="before", method="POST", path="/tasks/export", count=1))
    mirrored.send()
    make_short(settings)
    mirrored.poll()
    mirrored.poll()
    assert (operation(asked).state, operation(asked).error_code) == ("needs_attention", "arrival_unknown")
    assert mirrored.send() == 0
    assert exports_sent(mirrored.simulator) == []


def test_a_server_that_changes_stamps_is_found_out_and_its_task_not_taken_for_another(
    cast: Cast, start_simulator: StartSimulator, settings: Any
) -> None:
    bridge = Bridge(start_simulator(richness="generous", window_start="server_time"))
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    asked = ask(cast.oscar, window_start=timezone.now() + timedelta(hours=1))
    bridge.simulator.control.arm(Fault(kind="cut", phase="after", method="POST", path="/tasks/export", count=1))
    bridge.send()
    make_short(settings)
    bridge.poll()
    bridge.poll()
    assert operation(asked).error_code == "arrival_unknown", "a person sees the task; it is not sent a second time"
    assert len(exports_sent(bridge.simulator)) == 1
    with every_tenant("test"):
        assert Task.objects.filter(virtual_machine_guid=WEB).count() == 1
