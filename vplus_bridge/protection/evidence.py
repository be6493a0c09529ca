"""Which tasks and backups are those of an expected run, and what became of it.

Pure: rows come as facts, the instant as an argument. A task names its run by `windowStart`, which is the instant at
which vPlus's schedule fired, and by its schedule; a server at its poorest tells neither, and then the machine and the
time decide. What a person asked for by itself is never a schedule's run.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

EXPORT, STORE = "EXPORT", "STORE"
AT_FIRING = timedelta(seconds=5)
"""A task's windowStart is the computed firing within this (design.md 6, Verdict)."""
FINISHED, FAILED, CANCELLED, QUEUED = "FINISHED", "FAILED", "CANCELLED", "QUEUED"
STORED = frozenset({"SUCCESS", "PARTIAL_SUCCESS", "SUCCESS_REMOVED"})
UNCLEAR_AFTER = timedelta(hours=24)
"""An export that ended well and led to nothing that anybody sees is given up on this long after the window."""


class Outcome(StrEnum):
    """What became of a run."""

    WAITING = "waiting"
    RUNNING = "running"
    STORED = "stored"
    FAILED = "failed"
    CANCELLED = "cancelled"
    MISSED = "missed"
    EXCUSED = "excused"


class Why(StrEnum):
    """What there is to say about an outcome."""

    NOTHING = ""
    EXPORT_FAILED = "export_failed"
    STORE_FAILED = "store_failed"
    BACKUP_FAILED = "backup_failed"
    """The record says so, and no task told at which stage."""
    LATE = "late"
    """It started after its window, or so much later that a person would ask."""
    NO_CONTACT = "no_contact"
    HISTORY_NOT_READ = "history_not_read"
    NOT_ON_PLATFORM = "not_on_platform"
    LEFT_POLICY = "left_policy"
    SCHEDULE_CHANGED = "schedule_changed"
    NO_TRACE = "no_trace"
    """It ran, and what it led to was never seen."""


HELD = "held"
"""The standing of a run whose machine, policy and schedule were as promised until its window was over."""
CALLED_OFF = (Why.NOT_ON_PLATFORM, Why.LEFT_POLICY, Why.SCHEDULE_CHANGED)
"""Why a run was not to be expected any more."""


@dataclass(frozen=True, slots=True)
class ExpectedFact:
    """One run of one machine: ``guids`` are the schedules of vPlus that may be named."""

    id: int
    due_at: datetime
    window_end: datetime
    guids: frozenset[str]
    backup_type: str = ""


@dataclass(frozen=True, slots=True)
class TaskFact:
    """A task of the machine. ``began_at`` is when it started, else when we first saw it."""

    guid: str
    type: str
    state: str
    began_at: datetime
    seen_at: datetime
    schedule_guid: str = ""
    window_start: datetime | None = None
    backup_type: str = ""
    backup_guid: str = ""
    parent_guid: str = ""
    live: bool = False


@dataclass(frozen=True, slots=True)
class BackupFact:
    """A backup record of the machine. ``at`` is its point in time, else the end of the copy, else our first sight."""

    guid: str
    status: str
    at: datetime
    schedule_guid: str = ""
    scheduled: bool | None = None
    """What the record says of its origin; None: nothing."""


@dataclass(slots=True)
class Evidence:
    """What belongs to one run."""

    exports: list[TaskFact] = field(default_factory=list)
    stores: list[TaskFact] = field(default_factory=list)
    backups: list[BackupFact] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What else is known of a run's machine and its schedule at the moment of judging.

    ``history_read_at`` and ``tasks_read_at`` are when the readings began that evidence comes from. ``outages`` are times
    without contact, the open one without an end.
    """

    history_read_at: datetime | None
    tasks_read_at: datetime | None
    outages: Sequence[tuple[datetime, datetime | None]] = ()
    standing: str = ""
    """HELD, or why the run was not to be expected until its window was over (`standing_of`); empty: not known yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one look found of a run's machine, policy and schedule. ``since``: when it became so, where that is known."""

    why: Why
    since: datetime | None = None


