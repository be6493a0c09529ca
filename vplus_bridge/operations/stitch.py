"""Stitching: which tasks and which backup record belong to one attempt. Works in the open wide scope.

vPlus names these links on a good day. On a poor one the chain is told by virtual machine, type, order and time, and
where it cannot be told, it is left open rather than guessed (design.md 6, Stitching; vplus-api.md 3.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q

from vplus_bridge.mirror.models import Backup, Task, TimeSource, VirtualMachine
from vplus_bridge.operations.models import Attempt, ChainTask, Operation
from vplus_bridge.operations.transitions import link

AROUND = timedelta(seconds=60)
BEFORE_STORE = timedelta(seconds=2)  # vPlus's own times of two tasks can overlap by rounding
NOT_OURS = frozenset({"SCHEDULE", "SYSTEM_SCHEDULE"})


@dataclass
class Chain:
    """One attempt's tasks, oldest first in each stage, and its backup record where it can be told."""

    attempt: Attempt
    exports: list[Task]
    stores: list[Task]
    backup: Backup | None = None

    @property
    def export(self) -> Task | None:
        """The export that counts: the newest copy."""
        return self.exports[-1] if self.exports else None

    @property
    def store(self) -> Task | None:
        """The store that counts: the newest copy."""
        return self.stores[-1] if self.stores else None


