"""Tasks: what vPlus does, also what no operation of ours asked for. A task that has ended never changes again."""

import random
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Q, QuerySet

from tenants.scope import every_tenant
from vplus_bridge.client import NotFound, TaskRecord, VplusClient, VplusError
from vplus_bridge.database_time import database_now
from vplus_bridge.mirror.instants import clean, digest_of, instant
from vplus_bridge.mirror.models import ENDED, UNKNOWN, Task, VirtualMachine
from vplus_bridge.mirror.read_state import TASKS, TASKS_FULL, Patience, recorded
from vplus_bridge.mirror.sole_writer import one_at_a_time

REASON = "mirror: tasks"
_RANK = {"QUEUED": 0, **dict.fromkeys(ENDED, 2)}
RESTORES = frozenset({"RESTORE", "IMPORT"})
"""Tasks that have two machines: the one that the backup was taken from, and the one that comes of it."""
_IN_BETWEEN = 1  # RUNNING, and whatever else a server may call it
ASKED_ONE_BY_ONE = 50
NEVER_READ = b""
"""The digest of a task that only the answer to our own write has named."""
WRITTEN = [
    "digest", "changed_at", "virtual_machine_guid", "type", "type_description", "state", "state_description", "progress",
    "backup_guid", "parent_guid", "destination_vm_guid", "backup_type", "schedule_guid", "origin_type", "window_start",
    "window_end", "started_at", "finished_at", "priority", "status_info", "live", "ended_seen_at", "vanished_at",
]  # fmt: skip

# Gives the tasks of these machines that are nobody's yet to their owners. It runs in the transaction that writes them,
# so that a worker that dies in between leaves none behind that its tenant would never see.
Attribute = Callable[[Collection[str]], None]


@dataclass
class TasksRead:
    """What one reading of tasks did to the mirror: guids of tasks, and of virtual machines whose task ended.

    ``turned`` are those of the changed ones that came to be known, or whose state is another one now.
    """

    changed: set[str] = field(default_factory=set)
    turned: set[str] = field(default_factory=set)
    ended_vms: set[str] = field(default_factory=set)
    listed: int = 0
    asked: int = 0
    filter_ignored: bool = False
    complete: bool = False

    def add(self, other: "TasksRead") -> None:
        """Take in another reading."""
        self.changed |= other.changed
        self.turned |= other.turned
        self.ended_vms |= other.ended_vms
        self.listed += other.listed
        self.asked += other.asked


def machines_of(task_guids: Iterable[str]) -> set[str]:
    """Return the virtual machines that these tasks are about, in the open wide scope."""
    rows = Task.objects.filter(guid__in=list(task_guids)).exclude(virtual_machine_guid="")
    return set(rows.values_list("virtual_machine_guid", flat=True))


def in_state(rows: QuerySet[Task], state: str) -> QuerySet[Task]:
    """Return those of the tasks whose `known_state` this is: what vPlus forgot neither waits nor runs."""
    if state == UNKNOWN:
        return rows.filter(vanished_at__isnull=False).exclude(state__in=ENDED)
    return rows.filter(state=state) if state in ENDED else rows.filter(state=state, vanished_at=None)


def note_removed(guid: str) -> None:
    """Note that a task which vPlus forgot while it waited was cancelled: asked to end, a waiting one is removed (3.7)."""
    removed = Task.objects.filter(guid=guid, state="QUEUED", vanished_at__isnull=False)
    removed.update(state="CANCELLED", state_description="", changed_at=database_now())


def note_schedules(found: Mapping[str, str]) -> None:
    """Note which schedule of vPlus each of these tasks was born of, by guid, where vPlus does not name one itself.

    Rows that somebody else writes at this moment are left out: the finding comes again with the next news of them.
    """
    rows = Task.objects.filter(guid__in=list(found), schedule_guid="").order_by("guid")
    unnamed = list(rows.select_for_update(skip_locked=True).only("guid"))
    for task in unnamed:
        task.schedule_guid = found[task.guid]
    Task.objects.bulk_update(unnamed, ["schedule_guid"], batch_size=500)


