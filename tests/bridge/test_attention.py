"""Operations that need attention: three exits for the provider, each with a reason that the tenant can read."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tenants.models import AuditEvent
from tenants.refusals import Invalid, NotAllowed, NotVisible, WrongState
from tenants.scope import every_tenant
from tests.bridge.scenes import WEB, backup_row, exports_sent, sent_operation, task_row, vm_row
from tests.conftest import Bridge, Cast, Member
from vplus_bridge.models import Attempt, Operation
from vplus_bridge.operations import attention

SENT = timezone.now() - timedelta(minutes=10)
STAMP = SENT.replace(microsecond=0, second=30)


def stuck(cast: Cast, **facts: Any) -> Operation:
    usual: dict[str, Any] = {
        "task": None,
        "sent_at": SENT,
        "stamp": STAMP,
        "baseline_tasks": ["t-old"],
        "state": "needs_attention",
        "error_code": "arrival_unknown",
    }
    return sent_operation(cast.alpha, **{**usual, **facts})


def leave(member: Member, exit_name: str, row: Operation, **given: Any) -> Operation:
    provider = provider_of(member)
    with every_tenant("test"):
        done: Operation = getattr(attention, exit_name)(
            provider, row.pk, now=timezone.now(), **{"reason": "seen in vPlus", **given}
        )
        return done


def provider_of(member: Member) -> Any:
    from tenants import entrance

    return entrance.provider_of(member.row)


def reread(row: Operation) -> Operation:
    with every_tenant("test"):
        return Operation.objects.get(pk=row.pk)


def attempts_of(row: Operation) -> list[Attempt]:
    with every_tenant("test"):
        return list(Attempt.objects.filter(step__operation=row).order_by("number"))


@pytest.fixture
def machine(cast: Cast) -> None:
    vm_row(tenant_id=cast.alpha.pk)


@pytest.mark.usefixtures("machine")
def test_what_is_known_is_shown(cast: Cast) -> None:
    row = stuck(cast)
    task_row("t-old")
    task_row("t-1", state="RUNNING", first_seen_at=timezone.now())
    task_row("t-other", virtual_machine_guid="vm-alpha-db")
    task_row("t-store", "STORE")
    task_row("t-restore", "RESTORE")
    with every_tenant("test"):
        known = attention.known(row.pk)
        assert [waiting.pk for waiting in attention.waiting()] == [row.pk]
    assert {task.guid for task in known.candidates} == {"t-1", "t-store"}
    assert [attempt.stamp for attempt in known.attempts] == [STAMP]


@pytest.mark.usefixtures("machine")
def test_a_linked_task_is_followed_from_there_on(cast: Cast) -> None:
    row = stuck(cast)
    task_row("t-1", state="RUNNING")
    done = leave(cast.paula, "link_task", row, task_guid="t-1")
    assert (done.state, done.error_code) == ("submitted", "")
    [attempt] = attempts_of(row)
    assert (attempt.outcome, attempt.task_guid) == ("accepted", "t-1")
    with every_tenant("test"):
        event = AuditEvent.objects.get(action="operation.link_task")
    assert (event.tenant_id, event.reason, event.actor_role) == (cast.alpha.pk, "seen in vPlus", "provider operator")


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("guid", ["t-old", "t-other", "t-taken", "no-such-task"])
def test_a_task_that_is_not_this_machines_or_belongs_elsewhere_cannot_be_linked(guid: str, cast: Cast) -> None:
    row = stuck(cast)
    task_row("t-old")
    task_row("t-other", virtual_machine_guid="vm-alpha-db")
    sent_operation(cast.alpha, task="t-taken", state="succeeded")
    task_row("t-taken")
    with pytest.raises(Invalid) as refusal:
        leave(cast.paula, "link_task", row, task_guid=guid)
    assert list(refusal.value.errors) == ["task"]
    assert reread(row).state == "needs_attention"


def test_sent_again_it_goes_out_once_more_and_once_only(cast: Cast, mirrored: Bridge) -> None:
    row = stuck(cast, send_until=timezone.now() - timedelta(minutes=1))
    with every_tenant("test"):
        window = {"window_start": 0, "window_end": round(SENT.timestamp() * 1000)}
        Operation.objects.filter(pk=row.pk).update(plan={**row.plan, **window})
    done = leave(cast.paula, "send_again", row)
    assert done.state == "requested"
    assert done.send_until > timezone.now(), "its deadline was over"
    mirrored.send()
    mirrored.send()
    assert len(exports_sent(mirrored.simulator)) == 1
    first, second = attempts_of(row)
    assert first.outcome == "not_accepted"
    assert first.absent_since is not None, "what turns up of it later is a late one"
    assert second.sent_at is not None
    mirrored.run(steps=40)
    assert reread(row).state == "succeeded"


@pytest.mark.usefixtures("machine")
def test_what_did_arrive_is_not_sent_again(cast: Cast) -> None:
    row = stuck(cast, task="t-1", error_code="end_unknown")
    with pytest.raises(WrongState):
        leave(cast.paula, "send_again", row)


@pytest.mark.usefixtures("machine")
def test_abandoned_it_has_failed(cast: Cast) -> None:
    done = leave(cast.paula, "abandon", stuck(cast))
    assert (done.state, done.error_code) == ("failed", "abandoned")
    assert done.finished_at is not None


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("exit_name", ["link_task", "send_again", "abandon"])
def test_each_exit_wants_a_reason_the_right_and_something_that_waits(exit_name: str, cast: Cast) -> None:
    row = stuck(cast)
    task_row("t-1")
    given = {"task_guid": "t-1"} if exit_name == "link_task" else {}
    for reason in ("", "  ", "x" * 501):
        with pytest.raises(Invalid) as refusal:
            leave(cast.paula, exit_name, row, **{**given, "reason": reason})
        assert list(refusal.value.errors) == ["reason"]
    with pytest.raises(NotAllowed):
        leave(cast.arthur, exit_name, row, **given)
    with every_tenant("test"):
        Operation.objects.filter(pk=row.pk).update(state="succeeded")
    with pytest.raises(WrongState):
        leave(cast.paula, exit_name, row, **given)
    row.pk = cast.alpha.pk  # an id that no operation has
    with pytest.raises(NotVisible):
        leave(cast.paula, exit_name, row, **given)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("exit_name", ["link_task", "send_again"])
def test_never_beside_another_backup_of_the_machine(exit_name: str, cast: Cast) -> None:
    row = stuck(cast)
    task_row("t-1")
    sent_operation(cast.alpha, task="t-now", state="running")
    given = {"task_guid": "t-1"} if exit_name == "link_task" else {}
    with pytest.raises(WrongState) as refusal:
        leave(cast.paula, exit_name, row, **given)
    assert refusal.value.code == "operation_active"
    assert (reread(row).state, WEB) == ("needs_attention", row.subject)
    assert len(attempts_of(row)) == 1


@pytest.mark.usefixtures("machine")
def test_what_its_people_asked_to_cancel_is_not_sent_again(cast: Cast) -> None:
    row = stuck(cast, cancel_asked_at=timezone.now(), cancel_asked_by_name="Oscar")
    with pytest.raises(WrongState) as refusal:
        leave(cast.paula, "send_again", row)
    assert refusal.value.code == "cancel_asked"
    assert len(attempts_of(row)) == 1
    assert leave(cast.paula, "abandon", row).state == "failed"


@pytest.mark.usefixtures("machine")
def test_a_linked_task_of_what_was_asked_to_be_cancelled_is_still_to_be(cast: Cast) -> None:
    row = stuck(cast, cancel_asked_at=timezone.now(), cancel_asked_by_name="Oscar")
    task_row("t-1", state="RUNNING")
    assert leave(cast.paula, "link_task", row, task_guid="t-1").state == "cancelling"


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("what", ["tasks", "backups", "attempts", "operation", ""])
def test_sent_again_only_by_what_was_shown(what: str, cast: Cast) -> None:
    """What somebody else did, or vPlus told, since the page was read stops the press and is named."""
    row = stuck(cast)
    task_row("t-1", state="QUEUED")
    with every_tenant("test"):
        shown = attention.known(row.pk).digest
    changes: dict[str, Any] = {
        "tasks": lambda: task_row("t-2"),
        "backups": lambda: backup_row("b-new"),
        "attempts": lambda: Attempt.objects.filter(step__operation=row).update(outcome="not_accepted"),
        "operation": lambda: Operation.objects.filter(pk=row.pk).update(error_code="several_tasks_fit"),
        "": lambda: task_row("t-1", state="RUNNING", progress=50.0),  # it goes on, which is no other task
    }
    with every_tenant("test"):
        changes[what]()
    if not what:
        assert leave(cast.paula, "send_again", row, shown=shown).state == "requested"
        return
    with pytest.raises(attention.KnownChanged) as refusal:
        leave(cast.paula, "send_again", row, shown=shown)
    assert list(refusal.value.errors) == [what]
    assert (reread(row).state, len(attempts_of(row))) == ("needs_attention", 1)
