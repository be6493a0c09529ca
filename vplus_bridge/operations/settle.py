"""Settling: what became of a write whose answer did not tell. Works in the open wide scope, on what the mirror holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection
from django.db.models import F, Q

from vplus_bridge.mirror.models import Backup, Task
from vplus_bridge.operations.models import Attempt, ChainTask, Operation, Outcome
from vplus_bridge.operations.moves import ACTIVE, State
from vplus_bridge.operations.send import again, fail, link, move

log = structlog.get_logger(__name__)
STAMP_LEEWAY = timedelta(seconds=1)
MOST_ATTEMPTS = 3
NOT_OURS = frozenset({"SCHEDULE", "SYSTEM_SCHEDULE"})


@dataclass(frozen=True)
class Due:
    """An attempt that a worker should send."""

    tenant_id: UUID
    attempt_id: UUID


def due_attempts(limit: int) -> list[Due]:
    """Return attempts that wait to be sent and that nobody is sending: lost wake-ups, dead workers, backed off ones."""
    rows = (
        Attempt.objects.filter(sent_at=None, outcome="", step__operation__state__in=[State.REQUESTED, State.SUBMITTED])
        .extra(
            where=["due_at <= now()", "(claimed_until IS NULL OR claimed_until <= now())", "send_until > now()"]
        )  # constants
        .order_by("due_at")
    )
    return [Due(*row) for row in rows.values_list("tenant_id", "pk")[:limit]]


def note_deaths() -> int:
    """Record attempts as uncertain whose sender died between mark and record; return how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE vplus_bridge_attempt SET outcome = %s, outcome_at = now(), outcome_reason = 'the worker died while sending'
            WHERE outcome = '' AND sent_at < now() - %s * interval '1 second' RETURNING step_id
            """,
            [Outcome.UNCERTAIN, settings.VPLUS_SEND_TOTAL_SECONDS + settings.VPLUS_SETTLE_DIED_SECONDS],
        )
        steps = [step for (step,) in cursor.fetchall()]
    for operation in Operation.objects.select_for_update().filter(steps__in=steps, state=State.REQUESTED):
        move(operation, State.SUBMITTED, _database_now())
        operation.save()
    return len(steps)


def expire_unsent() -> int:
    """End operations that were not sent before their deadline; return how many."""
    now = _database_now()
    late = Operation.objects.select_for_update(skip_locked=True).filter(state=State.REQUESTED, send_until__lte=now)
    ended = 0
    for operation in late:
        if not Attempt.objects.filter(step__operation=operation, sent_at__isnull=False, outcome="").exists():
            fail(operation, "not_sent_in_time", now)
            operation.save()
            ended += 1
    return ended


def unsettled() -> list[tuple[UUID, str]]:
    """Return attempts whose write is uncertain, with the virtual machine whose tasks can tell."""
    rows = Attempt.objects.filter(
        outcome=Outcome.UNCERTAIN, task_guid=None, sent_at__isnull=False, step__operation__state__in=ACTIVE
    ).order_by("sent_at")
    return list(rows.values_list("pk", "step__operation__virtual_machine_guid"))


def settle(attempt_id: UUID, *, whole: bool) -> None:
    """Decide on one uncertain attempt by what the mirror now holds.

    ``whole``: this virtual machine's tasks and backups have just been read completely, so that absence means something.
    """
    attempt = (
        Attempt.objects.select_for_update(of=("self",), skip_locked=True)
        .select_related("step")
        .filter(pk=attempt_id, outcome=Outcome.UNCERTAIN, task_guid=None)
        .first()
    )
    if attempt is None:
        return
    operation = Operation.objects.select_for_update().get(pk=attempt.step.operation_id)
    now = _database_now()
    found = candidates(attempt, operation)
    if chosen := _one_of(found):
        link(attempt, chosen.guid, "export", "stamp" if chosen.window_start else "absence_of_others")
        if chosen.window_start is None and "identified_by_absence_of_others" not in operation.warnings:
            operation.warnings = [*operation.warnings, "identified_by_absence_of_others"]
        attempt.outcome, attempt.outcome_at = Outcome.ACCEPTED, now
        operation.last_news_at = now
        log.info("found what an uncertain write made", operation=str(operation.pk), task=chosen.guid)
    elif found:
        operation.error_code = "several_tasks_fit"
        move(operation, State.NEEDS_ATTENTION, now)
    elif whole:
        _absent(attempt, operation, now)
    attempt.save()
    operation.save()


def candidates(attempt: Attempt, operation: Operation) -> list[Task]:
    """Return tasks that this write may have made: this machine's exports, new since, nobody's, contradicted by nothing."""
    rows = (
        Task.objects.filter(virtual_machine_guid=operation.virtual_machine_guid, type="EXPORT")
        .exclude(guid__in=attempt.baseline_tasks)
        .exclude(guid__in=ChainTask.objects.values("task_guid"))
        .exclude(origin_type__in=NOT_OURS)
        .order_by("first_seen_at", "guid")
    )
    if attempt.stamp is not None:
        near = Q(window_start__gt=attempt.stamp - STAMP_LEEWAY, window_start__lt=attempt.stamp + STAMP_LEEWAY)
        rows = rows.filter(Q(window_start=None) | near)
    return list(rows)


def _one_of(found: Sequence[Task]) -> Task | None:
    """Return the one task, or the newest of retry copies: one stamp, all but the newest failed (vplus-api.md 3.2)."""
    if len(found) == 1:
        return found[0]
    copies = len({task.window_start for task in found}) == 1 and all(task.state == "FAILED" for task in found[:-1])
    return found[-1] if found and found[0].window_start and copies else None


def _absent(attempt: Attempt, operation: Operation, now: datetime) -> None:
    """Count one whole read, after the waits, that had nothing of this write; a second one decides."""
    wait = settings.VPLUS_SEND_TOTAL_SECONDS + settings.VPLUS_SETTLE_ABSENT_SECONDS
    if attempt.sent_at is None or now < attempt.sent_at + timedelta(seconds=wait):
        return
    if _new_backups(attempt, operation):
        return  # something came of it, or of something else: not absent, and a person will see it if no task shows up
    if attempt.absent_since is None:
        attempt.absent_since = now
        return
    if now < attempt.absent_since + timedelta(seconds=settings.VPLUS_SETTLE_READS_APART_SECONDS):
        return
    if attempt.number < MOST_ATTEMPTS and operation.send_until > now and echoes_stamps():
        attempt.outcome, attempt.outcome_at = Outcome.NOT_ACCEPTED, now
        attempt.outcome_reason = "never arrived: two whole reads had nothing of it"
        again(attempt, now, after=0)
    else:
        operation.error_code = "arrival_unknown"
        move(operation, State.NEEDS_ATTENTION, now)


def _new_backups(attempt: Attempt, operation: Operation) -> bool:
    rows = Backup.objects.filter(
        virtual_machine_guid=operation.virtual_machine_guid, first_seen_at__gte=attempt.sent_at
    )
    return rows.exclude(guid__in=attempt.baseline_backups).exists()


def echoes_stamps() -> bool:
    """Tell whether this server has been seen to give an export's windowStart back to the millisecond."""
    stamped = Attempt.objects.filter(task_guid__isnull=False, stamp__isnull=False, outcome=Outcome.ACCEPTED)
    exact = Task.objects.filter(guid__in=stamped.values("task_guid"), window_start__isnull=False)
    return exact.filter(window_start__in=stamped.order_by(F("sent_at").desc()).values("stamp")[:200]).exists()


def _database_now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        now: datetime = cursor.fetchone()[0]
    return now
