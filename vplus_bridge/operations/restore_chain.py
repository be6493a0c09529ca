"""Which tasks belong to a restore: RESTORE, then the IMPORT that vPlus makes of it (vplus-api.md 3.3).

Works in the open wide scope. Where the link cannot be told it is left open rather than guessed, as for backups.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Exists, OuterRef, Q

from vplus_bridge.client import RestoreJobRecord
from vplus_bridge.mirror.instants import instant
from vplus_bridge.mirror.models import Task
from vplus_bridge.mirror.tasks import RESTORES
from vplus_bridge.operations.models import Attempt, ChainTask, Operation, Outcome
from vplus_bridge.operations.moves import ACTIVE, Kind
from vplus_bridge.operations.stitch import AROUND, NOT_OURS, ended_badly
from vplus_bridge.operations.transitions import link
from vplus_bridge.ownership.assignment import attribute_linked

BEFORE_IMPORT = timedelta(seconds=2)  # vPlus's own times of two tasks can overlap by rounding
Jobs = Mapping[str, Sequence[RestoreJobRecord]]
"""Restore jobs as just read, by machine; those of machines that were not asked for are missing."""


@dataclass
class RestoreChain:
    """One restore's tasks, oldest first in each stage."""

    attempt: Attempt
    restores: list[Task]
    imports: list[Task]

    @property
    def restore(self) -> Task | None:
        """The RESTORE that counts: the newest copy."""
        return self.restores[-1] if self.restores else None

    @property
    def import_(self) -> Task | None:
        """The IMPORT that counts: the newest copy."""
        return self.imports[-1] if self.imports else None

    @property
    def last(self) -> Task | None:
        """The task that tells how far it is."""
        return self.import_ or self.restore


class RestoreEvidence:
    """What the mirror, and restore jobs where they were read, hold about some restores; read in a few SQL statements."""

    def __init__(self, operations: Sequence[Operation], jobs: Jobs) -> None:
        attempts = Attempt.objects.filter(
            step__operation__in=operations, task_guid__isnull=False, sent_at__isnull=False
        )
        self._attempts: dict[UUID, Attempt] = {
            attempt.step.operation_id: attempt
            for attempt in attempts.defer("body").select_related("step").order_by("number")
        }
        chosen = list(self._attempts.values())
        self._linked: dict[UUID, dict[str, str]] = {attempt.pk: {} for attempt in chosen}
        for row in ChainTask.objects.filter(attempt__in=chosen):
            self._linked[row.attempt_id][row.task_guid] = row.stage
        self._tasks = self._read_tasks([operation.virtual_machine_guid for operation in operations], chosen)
        held = ChainTask.objects.filter(task_guid__in=[task.guid for task in self._tasks])
        self._held: dict[str, UUID] = dict(held.values_list("task_guid", "attempt"))
        imported = ChainTask.objects.filter(attempt__in=set(self._held.values()), stage="import")
        self._imported: set[UUID] = set(imported.values_list("attempt", flat=True))
        asked = Attempt.objects.filter(step__operation__in=operations, step__action="cancel", sent_at__isnull=False)
        self._asked_to_cancel = set(asked.values_list("target_guid", flat=True))
        self._jobs = jobs

    def _read_tasks(self, machines: list[str], attempts: Sequence[Attempt]) -> list[Task]:
        since = min((attempt.sent_at for attempt in attempts if attempt.sent_at), default=None)
        if since is None:
            return []
        mine = [guid for linked in self._linked.values() for guid in linked]
        lately = Q(first_seen_at__gte=since - AROUND) | Q(ended_seen_at__gte=since - AROUND) | Q(live=True)
        about = Q(virtual_machine_guid__in=machines) | Q(destination_vm_guid__in=machines)
        rows = Task.objects.filter(Q(guid__in=mine) | (about & Q(type__in=RESTORES) & lately))
        return list(rows.order_by("first_seen_at", "guid"))

    def chain(self, operation: Operation) -> RestoreChain | None:
        """Return the tasks that are linked so far; None where nothing is known to have come of the operation."""
        attempt = self._attempts.get(operation.pk)
        if attempt is None:
            return None
        linked = self._linked[attempt.pk]
        tasks = [task for task in self._tasks if task.guid in linked]
        self._claim(tasks, operation)
        return RestoreChain(
            attempt,
            restores=[task for task in tasks if linked[task.guid] == "restore"],
            imports=[task for task in tasks if linked[task.guid] == "import"],
        )

    def free(self, operation: Operation, attempt: Attempt, kind: str) -> list[Task]:
        """Return tasks of this kind and machine that are new since the attempt, that no chain holds and nothing contradicts."""
        return [
            task
            for task in self._of(operation)
            if task.type == kind
            and task.guid not in self._held
            and task.guid not in attempt.baseline_tasks
            and task.origin_type not in NOT_OURS
            and task.backup_guid in ("", operation.restore_point_guid)
            and (attempt.sent_at is None or task.first_seen_at >= attempt.sent_at - AROUND)
        ]

    def rivals(self, operation: Operation, chain: RestoreChain) -> list[Task]:
        """Return other restores of the same machine that have ended since, and whose import is not known yet."""
        since = chain.attempt.sent_at
        return [
            task
            for task in self._of(operation)
            if task.type == "RESTORE"
            and (task.state == "FINISHED" or task.vanished_at is not None)
            and task not in chain.restores
            and (task.ended_seen_at is None or since is None or task.ended_seen_at >= since)
            and self._held.get(task.guid) not in self._imported
        ]

    def anything_live(self, operation: Operation) -> bool:
        """Tell whether vPlus is at any restore or import of this machine."""
        return any(task.live for task in self._of(operation))

    def removed_by_cancel(self, task: Task) -> bool:
        """Tell whether a task went while it was queued, after it was asked to: vPlus forgets those (vplus-api.md 3.7)."""
        return task.vanished_at is not None and task.state == "QUEUED" and task.guid in self._asked_to_cancel

    def job(self, operation: Operation, chain: RestoreChain) -> RestoreJobRecord | None:
        """Return the one restore job that can be this restore's: new since, of this point, by this name."""
        return job_of(operation, chain.attempt, self._jobs.get(operation.virtual_machine_guid, ()))

    def link(self, operation: Operation, chain: RestoreChain, task: Task, stage: str, by: str) -> None:
        """Note that a task belongs to the chain, in the database and here."""
        link(chain.attempt, task.guid, stage, by)
        self._held[task.guid] = chain.attempt.pk
        (chain.restores if stage == "restore" else chain.imports).append(task)
        if stage == "import":
            self._imported.add(chain.attempt.pk)
        self._claim([task], operation)

    def _claim(self, tasks: Sequence[Task], operation: Operation) -> None:
        """See that the tenant who asked sees the tasks, also where these name no machine of theirs."""
        nobodys = [task.guid for task in tasks if task.tenant_id is None]
        if nobodys:
            attribute_linked(nobodys, operation.tenant_id)

    def _of(self, operation: Operation) -> list[Task]:
        machine = operation.virtual_machine_guid
        return [task for task in self._tasks if machine in (task.virtual_machine_guid, task.destination_vm_guid)]


