"""Cancelling. Before anything was sent it is ours alone, and final; after that it is asked of vPlus, once for each task.

Cancel asked is not cancelled: what becomes of the work is told by its tasks and its record (operations/follow.py).
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Q
from structlog.contextvars import get_contextvars

from tenants import audit
from tenants.refusals import Invalid, NotVisible, WrongState
from tenants.rights import Actor, Right
from vplus_bridge.database_time import database_now
from vplus_bridge.mirror.models import Task, VirtualMachine
from vplus_bridge.mirror.read_state import gap_open
from vplus_bridge.mirror.tasks import note_removed
from vplus_bridge.operations import visible
from vplus_bridge.operations.begin import in_turn
from vplus_bridge.operations.models import Attempt, ChainTask, Operation, Outcome, Step
from vplus_bridge.operations.moves import ACTIVE, Kind, State
from vplus_bridge.operations.transitions import fail, move
from vplus_bridge.operations.wake import wake_sender
from vplus_bridge.operations.writes.cancel import GAP
from vplus_bridge.ownership import visible as visible_objects

ACTION = "cancel"
MOST_ASKED = 2  # the second only after an uncertain first (design.md 6, Sending 12)
CANCELLED_BEFORE_SENDING = "cancelled_before_sending"
END_UNKNOWN = "cancel_end_unknown"
CANNOT = "This server of the backup system has no way to cancel. The work goes on; you can watch it."
TASK_TYPES = frozenset({"EXPORT", "STORE", "RESTORE", "IMPORT"})
"""Tasks of which people may ask an end: the stages of backups and restores."""
CANCELLABLE = frozenset({Kind.BACKUP, Kind.RESTORE})
SEND_FOR = timedelta(days=1)
_CANCELS = Q(state=State.CANCELLING) | Q(kind=Kind.CANCEL_TASK)


def can_cancel() -> bool:
    """Tell whether this vPlus was not seen lately to lack the call; some time later it is tried again. One SQL statement."""
    return not gap_open(GAP, believed_for=timedelta(seconds=settings.VPLUS_CANCEL_AGAIN_SECONDS))


def possible(actor: Actor, operation: Operation, *, server_can: bool) -> bool:
    """Tell whether the actor can ask for a cancel now; ``server_can`` is `can_cancel`, asked once for many."""
    if operation.state not in ACTIVE or operation.state == State.CANCELLING or operation.kind not in CANCELLABLE:
        return False
    if actor.suspended or not actor.may(Right.CANCEL, operation.virtual_machine_guid):
        return False
    return server_can or operation.state == State.REQUESTED


def request_cancel(actor: Actor, operation_id: UUID, *, now: datetime) -> Operation:
    """Ask for an end of an operation, in the actor's open scope; asking again is answered with the same.

    Raises NotVisible, NotAllowed, or WrongState where it has ended already or this vPlus cannot cancel.
    """
    actor = in_turn(actor)
    visible.operation(actor, operation_id)
    # Whoever sends marks under this same lock: either the mark is seen here, or the cancel is seen there.
    operation = Operation.objects.select_for_update().get(pk=operation_id)
    actor.require(Right.CANCEL, operation.virtual_machine_guid)
    if operation.kind not in CANCELLABLE:
        raise WrongState("cannot_be_cancelled", "This cannot be cancelled. It ends by itself in a moment.")
    if operation.state == State.CANCELLING:
        return operation
    if operation.state == State.NEEDS_ATTENTION:
        raise WrongState("needs_attention", "Your provider looks into this one, and can end it.")
    if not operation.active:
        raise WrongState("ended", "It has ended already, so there is nothing to cancel. See its result.")
    sent = _may_have_run(operation)
    if sent and not can_cancel():
        raise WrongState("cannot_be_cancelled", CANNOT)
    operation.cancel_asked_at = now
    operation.cancel_asked_by_id = actor.membership_id
    operation.cancel_asked_by_name = (actor.person.name or actor.person.email)[:254]
    operation.last_news_at = now
    if sent:
        move(operation, State.CANCELLING, now)
        for task_guid in _live_tasks(operation):
            ask_vplus(operation, task_guid, now)
    else:
        operation.error_code = CANCELLED_BEFORE_SENDING
        move(operation, State.CANCELLED, now)
    operation.save()
    audit.record(
        actor,
        "operation.cancel",
        object_kind="virtual_machine",
        object_id=operation.virtual_machine_guid,
        object_name=operation.virtual_machine_name,
        detail={"operation": str(operation.pk), "kind": operation.kind, "sent": sent},
    )
    return operation


def request_task_cancel(actor: Actor, task_guid: str, *, now: datetime) -> tuple[Operation, bool]:
    """Ask for an end of a task that no operation made; return the operation for it, and whether it was there before.

    Raises NotVisible, NotAllowed, Invalid for a task that is not a stage of a backup or restore, or WrongState where it
    has ended, belongs to an operation (which is what to cancel then), or this vPlus cannot cancel.
    """
    actor = in_turn(actor)
    task = visible_objects.tasks(actor).filter(guid=task_guid).first()
    if task is None:
        raise NotVisible(errors={"task": ["There is no such task that you can see."]})
    machine = task.virtual_machine_guid
    actor.require(Right.CANCEL, machine)
    if task.type not in TASK_TYPES:
        raise Invalid({"task": ["Only exports, stores, restores and imports can be cancelled."]})
    running = Operation.objects.filter(kind=Kind.CANCEL_TASK, subject=task_guid, state__in=ACTIVE).first()
    if running is not None:
        return running, True
    owner = ChainTask.objects.filter(task_guid=task_guid).values_list("attempt__step__operation", flat=True).first()
    if owner is not None:
        raise WrongState("part_of_operation", f"This task belongs to operation {owner}. Cancel that one.")
    if not task.live:
        raise WrongState("ended", "It has ended already, so there is nothing to cancel.")
    if not can_cancel():
        raise WrongState("cannot_be_cancelled", CANNOT)
    name = VirtualMachine.objects.filter(guid=machine).values_list("name", flat=True).first()
    operation = Operation.objects.create(
        tenant_id=actor.tenant_id,
        kind=Kind.CANCEL_TASK,
        subject=task_guid,
        virtual_machine_guid=machine,
        virtual_machine_name=name or "",
        wish={"task": task_guid},
        plan={"task": task_guid, "task_type": task.type},
        requested_by_id=actor.membership_id,
        requested_by_name=(actor.person.name or actor.person.email)[:254],
        requested_via=f"token {actor.token.name}" if actor.token else "page",
        requested_at=now,
        send_until=now + SEND_FOR,
        reference=get_contextvars().get("reference", ""),
        last_news_at=now,
    )
    ask_vplus(operation, task_guid, now)
    audit.record(
        actor,
        "task.cancel",
        object_kind="task",
        object_id=task_guid,
        object_name=name or "",
        detail={"operation": str(operation.pk), "type": task.type},
    )
    return operation, False


def ask_vplus(operation: Operation, task_guid: str, now: datetime) -> None:
    """Have vPlus asked to stop a task, once: nothing where that was done already. The caller holds the operation's lock."""
    if Attempt.objects.filter(step__operation=operation, step__action=ACTION, target_guid=task_guid).exists():
        return
    _new_attempt(operation, task_guid)