def poll_tasks(client: VplusClient, attribute: Attribute) -> TasksRead:
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
                read.add(_write(page, attribute))
            if read.filter_ignored:
                break
        left = _live_but(seen)
        if len(left) > ASKED_ONE_BY_ONE and not read.filter_ignored:
            read.add(read_all_tasks(client, attribute))
        else:
            read.add(_ask_each(client, _some(left), attribute))
        reading.counts = {"listed": read.listed, "asked": read.asked, "filter_ignored": read.filter_ignored}
    return read


def read_all_tasks(client: VplusClient, attribute: Attribute) -> TasksRead:
    """Read every task that vPlus still knows: catches what came and went between two polls. Raises VplusError."""
    read, seen = TasksRead(), set[str]()
    with recorded(TASKS_FULL) as reading:
        listing = client.tasks()
        for page in listing:
            seen.update(task.guid for task in page)
            read.add(_write(page, attribute))
        whole = listing.completeness.complete
        read.add(_ask_each(client, _some(_live_but(seen)), attribute, page_will_do=whole))
        reading.counts = {"listed": read.listed, "asked": read.asked, "complete": whole}
    return read


def read_tasks_of(client: VplusClient, vm_guid: str, attribute: Attribute) -> TasksRead:
    """Read one virtual machine's tasks. The filter is never trusted: only its own are kept. Raises VplusError."""
    read, listing = TasksRead(), client.tasks(vm_guid=vm_guid)
    for page in listing:
        read.add(_write([task for task in page if _is_of(task, vm_guid)], attribute))
    read.complete = listing.completeness.complete
    return read


def _is_of(task: TaskRecord, vm_guid: str) -> bool:
    """Tell whether a task is of this machine; a restore may name the one it restores as its destination alone."""
    return task.vm_guid == vm_guid or (task.type in RESTORES and task.dst_guid == vm_guid)


def expect(guid: str, *, type: str, machine: str, tenant_id: UUID) -> None:
    """Write a task that vPlus's answer to a write has named, in the open scope; one that is known stays as it is.

    Whoever removes it before any reading makes vPlus forget it at once (vplus-api.md 3.7): without this row nobody would
    see it go. What it says beyond its guid the next reading brings. As long as none has, an answer that vPlus does not
    know it is believed only VPLUS_SETTLE_ABSENT_SECONDS after the first: a server may name it before it shows it.
    """
    now = database_now()
    row = Task(
        guid=guid, tenant_id=tenant_id, virtual_machine_guid=machine, type=type, state="QUEUED",
        digest=NEVER_READ, first_seen_at=now, changed_at=now,
    )  # fmt: skip
    Task.objects.bulk_create([row], ignore_conflicts=True)


def may_come(guid: str) -> bool:
    """Tell whether vPlus may have named a task and not show it yet (`expect`), in the open scope."""
    return Task.objects.filter(_may_come(database_now()), guid=guid, live=True).exists()


def _may_come(now: datetime) -> Q:
    return Q(digest=NEVER_READ, first_seen_at__gt=now - timedelta(seconds=settings.VPLUS_SETTLE_ABSENT_SECONDS))


def make_known(record: TaskRecord, attribute: Attribute) -> None:
    """Write a task that was read by itself, where no reading has seen it yet; what was read before stays as it is.

    What is about to be removed has to be seen before, or its going would not be believed (`expect`).
    """
    with every_tenant(REASON):
        if not Task.objects.filter(guid=record.guid).exclude(digest=NEVER_READ).exists():
            _write([record], attribute)


def _live_but(seen: Collection[str]) -> list[str]:
    with every_tenant(REASON):
        return [guid for guid in Task.objects.filter(live=True).values_list("guid", flat=True) if guid not in seen]


def _some(guids: list[str]) -> list[str]:
    """Return as many as are asked for one by one in a cycle; in chance order, so that each has its turn."""
    return random.sample(guids, min(len(guids), ASKED_ONE_BY_ONE))


