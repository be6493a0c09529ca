"""Cancelling: before the mark it is ours and final; after it, it is asked once, and only vPlus can say that it is so."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tenants.models import AuditEvent
from tenants.refusals import NotAllowed, NotVisible, WrongState
from tenants.scope import every_tenant, in_tenant
from tests.bridge.scenes import (
    T0,
    WEB,
    ask,
    ask_restore,
    attempts,
    backup_row,
    exports_sent,
    operation,
    sent_operation,
    task_row,
    tasks,
    vm_row,
)
from tests.conftest import Bridge, Cast, Member, StartSimulator, assign_everything
from vplus_bridge.models import Attempt, Operation, Step, Task
from vplus_bridge.operations import cancel, follow, late, send
from vplus_bridge.operations.request import Asked
from vplus_simulator.faults import Fault


def cancels(bridge: Bridge) -> list[Any]:
    """What the simulator itself wrote down of cancels."""
    wanted = ("PUT /tasks/{guid}/state", "DELETE /tasks/{guid}")
    return [entry for entry in bridge.simulator.control.journal() if entry.call in wanted]


def cancel_attempts(row: Operation | Asked) -> list[Attempt]:
    pk = row.operations[0].pk if isinstance(row, Asked) else row.pk
    with every_tenant("test"):
        return list(Attempt.objects.filter(step__operation=pk, step__action="cancel").order_by("number"))


def ask_cancel(member: Member, what: Asked | Operation) -> Operation:
    pk = what.operations[0].pk if isinstance(what, Asked) else what.pk
    actor = member.actor
    with in_tenant(actor.tenant_id):
        return cancel.request_cancel(actor, pk, now=timezone.now())


def queued(bridge: Bridge, member: Member) -> Asked:
    """A backup that vPlus has, and has not begun."""
    asked = ask(member)
    bridge.send()
    bridge.poll()
    assert operation(asked).state == "submitted"
    return asked


def running(bridge: Bridge, member: Member, seconds: float = 6) -> Asked:
    asked = queued(bridge, member)
    bridge.simulator.control.step(seconds)
    bridge.poll()
    assert operation(asked).state == "running"
    return asked


def test_before_anything_was_sent_it_is_final_and_vplus_hears_of_nothing(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    assert ask_cancel(cast.oscar, asked).state == "cancelled"
    mirrored.send()
    assert exports_sent(mirrored.simulator) == []
    assert cancels(mirrored) == []
    found = operation(asked)
    assert (found.state, found.error_code) == ("cancelled", "cancelled_before_sending")
    assert found.cancel_asked_by_name == "Oscar"
    with every_tenant("test"):
        event = AuditEvent.objects.get(action="operation.cancel")
    assert (event.tenant_id, event.object_id, event.detail["sent"]) == (cast.alpha.pk, WEB, False)


def test_a_cancel_that_comes_between_claim_and_mark_is_seen_by_the_mark(cast: Cast, mirrored: Bridge) -> None:
    """Crash point: the sender has its claim and has looked at the world when the cancel is committed."""
    asked = ask(cast.oscar)
    attempt = attempts(asked)[0]
    claim = send._claim(attempt.tenant_id, attempt.pk)
    assert claim is not None
    found = send.WRITES[claim.action].prepare(mirrored.client, claim)
    ask_cancel(cast.oscar, asked)
    assert send._mark(claim, found, mirrored.client.dialect) is None
    assert attempts(asked)[0].sent_at is None
    assert operation(asked).state == "cancelled"


@pytest.mark.parametrize("richness", ["poorest", "generous"])
def test_a_queued_backup_is_removed_and_only_then_called_cancelled(
    richness: str, cast: Cast, start_simulator: StartSimulator
) -> None:
    bridge = Bridge(start_simulator(richness=richness, pickup_seconds=600))
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    asked = queued(bridge, cast.oscar)
    assert ask_cancel(cast.oscar, asked).state == "cancelling"
    assert cancels(bridge) == [], "nothing is sent while a person waits"
    bridge.send()
    assert [entry.call for entry in cancels(bridge)] == ["DELETE /tasks/{guid}"]
    assert operation(asked).state == "cancelling", "asked is not cancelled"
    bridge.poll()
    found = operation(asked)
    assert (found.state, found.error_code) == ("cancelled", "cancelled")
    assert found.finished_at is not None
    assert [task.known_state for task in tasks().values()] == ["CANCELLED"], "what was removed does not wait any more"


def test_a_task_that_was_removed_before_it_was_ever_read_is_seen_to_have_gone(
    cast: Cast, start_simulator: StartSimulator
) -> None:
    """Crash point: the answer named the task, and the cancel came before any reading of it."""
    bridge = Bridge(start_simulator(task_response="array", pickup_seconds=600))
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    asked = ask(cast.oscar)
    bridge.send()
    assert operation(asked).state == "submitted"
    ask_cancel(cast.oscar, asked)
    bridge.send()
    assert len(cancels(bridge)) == 1
    bridge.poll()
    found = operation(asked)
    assert (found.state, found.error_code) == ("cancelled", "cancelled")


def test_a_task_that_somebody_in_vplus_removed_before_it_was_ever_read_ends_its_operation_after_the_wait(
    cast: Cast, start_simulator: StartSimulator, settings: Any
) -> None:
    """Crash point: the answer is recorded, and vPlus has forgotten the task before the first reading after it."""
    bridge = Bridge(start_simulator(task_response="array", pickup_seconds=600))
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    asked = ask(cast.oscar)
    bridge.send()
    [task] = tasks().values()
    assert (task.state, task.type, task.tenant_id, task.virtual_machine_guid) == (
        "QUEUED",
        "EXPORT",
        cast.alpha.pk,
        WEB,
    )
    with bridge.client.open_write() as somebody:
        somebody.send(bridge.client.dialect.cancel_queued_request(task.guid))
    bridge.poll()
    assert operation(asked).state == "submitted", "a server may name a task before it shows it"
    settings.VPLUS_SETTLE_ABSENT_SECONDS = 0
    bridge.poll()
    bridge.sync()
    bridge.poll()
    found = operation(asked)
    assert (found.state, found.error_code) == ("failed", "task_vanished")


def test_a_task_that_vplus_named_and_does_not_show_yet_is_asked_to_stop_when_it_does(
    cast: Cast, start_simulator: StartSimulator
) -> None:
    """Crash point: the answer named the task, and the cancel looks for it before vPlus shows it."""
    bridge = Bridge(start_simulator(task_response="array", pickup_seconds=600))
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    asked = ask(cast.oscar)
    bridge.send()
    ask_cancel(cast.oscar, asked)
    bridge.simulator.control.arm(Fault(kind="status", method="GET", path="/tasks/{guid}", status=404, count=1))
    bridge.send()
    assert cancels(bridge) == []
    with every_tenant("test"):
        Attempt.objects.filter(step__action="cancel", sent_at=None).update(due_at=T0)
    bridge.send()
    assert [entry.call for entry in cancels(bridge)] == ["DELETE /tasks/{guid}"]
    bridge.poll()
    assert operation(asked).state == "cancelled"


def test_a_removed_export_is_not_called_cancelled_while_its_record_goes_on(cast: Cast, settings: Any) -> None:
    """Crash point: the cancel has seen the export queued and removed it when it had ended; no store is there yet."""
    now = timezone.now()
    vm_row(tenant_id=cast.alpha.pk, history_read_at=now + timedelta(minutes=1))
    asked = sent_operation(cast.alpha, state="cancelling", cancel_asked_at=now)
    task_row("export-1", tenant_id=cast.alpha.pk, backup_guid="b-1", vanished_at=now)
    with every_tenant("test"):
        step = Step.objects.create(operation=asked, tenant_id=cast.alpha.pk, position=2, action="cancel")
        Attempt.objects.create(
            step=step, tenant_id=cast.alpha.pk, target_guid="export-1", sent_at=now, outcome="accepted"
        )
    for status, state in (("INPROGRESS", "cancelling"), ("FAILED", "cancelled")):
        backup_row("b-1", status, tenant_id=cast.alpha.pk)
        with every_tenant("test"):
            follow.follow([asked.pk])
        assert reread(asked).state == state


def cancel_with(bridge: Bridge, member: Member, asked: Asked, *, between: float) -> None:
    """Ask vPlus to cancel, with so many of its seconds between the last look at the task and the request."""
    ask_cancel(member, asked)
    [attempt] = cancel_attempts(asked)
    claim = send._claim(attempt.tenant_id, attempt.pk)
    assert claim is not None
    prepared = send.WRITES[claim.action].prepare(bridge.client, claim)
    bridge.simulator.control.step(between)
    with bridge.client.open_write() as channel:
        request = send._mark(claim, prepared, bridge.client.dialect)
        assert request is not None
        send.record(claim, channel.send(request))


def test_a_backup_whose_task_a_late_cancel_removed_is_told_by_its_record(
    cast: Cast, start_simulator: StartSimulator
) -> None:
    """Crash point: the cancel has seen the export queued; it arrives when that has ended, and the store follows."""
    bridge = Bridge(start_simulator(export_seconds=(1.0, 1.0), store_gap_seconds=5.0))
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    asked = queued(bridge, cast.oscar)
    cancel_with(bridge, cast.oscar, asked, between=3)
    bridge.poll()
    assert operation(asked).state == "cancelling"
    bridge.run(steps=40)
    assert operation(asked).state == "succeeded"
    assert "too_late_to_cancel" in operation(asked).warnings


@pytest.mark.parametrize("in_time", [True, False], ids=["in time", "after the restore has ended"])
def test_a_queued_restore_whose_task_is_gone_is_cancelled_only_where_no_import_follows(
    in_time: bool, cast: Cast, start_simulator: StartSimulator, settings: Any
) -> None:
    """Crash point: the cancel has seen the task queued; it arrives when the task has ended, and removes that as well."""
    bridge = Bridge(start_simulator(restore_seconds=(1.0, 1.0), import_gap_seconds=5.0))
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    asked = ask_restore(cast.oscar)
    bridge.send()
    bridge.poll()
    cancel_with(bridge, cast.oscar, asked, between=0 if in_time else 3)
    bridge.poll()
    assert operation(asked).state == "cancelling", "gone is not cancelled yet"
    if in_time:
        settings.VPLUS_SETTLE_ABSENT_SECONDS = 0
        bridge.poll()
        assert (operation(asked).state, operation(asked).error_code) == ("cancelled", "cancelled")
    else:
        bridge.run(steps=40)
        assert operation(asked).state == "succeeded"
        assert "too_late_to_cancel" in operation(asked).warnings


def test_a_running_backup_is_asked_once_and_told_as_cancelled_when_vplus_says_so(cast: Cast, mirrored: Bridge) -> None:
    asked = running(mirrored, cast.oscar)
    first, second = ask_cancel(cast.oscar, asked), ask_cancel(cast.alice, asked)
    assert first.cancel_asked_by_name == second.cancel_asked_by_name == "Oscar", "the second sees the first one's"
    mirrored.send()
    mirrored.send()
    assert [entry.call for entry in cancels(mirrored)] == ["PUT /tasks/{guid}/state"]
    mirrored.run(steps=8)
    found = operation(asked)
    assert (found.state, found.error_code) == ("cancelled", "cancelled")
    assert len(cancels(mirrored)) == 1, "never escalated"
    assert [task.state for task in tasks().values() if task.virtual_machine_guid == WEB and task.type == "EXPORT"] == [
        "CANCELLED"
    ]


def test_between_two_stages_it_applies_to_the_next_task_as_it_appears(
    cast: Cast, start_simulator: StartSimulator
) -> None:
    bridge = Bridge(start_simulator(export_seconds=(4, 4), store_gap_seconds=6, store_seconds=(60, 60)))
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    asked = queued(bridge, cast.oscar)
    bridge.run(steps=4)
    assert not any(task.live for task in tasks().values()), "the export has ended, the store is not there yet"
    assert operation(asked).state == "running"
    assert ask_cancel(cast.oscar, asked).state == "cancelling"
    assert bridge.send() == 0, "there is no task yet that could be asked to stop"
    bridge.run(steps=4)
    assert bridge.send() == 1
    bridge.run(steps=8)
    found = operation(asked)
    assert (found.state, found.error_code) == ("cancelled", "cancelled")
    [entry] = cancels(bridge)
    store = next(task for task in tasks().values() if task.type == "STORE" and task.virtual_machine_guid == WEB)
    assert [attempt.target_guid for attempt in cancel_attempts(asked)] == [store.guid]
    assert entry.tasks == [store.guid]


def test_where_the_work_won_the_race_that_is_said(cast: Cast, mirrored: Bridge) -> None:
    asked = running(mirrored, cast.oscar)
    ask_cancel(cast.oscar, asked)
    mirrored.run(steps=60)  # nobody sends meanwhile
    found = operation(asked)
    assert (found.state, "too_late_to_cancel" in found.warnings) == ("succeeded", True)
    mirrored.send()
    assert cancels(mirrored) == [], "what has ended is not asked to end"
    assert {attempt.outcome_reason for attempt in cancel_attempts(asked)} == {"too_late_to_cancel"}
    assert operation(asked).state == "succeeded"


def test_a_server_that_cannot_cancel_is_asked_once_and_then_the_button_goes(
    cast: Cast, start_simulator: StartSimulator
) -> None:
    bridge = Bridge(start_simulator(cancel="missing"))
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    asked = running(bridge, cast.oscar)
    assert cancel.possible(cast.oscar.actor, operation(asked), server_can=cancel.can_cancel())
    ask_cancel(cast.oscar, asked)
    bridge.send()
    assert not cancel.can_cancel()
    bridge.run(steps=60)
    found = operation(asked)
    assert found.state == "succeeded"
    assert set(found.warnings) >= {"cannot_be_cancelled", "too_late_to_cancel"}
    assert len(cancel_attempts(asked)) == 1, "the store is not asked: the server has no such call"

    later = running(bridge, cast.oscar)
    assert not cancel.possible(cast.oscar.actor, operation(later), server_can=cancel.can_cancel())
    with pytest.raises(WrongState) as refusal:
        ask_cancel(cast.oscar, later)
    assert refusal.value.code == "cannot_be_cancelled"


def test_a_server_that_could_not_cancel_once_is_tried_again_some_time_later(
    cast: Cast, start_simulator: StartSimulator, settings: Any
) -> None:
    """A server is upgraded, a proxy in front of it mended; nobody would ever see that if nobody could ask any more."""
    bridge = Bridge(start_simulator(cancel="missing"))
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    ask_cancel(cast.oscar, running(bridge, cast.oscar))
    bridge.send()
    bridge.run(steps=60)
    assert not cancel.can_cancel()

    settings.VPLUS_CANCEL_AGAIN_SECONDS = 0
    assert cancel.can_cancel()
    asked = running(bridge, cast.oscar)
    ask_cancel(cast.oscar, asked)
    bridge.send()
    settings.VPLUS_CANCEL_AGAIN_SECONDS = 900
    assert not cancel.can_cancel(), "what was seen anew counts anew"

    bridge.simulator.control.change(cancel="accepted")
    settings.VPLUS_CANCEL_AGAIN_SECONDS = 0
    bridge.run(steps=60)
    asked = running(bridge, cast.oscar)
    ask_cancel(cast.oscar, asked)
    bridge.send()
    settings.VPLUS_CANCEL_AGAIN_SECONDS = 900
    assert cancel.can_cancel(), "a cancel that was accepted ends it"
    bridge.run(steps=8)
    assert operation(asked).state == "cancelled"


def test_a_refused_cancel_is_told_and_the_work_goes_on(cast: Cast, mirrored: Bridge) -> None:
    asked = running(mirrored, cast.oscar)
    ask_cancel(cast.oscar, asked)
    mirrored.simulator.control.arm(Fault(kind="status", status=409, calls="write", count=1))
    mirrored.send()
    assert cancel.can_cancel(), "a refusal of one is not the lack of a call"
    found = operation(asked)
    assert (found.state, found.warnings[-1]) == ("cancelling", "cancel_refused")
    mirrored.run(steps=60)
    assert operation(asked).state == "succeeded"


def test_a_cancel_that_was_not_accepted_is_sent_again(cast: Cast, mirrored: Bridge) -> None:
    asked = running(mirrored, cast.oscar)
    ask_cancel(cast.oscar, asked)
    mirrored.simulator.control.arm(Fault(kind="unauthorized", calls="write", count=1))
    mirrored.send()
    mirrored.send()
    assert [attempt.outcome for attempt in cancel_attempts(asked)] == ["not_accepted", "accepted"]
    assert len(cancels(mirrored)) == 1


def test_after_an_uncertain_cancel_one_more_is_allowed_and_no_third(
    cast: Cast, mirrored: Bridge, settings: Any
) -> None:
    asked = running(mirrored, cast.oscar)
    ask_cancel(cast.oscar, asked)
    mirrored.simulator.control.arm(Fault(kind="status", status=503, calls="write", count=2))
    mirrored.send()
    mirrored.poll()
    assert [attempt.outcome for attempt in cancel_attempts(asked)] == ["uncertain"], "the wait is not over"
    settings.VPLUS_SETTLE_CANCEL_SECONDS = 0
    mirrored.poll()
    mirrored.send()
    mirrored.poll()
    mirrored.poll()
    assert mirrored.send() == 0
    assert [attempt.outcome for attempt in cancel_attempts(asked)] == ["uncertain", "uncertain"]
    assert operation(asked).state == "cancelling"


def test_a_cancel_cut_off_after_it_worked_is_not_asked_again(cast: Cast, mirrored: Bridge, settings: Any) -> None:
    settings.VPLUS_SETTLE_CANCEL_SECONDS = 0
    asked = running(mirrored, cast.oscar)
    ask_cancel(cast.oscar, asked)
    mirrored.simulator.control.arm(Fault(kind="cut", phase="after", calls="write", count=1))
    mirrored.send()
    mirrored.run(steps=8)
    mirrored.send()
    assert operation(asked).state == "cancelled"
    assert len(cancels(mirrored)) == 1


def test_what_was_marked_and_certainly_not_sent_ends_as_cancelled(cast: Cast, mirrored: Bridge) -> None:
    """Crash point: the cancel comes between mark and record, and the record is that nothing went out."""
    asked = ask(cast.oscar)
    attempt = attempts(asked)[0]
    claim = send._claim(attempt.tenant_id, attempt.pk)
    assert claim is not None
    prepared = send.Prepared([], [], timedelta())
    send._mark(claim, prepared, mirrored.client.dialect)
    assert ask_cancel(cast.oscar, asked).state == "cancelling", "it may be on its way"
    send.record(claim, send.Answer(send.OutcomeKind.NOT_ACCEPTED, None, "nothing was sent"))
    found = operation(asked)
    assert (found.state, found.error_code) == ("cancelled", "cancelled_before_sending")
    assert len(attempts(asked)) == 1
    mirrored.send()
    assert exports_sent(mirrored.simulator) == []


def test_what_a_sender_finds_out_after_a_cancel_changes_no_word_of_it(cast: Cast, mirrored: Bridge) -> None:
    """Crash point: the cancel comes between claim and what the sender then finds: that the machine is gone."""
    asked = ask(cast.oscar)
    attempt = attempts(asked)[0]
    claim = send._claim(attempt.tenant_id, attempt.pk)
    assert claim is not None
    ask_cancel(cast.oscar, asked)
    send._give_up(claim, "vm_gone")
    found = operation(asked)
    assert (found.state, found.error_code) == ("cancelled", "cancelled_before_sending")


def test_a_cancel_is_not_forgotten_while_a_person_looks_into_it(cast: Cast) -> None:
    """Crash point: the answer was lost, a cancel was asked, and the task turns up after all the waits."""
    vm_row(tenant_id=cast.alpha.pk)
    stamp = timezone.now().replace(microsecond=0) - timedelta(minutes=10)
    row = sent_operation(cast.alpha, task=None, stamp=stamp)
    assert ask_cancel(cast.oscar, row).state == "cancelling"
    with every_tenant("test"):
        Operation.objects.filter(pk=row.pk).update(state="needs_attention", error_code="arrival_unknown")
    task_row("t-late", state="RUNNING", window_start=stamp, tenant_id=cast.alpha.pk)
    with every_tenant("test"):
        late.note_late()
        cancel.pursue()
    assert reread(row).state == "cancelling", "its end was asked for, and nobody took that back"
    assert [attempt.target_guid for attempt in cancel_attempts(row)] == ["t-late"]


def test_a_cancel_is_not_forgotten_where_nothing_was_sent_after_all(cast: Cast, mirrored: Bridge) -> None:
    """Crash point: a paused worker records, after all the waits and a cancel, that nothing went out."""
    asked = ask(cast.oscar)
    attempt = attempts(asked)[0]
    claim = send._claim(attempt.tenant_id, attempt.pk)
    assert claim is not None
    send._mark(claim, send.Prepared([], [], timedelta()), mirrored.client.dialect)
    ask_cancel(cast.oscar, asked)
    with every_tenant("test"):
        Attempt.objects.filter(pk=attempt.pk).update(outcome="uncertain")
        Operation.objects.filter(pk=asked.operations[0].pk).update(
            state="needs_attention", error_code="arrival_unknown"
        )
    send.record(claim, send.Answer(send.OutcomeKind.NOT_ACCEPTED, None, "nothing was sent"))
    found = operation(asked)
    assert (found.state, found.error_code) == ("cancelled", "cancelled_before_sending")
    mirrored.send()
    assert exports_sent(mirrored.simulator) == []


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_what_has_ended_cannot_be_cancelled(state: str, cast: Cast) -> None:
    vm_row(tenant_id=cast.alpha.pk)
    row = sent_operation(cast.alpha, state=state)
    with pytest.raises(WrongState) as refusal:
        ask_cancel(cast.oscar, row)
    assert refusal.value.code == "ended"


def test_who_may_cancel(cast: Cast) -> None:
    vm_row(tenant_id=cast.alpha.pk)
    row = sent_operation(cast.alpha)
    task_row("export-1", tenant_id=cast.alpha.pk)
    with pytest.raises(NotAllowed):
        ask_cancel(cast.vera, row)
    with pytest.raises(NotVisible):
        ask_cancel(cast.mallory, row)
    assert ask_cancel(cast.oscar, row).state == "cancelling"


# A task that no operation made


def start_in_vplus(bridge: Bridge) -> str:
    """Somebody at vPlus itself starts a backup; return the guid of its task."""
    request = bridge.client.dialect.export_request(
        vm_guid=WEB,
        destination_guid="bd-main",
        backup_type="FULL",
        priority=50,
        window_start_ms=bridge.simulator.control.summary().now + 1,
        window_end_ms=bridge.simulator.control.summary().now + 3_600_000,
    )
    with bridge.client.open_write() as channel:
        channel.send(request)
    bridge.poll()
    return next(task.guid for task in tasks().values() if task.live and task.virtual_machine_guid == WEB)


def ask_task_cancel(member: Member, guid: str) -> tuple[Operation, bool]:
    actor = member.actor
    with in_tenant(actor.tenant_id):
        return cancel.request_task_cancel(actor, guid, now=timezone.now())


def reread(row: Operation) -> Operation:
    with every_tenant("test"):
        return Operation.objects.get(pk=row.pk)


def test_a_task_of_vplus_is_cancelled_by_an_operation_of_its_own(cast: Cast, mirrored: Bridge) -> None:
    guid = start_in_vplus(mirrored)
    mirrored.run(steps=2)
    row, before = ask_task_cancel(cast.oscar, guid)
    assert (row.kind, row.state, before) == ("cancel_task", "requested", False)
    again, before = ask_task_cancel(cast.alice, guid)
    assert (again.pk, before) == (row.pk, True)
    mirrored.send()
    assert reread(row).state == "cancelling"
    mirrored.run(steps=4)
    assert reread(row).state == "succeeded"
    assert tasks()[guid].state == "CANCELLED"
    assert len(cancels(mirrored)) == 1


def test_a_task_that_ended_first_is_told_as_too_late(cast: Cast, mirrored: Bridge) -> None:
    guid = start_in_vplus(mirrored)
    row, _before = ask_task_cancel(cast.oscar, guid)
    mirrored.run(steps=30)
    mirrored.send()
    mirrored.poll()
    assert (reread(row).state, reread(row).error_code) == ("failed", "too_late_to_cancel")
    assert cancels(mirrored) == []


def test_tasks_of_operations_and_of_others_cannot_be_cancelled_so(cast: Cast, mirrored: Bridge) -> None:
    asked = running(mirrored, cast.oscar)
    guid = next(task.guid for task in tasks().values() if task.live)
    with pytest.raises(WrongState) as refusal:
        ask_task_cancel(cast.oscar, guid)
    assert refusal.value.code == "part_of_operation"
    assert str(asked.operations[0].pk) in refusal.value.message
    with pytest.raises(NotVisible):
        ask_task_cancel(cast.mallory, guid)
    with pytest.raises(NotVisible):
        ask_task_cancel(cast.oscar, "no-such-task")
    with pytest.raises(NotAllowed):
        ask_task_cancel(cast.vera, guid)


def single_cancel(cast: Cast, state: str) -> Operation:
    """A cancel of one task that was asked of vPlus when the task was last seen so; since then it is gone."""
    vm_row(tenant_id=cast.alpha.pk)
    task_row("t-1", state=state, tenant_id=cast.alpha.pk)
    row, _before = ask_task_cancel(cast.oscar, "t-1")
    with every_tenant("test"):
        Attempt.objects.filter(step__operation=row).update(sent_at=timezone.now(), outcome="accepted")
        Operation.objects.filter(pk=row.pk).update(state="cancelling")
        Task.objects.filter(guid="t-1").update(live=False, vanished_at=timezone.now(), ended_seen_at=timezone.now())
        cancel.pursue()
    return reread(row)


def test_a_queued_task_that_went_was_cancelled(cast: Cast) -> None:
    assert single_cancel(cast, "QUEUED").state == "succeeded"
    assert tasks()["t-1"].known_state == "CANCELLED"


def test_of_a_running_task_that_vplus_forgot_nobody_knows_if_it_was_stopped(cast: Cast) -> None:
    found = single_cancel(cast, "RUNNING")
    assert (found.state, found.error_code) == ("failed", "cancel_end_unknown")
    assert tasks()["t-1"].known_state == "UNKNOWN"