class Evidence:
    """What the mirror holds about some operations' chains, read in a few SQL statements however many they are."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        attempts = Attempt.objects.filter(
            step__operation__in=operations, task_guid__isnull=False, sent_at__isnull=False
        )
        self.attempts: dict[UUID, Attempt] = {
            attempt.step.operation_id: attempt
            for attempt in attempts.defer("body").select_related("step").order_by("number")
        }
        chosen = list(self.attempts.values())
        self._linked: dict[UUID, dict[str, str]] = {attempt.pk: {} for attempt in chosen}
        for row in ChainTask.objects.filter(attempt__in=chosen):
            self._linked[row.attempt_id][row.task_guid] = row.stage
        machines = [operation.virtual_machine_guid for operation in operations]
        since = min((attempt.sent_at for attempt in chosen if attempt.sent_at), default=None)
        self.tasks = self._tasks(machines, since)
        held = ChainTask.objects.filter(task_guid__in=[task.guid for task in self.tasks])
        self._held: dict[str, UUID] = dict(held.values_list("task_guid", "attempt"))
        with_store = ChainTask.objects.filter(attempt__in=set(self._held.values()), stage="store")
        self._with_store: set[UUID] = set(with_store.values_list("attempt", flat=True))
        self._backups = self._new_backups(operations, since)
        asked = Attempt.objects.filter(step__operation__in=operations, step__action="cancel", sent_at__isnull=False)
        self._asked_to_cancel = set(asked.values_list("target_guid", flat=True))
        self.history_read_at: dict[str, datetime | None] = dict(
            VirtualMachine.objects.filter(guid__in=machines).values_list("guid", "history_read_at")
        )

    def _tasks(self, machines: list[str], since: datetime | None) -> list[Task]:
        if since is None:
            return []
        mine = [guid for linked in self._linked.values() for guid in linked]
        lately = Q(first_seen_at__gte=since - AROUND) | Q(ended_seen_at__gte=since - AROUND) | Q(live=True)
        rows = Task.objects.filter(
            Q(guid__in=mine) | (Q(virtual_machine_guid__in=machines, type__in=["EXPORT", "STORE"]) & lately)
        )
        return list(rows.order_by("first_seen_at", "guid"))

    def _new_backups(self, operations: Sequence[Operation], since: datetime | None) -> list[Backup]:
        if since is None:
            return []
        machines = [operation.virtual_machine_guid for operation in operations]
        named = {task.backup_guid for task in self.tasks if task.backup_guid}
        named |= {operation.backup_guid for operation in operations if operation.backup_guid}
        rows = Backup.objects.filter(virtual_machine_guid__in=machines)
        found = list(rows.filter(Q(first_seen_at__gte=since - AROUND) | Q(guid__in=named)).order_by("guid"))
        made = Operation.objects.filter(backup_guid__in=[backup.guid for backup in found])
        self._made: dict[str, Any] = dict(made.values_list("backup_guid", "pk"))
        return found

    def chain(self, operation: Operation) -> Chain | None:
        """Return the tasks that are linked so far; None where nothing is known to have come of the operation."""
        attempt = self.attempts.get(operation.pk)
        if attempt is None:
            return None
        linked = self._linked[attempt.pk]
        tasks = [task for task in self.tasks if task.guid in linked]
        return Chain(
            attempt,
            exports=[task for task in tasks if linked[task.guid] == "export"],
            stores=[task for task in tasks if linked[task.guid] == "store"],
        )

    def free(self, operation: Operation, attempt: Attempt) -> list[Task]:
        """Return tasks of this machine that are new since the attempt and that no chain holds."""
        return [
            task
            for task in self._of(operation)
            if task.guid not in self._held
            and task.guid not in attempt.baseline_tasks
            and task.origin_type not in NOT_OURS
            and _since(task, attempt)
        ]

    def rivals(self, operation: Operation, chain: Chain) -> list[Task]:
        """Return other exports of the same machine that have ended since, and whose store is not known yet."""
        return [
            task
            for task in self._of(operation)
            if task.type == "EXPORT"
            and (task.state == "FINISHED" or task.vanished_at is not None)
            and task not in chain.exports
            and (
                task.ended_seen_at is None
                or chain.attempt.sent_at is None
                or task.ended_seen_at >= chain.attempt.sent_at
            )
            and self._held.get(task.guid) not in self._with_store
        ]

    def new_backups(self, operation: Operation, attempt: Attempt) -> list[Backup]:
        """Return records of this machine that are new since the attempt and that no other operation has made."""
        return [
            backup
            for backup in self._backups
            if backup.virtual_machine_guid == operation.virtual_machine_guid
            and backup.guid not in attempt.baseline_backups
            and self._made.get(backup.guid) in (None, operation.pk)
            and _since(backup, attempt)
        ]

    def backup(self, operation: Operation, guid: str) -> Backup | None:
        """Return a record of this machine."""
        named = (
            b for b in self._backups if b.guid == guid and b.virtual_machine_guid == operation.virtual_machine_guid
        )
        return next(named, None)

    def note_made(self, backup: Backup, operation: Operation) -> None:
        """Note that a record is this operation's, so that none of the others takes it."""
        self._made[backup.guid] = operation.pk

    def anything_live(self, operation: Operation) -> bool:
        """Tell whether vPlus is at any export or store of this machine."""
        return any(task.live for task in self._of(operation))

    def removed_by_cancel(self, task: Task) -> bool:
        """Tell whether a task went while it was queued, after it was asked to: vPlus forgets those (vplus-api.md 3.7)."""
        return task.vanished_at is not None and task.state == "QUEUED" and task.guid in self._asked_to_cancel

    def named_by_others(self, operation: Operation, chain: Chain) -> set[str]:
        """Return guids of records that tasks outside of the chain name."""
        chained = {task.guid for task in (*chain.exports, *chain.stores)}
        return {task.backup_guid for task in self._of(operation) if task.backup_guid and task.guid not in chained}

    def link(self, chain: Chain, task: Task, stage: str, by: str) -> None:
        """Note that a task belongs to the chain, in the database and here."""
        link(chain.attempt, task.guid, stage, by)
        self._held[task.guid] = chain.attempt.pk
        (chain.exports if stage == "export" else chain.stores).append(task)
        if stage == "store":
            self._with_store.add(chain.attempt.pk)

    def _of(self, operation: Operation) -> list[Task]:
        return [task for task in self.tasks if task.virtual_machine_guid == operation.virtual_machine_guid]


def _since(row: Task | Backup, attempt: Attempt) -> bool:
    """Tell whether a row can have come of an attempt: what was seen before it was sent cannot."""
    return attempt.sent_at is None or row.first_seen_at >= attempt.sent_at - AROUND


