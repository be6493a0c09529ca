"""Following: how far an operation is, by the tasks and the backup record of its chain. Works in the open wide scope.

Success is a stored backup record, never a task alone; a state or a progress never runs backwards.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection
from django.db.models import Q

from vplus_bridge.mirror.backups import RESTORABLE, newest_first
from vplus_bridge.mirror.models import Backup, Task, VirtualMachine
from vplus_bridge.operations.models import Attempt, Operation
from vplus_bridge.operations.moves import ACTIVE, State
from vplus_bridge.operations.send import fail, move
from vplus_bridge.operations.stitch import Chain, stitch

# Without a history of its own, the export is taken to be this share of the work.
EXPORT_SHARE = 0.6
PAST_RUNS = 5


@dataclass(frozen=True)
class Watch:
    """What the mirror should read next so that operations can be followed."""

    virtual_machine_guid: str
    tasks: bool
    backups: bool


def follow_all() -> list[UUID]:
    """Bring every active operation up to date with the mirror; return the ids of those that changed."""
    return [
        operation_id
        for operation_id in Operation.objects.filter(state__in=ACTIVE).values_list("pk", flat=True)
        if follow(operation_id)
    ]


def follow(operation_id: UUID) -> bool:
    """Bring one operation up to date; return whether anything that people see has changed."""
    operation = Operation.objects.select_for_update(skip_locked=True).filter(pk=operation_id, state__in=ACTIVE).first()
    if operation is None:
        return False
    attempt = Attempt.objects.filter(step__operation=operation, task_guid__isnull=False).order_by("-number").first()
    if attempt is None:
        return False
    before = _seen(operation)
    chain = stitch(operation, attempt)
    attempt.save(update_fields=["task_guid"])
    if chain.export is not None:
        _bring_up_to_date(operation, chain, _now())
    after = _seen(operation)
    if after == before:
        return False
    operation.last_news_at = _now()
    operation.save()
    return True


def watches() -> list[Watch]:
    """Return, for active operations, what must be read beyond the lists of live tasks.

    Between two tasks of a chain nothing is live, and only the machine's own tasks and backups tell what comes next.
    """
    rows = Attempt.objects.filter(task_guid__isnull=False, step__operation__state__in=ACTIVE)
    found = {}
    for attempt in rows.select_related("step__operation").prefetch_related("tasks").order_by("sent_at"):
        operation = attempt.step.operation
        guids = [task.task_guid for task in attempt.tasks.all()]
        states = Task.objects.filter(guid__in=guids)
        known, live = states.count(), states.filter(live=True)
        if known < len(guids) or not live.exists():
            found[operation.pk] = Watch(operation.virtual_machine_guid, tasks=True, backups=True)
        elif not operation.backup_guid and live.filter(state="RUNNING").exists():
            # Without a name for the record, the moment at which it first shows up is what tells it apart.
            found[operation.pk] = Watch(operation.virtual_machine_guid, tasks=False, backups=True)
    return list(found.values())


def _bring_up_to_date(operation: Operation, chain: Chain, now: datetime) -> None:
    export, store, backup = chain.export, chain.store, chain.backup
    if export is None:
        return
    if backup is not None:
        operation.backup_guid = backup.guid
    if export.state == "QUEUED" and export.live:
        operation.stage = operation.stage or "export"
        move(operation, State.SUBMITTED, now)
    else:
        move(operation, State.RUNNING, now)
        operation.stage = "store" if export.state == "FINISHED" or store is not None else "export"
        if operation.started_at is not None and export.started_at is not None:
            operation.started_at = min(operation.started_at, export.started_at)
    _estimate(operation)
    _advance(operation, chain)
    _finish(operation, chain, now)


def _advance(operation: Operation, chain: Chain) -> None:
    """Move the one bar over both stages; unknown parts leave it where it is."""
    export, store = chain.export, chain.store
    share = operation.plan.get("export_share", EXPORT_SHARE)
    progress: float | None = None
    if store is not None or (export is not None and export.state == "FINISHED"):
        inside = (store.progress or 0.0) if store is not None else 0.0
        progress = 100 * share + (1 - share) * (100.0 if store is not None and store.state == "FINISHED" else inside)
    elif export is not None and export.progress is not None and export.state == "RUNNING":
        progress = share * export.progress
    if progress is not None:
        # 100 is for the end alone, which the record decides.
        operation.progress = max(operation.progress or 0.0, min(progress, 99.0))


def _finish(operation: Operation, chain: Chain, now: datetime) -> None:
    backup, export, store = chain.backup, chain.export, chain.store
    last = store or export
    if last is None:
        return
    if backup is not None and backup.status in RESTORABLE:
        _succeed(operation, backup, now)
        return
    if last.live:
        return
    if backup is not None and backup.status == "FAILED":
        _end_badly(operation, last, now)
        return
    if not _history_read_since(operation, last):
        return  # the record may still say better, or a retry may come
    if last.state == "FINISHED" and last.type == "STORE":
        # Stored, by the tasks; which record is ours cannot be told, and we do not pretend that it can.
        if backup is None:
            _warn(operation, "restore_point_unknown")
            operation.progress = 100.0
            move(operation, State.SUCCEEDED, now)
    elif last.state in {"FAILED", "CANCELLED"} or (last.vanished_at and backup is None):
        _end_badly(operation, last, now)


def _succeed(operation: Operation, backup: Backup, now: datetime) -> None:
    operation.backup_guid = backup.guid
    operation.progress = 100.0
    if backup.status == "PARTIAL_SUCCESS":
        _warn(operation, "stored_in_part")
    if operation.plan.get("backup_type") == "INCREMENTAL" and backup.type == "FULL":
        _warn(operation, "full_instead_of_incremental")
    if backup.warnings_present:
        _warn(operation, "vplus_warnings")
    move(operation, State.SUCCEEDED, now)


def _end_badly(operation: Operation, last: Task, now: datetime) -> None:
    operation.vendor_text = last.status_info
    if last.state == "CANCELLED":
        operation.error_code = "cancelled_in_vplus"
        move(operation, State.CANCELLED, now)
    elif last.vanished_at is not None and last.state not in {"FAILED", "FINISHED"}:
        fail(operation, "task_vanished", now)
    elif last.type == "EXPORT":
        late = last.started_at is None and last.window_end is not None and (last.finished_at or now) >= last.window_end
        fail(operation, "window_passed" if late else "could_not_read", now)
    else:
        fail(operation, "could_not_store", now)


def _history_read_since(operation: Operation, task: Task) -> bool:
    """Tell whether the machine's history was read whole after we saw the task end."""
    if task.ended_seen_at is None:
        return False
    machine = VirtualMachine.objects.filter(guid=operation.virtual_machine_guid)
    return machine.filter(Q(history_read_at__gt=task.ended_seen_at)).exists()


