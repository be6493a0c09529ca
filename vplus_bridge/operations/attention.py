"""Operations that need attention: what is known of them, and the three exits that a person at the provider has.

Works in the open wide scope. Each exit is audited in the tenant's own audit, with the reason that was given.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet

from tenants import audit
from tenants.entrance import still_provider
from tenants.refusals import Invalid, NotVisible, WrongState
from tenants.rights import ProviderActor, Right
from tenants.turns import take_turn
from vplus_bridge.keyset import Key, Keyset
from vplus_bridge.mirror.models import Backup, Task
from vplus_bridge.operations.follow import END_UNKNOWN
from vplus_bridge.operations.models import Attempt, ChainTask, Operation, Outcome
from vplus_bridge.operations.moves import Kind, State
from vplus_bridge.operations.restore_follow import RESTORE_END_UNKNOWN
from vplus_bridge.operations.settle import never_arrived
from vplus_bridge.operations.shown_parts import changed_parts, digest_of
from vplus_bridge.operations.transitions import again, fail, link_if_free, take_up
from vplus_bridge.operations.writes import task_writes

OLDEST_FIRST = Keyset("oldest-first", (Key("requested_at"), Key("id")))
LONGEST_REASON = 500
SENT_AGAIN_FOR = timedelta(hours=6)
STAGES = {Kind.BACKUP: {"EXPORT": "export", "STORE": "store"}, Kind.RESTORE: {"RESTORE": "restore", "IMPORT": "import"}}
"""Which tasks can be linked to which kind of operation, and as which stage."""


@dataclass(frozen=True)
class Known:
    """What is known of an operation that needs attention: what was sent, and what vPlus has of its machine."""

    operation: Operation
    attempts: list[Attempt]
    linked: list[Task]
    candidates: list[Task]
    """Tasks of the machine that could be linked: of the right types, no chain's, seen since the first sending."""
    backups: list[Backup]
    """Records of the machine that are new since."""

    def parts(self) -> dict[str, str]:
        """Return, by part, the text that is another one when what a person goes by has changed; progress does not count."""
        return {
            "operation": f"{self.operation.state}|{self.operation.error_code}|{self.operation.cancel_asked_at}",
            "attempts": "|".join(f"{one.pk} {one.sent_at} {one.outcome} {one.task_guid}" for one in self.attempts),
            "tasks": "|".join(sorted(task.guid for task in (*self.linked, *self.candidates))),
            "backups": "|".join(sorted(f"{backup.guid} {backup.status}" for backup in self.backups)),
        }

    @property
    def digest(self) -> str:
        """What is known in a few letters, to be given back with the press."""
        return digest_of(self.parts())


CHANGED = {
    "operation": "The operation itself is no longer as it was.",
    "attempts": "What was sent, or its outcome, is another by now.",
    "tasks": "vPlus has other tasks of it by now.",
    "backups": "vPlus has other backups of it by now.",
}


class KnownChanged(WrongState):
    """What was shown is not what is known by now; ``errors`` names each part that changed."""

    def __init__(self, parts: Sequence[str]) -> None:
        said = {part: CHANGED[part] for part in CHANGED if part in parts}
        super().__init__(
            "known_changed",
            f"Something changed while you read: {' '.join(said.values())} Check and press again.",
            errors={part: [text] for part, text in said.items()},
        )


def waiting() -> QuerySet[Operation]:
    """Return the operations that need attention, of every tenant."""
    return Operation.objects.filter(state=State.NEEDS_ATTENTION)


def known(operation_id: UUID) -> Known:
    """Return what is known of one operation, of any state; raise NotVisible where there is none."""
    operation = Operation.objects.filter(pk=operation_id).first()
    if operation is None:
        raise NotVisible
    attempts = list(
        Attempt.objects.filter(step__operation=operation).select_related("step").order_by("step__position", "number")
    )
    linked = Task.objects.filter(
        Exists(ChainTask.objects.filter(task_guid=OuterRef("guid"), attempt__step__operation=operation))
    )
    first = min((attempt.sent_at for attempt in attempts if attempt.sent_at), default=None)
    backups = Backup.objects.none()
    if first is not None and operation.virtual_machine_guid:
        backups = Backup.objects.filter(
            virtual_machine_guid=operation.virtual_machine_guid, first_seen_at__gte=first - timedelta(minutes=1)
        ).order_by("first_seen_at", "guid")
    return Known(
        operation,
        attempts,
        list(linked.order_by("first_seen_at", "guid")),
        list(_linkable(operation, attempts)),
        list(backups),
    )


def link_task(actor: ProviderActor, operation_id: UUID, *, task_guid: str, reason: str, now: datetime) -> Operation:
    """Take a task as what the operation's write made; it is followed from there on, and stopped where that was asked.

    Raises NotAllowed, NotVisible, Invalid (task, reason), or WrongState where it no longer waits or another operation
    has taken its place.
    """
    operation = _waiting_one(actor, operation_id, reason)
    attempts = _sent(operation)
    chosen = next((task for task in _linkable(operation, attempts) if task.guid == task_guid), None)
    if chosen is None or not attempts:
        raise Invalid(
            {"task": ["This task cannot be linked: it is not of this virtual machine, or belongs elsewhere."]}
        )
    attempt = attempts[-1]
    if not link_if_free(attempt, chosen.guid, STAGES[Kind(operation.kind)][chosen.type], "person"):
        raise WrongState("task_taken", "Meanwhile the task was linked to another operation.")
    if attempt.outcome != Outcome.ACCEPTED:
        attempt.outcome, attempt.outcome_at, attempt.outcome_reason = Outcome.ACCEPTED, now, "a person linked its task"
    attempt.save()
    _go_on(operation, State.SUBMITTED, now)
    return _noted(actor, operation, "operation.link_task", reason, {"task": task_guid})