def _ask_each(
    client: VplusClient, guids: Iterable[str], attribute: Attribute, *, page_will_do: bool = False
) -> TasksRead:
    """Ask for tasks that left the lists; one that vPlus no longer knows has vanished (vplus-api.md 3.1).

    A 404 that is a web page may come from something in front of vPlus. It is believed with ``page_will_do``, when a
    whole list of all tasks has come without them.
    """
    read, records, vanished, patience = TasksRead(), list[TaskRecord](), list[str](), Patience()
    try:
        for guid in guids:
            if patience.worn_out:
                break
            read.asked += 1
            try:
                records.append(client.task(guid))
                patience.fine()
            except NotFound as problem:
                if problem.html and not page_will_do:
                    patience.bear(problem, task=guid)
                else:
                    vanished.append(guid)
            except VplusError as problem:
                patience.bear(problem, task=guid)
    finally:
        # What was answered before the trouble came is as good as ever.
        read.add(_write(records, attribute))
        _note_vanished(vanished, read)
    return read


def _note_vanished(guids: list[str], read: TasksRead) -> None:
    if not guids:
        return
    with every_tenant(REASON):
        now = database_now()
        rows = Task.objects.filter(guid__in=guids, live=True).exclude(_may_come(now))
        gone = list(rows.values_list("guid", flat=True))
        ended = {vm for vm in rows.values_list("virtual_machine_guid", flat=True) if vm}
        _want_histories(ended, now)
        Task.objects.filter(guid__in=gone).update(live=False, vanished_at=now, ended_seen_at=now, changed_at=now)
    read.ended_vms |= ended
    read.changed |= set(gone)
    read.turned |= set(gone)


def _write(records: list[TaskRecord], attribute: Attribute) -> TasksRead:
    """Write what differs from the mirror and does not go backwards."""
    read = TasksRead(listed=len(records))
    by_guid = {record.guid: record for record in records}
    if not by_guid:
        return read
    with every_tenant(REASON):
        known, now = Task.objects.in_bulk(list(by_guid)), database_now()
        seen = _first_seen(by_guid.values())
        sources, rows, strangers = _sources(by_guid.values(), seen), [], list[str]()
        for guid, record in by_guid.items():
            before, digest = known.get(guid), digest_of(record)
            if before is not None and (_same(before, digest) or _backwards(before, record)):
                continue
            machine = sources.get(guid, record.vm_guid)
            if _of_another(before, record, seen):
                strangers.append(guid)
            elif before is not None and record.type in RESTORES:
                machine = before.virtual_machine_guid or machine  # what it makes may be known by now
            row = _row(record, before, digest, now, machine)
            rows.append(row)
            read.changed.add(guid)
            if before is None or (before.state, before.live) != (row.state, row.live):
                read.turned.add(guid)
            if not row.live and (before is None or before.live) and row.virtual_machine_guid:
                read.ended_vms.add(row.virtual_machine_guid)
        if rows:
            _want_histories(read.ended_vms, now)
            if strangers:  # whoever it was named to has no right to it; its machine's owner gets it below
                Task.objects.filter(guid__in=strangers).update(tenant=None)
            Task.objects.bulk_create(
                rows, batch_size=500, update_conflicts=True, unique_fields=["guid"], update_fields=WRITTEN
            )
            attribute({row.virtual_machine_guid for row in rows if row.virtual_machine_guid})
    return read


def _want_histories(vm_guids: Collection[str], now: datetime) -> None:
    if vm_guids:
        one_at_a_time()
        VirtualMachine.objects.filter(guid__in=vm_guids).update(history_wanted_at=now)


def _same(before: Task, digest: bytes) -> bool:
    return bytes(before.digest) == digest and before.vanished_at is None


def _backwards(before: Task, record: TaskRecord) -> bool:
    """Tell whether an answer is older than what is known: states only go forward, an end is final (vplus-api.md 3.1)."""
    if not before.live and before.vanished_at is None:
        return True
    return _RANK.get(record.state or "", _IN_BETWEEN) < _RANK.get(before.state, _IN_BETWEEN)


