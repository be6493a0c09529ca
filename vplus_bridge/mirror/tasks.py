"""Tasks: what vPlus does, also what no operation of ours asked for. A task that has ended never changes again."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Q
from django.utils import timezone

from tenants.scope import every_tenant
from vplus_bridge.client import NotFound, TaskRecord, VplusClient
from vplus_bridge.mirror.instants import clean, digest_of, instant
from vplus_bridge.mirror.models import Task, VirtualMachine
from vplus_bridge.mirror.read_state import TASKS, TASKS_FULL, recorded

REASON = "mirror: tasks"
ENDED = frozenset({"FINISHED", "FAILED", "CANCELLED"})
_RANK = {"QUEUED": 0, "RUNNING": 1}
ASKED_ONE_BY_ONE = 50
WRITTEN = [
    "digest", "changed_at", "virtual_machine_guid", "type", "type_description", "state", "state_description", "progress",
    "backup_guid", "parent_guid", "destination_vm_guid", "backup_type", "schedule_guid", "origin_type", "window_start",
    "window_end", "started_at", "finished_at", "priority", "status_info", "live", "ended_seen_at", "vanished_at",
]  # fmt: skip


@dataclass
class TasksRead:
    """What one reading of tasks did to the mirror: guids of tasks, and of virtual machines whose task ended."""

    changed: set[str] = field(default_factory=set)
    ended_vms: set[str] = field(default_factory=set)
    listed: int = 0
    asked: int = 0
    filter_ignored: bool = False
    complete: bool = False

    def add(self, other: "TasksRead") -> None:
        """Take in another reading."""
        self.changed |= other.changed
        self.ended_vms |= other.ended_vms
        self.listed += other.listed
        self.asked += other.asked


def poll_tasks(client: VplusClient) -> TasksRead:
    """Read what waits, then what runs, then ask for each known task that left both. Raises VplusError.

    Needs the right to write "tasks". QUEUED goes first, so that a task that moves on in between is seen twice, never
    not at all. A server that ignores the state filter has sent everything with the first listing.
    """
    read, seen = TasksRead(), set[str]()
    with recorded(TASKS) as reading:
        for state in ("QUEUED", "RUNNING"):
            for page in client.tasks(state=state):
                read.filter_ignored = read.filter_ignored or any(task.state != state for task in page)
                seen.update(task.guid for task in page)
                read.add(_write(page))
            if read.filter_ignored:
                break
        with every_tenant(REASON):
            left = [g for g in Task.objects.filter(live=True).values_list("guid", flat=True) if g not in seen]
        if len(left) > ASKED_ONE_BY_ONE and not read.filter_ignored:
            read.add(read_all_tasks(client))
        else:
            read.add(_ask_each(client, left))
        reading.counts = {"listed": read.listed, "asked": read.asked, "filter_ignored": read.filter_ignored}
    return read


def read_all_tasks(client: VplusClient) -> TasksRead:
    """Read every task that vPlus still knows: catches what came and went between two polls. Raises VplusError."""
    read, seen = TasksRead(), set[str]()
    with recorded(TASKS_FULL) as reading:
        listing = client.tasks()
        for page in listing:
            seen.update(task.guid for task in page)
            read.add(_write(page))
        if listing.completeness.complete:
            with every_tenant(REASON):
                left = [g for g in Task.objects.filter(live=True).values_list("guid", flat=True) if g not in seen]
            read.add(_ask_each(client, left[:ASKED_ONE_BY_ONE]))
        reading.counts = {"listed": read.listed, "complete": listing.completeness.complete}
    return read


def read_tasks_of(client: VplusClient, vm_guid: str) -> TasksRead:
    """Read one virtual machine's tasks. The filter is never trusted: only its own are kept. Raises VplusError."""
    read, listing = TasksRead(), client.tasks(vm_guid=vm_guid)
    for page in listing:
        read.add(_write([task for task in page if task.vm_guid == vm_guid]))
    read.complete = listing.completeness.complete
    return read