def job_of(operation: Operation, attempt: Attempt, jobs: Iterable[RestoreJobRecord]) -> RestoreJobRecord | None:
    """Return the only job that nothing contradicts and that is new since the attempt; None where it cannot be told.

    A job without a time could be of any restore before.
    """
    fitting = []
    for job in jobs:
        began = instant(job.restore_ms)
        since = attempt.sent_at
        if began is None or since is None or began < since - AROUND:
            continue
        if job.backup_guid not in (None, operation.restore_point_guid):
            continue
        if job.restored_name not in (None, "", operation.restored_name):
            continue
        fitting.append(job)
    return fitting[0] if len(fitting) == 1 else None


def stitch_restore(evidence: RestoreEvidence, operation: Operation) -> RestoreChain | None:
    """Link what can be told to belong to the restore, and return its chain; None where there is none."""
    chain = evidence.chain(operation)
    if chain is None:
        return None
    restore = chain.restore
    if restore is not None and ended_badly(restore):
        _follow_copy(evidence, operation, chain, restore, "restore")
        restore = chain.restore
    if chain.import_ is not None:
        if ended_badly(chain.import_):
            _follow_copy(evidence, operation, chain, chain.import_, "import")
    elif restore is not None:
        _stitch_import(evidence, operation, chain, restore)
    return chain


def _stitch_import(evidence: RestoreEvidence, operation: Operation, chain: RestoreChain, restore: Task) -> None:
    free = evidence.free(operation, chain.attempt, "IMPORT")
    for task in free:
        if task.parent_guid == restore.guid:
            evidence.link(operation, chain, task, "import", "parent")
            return
    if restore.state != "FINISHED" and restore.vanished_at is None:
        return
    nameless = [task for task in free if not task.parent_guid and _after(restore, task)]
    if nameless and not evidence.rivals(operation, chain):
        # vPlus makes one IMPORT of a RESTORE, and one restore of a machine is asked for at a time: the first new one.
        evidence.link(operation, chain, nameless[0], "import", "order")


def _follow_copy(
    evidence: RestoreEvidence, operation: Operation, chain: RestoreChain, failed: Task, stage: str
) -> None:
    """Follow a task that failed to its newer copy, known by the same window (vplus-api.md 3.2 line 6)."""
    copies = [
        task
        for task in evidence.free(operation, chain.attempt, failed.type)
        if task.first_seen_at >= failed.first_seen_at
        and task.window_start is not None
        and task.window_start == failed.window_start
    ]
    if copies:
        evidence.link(operation, chain, copies[-1], stage, "retry")


def _after(restore: Task, task: Task) -> bool:
    """Tell whether an import can be this restore's: it was not there before the restore ended."""
    begun: datetime | None = task.started_at or task.window_start
    if begun and restore.finished_at:
        return begun >= restore.finished_at - BEFORE_IMPORT
    return task.first_seen_at >= restore.first_seen_at


def jobs_wanted() -> list[str]:
    """Return machines whose restore jobs can tell more than tasks do: no task of an active restore is live any more."""
    live = Task.objects.filter(guid=OuterRef("tasks__task_guid"), live=True)
    rows = Attempt.objects.filter(
        step__action="restore",
        step__operation__kind=Kind.RESTORE,
        step__operation__state__in=ACTIVE,
        outcome=Outcome.ACCEPTED,
        task_guid__isnull=False,
    )
    silent = rows.exclude(pk__in=rows.filter(Exists(live)).values("pk"))
    return sorted(set(silent.values_list("step__operation__virtual_machine_guid", flat=True)))