def pursue() -> list[UUID]:
    """Go on with what was asked to be cancelled, in the open wide scope; return operations whose state changed.

    The next task of a chain is asked as it appears; one whose cancel is uncertain, and that is still there after the
    wait, is asked once more; cancels of single tasks end with their task.
    """
    ids = list(Operation.objects.filter(state__in=ACTIVE).filter(_CANCELS).order_by("pk").values_list("pk", flat=True))
    changed = []
    for operation in Operation.objects.select_for_update(skip_locked=True).filter(pk__in=ids).order_by("pk"):
        before, now = operation.state, database_now()
        if operation.kind == Kind.CANCEL_TASK:
            _follow_single(operation, now)
        else:
            for task_guid in _live_tasks(operation):
                _ask_as_needed(operation, task_guid, now)
        if operation.state != before:
            operation.save()
            changed.append(operation.pk)
    return changed


def _ask_as_needed(operation: Operation, task_guid: str, now: datetime) -> None:
    if not can_cancel():
        return
    asked = list(
        Attempt.objects.filter(step__operation=operation, step__action=ACTION, target_guid=task_guid).order_by("number")
    )
    if not asked:
        _new_attempt(operation, task_guid)
        return
    last = asked[-1]
    uncertain = sum(attempt.outcome == Outcome.UNCERTAIN for attempt in asked)
    wait = timedelta(seconds=settings.VPLUS_SETTLE_CANCEL_SECONDS)
    over = last.sent_at is not None and now > last.sent_at + wait
    if last.outcome == Outcome.UNCERTAIN and uncertain < MOST_ASKED and over:
        _new_attempt(operation, task_guid)


def _follow_single(operation: Operation, now: datetime) -> None:
    task = Task.objects.filter(guid=operation.subject).first()
    asked = Attempt.objects.filter(step__operation=operation, sent_at__isnull=False).exists()
    if task is not None and task.live:
        if asked:
            _ask_as_needed(operation, task.guid, now)
        return
    # A queued one that is removed is forgotten at once (vplus-api.md 3.7); of one that ran, that says nothing.
    forgotten = task is not None and task.vanished_at is not None
    if asked and task is not None and (task.state == "CANCELLED" or (forgotten and task.state == "QUEUED")):
        operation.progress = 100.0
        move(operation, State.SUCCEEDED, now)
        note_removed(task.guid)
    elif asked and forgotten:
        fail(operation, END_UNKNOWN, now)
    elif asked or task is None:
        fail(operation, "too_late_to_cancel", now)


def _new_attempt(operation: Operation, task_guid: str) -> None:
    step, _made = Step.objects.get_or_create(
        operation=operation,
        action=ACTION,
        defaults={"tenant_id": operation.tenant_id, "position": _next_position(operation)},
    )
    last = Attempt.objects.filter(step=step).aggregate(last=Max("number"))["last"] or 0
    attempt = Attempt.objects.create(
        tenant_id=operation.tenant_id, step=step, number=last + 1, target_guid=task_guid, due_at=database_now()
    )
    transaction.on_commit(partial(wake_sender, operation.tenant_id, attempt.pk), robust=True)


def _next_position(operation: Operation) -> int:
    last: int = Step.objects.filter(operation=operation).aggregate(last=Max("position"))["last"] or 0
    return last + 1


def _may_have_run(operation: Operation) -> bool:
    """Tell whether anything of it was sent that is not known to have come to nothing."""
    sent = Attempt.objects.filter(step__operation=operation, sent_at__isnull=False)
    return sent.filter(outcome__in=["", Outcome.UNCERTAIN, Outcome.ACCEPTED]).exists()


def _live_tasks(operation: Operation) -> Iterable[str]:
    """Return guids of its tasks that have not ended, as far as is known: one that was not read yet may be live."""
    linked = ChainTask.objects.filter(attempt__step__operation=operation).values_list("task_guid", flat=True)
    ended = set(Task.objects.filter(guid__in=linked, live=False).values_list("guid", flat=True))
    return [guid for guid in linked.order_by("linked_at") if guid not in ended]
