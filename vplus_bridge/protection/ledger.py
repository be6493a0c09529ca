"""The ledger: each run that was promised, against what was done.

A row is made once, when its run is due (expected.py), and updated as evidence comes. All of it runs in the open wide scope and
takes the instant as an argument. Cost grows with what is due and with what is open, never with what is over.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Min, Q, QuerySet

from vplus_bridge.mirror.models import Backup, ReadState, Task, VirtualMachine
from vplus_bridge.mirror.read_state import CONTACT, TASKS_FULL, read_at
from vplus_bridge.mirror.sole_writer import one_at_a_time
from vplus_bridge.mirror.tasks import note_schedules
from vplus_bridge.operations.models import Attempt, ChainTask, Operation
from vplus_bridge.protection.evidence import (
    AT_FIRING,
    EXPORT,
    STORE,
    BackupFact,
    Circumstances,
    Evidence,
    ExpectedFact,
    Found,
    Outcome,
    Seen,
    TaskFact,
    Why,
    belongings,
    judge_run,
    standing_of,
)
from vplus_bridge.protection.expected import LOOK_AGAIN, grace, timetables_of
from vplus_bridge.protection.ledger_models import ContactOutage, ExpectedRun, PolicyPromise, PromiseState
from vplus_bridge.protection.timetable import Timetable

MOST_RUNS = 2000
MOST_PRUNED = 20_000
LOOK_SOON = timedelta(minutes=1)
FIRST_SIGHT = timedelta(minutes=10)
"""How much earlier than a run its task may bear our first sight: clocks differ."""
NOTED_WITHIN = timedelta(minutes=10)
"""That a machine goes, moves to another policy, or that a schedule is changed is noted when a reading shows it. What is noted
so soon behind a window, and the time between two readings more, may have been in it.
"""
SCHEDULED = {"SCHEDULE": True, "SYSTEM_SCHEDULE": True, "USER": False}


def note_outages(now: datetime) -> bool:
    """Keep the times without contact, so that it is known later what nobody could see; tell whether one has just ended."""
    contact = ReadState.objects.filter(name=CONTACT).first()
    since = contact.failing_since if contact else None
    over = ContactOutage.objects.filter(ended_at=None)
    if since is not None:
        ContactOutage.objects.get_or_create(began_at=since)
        over = over.exclude(began_at=since)
    return over.update(ended_at=(contact and contact.succeeded_at) or now) > 0


def settle_due(now: datetime) -> set[str]:
    """Look at the open runs whose time has come; return the machines of those that changed."""
    return _settle(ExpectedRun.objects.filter(look_at__lte=now).order_by("look_at", "pk"), now)


def settle_of(vm_guids: Iterable[str], now: datetime) -> set[str]:
    """Look at the open runs of machines of which there is news; return those of which one changed."""
    guids = list(vm_guids)
    if not guids:
        return set()
    rows = ExpectedRun.objects.filter(virtual_machine_guid__in=guids, look_at__isnull=False, due_at__lte=now)
    return _settle(rows.order_by("due_at", "pk"), now)


def _settle(chosen: QuerySet[ExpectedRun], now: datetime) -> set[str]:
    # Locked in one order before evidence is read: of two workers at one run, the later sees what the earlier wrote.
    keys = list(chosen.values_list("pk", flat=True)[:MOST_RUNS])
    if not keys:
        return set()
    one_at_a_time()  # before the first of these locks: who writes machines and takes their runs along has that, too
    rows = list(ExpectedRun.objects.filter(pk__in=keys, look_at__isnull=False).order_by("pk").select_for_update())
    if not rows:
        return set()
    around = _Surroundings(rows, now)
    changed: set[str] = set()
    written: list[ExpectedRun] = []
    born: dict[str, str] = {}
    for row in rows:
        row.standing = around.standing_of(row)
        circumstances = around.of(row)
        own = around.evidence[row.virtual_machine_guid].get(row.pk, Evidence())
        found = judge_run(_expected(row), own, circumstances, grace=grace(), now=now)
        if _note(row, found, circumstances, now):
            changed.add(row.virtual_machine_guid)
        written.append(row)
        born |= _born_of(row, own)
    note_schedules(born)
    columns = ["outcome", "why", "started_at", "task_guid", "backup_guid", "standing", "settled_at", "look_at"]
    ExpectedRun.objects.bulk_update(written, columns, batch_size=500)
    unread = {row.virtual_machine_guid for row in written if row.why == Why.HISTORY_NOT_READ}
    if unread:
        # A machine that is wanted already keeps its place: a wish that moved on for ever would never be read for.
        VirtualMachine.objects.filter(guid__in=unread, history_wanted_at=None).update(history_wanted_at=now)
    return changed


def _born_of(row: ExpectedRun, own: Evidence) -> dict[str, str]:
    """Return the schedule of each task that belongs to a run and names none; nothing where only likeness gave it the run.

    An export that nobody asked for here, whose window begins at the very instant of a firing, is that schedule's. Of the
    several that may carry one schedule of ours any will do.
    """
    certain = all(task.schedule_guid or task.window_start is not None for task in own.exports)
    if not (own.exports and certain and row.schedule_guids):
        return {}
    schedule = str(min(row.schedule_guids))
    return {task.guid: schedule for task in (*own.exports, *own.stores) if not task.schedule_guid}


def _note(row: ExpectedRun, found: Found, around: Circumstances, now: datetime) -> bool:
    before = (row.outcome, row.why, row.started_at, row.task_guid, row.backup_guid)
    row.outcome, row.why, row.started_at = str(found.outcome), str(found.why), found.started_at
    row.task_guid, row.backup_guid = found.task_guid, found.backup_guid
    deadline = row.window_end + grace()
    readings = (around.history_read_at, around.tasks_read_at)
    unread = any(read_at is None or read_at < deadline for read_at in readings)
    if found.open:
        row.look_at = min(deadline, now + LOOK_AGAIN) if now < deadline else now + LOOK_AGAIN
    elif found.outcome is Outcome.EXCUSED and unread and found.why in (Why.HISTORY_NOT_READ, Why.NO_CONTACT):
        row.look_at = now + LOOK_SOON
    else:
        row.look_at = None
    row.settled_at = row.settled_at if found.open else row.settled_at or now
    return before != (row.outcome, row.why, row.started_at, row.task_guid, row.backup_guid)


class _Surroundings:
    """All that is known around some runs, read in a handful of statements however many they are."""

    def __init__(self, rows: Sequence[ExpectedRun], now: datetime) -> None:
        self._guids = {row.virtual_machine_guid for row in rows}
        self._since = min(row.due_at for row in rows)
        self._until = max(row.window_end for row in rows)
        self._now = now
        self._noted_within = NOTED_WITHIN + timedelta(seconds=settings.VPLUS_INVENTORY_SECONDS)
        reads = read_at(TASKS_FULL)
        self._tasks_read_at = reads[TASKS_FULL]
        columns = (
            "guid", "tenant_id", "policy_guid", "policy_since", "history_read_at", "present", "not_present_since",
            "absent_since",
        )  # fmt: skip
        machines = VirtualMachine.objects.filter(guid__in=self._guids).only(*columns)
        self._machines = {machine.guid: machine for machine in machines}
        outages = ContactOutage.objects.filter(Q(ended_at=None) | Q(ended_at__gte=self._since), began_at__lte=now)
        self._outages = list(outages.values_list("began_at", "ended_at"))
        promises = list(PolicyPromise.objects.filter(policy_guid__in={row.policy_guid for row in rows}))
        self._timetables: dict[tuple[UUID | None, str], dict[str, Timetable]] = {
            (promise.tenant_id, promise.policy_guid): {table.key: table for table in timetables_of(promise)}
            for promise in promises
        }
        self._doubtful = {(row.tenant_id, row.policy_guid) for row in promises if row.state == PromiseState.CANNOT_TELL}
        self.evidence = self._belongings()

    def of(self, row: ExpectedRun) -> Circumstances:
        """Return the circumstances of one run."""
        machine = self._machines.get(row.virtual_machine_guid)
        return Circumstances(
            history_read_at=machine.history_read_at if machine else None,
            tasks_read_at=self._tasks_read_at,
            outages=self._outages,
            standing=row.standing,
        )

    def standing_of(self, row: ExpectedRun) -> str:
        """Return whether one run was to be expected until its window was over, as far as it is known by now.

        A doubt is no finding: where the schedules cannot be told at the moment, that calls off only what is judged now.
        """
        called_off = self._called_off(row)
        standing = standing_of(row.standing, called_off, row.window_end + self._noted_within, self._now)
        doubtful = called_off is not None and (row.tenant_id, row.policy_guid) in self._doubtful
        return "" if doubtful and not row.standing and self._now < row.window_end + grace() else standing

    def _called_off(self, row: ExpectedRun) -> Seen | None:
        """Return why the run is not to be expected as things stand, and since when, where that is known."""
        machine = self._machines.get(row.virtual_machine_guid)
        if machine is None:
            return Seen(why=Why.NOT_ON_PLATFORM)
        if machine.gone:
            return Seen(why=Why.NOT_ON_PLATFORM, since=machine.gone_since)
        if machine.tenant_id != row.tenant_id:
            return Seen(why=Why.LEFT_POLICY)
        if machine.policy_guid != row.policy_guid:
            return Seen(why=Why.LEFT_POLICY, since=machine.policy_since)
        if row.due_at < machine.policy_since:
            # It was in the policy when the run was due, or there were no row: it has left and come back since.
            return Seen(why=Why.LEFT_POLICY, since=machine.policy_since)
        table = self._timetables.get((row.tenant_id, row.policy_guid), {}).get(row.timetable_key)
        due = int(row.due_at.timestamp())
        return None if table is not None and table.seconds(due, due + 1) else Seen(why=Why.SCHEDULE_CHANGED)

    def _belongings(self) -> dict[str, dict[int, Evidence]]:
        runs, tasks, backups = defaultdict(list), defaultdict(list), defaultdict(list)
        rows = ExpectedRun.objects.filter(virtual_machine_guid__in=self._guids, due_at__gte=self._since)
        for row in rows.order_by("virtual_machine_guid", "due_at", "pk"):
            runs[row.virtual_machine_guid].append(_expected(row))
        for task in self._tasks():
            tasks[task.virtual_machine_guid].append(_task(task))
        for backup in self._backups():
            backups[backup.virtual_machine_guid].append(_backup(backup))
        return {guid: belongings(runs[guid], tasks[guid], backups[guid], slack=grace()) for guid in sorted(self._guids)}

    def _tasks(self) -> Iterable[Task]:
        """Return exports and stores that no person asked for here."""
        rows = list(
            Task.objects.filter(
                virtual_machine_guid__in=self._guids,
                type__in=[EXPORT, STORE],
                first_seen_at__gte=self._since - FIRST_SIGHT,
            )
        )
        guids = [row.guid for row in rows]
        ours = set(Attempt.objects.filter(task_guid__in=guids).values_list("task_guid", flat=True))
        ours |= set(ChainTask.objects.filter(task_guid__in=guids).values_list("task_guid", flat=True))
        return [row for row in rows if row.guid not in ours]

    def _backups(self) -> Iterable[Backup]:
        since = self._since - AT_FIRING
        rows = list(
            Backup.objects.filter(virtual_machine_guid__in=self._guids).filter(
                Q(taken_at__gte=since) | Q(finished_at__gte=since) | Q(first_seen_at__gte=since)
            )
        )
        made = Operation.objects.filter(backup_guid__in=[row.guid for row in rows])
        ours = set(made.values_list("backup_guid", flat=True))
        # What came with the first reading of a history and bears no time is of any time, not of that moment.
        first = dict(
            Backup.objects.filter(virtual_machine_guid__in=self._guids)
            .order_by()
            .values("virtual_machine_guid")
            .values_list("virtual_machine_guid", Min("first_seen_at"))
        )
        return [
            row
            for row in rows
            if row.guid not in ours
            and (row.taken_at or row.finished_at or row.first_seen_at != first[row.virtual_machine_guid])
        ]


def _expected(row: ExpectedRun) -> ExpectedFact:
    return ExpectedFact(row.pk, row.due_at, row.window_end, frozenset(row.schedule_guids), row.backup_type)


def _task(row: Task) -> TaskFact:
    return TaskFact(
        guid=row.guid,
        type=row.type,
        state=row.state,
        began_at=row.started_at or row.first_seen_at,
        seen_at=row.first_seen_at,
        schedule_guid=row.schedule_guid,
        window_start=row.window_start,
        backup_type=row.backup_type,
        backup_guid=row.backup_guid,
        parent_guid=row.parent_guid,
        live=row.live,
    )


def _backup(row: Backup) -> BackupFact:
    scheduled = SCHEDULED.get(row.origin_type)
    return BackupFact(
        guid=row.guid,
        status=row.status,
        at=row.taken_at or row.finished_at or row.first_seen_at,
        schedule_guid=row.origin_guid if scheduled else "",
        scheduled=scheduled,
    )


def prune(now: datetime) -> int:
    """Remove runs and outages older than they are kept; return how many runs went, at most ``MOST_PRUNED`` at a time."""
    oldest = now - timedelta(days=settings.LEDGER_KEEP_DAYS)
    old = ExpectedRun.objects.filter(due_at__lt=oldest).order_by("due_at").values_list("pk", flat=True)[:MOST_PRUNED]
    removed, _ = ExpectedRun.objects.filter(pk__in=list(old)).delete()
    ContactOutage.objects.filter(ended_at__lt=oldest).delete()
    return removed
