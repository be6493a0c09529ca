"""Following runs: what has become of those that nobody here asked for, by their tasks and the records that they make.

EXPORT finished is not "backed up", and RESTORE finished is not "restored": a run is done when a stored record says so, or
when its IMPORT is finished. Works in the open wide scope, and writes what it finds on the first task of each run.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet

from vplus_bridge.database_time import database_now
from vplus_bridge.mirror.backups import RESTORABLE
from vplus_bridge.mirror.models import Backup, Task, TimeSource, VirtualMachine
from vplus_bridge.operations.follow import LONGEST_WITHOUT_END, STORED_ONCE, Watch
from vplus_bridge.operations.models import Attempt, ChainTask, Operation
from vplus_bridge.operations.run_stitch import joined
from vplus_bridge.operations.runs import DATA_TASKS, Run, RunState, runs_of
from vplus_bridge.operations.stitch import AROUND, within

LOOKED_BACK: Final = timedelta(hours=1)  # a copy of what failed may be made that much later
WRITTEN_TOGETHER: Final = 500
_UNREAD: Final = ("digest", "status_info")
_ENDS: Final = {"FINISHED": RunState.FINISHED, "FAILED": RunState.FAILED, "CANCELLED": RunState.CANCELLED}
_IN_WORK: Final = frozenset({"QUEUED", "INPROGRESS"})


@dataclass
class Facts:
    """What the mirror holds beside the tasks of runs, read in a few SQL statements however many these are."""

    now: datetime
    polled_since: datetime  # when the reading of tasks began that ended last
    records: Mapping[str, Backup] = field(default_factory=dict)
    history_read_at: Mapping[str, datetime | None] = field(default_factory=dict)
    asked_to_cancel: AbstractSet[str] = frozenset()
    at_work: AbstractSet[str] = frozenset()  # machines with a STORE or IMPORT under way that may be any run's


def anything_open() -> bool:
    """Tell whether anything that nobody asked for is under way, or waits for what tells its end."""
    return _open().exists()


def watches() -> list[Watch]:
    """Return what must be read beyond the lists of live tasks: between two stages nothing is live, and only the machine's
    own tasks and backups tell what comes next. Those whose last task ended longest ago come last.
    """
    goes_on = Task.objects.filter(run_guid=OuterRef("guid"), live=True)
    rows = _open().filter(~Exists(goes_on), live=False, type__in=DATA_TASKS, tenant__isnull=False)
    guids = rows.exclude(virtual_machine_guid="").order_by("-ended_seen_at", "guid").values_list(
        "virtual_machine_guid", flat=True
    )  # fmt: skip
    return [Watch(guid, tasks=True, backups=True) for guid in dict.fromkeys(guids)]


def follow(polled_since: datetime, changed_tasks: Collection[str]) -> set[str]:
    """Join tasks to runs and judge those that are open; return guids of the first tasks of runs that changed.

    ``polled_since``: when the reading of tasks began that has just ended; ``changed_tasks``: guids of what it changed.
    """
    runs = _runs_to_judge(changed_tasks)
    if not runs:
        return set()
    now = database_now()
    changed, runs = _join(runs)
    facts = _facts(runs, Facts(now, polled_since))
    written: list[Task] = []
    for run in runs:
        state, backup_guid = judged(run, facts), _record_guid(run, facts)
        ended = state not in (RunState.QUEUED, RunState.RUNNING)
        head = run.head
        if (head.run_state, head.run_ended, head.run_backup_guid) != (state, ended, backup_guid):
            head.run_state, head.run_ended, head.run_backup_guid = state, ended, backup_guid
            written.append(head)
    for head in written:
        head.run_changed_at = now
    Task.objects.bulk_update(
        written, ["run_state", "run_ended", "run_backup_guid", "run_changed_at"], batch_size=WRITTEN_TOGETHER
    )
    return changed | {head.guid for head in written}


def judged(run: Run, facts: Facts) -> RunState:
    """Return where a run stands, by what is known of its tasks and its record."""
    last, record = run.last, facts.records.get(run.head.guid)
    if record is not None and record.status in (*RESTORABLE, STORED_ONCE):
        return RunState.IN_PART if record.status == "PARTIAL_SUCCESS" else RunState.DONE
    if last.live:
        return run.state_while_open
    if (told := _told_by(last, facts)) is not None:
        return told
    if record is not None and record.status == "FAILED":
        return RunState.FAILED
    return _without_evidence(run, record, facts)


def _told_by(last: Task, facts: Facts) -> RunState | None:
    """Return the end that a run's last task tells by itself; None where it takes more than that."""
    if last.type not in DATA_TASKS:
        return _ENDS.get(last.state, RunState.UNKNOWN)
    if last.type == "IMPORT" and last.state == "FINISHED":
        return RunState.DONE
    # vPlus forgets a queued task that is removed (vplus-api.md 3.7).
    removed = last.vanished_at is not None and last.state == "QUEUED" and last.guid in facts.asked_to_cancel
    return RunState.CANCELLED if removed or last.state == "CANCELLED" else None


