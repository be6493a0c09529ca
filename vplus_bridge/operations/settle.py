"""Settling: what became of a write whose answer did not tell. Works in the open wide scope, on what the mirror holds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from vplus_bridge.database_time import database_now
from vplus_bridge.mirror.models import Backup, Task
from vplus_bridge.operations.models import Attempt, ChainTask, Operation, Outcome
from vplus_bridge.operations.moves import ACTIVE, Kind, State
from vplus_bridge.operations.stitch import NOT_OURS
from vplus_bridge.operations.transitions import again, ask_for_attention, fail, link, move, warn
from vplus_bridge.operations.writes import WRITES, task_writes
from vplus_bridge.operations.writes.write import SENDABLE

log = structlog.get_logger(__name__)
STAMP_LEEWAY = timedelta(seconds=1)
ARRIVAL_UNKNOWN = "arrival_unknown"
MOST_SENT_AGAIN = 3
LAST_STAMPS = 20  # by how many of the newest tasks of ours a server is judged


@dataclass(frozen=True)
class Due:
    """An attempt that a worker should send."""

    tenant_id: UUID
    attempt_id: UUID


def due_attempts(limit: int) -> list[Due]:
    """Return attempts that wait to be sent and that nobody is sending: lost wake-ups, dead workers, backed off ones."""
    unclaimed = Q(claimed_until=None) | Q(claimed_until__lte=Now())
    sendable = Q(pk__in=[])
    for action, write in WRITES.items():
        one = Q(step__action=action)
        if write.sendable:
            one &= Q(step__operation__state__in=write.sendable)
        if write.has_deadline:
            one &= Q(step__operation__send_until__gt=Now())
        sendable |= one
    rows = Attempt.objects.filter(unclaimed, sendable, sent_at=None, outcome="", due_at__lte=Now())
    return [Due(*row) for row in rows.order_by("due_at", "pk").values_list("tenant_id", "pk")[:limit]]


def note_deaths() -> int:
    """Record attempts as uncertain whose sender died between mark and record; return how many."""
    now = database_now()
    longest = timedelta(seconds=settings.VPLUS_SEND_TOTAL_SECONDS + settings.VPLUS_SETTLE_DIED_SECONDS)
    silent = Attempt.objects.filter(outcome="", sent_at__lt=now - longest)
    operations = _locked(silent.values_list("step__operation", flat=True))
    noted = silent.filter(step__operation__in=operations).update(
        outcome=Outcome.UNCERTAIN, outcome_at=now, outcome_reason="the worker died while sending"
    )
    for operation in operations.values():
        if operation.state == State.REQUESTED:
            move(operation, State.SUBMITTED, now)
            operation.save()
    return noted


def expire_unsent() -> int:
    """End operations of which nothing was sent, or certainly nothing came, before their deadline; return how many."""
    now = database_now()
    late = Operation.objects.filter(state__in=SENDABLE, send_until__lte=now)
    # What was sent and may have run is settled or followed, not ended.
    under_way = Attempt.objects.filter(sent_at__isnull=False, outcome__in=["", Outcome.UNCERTAIN, Outcome.ACCEPTED])
    ended = 0
    for operation in _locked(late.exclude(steps__attempts__in=under_way).values_list("pk", flat=True)).values():
        # Looked at again under the lock: a mark may have been committed in between.
        sendable = operation.state in SENDABLE
        if sendable and not under_way.filter(step__operation=operation).exists():
            fail(operation, "policy_not_sent" if operation.kind == Kind.POLICY else "not_sent_in_time", now)
            operation.save()
            ended += 1
    return ended


def _locked(operation_ids: Iterable[UUID]) -> dict[UUID, Operation]:
    """Lock these operations, in one order everywhere; those that somebody else is at are left for another time."""
    rows = Operation.objects.select_for_update(skip_locked=True).filter(pk__in=list(operation_ids)).order_by("pk")
    return {row.pk: row for row in rows}


def anything_sent() -> bool:
    """Tell whether any operation under way was sent, so that there may be news of it in vPlus."""
    return Attempt.objects.filter(sent_at__isnull=False, step__operation__state__in=ACTIVE).exists()


def unsettled() -> list[tuple[UUID, str]]:
    """Return attempts whose write is uncertain, with the virtual machine whose tasks can tell."""
    rows = _uncertain().filter(step__operation__state__in=ACTIVE).order_by("sent_at")
    return list(rows.values_list("pk", "step__operation__virtual_machine_guid"))


def _uncertain() -> QuerySet[Attempt]:
    """Return attempts whose write may have made a task that is not known."""
    return Attempt.objects.filter(
        outcome=Outcome.UNCERTAIN, task_guid=None, sent_at__isnull=False, step__action__in=list(task_writes())
    )


def settle(attempt_id: UUID, *, whole: bool) -> None:
    """Decide on one uncertain attempt by what the mirror now holds.

    ``whole``: this virtual machine's tasks and backups have just been read completely, so that absence means something.
    """
    open_ones = Attempt.objects.filter(pk=attempt_id, outcome=Outcome.UNCERTAIN, task_guid=None)
    operations = _locked(open_ones.values_list("step__operation", flat=True))
    attempt = open_ones.select_for_update(of=("self",)).select_related("step").first()
    if attempt is None or attempt.step.operation_id not in operations:
        return
    operation, now = operations[attempt.step.operation_id], database_now()
    found = candidates(attempt, operation)
    chosen = _one_of(found)
    if chosen is not None and (whole or bears_stamp(attempt, chosen)):
        adopt(attempt, operation, chosen, now)
    elif chosen is not None:
        return  # what names it is only that there is no other, and that is not known before all were read
    elif found:
        ask_for_attention(operation, "several_tasks_fit", now)
    elif whole:
        _absent(attempt, operation, now)
    elif now > max(operation.send_until, _waited_until(attempt)):
        # Never read whole until now. A person can look at vPlus itself.
        ask_for_attention(operation, ARRIVAL_UNKNOWN, now)
    attempt.save()
    operation.save()


def bears_stamp(attempt: Attempt, task: Task) -> bool:
    """Tell whether a task carries the very stamp of an attempt; most servers say it, a restore has none."""
    if attempt.stamp is None or task.window_start is None:
        return False
    return abs(task.window_start - attempt.stamp) < STAMP_LEEWAY


def adopt(attempt: Attempt, operation: Operation, task: Task, now: datetime) -> None:
    """Take a task as the one that an uncertain write made, in memory but for the link."""
    by_stamp = bears_stamp(attempt, task)
    write = task_writes()[attempt.step.action]
    stage = write.later_stages.get(task.type, write.stage)
    link(attempt, task.guid, stage, "stamp" if by_stamp else "absence_of_others")
    if not by_stamp:
        warn(operation, "identified_by_absence_of_others")
    attempt.outcome, attempt.outcome_at = Outcome.ACCEPTED, now
    operation.last_news_at = now
    log.info("found what an uncertain write made", operation=str(operation.pk), task=task.guid)


def candidates(attempt: Attempt, operation: Operation) -> list[Task]:
    """Return tasks that this write may have made: of this machine and type, new since, nobody's, contradicted by nothing."""
    write = task_writes()[attempt.step.action]
    rows = (
        Task.objects.filter(type__in=[write.task_type, *write.later_stages])
        .exclude(guid__in=attempt.baseline_tasks)
        .exclude(Exists(ChainTask.objects.filter(task_guid=OuterRef("guid"))))
        .exclude(origin_type__in=NOT_OURS)
        .order_by("first_seen_at", "guid")
    )
    machine, point = operation.virtual_machine_guid, operation.restore_point_guid
    if point:
        # A restore may name its machine as the destination alone (vplus-api.md 2.2.2).
        rows = rows.filter(Q(virtual_machine_guid=machine) | Q(destination_vm_guid=machine))
        rows = rows.filter(backup_guid__in=["", point])
    else:
        rows = rows.filter(virtual_machine_guid=machine)
    if attempt.stamp is not None:
        near = Q(window_start__gt=attempt.stamp - STAMP_LEEWAY, window_start__lt=attempt.stamp + STAMP_LEEWAY)
        rows = rows.filter(Q(window_start=None) | near)
    found = list(rows)
    return [task for task in found if task.type == write.task_type] or found


