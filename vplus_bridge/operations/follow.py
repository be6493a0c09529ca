"""Following: how far operations are, by the tasks and the backup records of their chains. Works in the open wide scope.

Success is a stored backup record, never a task alone; a state or a progress never runs backwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Q

from vplus_bridge.database_time import database_now
from vplus_bridge.mirror.backups import RESTORABLE, newest_first
from vplus_bridge.mirror.instants import instant
from vplus_bridge.mirror.models import Backup, Task
from vplus_bridge.mirror.reasons import reason_in
from vplus_bridge.mirror.tasks import note_removed
from vplus_bridge.operations.models import Attempt, ChainTask, Operation
from vplus_bridge.operations.moves import ACTIVE, Kind, State
from vplus_bridge.operations.one_bar import EXPORT_SHARE, progress_of
from vplus_bridge.operations.restore_chain import Jobs, RestoreEvidence
from vplus_bridge.operations.restore_follow import RESTORE_END_UNKNOWN, follow_restore
from vplus_bridge.operations.stitch import AROUND, Chain, Evidence, stitch
from vplus_bridge.operations.transitions import ask_for_attention, fail, move, warn

PAST_RUNS = 5
STORED_ONCE = "SUCCESS_REMOVED"
END_UNKNOWN = "end_unknown"
LONGEST_WITHOUT_END = timedelta(hours=24)
# A record can still decide what the tasks left open.
FOLLOWED = Q(state__in=ACTIVE) | Q(state=State.NEEDS_ATTENTION, error_code__in=[END_UNKNOWN, RESTORE_END_UNKNOWN])
CHANGING = [
    "state", "stage", "progress", "plan", "estimate_seconds", "estimate_basis", "started_at", "finished_at",
    "last_news_at", "backup_guid", "warnings", "error_code", "vendor_text",
]  # fmt: skip


@dataclass(frozen=True)
class Watch:
    """What the mirror should read next so that operations can be followed."""

    virtual_machine_guid: str
    tasks: bool
    backups: bool


def followed() -> list[UUID]:
    """Return the ids of the operations that have a task to be followed by."""
    rows = Operation.objects.filter(FOLLOWED, steps__attempts__task_guid__isnull=False)
    return list(rows.order_by("pk").values_list("pk", flat=True).distinct())


def follow(operation_ids: Sequence[UUID], jobs: Jobs | None = None) -> list[UUID]:
    """Bring these operations up to date with the mirror; return the ids of those of which people see a change.

    ``jobs``: restore jobs that were just read, for restores whose tasks are gone.
    The number of SQL statements does not grow with the operations, but with what is new. Those that somebody else is at
    are left for another time.
    """
    rows = Operation.objects.select_for_update(skip_locked=True).filter(FOLLOWED, pk__in=list(operation_ids))
    operations = list(rows.order_by("pk"))
    restores = [operation for operation in operations if operation.kind == Kind.RESTORE]
    of_restores = RestoreEvidence(restores, jobs or {}) if restores else None
    evidence = Evidence([operation for operation in operations if operation.kind != Kind.RESTORE])
    now, changed = database_now(), []
    for operation in operations:
        before = _seen(operation)
        if operation.kind != Kind.RESTORE:
            _follow_backup(evidence, operation, now)
        elif of_restores is not None:
            follow_restore(of_restores, operation, now)
        if _seen(operation) != before:
            operation.last_news_at = now
            changed.append(operation)
    if changed:
        Operation.objects.bulk_update(changed, CHANGING)
    return [operation.pk for operation in changed]


def _follow_backup(evidence: Evidence, operation: Operation, now: datetime) -> None:
    chain = stitch(evidence, operation)
    if chain is None or chain.export is None:
        return
    if operation.active:
        _bring_up_to_date(operation, chain, now)
    _finish(operation, chain, evidence, now)


def watches() -> list[Watch]:
    """Return, for active operations, what must be read beyond the lists of live tasks, in a few SQL statements.

    Between two tasks of a chain nothing is live, and only the machine's own tasks and backups tell what comes next.
    """
    attempts = list(
        Attempt.objects.filter(task_guid__isnull=False, step__operation__state__in=ACTIVE)
        .select_related("step__operation")
        .defer("body", "baseline_tasks")
        .order_by("sent_at", "pk")
    )
    guids: dict[UUID, list[str]] = {}
    for attempt_id, guid in ChainTask.objects.filter(attempt__in=attempts).values_list("attempt", "task_guid"):
        guids.setdefault(attempt_id, []).append(guid)
    states: dict[str, tuple[bool, str]] = {
        guid: (live, state)
        for guid, live, state in Task.objects.filter(
            guid__in=[g for chain in guids.values() for g in chain]
        ).values_list("guid", "live", "state")
    }
    found: dict[UUID, Watch] = {}
    nameless: list[Attempt] = []
    for attempt in attempts:
        operation = attempt.step.operation
        known = [states[guid] for guid in guids.get(attempt.pk, []) if guid in states]
        if len(known) < len(guids.get(attempt.pk, [])) or not any(live for live, _ in known):
            stores = operation.kind == Kind.BACKUP
            found[operation.pk] = Watch(operation.virtual_machine_guid, tasks=True, backups=stores)
        elif (
            operation.kind == Kind.BACKUP
            and not operation.backup_guid
            and any(live and state == "RUNNING" for live, state in known)
        ):
            nameless.append(attempt)
    for attempt in _without_record(nameless):
        # Without a name for the record, the moment at which it first shows up is what tells it apart.
        operation = attempt.step.operation
        found[operation.pk] = Watch(operation.virtual_machine_guid, tasks=False, backups=True)
    return list(found.values())


def _without_record(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Return those of whose machine the mirror holds no record that is new since."""
    since = min((attempt.sent_at for attempt in attempts if attempt.sent_at), default=None)
    if since is None:
        return []
    machines = [attempt.step.operation.virtual_machine_guid for attempt in attempts]
    new: dict[str, list[tuple[str, datetime]]] = {}
    rows = Backup.objects.filter(virtual_machine_guid__in=machines, first_seen_at__gte=since - AROUND)
    for machine, guid, seen in rows.values_list("virtual_machine_guid", "guid", "first_seen_at"):
        new.setdefault(machine, []).append((guid, seen))
    return [
        attempt
        for attempt in attempts
        if not any(
            guid not in attempt.baseline_backups and (attempt.sent_at is None or seen >= attempt.sent_at - AROUND)
            for guid, seen in new.get(attempt.step.operation.virtual_machine_guid, [])
        )
    ]