def _without_evidence(run: Run, record: Backup | None, facts: Facts) -> RunState:
    """Return where a run stands of whose last task has ended, and of which no record tells what came of it."""
    last, machine = run.last, run.head.virtual_machine_guid
    ended_at = last.ended_seen_at or last.changed_at
    read_at = facts.history_read_at.get(machine)
    read = last.type in {"RESTORE", "IMPORT"} or (read_at is not None and read_at > ended_at)
    wait = timedelta(seconds=settings.VPLUS_SEND_TOTAL_SECONDS + settings.VPLUS_SETTLE_ABSENT_SECONDS)
    waited = facts.now > ended_at + wait
    in_work = record is not None and record.status in _IN_WORK and record.gone_at is None
    if last.state == "FAILED":
        # As long as the record is at work a copy may come; else one that is made at once was to be seen by now.
        return RunState.FAILED if waited or (ended_at < facts.polled_since and not in_work) else RunState.RUNNING
    if last.type == "STORE" and last.state == "FINISHED" and read and record is None:
        return RunState.FINISHED
    overdue = waited and read and not in_work and machine not in facts.at_work
    if not overdue and facts.now <= ended_at + LONGEST_WITHOUT_END:
        return RunState.RUNNING
    # A restore to a file system is a RESTORE alone (vplus-api.md 3.3).
    return RunState.FINISHED if last.state == "FINISHED" and last.type != "EXPORT" else RunState.UNKNOWN


def _open() -> QuerySet[Task]:
    """Return the first tasks of runs whose end is not known."""
    chained = Exists(ChainTask.objects.filter(task_guid=OuterRef("guid")))
    return Task.objects.filter(~chained, of_operation=False, run_guid="", run_ended=False)


def _runs_to_judge(changed_tasks: Collection[str]) -> list[Run]:
    """Return the open runs that there may be news of: of one whose first task goes on as before there is none."""
    news = Q(run_state="") | Q(live=False) | Q(guid__in=list(changed_tasks))
    heads = list(_open().filter(news).defer(*_UNREAD).order_by("first_seen_at", "guid"))
    return runs_of(heads, _further([head.guid for head in heads if head.type in DATA_TASKS]))


def _further(heads: Sequence[str]) -> QuerySet[Task]:
    return Task.objects.filter(run_guid__in=heads, of_operation=False).defer(*_UNREAD)


def _join(runs: Sequence[Run]) -> tuple[set[str], list[Run]]:
    """Join what can be told to go together; return guids of the runs that have more tasks now, and those to be judged."""
    unsettled = [
        run
        for run in runs
        if run.head.type in DATA_TASKS
        and run.head.virtual_machine_guid
        and (not run.head.run_state or not run.last.live)
    ]
    if not unsettled:
        return set(), list(runs)
    since = min(run.head.first_seen_at for run in unsettled) - LOOKED_BACK
    lately = Q(first_seen_at__gte=since) | Q(ended_seen_at__gte=since) | Q(live=True)
    about = Task.objects.filter(
        lately, virtual_machine_guid__in={run.head.virtual_machine_guid for run in unsettled}, type__in=DATA_TASKS
    )
    known: dict[str, list[Task]] = defaultdict(list)
    for task in about.defer(*_UNREAD):
        known[task.virtual_machine_guid].append(task)
    guids = [task.guid for tasks in known.values() for task in tasks]
    held = dict(ChainTask.objects.filter(task_guid__in=guids).values_list("task_guid", "attempt"))
    found: dict[str, str] = {}
    for tasks in known.values():
        found |= joined(tasks, held)
    if not found:
        return set(), list(runs)
    by_guid = {task.guid: task for tasks in known.values() for task in tasks}
    moved = [by_guid[guid] for guid in found]
    for task in moved:
        task.run_guid, task.run_state, task.run_ended = found[task.guid], "", False
    Task.objects.bulk_update(moved, ["run_guid", "run_state", "run_ended"], batch_size=WRITTEN_TOGETHER)
    heads = {run.head.guid: run.head for run in runs if run.head.guid not in found}
    # One that was thought to be over goes on where its next try, or its second stage, has come after all.
    heads |= {guid: by_guid[guid] for guid in found.values() if guid not in heads}
    return set(found.values()), runs_of(list(heads.values()), _further(list(heads)))