def _one_of(found: Sequence[Task]) -> Task | None:
    """Return the one task, or the newest of retry copies: one stamp, all but the newest failed (vplus-api.md 3.2)."""
    if len(found) == 1:
        return found[0]
    copies = len({task.window_start for task in found}) == 1 and all(task.state == "FAILED" for task in found[:-1])
    return found[-1] if found and found[0].window_start and copies else None


def _waited_until(attempt: Attempt) -> datetime:
    """Return the moment from which a write that left no trace can be said to have come to nothing."""
    wait = settings.VPLUS_SEND_TOTAL_SECONDS + settings.VPLUS_SETTLE_ABSENT_SECONDS
    return (attempt.sent_at or attempt.due_at) + timedelta(seconds=wait)


def _absent(attempt: Attempt, operation: Operation, now: datetime) -> None:
    """Count one whole read, after the waits, that had nothing of this write; a second one decides."""
    if now < _waited_until(attempt):
        return
    if attempt.absent_since is None:
        attempt.absent_since = now
        return
    if now < attempt.absent_since + timedelta(seconds=settings.VPLUS_SETTLE_READS_APART_SECONDS):
        return
    sent_again = Attempt.objects.filter(
        step=attempt.step, absent_since__isnull=False, number__lt=attempt.number
    ).count()
    may_be_sent = sent_again < MOST_SENT_AGAIN and operation.send_until > now
    tellable = task_writes()[attempt.step.action].sent_again_when_absent and echoes_stamps()
    # A backup record without a task that made it may be what this write left behind: then it is not absent.
    if not tellable or _new_backups(attempt, operation):
        ask_for_attention(operation, ARRIVAL_UNKNOWN, now)
    elif operation.state == State.CANCELLING:
        never_arrived(attempt, now)
        operation.error_code = "cancelled_before_sending"
        move(operation, State.CANCELLED, now)
    elif may_be_sent:
        never_arrived(attempt, now)
        again(attempt, now, after=0)
    else:
        ask_for_attention(operation, ARRIVAL_UNKNOWN, now)