def _bring_up_to_date(operation: Operation, chain: Chain, now: datetime) -> None:
    export, store = chain.export, chain.store
    if export is None:
        return
    if chain.backup is not None:
        operation.backup_guid = chain.backup.guid
    if export.state in {"RUNNING", "FINISHED"} or export.started_at is not None or store is not None:
        move(operation, State.RUNNING, now)
        if operation.started_at is not None and export.started_at is not None:
            # vPlus's clock may be behind ours: nothing began before it was sent.
            begun = max(export.started_at, chain.attempt.sent_at or export.started_at)
            operation.started_at = min(operation.started_at, begun)
    else:
        move(operation, State.SUBMITTED, now)
    if operation.stage != "store":
        operation.stage = "store" if export.state == "FINISHED" or store is not None else "export"
    _estimate(operation)
    _advance(operation, chain)


def _advance(operation: Operation, chain: Chain) -> None:
    """Move the one bar over both stages; unknown parts leave it where it is."""
    export, store = chain.export, chain.store
    share = operation.plan.get("export_share", EXPORT_SHARE)
    progress = progress_of([export] if export else [], [store] if store else [], share)
    if progress is not None:
        operation.progress = max(operation.progress or 0.0, progress)


def _finish(operation: Operation, chain: Chain, evidence: Evidence, now: datetime) -> None:
    """End the operation where its end is known: by the record, else by the tasks once the record had its chance."""
    backup, last = chain.backup, chain.store or chain.export
    if last is None:
        return
    if backup is not None and backup.status in (*RESTORABLE, STORED_ONCE):
        _succeed(operation, backup, now)
        return
    if last.live:
        return
    failed = backup is not None and backup.status == "FAILED"
    if failed or (evidence.removed_by_cancel(last) and not _may_go_on(backup, last, now)):
        _end_badly(operation, last, now)
        return
    if not operation.active or last.ended_seen_at is None:
        return
    read_at = evidence.history_read_at.get(operation.virtual_machine_guid)
    read = read_at is not None and read_at > last.ended_seen_at
    waited = timedelta(seconds=settings.VPLUS_SEND_TOTAL_SECONDS + settings.VPLUS_SETTLE_ABSENT_SECONDS)
    overdue = now > last.ended_seen_at + waited and not evidence.anything_live(operation)
    if not read and not overdue:
        return  # the record may still say better, or a retry may come
    if last.state in {"FAILED", "CANCELLED"}:
        _end_badly(operation, last, now)
    elif last.type == "STORE" and last.state == "FINISHED" and backup is None:
        _succeed_untold(operation, now)
    elif last.vanished_at is not None and read and _nothing_came(operation, chain, evidence):
        _end_badly(operation, last, now)
    elif overdue:
        _end_overdue(operation, chain, evidence, now)