def _ask_each(client: VplusClient, guids: Iterable[str]) -> TasksRead:
    """Ask for tasks that left the lists; one that vPlus no longer knows has vanished (vplus-api.md 3.1)."""
    read, records, vanished = TasksRead(), [], []
    for guid in guids:
        read.asked += 1
        try:
            records.append(client.task(guid))
        except NotFound as problem:
            if problem.html:  # a web page says nothing about tasks: something in front of vPlus has answered
                raise
            vanished.append(guid)
    read.add(_write(records))
    if vanished:
        now = timezone.now()
        with every_tenant(REASON):
            rows = Task.objects.filter(guid__in=vanished, live=True)
            read.ended_vms |= {vm for vm in rows.values_list("virtual_machine_guid", flat=True) if vm}
            rows.update(live=False, vanished_at=now, ended_seen_at=now, changed_at=now)
        read.changed |= set(vanished)
    return read


def _write(records: list[TaskRecord]) -> TasksRead:
    """Write what differs from the mirror and does not go backwards."""
    read, now = TasksRead(listed=len(records)), timezone.now()
    by_guid = {record.guid: record for record in records}
    with every_tenant(REASON):
        known = Task.objects.in_bulk(list(by_guid))
        rows = []
        for guid, record in by_guid.items():
            before, digest = known.get(guid), digest_of(record)
            if before is not None and (bytes(before.digest) == digest or _backwards(before, record)):
                continue
            row = _row(record, before, digest, now)
            rows.append(row)
            read.changed.add(guid)
            if not row.live and (before is None or before.live) and row.virtual_machine_guid:
                read.ended_vms.add(row.virtual_machine_guid)
        Task.objects.bulk_create(
            rows, batch_size=500, update_conflicts=True, unique_fields=["guid"], update_fields=WRITTEN
        )
        if read.ended_vms:
            VirtualMachine.objects.filter(guid__in=read.ended_vms).filter(Q(history_wanted_at=None)).update(
                history_wanted_at=now
            )
    return read


def _backwards(before: Task, record: TaskRecord) -> bool:
    """Tell whether an answer is older than what is known: states only go forward, an end is final (vplus-api.md 3.1)."""
    if not before.live and before.vanished_at is None:
        return True
    return _RANK.get(record.state or "", 2) < _RANK.get(before.state, 2)


def _row(record: TaskRecord, before: Task | None, digest: bytes, now: datetime) -> Task:
    ended = record.state in ENDED
    scheduled = record.origin_type in {"SCHEDULE", "SYSTEM_SCHEDULE"}
    progress = record.progress if record.progress is None else min(100.0, max(0.0, record.progress))
    if before is not None and before.progress is not None and (progress is None or progress < before.progress):
        progress = before.progress
    return Task(
        guid=record.guid,
        tenant_id=before.tenant_id if before else None,
        first_seen_at=before.first_seen_at if before else now,
        digest=digest,
        changed_at=now,
        # A task loses its virtual machine when that is deleted (vplus-api.md 2.2.2); what we knew stays.
        virtual_machine_guid=record.vm_guid or (before.virtual_machine_guid if before else ""),
        type=clean(record.type, 40),
        type_description=clean(record.type_description, 200),
        state=clean(record.state, 40),
        state_description=clean(record.state_description, 200),
        progress=progress,
        backup_guid=clean(record.backup_guid, 200) or (before.backup_guid if before else ""),
        parent_guid=clean(record.parent_guid, 200) or (before.parent_guid if before else ""),
        destination_vm_guid=clean(record.dst_guid, 200),
        backup_type=clean(record.backup_type, 40),
        schedule_guid=clean(record.origin_guid, 200) if scheduled else "",
        origin_type=clean(record.origin_type, 40),
        window_start=instant(record.window_start_ms),
        window_end=instant(record.window_end_ms),
        started_at=instant(record.started_ms),
        finished_at=instant(record.finished_ms),
        priority=record.priority if record.priority is not None and 0 <= record.priority <= 100 else None,  # noqa: PLR2004
        status_info=clean(record.status_info, 4000),
        live=not ended,
        ended_seen_at=(before.ended_seen_at if before else None) or (now if ended else None),
        vanished_at=None,
    )
