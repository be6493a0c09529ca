"""Late: a server that acts after all the waits. It is seen, stopped where that is possible, and told where it is not."""

from datetime import timedelta

import pytest
from django.utils import timezone

from tenants.scope import every_tenant
from tests.bridge.scenes import WEB, sent_operation, task_row, vm_row
from tests.conftest import Cast
from vplus_bridge.models import Attempt, ChainTask, Operation
from vplus_bridge.operations import late
from vplus_bridge.operations.transitions import again

SENT = timezone.now() - timedelta(minutes=10)
STAMP = SENT.replace(microsecond=0, second=30)


@pytest.fixture
def given_up(cast: Cast) -> Operation:
    """An export that two whole reads had nothing of, so that another attempt was made; that one is not sent yet."""
    vm_row(tenant_id=cast.alpha.pk)
    row = sent_operation(cast.alpha, task=None, sent_at=SENT, stamp=STAMP)
    with every_tenant("test"):
        attempt = Attempt.objects.get(step__operation=row)
        attempt.outcome, attempt.absent_since = "not_accepted", timezone.now() - timedelta(minutes=2)
        attempt.save()
        again(attempt, timezone.now(), after=0)
    return row


def noted(row: Operation) -> Operation:
    with every_tenant("test"):
        late.note_late()
        return Operation.objects.get(pk=row.pk)


def attempts_of(row: Operation, action: str = "export") -> list[Attempt]:
    with every_tenant("test"):
        return list(Attempt.objects.filter(step__operation=row, step__action=action).order_by("number"))


def second_sent(row: Operation) -> None:
    with every_tenant("test"):
        later = Attempt.objects.get(step__operation=row, number=2)
        later.sent_at, later.stamp, later.outcome = timezone.now(), STAMP + timedelta(minutes=9), "accepted"
        later.task_guid = "t-second"
        later.save()
        ChainTask.objects.create(
            tenant_id=row.tenant_id, attempt=later, task_guid="t-second", stage="export", linked_by="answer"
        )
    task_row("t-second", state="RUNNING", window_start=STAMP + timedelta(minutes=9))


def test_where_the_next_attempt_has_not_gone_out_it_never_will_and_the_late_task_is_ours(given_up: Operation) -> None:
    """Crash point: the server acted after the waits, and before the second attempt was marked."""
    task_row("t-late", state="RUNNING", window_start=STAMP)
    noted(given_up)
    first, second = attempts_of(given_up)
    assert (first.outcome, first.task_guid) == ("accepted", "t-late")
    assert (second.outcome, second.sent_at) == ("not_accepted", None)
    with every_tenant("test"):
        assert ChainTask.objects.get(task_guid="t-late").stage == "export"


def test_a_queued_one_beside_the_second_is_asked_to_stop_once(given_up: Operation) -> None:
    second_sent(given_up)
    task_row("t-late", state="QUEUED", window_start=STAMP)
    found = noted(given_up)
    assert [attempt.target_guid for attempt in attempts_of(given_up, "cancel")] == ["t-late"]
    assert found.warnings == [], "it has not run"
    noted(given_up)
    assert len(attempts_of(given_up, "cancel")) == 1
    task_row("t-late", state="CANCELLED", window_start=STAMP)
    assert noted(given_up).warnings == []


def test_one_that_runs_beside_the_second_is_kept_and_told(given_up: Operation) -> None:
    second_sent(given_up)
    task_row("t-late", state="RUNNING", window_start=STAMP)
    found = noted(given_up)
    assert found.warnings == ["ran_twice"]
    assert attempts_of(given_up, "cancel") == []
    assert noted(given_up).warnings == ["ran_twice"], "told once"
    with every_tenant("test"):
        assert late.count_ran_twice() == 1
        assert ChainTask.objects.get(task_guid="t-late").attempt.number == 1


def test_also_after_the_operation_has_ended(given_up: Operation) -> None:
    second_sent(given_up)
    with every_tenant("test"):
        Operation.objects.filter(pk=given_up.pk).update(state="succeeded")
    task_row("t-late", state="FINISHED", window_start=STAMP)
    found = noted(given_up)
    assert (found.state, found.warnings) == ("succeeded", ["ran_twice"])


@pytest.mark.parametrize("off", [timedelta(seconds=1), timedelta(seconds=-1), timedelta(hours=1)])
def test_another_stamp_is_not_ours(off: timedelta, given_up: Operation) -> None:
    task_row("t-other", state="RUNNING", window_start=STAMP + off)
    noted(given_up)
    assert attempts_of(given_up)[0].task_guid is None


def test_what_needs_attention_is_settled_by_a_task_with_its_stamp(cast: Cast) -> None:
    vm_row(tenant_id=cast.alpha.pk)
    row = sent_operation(
        cast.alpha, task=None, sent_at=SENT, stamp=STAMP, state="needs_attention", error_code="arrival_unknown"
    )
    task_row("t-late", state="RUNNING", window_start=STAMP)
    found = noted(row)
    assert (found.state, found.error_code) == ("submitted", "")
    assert attempts_of(row)[0].task_guid == "t-late"


def test_unless_another_backup_has_taken_its_place(cast: Cast) -> None:
    vm_row(tenant_id=cast.alpha.pk)
    row = sent_operation(
        cast.alpha, task=None, sent_at=SENT, stamp=STAMP, state="needs_attention", error_code="arrival_unknown"
    )
    sent_operation(cast.alpha, task="t-now", state="running")
    task_row("t-late", state="RUNNING", window_start=STAMP)
    found = noted(row)
    assert (found.state, found.error_code) == ("needs_attention", "arrival_unknown")
    assert attempts_of(row)[0].task_guid is None, "a person decides"


def test_a_task_of_another_machine_is_nobodys_late_one(given_up: Operation) -> None:
    task_row("t-late", state="RUNNING", window_start=STAMP, virtual_machine_guid=f"{WEB}-2")
    noted(given_up)
    assert attempts_of(given_up)[0].task_guid is None