def _may_go_on(backup: Backup | None, removed: Task, now: datetime) -> bool:
    """Tell whether there may be more of a chain although our cancel removed its task, last seen queued.

    A DELETE removes a task that has ended, too (vplus-api.md 3.7): had ours come that late, a store would follow.
    """
    if backup is not None and backup.status == "INPROGRESS":
        return True
    seen = removed.ended_seen_at or now
    return now <= seen + timedelta(seconds=settings.VPLUS_SETTLE_ABSENT_SECONDS)


def _nothing_came(operation: Operation, chain: Chain, evidence: Evidence) -> bool:
    """Tell whether no record is there that this chain can have made."""
    if chain.backup is not None:
        return chain.backup.gone_at is not None
    return not evidence.new_backups(operation, chain.attempt)


def _end_overdue(operation: Operation, chain: Chain, evidence: Evidence, now: datetime) -> None:
    """Decide where nothing works for this machine any more, and neither tasks nor record have told the end."""
    backup, last = chain.backup, chain.store or chain.export
    if last is None or last.ended_seen_at is None:
        return
    stored = last.type == "STORE" and last.state == "FINISHED"
    if backup is not None and backup.gone_at is None and not stored:
        # The record is ours and says that vPlus is at it, where we see no task of it any more.
        if now > last.ended_seen_at + LONGEST_WITHOUT_END:
            ask_for_attention(operation, END_UNKNOWN, now)
        return
    free = evidence.free(operation, chain.attempt)
    stores = [task for task in free if task.type == "STORE" and not task.parent_guid]
    if backup is None and stores and all(task.state == "FINISHED" for task in stores):
        _succeed_untold(operation, now)  # whichever of them is ours, it was stored
    elif (
        not stores
        and not stored
        and _nothing_came(operation, chain, evidence)
        and _read_since(operation, evidence, last)
    ):
        fail(operation, "task_vanished", now)
    else:
        ask_for_attention(operation, END_UNKNOWN, now)


def _read_since(operation: Operation, evidence: Evidence, task: Task) -> bool:
    read_at = evidence.history_read_at.get(operation.virtual_machine_guid)
    return read_at is not None and task.ended_seen_at is not None and read_at > task.ended_seen_at


def _succeed_untold(operation: Operation, now: datetime) -> None:
    """Stored, by the tasks; which record is ours cannot be told, and we do not pretend that it can."""
    _note_lost_cancel(operation)
    warn(operation, "restore_point_unknown")
    operation.progress = 100.0
    move(operation, State.SUCCEEDED, now)


def _succeed(operation: Operation, backup: Backup, now: datetime) -> None:
    operation.backup_guid = backup.guid
    operation.progress = 100.0
    if backup.status == "PARTIAL_SUCCESS":
        warn(operation, "stored_in_part")
    if backup.status == STORED_ONCE:
        warn(operation, "removed_since")
    if operation.plan.get("backup_type") == "INCREMENTAL" and backup.type == "FULL":
        warn(operation, "full_instead_of_incremental")
    if backup.warnings_present:
        warn(operation, "vplus_warnings")
    _note_lost_cancel(operation)
    move(operation, State.SUCCEEDED, now)


def _note_lost_cancel(operation: Operation) -> None:
    """Say so where a cancel was asked and the work won the race."""
    if operation.cancel_asked_at is not None:
        warn(operation, "too_late_to_cancel")


def _end_badly(operation: Operation, last: Task, now: datetime) -> None:
    operation.vendor_text = last.status_info
    # A queued task that is asked to be cancelled is removed: vPlus forgets it (vplus-api.md 3.7).
    removed = last.vanished_at is not None and last.state == "QUEUED" and operation.cancel_asked_at is not None
    if last.state == "CANCELLED" or removed:
        operation.error_code = "cancelled" if operation.cancel_asked_at is not None else "cancelled_in_vplus"
        move(operation, State.CANCELLED, now)
        note_removed(last.guid)
    elif last.vanished_at is not None and last.state not in {"FAILED", "FINISHED"}:
        fail(operation, "task_vanished", now)
    elif last.type == "EXPORT" and last.state != "FINISHED":
        late = _window_passed(operation, last, now)
        fail(operation, "window_passed" if late else _reason(last, "could_not_read"), now)
    else:
        fail(operation, _reason(last, "could_not_store"), now)


def _reason(task: Task, otherwise: str) -> str:
    """Return the code of the reason that vPlus gives, where it is a known one, else that of the stage."""
    known = reason_in(task.status_info, task.type)
    return known.code if known else otherwise


def _window_passed(operation: Operation, export: Task, now: datetime) -> bool:
    """Tell whether an export failed because it never began; each comparison is by one clock."""
    if export.started_at is not None or operation.started_at is not None:
        return False
    if export.finished_at is not None and export.window_end is not None:
        return export.finished_at >= export.window_end
    end = instant(operation.plan.get("window_end"))
    return end is not None and (export.ended_seen_at or now) >= end


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