def stitch(evidence: Evidence, operation: Operation) -> Chain | None:
    """Link what can be told to belong to the operation's attempt, and return its chain; None where there is none."""
    chain = evidence.chain(operation)
    export = chain.export if chain is not None else None
    if chain is None or export is None:
        return chain
    free = evidence.free(operation, chain.attempt)
    if ended_badly(export) and (copy := _copy_of(export, [task for task in free if task.type == "EXPORT"])):
        evidence.link(chain, copy, "export", "retry")
        export = copy
    chain.backup = _backup_of(evidence, operation, chain, export)
    if export.state == "FINISHED" or export.vanished_at:
        _stitch_store(evidence, operation, chain, [task for task in free if task.type == "STORE"])
        chain.backup = chain.backup or _backup_of(evidence, operation, chain, export)
    return chain


def ended_badly(task: Task) -> bool:
    """Tell whether a task came to nothing, as far as it tells itself: it failed, or went before it was seen to finish."""
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


def _stitch_store(evidence: Evidence, operation: Operation, chain: Chain, free: Sequence[Task]) -> None:
    export = chain.export
    if export is None:
        return
    if chain.store is not None:
        if ended_badly(chain.store) and (copy := _next_store(chain.store, free)):
            evidence.link(chain, copy, "store", "retry")
        return
    backup_guid = operation.backup_guid or export.backup_guid or (chain.backup.guid if chain.backup else "")
    for task in free:
        if task.parent_guid == export.guid or (backup_guid and task.backup_guid == backup_guid):
            evidence.link(chain, task, "store", "parent" if task.parent_guid == export.guid else "backup")
            return
    nameless = [task for task in free if not task.parent_guid and not task.backup_guid and after(export, task)]
    if len(nameless) == 1 and not evidence.rivals(operation, chain):
        evidence.link(chain, nameless[0], "store", "order")


def _next_store(failed: Task, free: Sequence[Task]) -> Task | None:
    newer = [task for task in free if task.first_seen_at > failed.first_seen_at]
    named = [task for task in newer if task.parent_guid and task.parent_guid == failed.parent_guid]
    if named:
        return named[-1]
    return newer[0] if len(newer) == 1 and not newer[0].parent_guid else None


def after(export: Task, store: Task) -> bool:
    """Tell whether a task can be the one that follows on this: it was not there before that ended."""
    begun = store.started_at or store.window_start
    if begun and export.finished_at:
        return begun >= export.finished_at - BEFORE_STORE
    return store.first_seen_at > export.first_seen_at


def _backup_of(evidence: Evidence, operation: Operation, chain: Chain, export: Task) -> Backup | None:
    """Return the record that this chain makes: the named one, else the only new one whose time lies in the export's.

    The second can be told only when the export has ended and the history was read after that: as long as the own record
    may still be missing, the only new one may be another's.
    """
    told = (operation.backup_guid, export.backup_guid, *(store.backup_guid for store in chain.stores))
    if named := next((guid for guid in told if guid), ""):
        return evidence.backup(operation, named)
    read_at = evidence.history_read_at.get(operation.virtual_machine_guid)
    if export.live or read_at is None or export.ended_seen_at is None or read_at <= export.ended_seen_at:
        return None
    others = evidence.named_by_others(operation, chain)
    new = [backup for backup in evidence.new_backups(operation, chain.attempt) if backup.guid not in others]
    sent = min((moment for moment in (chain.attempt.stamp, chain.attempt.sent_at) if moment), default=None)
    fitting = [backup for backup in new if within(export, backup, earliest=sent)]
    if len(fitting) != 1:
        return None
    evidence.note_made(fitting[0], operation)
    return fitting[0]


def within(export: Task, backup: Backup, *, earliest: datetime | None) -> bool:
    """Tell whether a record's time lies within the export's, give or take a minute, each by the clock that told it.

    ``earliest``: when it can have begun at the earliest, where the export does not say when it did.
    """
    if export.started_at and backup.finished_at and backup.finished_at < export.started_at:
        return False
    if backup.taken_at is not None and backup.taken_at_source in (TimeSource.SNAPSHOT, TimeSource.LOCATION):
        begun = export.started_at or earliest or backup.taken_at
        latest = export.finished_at or backup.taken_at
        return begun - AROUND <= backup.taken_at <= latest + AROUND
    end = max(export.ended_seen_at or export.changed_at, export.changed_at)
    return export.first_seen_at - AROUND <= backup.first_seen_at <= end + AROUND