def standing_of(before: str, seen: Seen | None, over_at: datetime, now: datetime) -> str:
    """Return whether a run was to be expected until its window was over: HELD, why not, or "" while that is not known.

    ``seen`` is what calls it off at this look, None where nothing does; ``over_at`` when its window is over, and the time in
    which a change before that may be noted. What was found before stays: a machine that went and came back was away, and
    one that goes after the window was there for all of it.
    """
    if before:
        return before
    if seen is not None and (seen.since is None or seen.since <= over_at):
        return str(seen.why)
    return HELD if now >= over_at else ""


@dataclass(frozen=True, slots=True)
class Found:
    """What became of a run, as far as it is known."""

    outcome: Outcome
    why: Why = Why.NOTHING
    started_at: datetime | None = None
    task_guid: str = ""
    backup_guid: str = ""

    @property
    def open(self) -> bool:
        """Whether more is to come."""
        return self.outcome in (Outcome.WAITING, Outcome.RUNNING)


def belongings(
    runs: Sequence[ExpectedFact], tasks: Iterable[TaskFact], backups: Iterable[BackupFact], slack: timedelta
) -> dict[int, Evidence]:
    """Give each run of one machine what is its own; each task and backup goes to one run at most.

    ``runs`` are all that were due in the time that the evidence is from, in order. What belongs to an operation that a
    person asked for must have been left out. ``slack`` is how long after its window a run's backup may be dated.
    """
    found = {run.id: Evidence() for run in runs}
    ordered = sorted(tasks, key=lambda task: (task.window_start or task.began_at, task.seen_at, task.guid))
    by_task: dict[str, int] = {}
    for task in ordered:
        run = _run_of_export(task, runs, found) if task.type == EXPORT else None
        if run is not None:
            found[run.id].exports.append(task)
            by_task[task.guid] = run.id
    by_backup = {task.backup_guid: run_id for run_id, own in found.items() for task in own.exports if task.backup_guid}
    for task in ordered:
        if task.type == STORE:
            owner = by_task.get(task.parent_guid) or by_backup.get(task.backup_guid) or _last_export(task, found)
            if owner is not None:
                found[owner].stores.append(task)
                if task.backup_guid:
                    by_backup.setdefault(task.backup_guid, owner)
    for backup in sorted(backups, key=lambda backup: (backup.at, backup.guid)):
        owner = by_backup.get(backup.guid) or _run_of_backup(backup, runs, found, slack)
        if owner is not None:
            found[owner].backups.append(backup)
    return found


def _run_of_export(task: TaskFact, runs: Sequence[ExpectedFact], found: Mapping[int, Evidence]) -> ExpectedFact | None:
    if task.window_start is not None:
        fits = [run for run in runs if abs(task.window_start - run.due_at) <= AT_FIRING]
    else:
        # The poorest answer: the latest run that was due before it, as long as one may start.
        before = [run for run in runs if run.due_at - AT_FIRING <= task.began_at <= run.window_end + AT_FIRING]
        latest = max((run.due_at for run in before), default=None)
        fits = [run for run in before if run.due_at == latest]
    if task.schedule_guid:
        fits = [run for run in fits if task.schedule_guid in run.guids]
    # Of two at one instant the one of the same type, then the one that has nothing yet.
    return min(
        fits,
        key=lambda run: (
            bool(task.backup_type and run.backup_type) and task.backup_type != run.backup_type,
            bool(found[run.id].exports),
            run.id,
        ),
        default=None,
    )


def _last_export(store: TaskFact, found: Mapping[int, Evidence]) -> int | None:
    """Return the run whose export went before a store that names nothing, where it has no store yet."""
    if store.parent_guid or store.backup_guid:
        return None
    before = [
        (task.seen_at, run_id)
        for run_id, own in found.items()
        if not own.stores
        for task in own.exports
        if task.seen_at <= store.seen_at and task.state not in (FAILED, CANCELLED)
    ]
    return max(before)[1] if before else None