def send_again(
    actor: ProviderActor, operation_id: UUID, *, reason: str, now: datetime, shown: str | None = None
) -> Operation:
    """Send the write once more: a person has seen that nothing of it arrived.

    `shown` is the digest of what was known where a person or script was shown that. Raises as `link_task`, KnownChanged
    where something else is known by now, and WrongState where its work did arrive or its people asked to cancel it. A task of the
    earlier write that turns up later is dealt with as a late one.
    """
    operation = _waiting_one(actor, operation_id, reason)
    attempts = _sent(operation)
    if shown is not None and (changed := changed_parts(known(operation_id).parts(), shown)):
        raise KnownChanged(changed)
    if not attempts or operation.error_code in (END_UNKNOWN, RESTORE_END_UNKNOWN):
        raise WrongState("arrived", "Its work did arrive, so it is not sent again. Link a task, or abandon it.")
    if operation.cancel_asked_at is not None:
        raise WrongState("cancel_asked", "Its end was asked for, so it is not sent again. Link a task, or abandon it.")
    for attempt in attempts:
        if attempt.outcome == Outcome.UNCERTAIN:
            never_arrived(attempt, now, by="a person saw to it")
            attempt.save()
    operation.send_until = max(operation.send_until, now + SENT_AGAIN_FOR)
    if "window_end" in operation.plan:
        operation.plan["window_end"] = max(operation.plan["window_end"], round(operation.send_until.timestamp() * 1000))
    _go_on(operation, State.REQUESTED, now)
    again(attempts[-1], now, after=0)
    return _noted(actor, operation, "operation.send_again", reason, {"attempt": attempts[-1].number + 1})


def abandon(actor: ProviderActor, operation_id: UUID, *, reason: str, now: datetime) -> Operation:
    """End the operation as failed: nobody looks for its work any more. Raises as `link_task`."""
    operation = _waiting_one(actor, operation_id, reason)
    why = operation.error_code
    fail(operation, "abandoned", now)
    return _noted(actor, operation, "operation.abandon", reason, {"was": why})


def _waiting_one(actor: ProviderActor, operation_id: UUID, reason: str) -> Operation:
    tenant_id = Operation.objects.filter(pk=operation_id).values_list("tenant_id", flat=True).first()
    if tenant_id is not None:
        take_turn(tenant_id)
    still_provider(actor).require(Right.PROVIDER_CHANGE)
    if tenant_id is None:
        raise NotVisible
    operation = Operation.objects.select_for_update().get(pk=operation_id)
    if not reason.strip():
        raise Invalid({"reason": ["Say why; the tenant's admins can read it in their audit."]})
    if len(reason) > LONGEST_REASON:
        raise Invalid({"reason": [f"Use at most {LONGEST_REASON} characters."]})
    if operation.state != State.NEEDS_ATTENTION:
        raise WrongState("settled", "It no longer needs attention: somebody, or news from vPlus, settled it meanwhile.")
    return operation


def _sent(operation: Operation) -> list[Attempt]:
    rows = Attempt.objects.select_for_update(of=("self",)).filter(
        step__operation=operation, step__action__in=list(task_writes()), sent_at__isnull=False
    )
    return list(rows.select_related("step").order_by("number"))


def _linkable(operation: Operation, attempts: list[Attempt]) -> QuerySet[Task]:
    before = {guid for attempt in attempts for guid in attempt.baseline_tasks}
    first = min((attempt.sent_at for attempt in attempts if attempt.sent_at), default=None)
    if first is None or operation.kind not in STAGES:
        return Task.objects.none()
    machine = operation.virtual_machine_guid
    about = Q(virtual_machine_guid=machine)
    if operation.kind == Kind.RESTORE:
        about |= Q(destination_vm_guid=machine)  # all that some servers name (vplus-api.md 2.2.2)
    return (
        Task.objects.filter(
            about,
            type__in=list(STAGES[Kind(operation.kind)]),
            first_seen_at__gte=first - timedelta(minutes=1),
        )
        .exclude(guid__in=before)
        .exclude(Exists(ChainTask.objects.filter(task_guid=OuterRef("guid"))))
        .order_by("first_seen_at", "guid")
    )


def _go_on(operation: Operation, state: State, now: datetime) -> None:
    if not take_up(operation, state, now):
        raise WrongState(
            "operation_active",
            "Another operation of the same kind runs for it now. Wait for its end, or abandon this one.",
        )


def _noted(actor: ProviderActor, operation: Operation, action: str, reason: str, detail: dict[str, Any]) -> Operation:
    operation.save()
    audit.record(
        actor,
        action,
        tenant_id=operation.tenant_id,
        object_kind="virtual_machine",
        object_id=operation.virtual_machine_guid or operation.subject,
        object_name=operation.virtual_machine_name,
        detail={"operation": str(operation.pk), **detail},
        reason=reason.strip(),
    )
    return operation