def _first_seen(records: Iterable[TaskRecord]) -> dict[str, datetime]:
    """Return since when each machine is known that a restore or import names; those that are not are left out."""
    named = {
        guid for record in records if record.type in RESTORES for guid in (record.vm_guid, record.dst_guid) if guid
    }
    rows = VirtualMachine.objects.filter(guid__in=named)
    return dict(rows.values_list("guid", "first_seen_at")) if named else {}


def _sources(records: Iterable[TaskRecord], known: Mapping[str, datetime]) -> dict[str, str | None]:
    """Return, by restore or import, the machine whose backup it is: the first of the two named that is known.

    What it makes is not known yet, so that it would be nobody's task as long as that is taken for its machine.
    """
    return {
        record.guid: next((guid for guid in (record.vm_guid, record.dst_guid) if guid in known), record.vm_guid)
        for record in records
        if record.type in RESTORES and record.dst_guid
    }


def _of_another(before: Task | None, record: TaskRecord, seen: Mapping[str, datetime]) -> bool:
    """Tell whether a task that our answer named is, as the first reading of it says, about another machine.

    A restore's may name the new machine instead; one that was there before the restore was asked for is not that.
    """
    if before is None or bytes(before.digest) != NEVER_READ:
        return False
    if record.type not in RESTORES:
        return record.vm_guid not in (None, "", before.virtual_machine_guid)
    named = {guid for guid in (record.vm_guid, record.dst_guid) if guid}
    old = (guid in seen and seen[guid] < before.first_seen_at for guid in named)
    return before.virtual_machine_guid not in named and any(old)


def _row(record: TaskRecord, before: Task | None, digest: bytes, now: datetime, machine: str | None) -> Task:
    ended = record.state in ENDED
    scheduled = record.origin_type in {"SCHEDULE", "SYSTEM_SCHEDULE"}
    progress = record.progress if record.progress is None else min(100.0, max(0.0, record.progress))
    if before is not None and before.progress is not None and (progress is None or progress < before.progress):
        progress = before.progress
    ended_seen_at = None
    if ended:
        ended_seen_at = before.ended_seen_at if before is not None and before.ended_seen_at else now
    return Task(
        guid=record.guid,
        tenant_id=before.tenant_id if before else None,
        first_seen_at=before.first_seen_at if before else now,
        digest=digest,
        changed_at=now,
        # A task loses its virtual machine when that is deleted (vplus-api.md 2.2.2); what we knew stays.
        virtual_machine_guid=machine or (before.virtual_machine_guid if before else ""),
        type=clean(record.type, 40),
        type_description=clean(record.type_description, 200),
        state=clean(record.state, 40),
        state_description=clean(record.state_description, 200),
        progress=progress,
        backup_guid=clean(record.backup_guid, 200) or (before.backup_guid if before else ""),
        parent_guid=clean(record.parent_guid, 200) or (before.parent_guid if before else ""),
        destination_vm_guid=clean(record.dst_guid, 200) or (before.destination_vm_guid if before else ""),
        backup_type=clean(record.backup_type, 40) or (before.backup_type if before else ""),
        schedule_guid=(clean(record.origin_guid, 200) if scheduled else "") or (before.schedule_guid if before else ""),
        origin_type=clean(record.origin_type, 40) or (before.origin_type if before else ""),
        window_start=instant(record.window_start_ms) or (before.window_start if before else None),
        window_end=instant(record.window_end_ms) or (before.window_end if before else None),
        started_at=instant(record.started_ms) or (before.started_at if before else None),
        finished_at=instant(record.finished_ms),
        priority=record.priority if record.priority is not None and 0 <= record.priority <= 100 else None,  # noqa: PLR2004
        status_info=clean(record.status_info, 4000),
        live=not ended,
        ended_seen_at=ended_seen_at,
        vanished_at=None,
    )