def _warn(operation: Operation, code: str) -> None:
    if code not in operation.warnings:
        operation.warnings = [*operation.warnings, code]


def _estimate(operation: Operation) -> None:
    """Learn once from this machine's last good backups of the same type how long the whole takes."""
    if operation.estimate_basis or operation.kind != "backup":
        return
    past = newest_first(
        Backup.objects.filter(
            virtual_machine_guid=operation.virtual_machine_guid,
            status__in=RESTORABLE,
            type=operation.plan.get("backup_type", ""),
            export_seconds__isnull=False,
        )
    )[:PAST_RUNS]
    runs = [(backup.export_seconds or 0.0, backup.store_seconds or 0.0) for backup in past]
    total = sum(export + store for export, store in runs)
    if not runs or total <= 0:
        operation.estimate_basis = "unknown"
        return
    operation.estimate_seconds = total / len(runs)
    operation.estimate_basis = f"last_{len(runs)}"
    operation.plan["export_share"] = min(0.95, max(0.05, sum(export for export, _ in runs) / total))


def _seen(operation: Operation) -> tuple[object, ...]:
    return (
        operation.state,
        operation.stage,
        operation.progress,
        operation.backup_guid,
        operation.error_code,
        tuple(operation.warnings),
        operation.estimate_basis,
        operation.started_at,
    )


def _now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        now: datetime = cursor.fetchone()[0]
    return now