def _run_of_backup(
    backup: BackupFact, runs: Sequence[ExpectedFact], found: Mapping[int, Evidence], slack: timedelta
) -> int | None:
    if backup.scheduled is False:
        return None
    before = [run for run in runs if run.due_at - AT_FIRING <= backup.at <= run.window_end + slack]
    if backup.schedule_guid:
        before = [run for run in before if backup.schedule_guid in run.guids]
    before = [run for run in before if not found[run.id].backups]
    return max(before, key=lambda run: (run.due_at, bool(found[run.id].exports), -run.id)).id if before else None


def judge_run(run: ExpectedFact, own: Evidence, around: Circumstances, *, grace: timedelta, now: datetime) -> Found:
    """Tell what became of a run, by this instant. Evidence goes before absence, and absence counts only where we looked."""
    deadline = run.window_end + grace
    if not (own.exports or own.stores or own.backups):
        return Found(*_without_trace(run, around, deadline, now))
    started = min((task.began_at for task in own.exports), default=None)
    newest = max(own.exports, key=lambda task: (task.seen_at, task.guid), default=None)
    good = next((backup for backup in own.backups if backup.status in STORED), None)
    named = good or (own.backups[-1] if own.backups else None)
    outcome, why = _from_evidence(own, deadline + UNCLEAR_AFTER, now)
    if outcome is Outcome.STORED and good is not None and (started or good.at) > run.window_end + AT_FIRING:
        why = Why.LATE
    return Found(
        outcome,
        why,
        started,
        newest.guid if newest else "",
        named.guid if named else (newest.backup_guid if newest else ""),
    )


def _from_evidence(own: Evidence, given_up_at: datetime, now: datetime) -> tuple[Outcome, Why]:
    tasks = [*own.exports, *own.stores]
    living = [task for task in tasks if task.live]
    failed = _failed(own)
    if any(backup.status in STORED for backup in own.backups):
        return Outcome.STORED, Why.NOTHING
    if living:
        queued = not own.stores and all(task.state == QUEUED for task in living)
        return Outcome.WAITING if queued else Outcome.RUNNING, Why.NOTHING
    if any(task.state == CANCELLED for task in tasks):
        return Outcome.CANCELLED, Why.NOTHING
    if failed is not None:
        return Outcome.FAILED, failed
    return (Outcome.RUNNING, Why.NOTHING) if now < given_up_at else (Outcome.EXCUSED, Why.NO_TRACE)


def _failed(own: Evidence) -> Why | None:
    if any(task.state == FAILED for task in own.stores):
        return Why.STORE_FAILED
    if own.exports and all(task.state == FAILED for task in own.exports):
        return Why.EXPORT_FAILED
    if any(backup.status == FAILED for backup in own.backups):
        # Its record failed although no task did: between the two, so that the copy never came to its place.
        return Why.STORE_FAILED if own.exports else Why.BACKUP_FAILED
    return None


def _without_trace(run: ExpectedFact, around: Circumstances, deadline: datetime, now: datetime) -> tuple[Outcome, Why]:
    # vPlus may have been off when it was due; it fires nothing afterwards (vplus-api.md 3.9).
    no_contact = any(began <= run.due_at and (ended is None or ended >= run.due_at) for began, ended in around.outages)
    readings = (around.history_read_at, around.tasks_read_at)
    excuses = {
        **{why: around.standing == why for why in CALLED_OFF},
        Why.NO_CONTACT: no_contact,
        Why.HISTORY_NOT_READ: any(read_at is None or read_at < deadline for read_at in readings),
    }
    if now < deadline:
        return Outcome.WAITING, Why.NOTHING
    excuse = next((why for why, holds in excuses.items() if holds), None)
    return (Outcome.MISSED, Why.NOTHING) if excuse is None else (Outcome.EXCUSED, excuse)
