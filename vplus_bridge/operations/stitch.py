"""Stitching: which tasks and which backup record belong to one attempt. Works in the open wide scope.

vPlus names these links on a good day. On a poor one the chain is told by virtual machine, type, order and time, and
where it cannot be told, it is left open rather than guessed (design.md 6, Stitching; vplus-api.md 3.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q

from vplus_bridge.mirror.models import Backup, Task, TimeSource
from vplus_bridge.operations.models import Attempt, ChainTask, Operation
from vplus_bridge.operations.send import link

AROUND = timedelta(seconds=60)
BEFORE_STORE = timedelta(seconds=2)  # vPlus's own times of two tasks can overlap by rounding


@dataclass
class Chain:
    """One attempt's tasks, oldest first in each stage, and its backup record where it can be told."""

    exports: list[Task]
    stores: list[Task]
    backup: Backup | None

    @property
    def export(self) -> Task | None:
        """The export that counts: the newest copy."""
        return self.exports[-1] if self.exports else None

    @property
    def store(self) -> Task | None:
        """The store that counts: the newest copy."""
        return self.stores[-1] if self.stores else None


def stitch(operation: Operation, attempt: Attempt) -> Chain:
    """Link what can be told to belong to the attempt, and return its chain."""
    linked = dict(ChainTask.objects.filter(attempt=attempt).values_list("task_guid", "stage"))
    tasks = list(Task.objects.filter(guid__in=linked).order_by("first_seen_at", "guid"))
    chain = Chain(
        exports=[task for task in tasks if linked[task.guid] == "export"],
        stores=[task for task in tasks if linked[task.guid] == "store"],
        backup=None,
    )
    export = chain.export
    if export is None:
        return chain
    free = _free_tasks(operation, attempt)
    if _ended_badly(export) and (copy := _copy_of(export, [task for task in free if task.type == "EXPORT"])):
        link(attempt, copy.guid, "export", "retry")
        chain.exports.append(copy)
        export = copy
    chain.backup = _backup_of(operation, attempt, export)
    if export.state == "FINISHED" or export.vanished_at:
        _stitch_store(operation, attempt, chain, [task for task in free if task.type == "STORE"])
    return chain


def _free_tasks(operation: Operation, attempt: Attempt) -> list[Task]:
    """Return tasks of this machine that are new since the attempt and that no chain holds."""
    rows = (
        Task.objects.filter(virtual_machine_guid=operation.virtual_machine_guid, type__in=["EXPORT", "STORE"])
        .exclude(guid__in=attempt.baseline_tasks)
        .exclude(guid__in=ChainTask.objects.values("task_guid"))
        .order_by("first_seen_at", "guid")
    )
    return list(rows)


def _ended_badly(task: Task) -> bool:
    return task.state == "FAILED" or (task.vanished_at is not None and task.state != "FINISHED")


def _copy_of(failed: Task, free: Sequence[Task]) -> Task | None:
    """Return the retry of a failed task: a newer copy with its window (vplus-api.md 3.2 line 6)."""
    copies = [
        task
        for task in free
        if task.first_seen_at >= failed.first_seen_at
        and task.window_start == failed.window_start
        and task.window_start is not None
        and (task.backup_guid == failed.backup_guid or not task.backup_guid or not failed.backup_guid)
    ]
    return copies[-1] if copies else None


def _stitch_store(operation: Operation, attempt: Attempt, chain: Chain, free: Sequence[Task]) -> None:
    export = chain.export
    if export is None:
        return
    if chain.store is not None:
        if _ended_badly(chain.store) and (copy := _next_store(chain.store, free)):
            link(attempt, copy.guid, "store", "retry")
            chain.stores.append(copy)
        return
    backup_guid = operation.backup_guid or export.backup_guid or (chain.backup.guid if chain.backup else "")
    for task in free:
        if task.parent_guid == export.guid or (backup_guid and task.backup_guid == backup_guid):
            link(attempt, task.guid, "store", "parent" if task.parent_guid == export.guid else "backup")
            chain.stores.append(task)
            return
    nameless = [task for task in free if not task.parent_guid and not task.backup_guid and _after(export, task)]
    if len(nameless) == 1 and not _foreign_export_between(operation, attempt, export, nameless[0]):
        link(attempt, nameless[0].guid, "store", "order")
        chain.stores.append(nameless[0])


def _next_store(failed: Task, free: Sequence[Task]) -> Task | None:
    newer = [task for task in free if task.first_seen_at > failed.first_seen_at]
    named = [task for task in newer if task.parent_guid and task.parent_guid == failed.parent_guid]
    if named:
        return named[-1]
    return newer[0] if len(newer) == 1 and not newer[0].parent_guid else None


def _after(export: Task, store: Task) -> bool:
    """Tell whether a store can be this export's: it was not there before the export ended."""
    begun = store.started_at or store.window_start
    if begun and export.finished_at:
        return begun >= export.finished_at - BEFORE_STORE
    return store.first_seen_at > export.first_seen_at


def _foreign_export_between(operation: Operation, attempt: Attempt, export: Task, store: Task) -> bool:
    """Tell whether somebody else's export of the same machine could have made this store."""
    others = (
        Task.objects.filter(virtual_machine_guid=operation.virtual_machine_guid, type="EXPORT", state="FINISHED")
        .exclude(guid=export.guid)
        .exclude(guid__in=attempt.baseline_tasks)
        .filter(first_seen_at__lte=store.first_seen_at)
        .filter(Q(ended_seen_at=None) | Q(ended_seen_at__gte=export.first_seen_at))
    )
    return others.exists()


def _backup_of(operation: Operation, attempt: Attempt, export: Task) -> Backup | None:
    """Return the record that this chain makes: the named one, else the only new one whose time lies in the export's."""
    if named := operation.backup_guid or export.backup_guid:
        return Backup.objects.filter(guid=named, virtual_machine_guid=operation.virtual_machine_guid).first()
    new = (
        Backup.objects.filter(virtual_machine_guid=operation.virtual_machine_guid)
        .exclude(guid__in=attempt.baseline_backups)
        .exclude(guid__in=Operation.objects.exclude(pk=operation.pk).exclude(backup_guid="").values("backup_guid"))
    )
    fitting = [backup for backup in new if _within(export, backup)]
    return fitting[0] if len(fitting) == 1 else None


def _within(export: Task, backup: Backup) -> bool:
    """Tell whether a record's time lies within the export's, give or take a minute, each by the clock that told it."""
    by_vplus = backup.taken_at_source in (TimeSource.SNAPSHOT, TimeSource.LOCATION)
    if by_vplus and backup.taken_at and export.started_at:
        end: datetime = export.finished_at or export.changed_at
        return export.started_at - AROUND <= backup.taken_at <= end + AROUND
    end = export.ended_seen_at or export.changed_at
    return export.first_seen_at - AROUND <= backup.first_seen_at <= max(end, export.changed_at) + AROUND