def _facts(runs: Sequence[Run], facts: Facts) -> Facts:
    """Read what is needed to judge these runs."""
    over = [run for run in runs if run.head.type in DATA_TASKS and not run.last.live]
    if not over:
        return facts
    machines = {run.head.virtual_machine_guid for run in over}
    facts.history_read_at = dict(
        VirtualMachine.objects.filter(guid__in=machines).values_list("guid", "history_read_at")
    )
    last = [run.last.guid for run in over]
    asked = Attempt.objects.filter(step__action="cancel", sent_at__isnull=False, target_guid__in=last)
    facts.asked_to_cancel = set(asked.values_list("target_guid", flat=True))
    live = Task.objects.filter(
        virtual_machine_guid__in=machines, live=True, type__in=["STORE", "IMPORT"], parent_guid=""
    )
    facts.at_work = set(live.values_list("virtual_machine_guid", flat=True))
    facts.records = _records([run for run in over if run.head.type in {"EXPORT", "STORE"}], facts.history_read_at)
    return facts


def _records(runs: Sequence[Run], history_read_at: Mapping[str, datetime | None]) -> dict[str, Backup]:
    """Return, by guid of a run's first task, the record that it makes: the named one, else the only one that can be."""
    if not runs:
        return {}
    machines = {run.head.virtual_machine_guid for run in runs}
    named = {guid for run in runs for guid in run.backup_names}
    since = min(run.head.first_seen_at for run in runs) - AROUND
    rows = list(
        Backup.objects.filter(virtual_machine_guid__in=machines).filter(Q(first_seen_at__gte=since) | Q(guid__in=named))
    )
    by_guid = {row.guid: row for row in rows}
    taken = _taken(by_guid, machines, since)
    found: dict[str, Backup] = {}
    nameless = []
    for run in runs:
        guids = run.backup_names
        if not guids:
            nameless.append(run)
        elif (row := by_guid.get(min(guids))) and row.virtual_machine_guid == run.head.virtual_machine_guid:
            found[run.head.guid] = row
    for run in nameless:
        export = run.firsts[-1]
        read_at = history_read_at.get(run.head.virtual_machine_guid)
        if (
            export.type != "EXPORT"
            or export.ended_seen_at is None
            or read_at is None
            or read_at <= export.ended_seen_at
        ):
            continue  # as long as the own record may still be missing, the only new one may be another's
        fitting = [
            row
            for row in rows
            if row.virtual_machine_guid == run.head.virtual_machine_guid
            and row.guid not in taken
            and _may_be_new(row, export)
            and within(export, row, earliest=export.window_start or export.first_seen_at)
        ]
        if len(fitting) == 1:
            taken.add(fitting[0].guid)
            found[run.head.guid] = fitting[0]
    return found


def _may_be_new(record: Backup, export: Task) -> bool:
    """Tell whether a record can have come with an export: nobody noted which were there before, as is done for operations."""
    if record.taken_at_source in (TimeSource.SNAPSHOT, TimeSource.LOCATION):
        return True  # its own time tells
    if record.finished_at is not None and record.finished_at < export.first_seen_at - AROUND:
        return False
    return record.first_seen_at >= export.first_seen_at


def _taken(guids: Iterable[str], machines: Collection[str], since: datetime) -> set[str]:
    """Return those of these records that an operation or another run makes, or that a task names."""
    chosen = list(guids)
    made = Operation.objects.filter(backup_guid__in=chosen).values_list("backup_guid", flat=True)
    of_runs = Task.objects.filter(run_backup_guid__in=chosen).values_list("run_backup_guid", flat=True)
    lately = Task.objects.filter(virtual_machine_guid__in=machines).filter(
        Q(first_seen_at__gte=since) | Q(ended_seen_at__gte=since) | Q(live=True)
    )
    named = lately.exclude(backup_guid="").values_list("backup_guid", flat=True)
    return {*made, *of_runs, *named}


def _record_guid(run: Run, facts: Facts) -> str:
    """Return the record that a run makes: also one that is only named so far."""
    record = facts.records.get(run.head.guid)
    if record is not None:
        return record.guid
    if run.head.type not in {"EXPORT", "STORE"}:
        return ""
    return run.head.run_backup_guid or next((task.backup_guid for task in run.tasks if task.backup_guid), "")
