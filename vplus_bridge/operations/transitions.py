"""How operations and attempts go from one state to the next, in memory; whoever calls this holds the operation's lock."""

from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Max

from vplus_bridge.mirror.models import Task
from vplus_bridge.operations.models import Attempt, ChainTask, Operation
from vplus_bridge.operations.moves import ACTIVE, MOVES, State, allowed


def move(operation: Operation, state: State, now: datetime) -> None:
    """Move an operation on, in memory; what its table of moves does not allow is left as it is."""
    if operation.state == state or not allowed(operation.state, state):
        return
    if operation.state == State.NEEDS_ATTENTION and state in (*ACTIVE, State.SUCCEEDED):
        operation.error_code = ""
    operation.state = state
    operation.last_news_at = now
    if state == State.RUNNING and operation.started_at is None:
        operation.started_at = now
    operation.finished_at = None if operation.active else now


def take_up(operation: Operation, state: State, now: datetime) -> bool:
    """Move on, also out of "needs attention", unless another operation has taken its place; tell whether it is active.

    What was asked to be cancelled before it needed attention is taken up as that: nobody took the wish back.
    """
    rivals = Operation.objects.filter(subject=operation.subject, kind=operation.kind, state__in=ACTIVE)
    if not operation.active and rivals.exclude(pk=operation.pk).exists():
        return False
    if operation.state == State.NEEDS_ATTENTION and operation.cancel_asked_at is not None:
        state = State.CANCELLING
    move(operation, state, now)
    return operation.active


def fail(operation: Operation, code: str, now: datetime) -> None:
    """End an operation as failed, in memory, with the code of its reason; one that has ended keeps its own."""
    _end_with(operation, State.FAILED, code, now)


def ask_for_attention(operation: Operation, code: str, now: datetime) -> None:
    """Hand an operation to a person at the provider, in memory, with the code of its reason; not one that has ended."""
    _end_with(operation, State.NEEDS_ATTENTION, code, now)


def _end_with(operation: Operation, state: State, code: str, now: datetime) -> None:
    if state in MOVES[State(operation.state)]:
        operation.error_code = code
        move(operation, state, now)


def warn(operation: Operation, code: str) -> None:
    """Add a warning, in memory, once."""
    if code not in operation.warnings:
        operation.warnings = [*operation.warnings, code]


def link(attempt: Attempt, task_guid: str, stage: str, by: str) -> None:
    """Note that a task belongs to an attempt; the first one is what the attempt's write made."""
    ChainTask.objects.create(
        tenant_id=attempt.tenant_id, task_guid=task_guid, attempt=attempt, stage=stage, linked_by=by
    )
    Task.objects.filter(guid=task_guid).update(of_operation=True)  # one that is not read yet is marked when it is
    # What was taken for a run that goes on with it is on its own again, for whoever tells what it belongs to.
    Task.objects.filter(run_guid=task_guid).update(run_guid="", run_state="", run_ended=False)
    if attempt.task_guid is None:
        attempt.task_guid = task_guid


def link_if_free(attempt: Attempt, task_guid: str, stage: str, by: str) -> bool:
    """Link a task unless another attempt holds it; tell whether it is linked."""
    try:
        with transaction.atomic():
            link(attempt, task_guid, stage, by)
    except IntegrityError:
        return False
    return True


def again(attempt: Attempt, now: datetime, *, after: float) -> Attempt:
    """Make the next attempt of the same step, due in ``after`` seconds: the one before certainly did nothing."""
    last = Attempt.objects.filter(step=attempt.step).aggregate(last=Max("number"))["last"] or attempt.number
    return Attempt.objects.create(
        tenant_id=attempt.tenant_id,
        step=attempt.step,
        number=last + 1,
        setbacks=attempt.setbacks + 1,
        due_at=now + timedelta(seconds=after),
        target_guid=attempt.target_guid,
        object_name=attempt.object_name,
    )