def never_arrived(attempt: Attempt, now: datetime, *, by: str = "two whole reads had nothing of it") -> None:
    """Close an attempt, in memory, as one that came to nothing; a task of it that turns up later is a late one."""
    attempt.outcome, attempt.outcome_at = Outcome.NOT_ACCEPTED, now
    attempt.outcome_reason = f"never arrived: {by}"[:300]
    attempt.absent_since = attempt.absent_since or now


def _new_backups(attempt: Attempt, operation: Operation) -> bool:
    """Tell whether the machine has a backup record that is new since the write and that no known task has made."""
    of_machine = {"virtual_machine_guid": operation.virtual_machine_guid}
    named = Task.objects.filter(**of_machine).exclude(backup_guid="").values("backup_guid")
    rows = Backup.objects.filter(first_seen_at__gte=attempt.sent_at, **of_machine)
    return rows.exclude(guid__in=attempt.baseline_backups).exclude(guid__in=named).exists()


def echoes_stamps() -> bool:
    """Tell whether this server gives an export's windowStart back to the millisecond: all of the newest ones seen were."""
    newest = (
        Attempt.objects.filter(outcome=Outcome.ACCEPTED, task_guid__isnull=False, stamp__isnull=False)
        .order_by(F("sent_at").desc(nulls_last=True))
        .values_list("task_guid", "stamp")[: 10 * LAST_STAMPS]
    )
    stamps = dict(newest)
    shown = dict(
        Task.objects.filter(guid__in=list(stamps), window_start__isnull=False).values_list("guid", "window_start")
    )
    told = [shown[guid] == stamp for guid, stamp in stamps.items() if guid in shown][:LAST_STAMPS]
    return bool(told) and all(told)
