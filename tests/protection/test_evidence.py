"""What became of a run: a week of everything that can happen, right at each hour; pure, the instant is an argument."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vplus_bridge.protection.evidence import (
    BackupFact,
    Circumstances,
    Evidence,
    ExpectedFact,
    Found,
    Outcome,
    TaskFact,
    Why,
    belongings,
    judge_run,
)

MONDAY = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
WINDOW, GRACE = 6 * HOUR, HOUR
DEADLINE = WINDOW + GRACE
NAMED = frozenset({"s-1"})


def due(day: int) -> datetime:
    return MONDAY + day * DAY


def run(day: int, **members: object) -> ExpectedFact:
    return replace(ExpectedFact(day, due(day), due(day) + WINDOW, NAMED, "FULL"), **members)  # type: ignore[arg-type]


def export(day: int, state: str, after: timedelta = MINUTE, **members: object) -> TaskFact:
    """An export of a day's run as a server words it that tells all; seen and begun ``after`` its time."""
    at = due(day) + after
    task = TaskFact(f"e-{day}", "EXPORT", state, at, at, "s-1", due(day), "FULL", f"b-{day}")
    return replace(task, live=state in {"QUEUED", "RUNNING"}, **members)  # type: ignore[arg-type]


def store(day: int, state: str, after: timedelta, **members: object) -> TaskFact:
    at = due(day) + after
    task = TaskFact(f"s-{day}", "STORE", state, at, at, backup_guid=f"b-{day}", parent_guid=f"e-{day}")
    return replace(task, live=state in {"QUEUED", "RUNNING"}, **members)  # type: ignore[arg-type]


def poor(task: TaskFact) -> TaskFact:
    """The same from a server at its poorest: guid, type, state, machine."""
    return replace(task, schedule_guid="", window_start=None, backup_type="", backup_guid="", parent_guid="")


class Week:
    """One machine, a schedule at 02:00 with a window of six hours, and what a reader of vPlus sees at each moment.

    Monday is stored, Tuesday's does not happen, Wednesday's starts late, Thursday's export fails, Friday's store fails,
    Saturday's is cancelled, Sunday's falls into an outage; the next Monday's history is not read in time.
    """

    outage = (due(6) - HOUR, due(6) + 2 * HOUR)
    unread_until = due(7) + 20 * HOUR
    tasks = (
        (due(0), due(0) + HOUR, export(0, "RUNNING")),
        (due(0) + HOUR, due(0) + 2 * HOUR, export(0, "FINISHED")),
        (due(0) + HOUR, due(0) + 2 * HOUR, store(0, "RUNNING", HOUR)),
        (due(0) + 2 * HOUR, None, export(0, "FINISHED")),
        (due(0) + 2 * HOUR, None, store(0, "FINISHED", HOUR)),
        (due(2), due(2) + 5 * HOUR, export(2, "QUEUED", MINUTE)),
        (due(2) + 5 * HOUR, due(2) + 9 * HOUR, export(2, "RUNNING", 5 * HOUR)),
        (due(2) + 9 * HOUR, None, export(2, "FINISHED", 5 * HOUR)),
        (due(3), due(3) + HOUR, export(3, "RUNNING")),
        (due(3) + HOUR, None, export(3, "FAILED")),
        (due(4), due(4) + HOUR, export(4, "RUNNING")),
        (due(4) + HOUR, None, export(4, "FINISHED")),
        (due(4) + HOUR, due(4) + 3 * HOUR, store(4, "RUNNING", HOUR)),
        (due(4) + 3 * HOUR, None, store(4, "FAILED", HOUR)),
        (due(5), due(5) + HOUR, export(5, "RUNNING")),
        (due(5) + HOUR, None, export(5, "CANCELLED")),
    )
    backups = (
        (due(0) + 2 * HOUR, BackupFact("b-0", "SUCCESS", due(0) + 2 * MINUTE, "s-1", True)),
        (due(2) + 10 * HOUR, BackupFact("b-2", "SUCCESS", due(2) + 5 * HOUR, "s-1", True)),
        (due(3) + HOUR, BackupFact("b-3", "FAILED", due(3) + MINUTE, "s-1", True)),
        (due(4) + 3 * HOUR, BackupFact("b-4", "FAILED", due(4) + MINUTE, "s-1", True)),
        (due(5) + HOUR, BackupFact("b-5", "FAILED", due(5) + MINUTE, "s-1", True)),
    )

    def __init__(self, poorest: bool) -> None:
        self.poorest = poorest

    def at(self, now: datetime) -> dict[int, Found]:
        """What became of each run, as far as it is known at this moment."""
        read_at = now
        if now < self.unread_until and now >= due(7):
            read_at = due(7)  # the last Monday's history comes late
        if self.outage[0] <= now < self.outage[1]:
            read_at = self.outage[0]
        seen = [task for since, until, task in self.tasks if since <= read_at and (until is None or read_at < until)]
        backups = [backup for since, backup in self.backups if since <= read_at]
        if self.poorest:
            seen = [poor(task) for task in seen]
            backups = [replace(backup, schedule_guid="", scheduled=None) for backup in backups]
        runs = [run(day, guids=NAMED) for day in range(8) if due(day) <= now]
        own = belongings(runs, seen, backups, slack=GRACE)
        outage = (self.outage[0], self.outage[1] if now >= self.outage[1] else None)
        outages = [outage] if now >= self.outage[0] else []
        around = Circumstances(history_read_at=read_at, tasks_read_at=read_at, outages=outages)
        return {one.id: judge_run(one, own[one.id], around, grace=GRACE, now=now) for one in runs}


BY_HAND: dict[int, list[tuple[timedelta, str]]] = {
    0: [(2 * HOUR, "running"), (99 * DAY, "stored")],
    1: [(DEADLINE, "waiting"), (99 * DAY, "missed")],
    2: [(5 * HOUR, "waiting"), (10 * HOUR, "running"), (99 * DAY, "stored")],
    3: [(HOUR, "running"), (99 * DAY, "failed export_failed")],
    4: [(3 * HOUR, "running"), (99 * DAY, "failed store_failed")],
    5: [(HOUR, "running"), (99 * DAY, "cancelled")],
    6: [(DEADLINE, "waiting"), (99 * DAY, "excused no_contact")],
    7: [(DEADLINE, "waiting"), (20 * HOUR, "excused history_not_read"), (99 * DAY, "missed")],
}
"""The same week told by hand: what a person who sees everything would say of each run, until how long after its time."""


def expected(day: int, now: datetime) -> str:
    return next(said for until, said in BY_HAND[day] if now - due(day) < until)


@pytest.mark.parametrize("poorest", [False, True])
def test_a_week_is_right_at_each_hour(poorest: bool) -> None:
    week = Week(poorest)
    for hour in range(24 * 9):
        now = MONDAY + hour * HOUR
        said = {day: f"{found.outcome} {found.why}".strip() for day, found in week.at(now).items()}
        assert said == {day: expected(day, now) for day in said}, f"{hour} h after the first run"


def test_a_run_that_started_behind_its_window_says_so() -> None:
    late = export(0, "FINISHED", 7 * HOUR)
    own = Evidence([late], [], [BackupFact("b-0", "SUCCESS", due(0) + 7 * HOUR)])
    found = judge_run(run(0), own, seen(due(1)), grace=GRACE, now=due(1))
    assert (found.outcome, found.why, found.started_at) == (Outcome.STORED, Why.LATE, due(0) + 7 * HOUR)


def seen(at: datetime) -> Circumstances:
    return Circumstances(history_read_at=at, tasks_read_at=at)


@pytest.mark.parametrize(
    ("around", "why"),
    [
        ({"standing": "not_on_platform"}, Why.NOT_ON_PLATFORM),
        ({"standing": "left_policy"}, Why.LEFT_POLICY),
        ({"standing": "schedule_changed"}, Why.SCHEDULE_CHANGED),
        ({"history_read_at": None}, Why.HISTORY_NOT_READ),
        ({"tasks_read_at": due(0)}, Why.HISTORY_NOT_READ),
        ({"outages": [(due(0) - HOUR, None)]}, Why.NO_CONTACT),
    ],
)
def test_absence_counts_only_where_we_looked(around: dict[str, object], why: Why) -> None:
    found = judge_run(run(0), Evidence(), replace(seen(due(1)), **around), grace=GRACE, now=due(1))  # type: ignore[arg-type]
    assert (found.outcome, found.why) == (Outcome.EXCUSED, why)


def test_an_outage_that_did_not_touch_the_firing_excuses_nothing() -> None:
    outages = [(due(0) + HOUR, due(0) + 3 * HOUR), (due(0) - 3 * HOUR, due(0) - HOUR)]
    around = replace(seen(due(1)), outages=outages)
    assert judge_run(run(0), Evidence(), around, grace=GRACE, now=due(1)).outcome == Outcome.MISSED


def test_a_retry_is_followed_and_its_failure_forgotten() -> None:
    failed, again = export(0, "FAILED"), export(0, "RUNNING", HOUR, guid="e-0-again")
    own = belongings([run(0)], [failed, again], [], slack=GRACE)[0]
    assert judge_run(run(0), own, seen(due(0) + HOUR), grace=GRACE, now=due(0) + HOUR).outcome == Outcome.RUNNING
    good = BackupFact("b-0", "SUCCESS", due(0) + HOUR)
    own = belongings([run(0)], [failed, replace(again, state="FINISHED", live=False)], [good], slack=GRACE)[0]
    assert judge_run(run(0), own, seen(due(1)), grace=GRACE, now=due(1)).outcome == Outcome.STORED


def test_a_task_of_another_schedule_or_another_time_is_not_this_run() -> None:
    for other in (
        export(0, "FINISHED", schedule_guid="s-9"),
        export(0, "FINISHED", window_start=due(0) + 6 * timedelta(seconds=1)),
    ):
        assert belongings([run(0)], [other], [], slack=GRACE)[0].exports == []
    near = export(0, "FINISHED", window_start=due(0) + timedelta(seconds=5))
    assert belongings([run(0)], [near], [], slack=GRACE)[0].exports == [near]


def test_a_backup_that_a_person_made_is_no_schedules_run() -> None:
    by_hand = BackupFact("b-9", "SUCCESS", due(0) + HOUR, "", False)
    assert belongings([run(0)], [], [by_hand], slack=GRACE)[0].backups == []


def test_two_schedules_at_one_instant_have_a_task_each() -> None:
    full, incremental = (
        run(0, guids=frozenset({"s-1"})),
        run(1, due_at=due(0), window_end=due(0) + WINDOW, guids=frozenset({"s-2"}), backup_type="INCREMENTAL"),
    )
    tasks = [poor(export(0, "FINISHED", guid="x")), poor(export(0, "FINISHED", guid="y"))]
    own = belongings([full, incremental], tasks, [], slack=GRACE)
    assert [len(evidence.exports) for evidence in own.values()] == [1, 1]
    named = [
        export(0, "FINISHED", guid="x", schedule_guid="s-2", backup_type="INCREMENTAL"),
        export(0, "FINISHED", guid="y"),
    ]
    own = belongings([full, incremental], named, [], slack=GRACE)
    assert [evidence.exports[0].guid for evidence in own.values()] == ["y", "x"]


STATES = st.sampled_from(["QUEUED", "RUNNING", "FINISHED", "FAILED", "CANCELLED"])


@st.composite
def tasks(draw: st.DrawFn) -> list[TaskFact]:
    found = []
    for number in range(draw(st.integers(0, 6))):
        state, kind = draw(STATES), draw(st.sampled_from(["EXPORT", "STORE"]))
        at = due(0) + timedelta(minutes=draw(st.integers(-60, 60 * 48)))
        task = TaskFact(f"t-{number}", kind, state, at, at, live=state in {"QUEUED", "RUNNING"})
        if draw(st.booleans()):
            task = replace(task, window_start=due(draw(st.integers(0, 2))))
        found.append(task)
    return found


@settings(max_examples=60, deadline=None)
@given(tasks())
def test_each_task_belongs_to_one_run_at_most_and_no_run_says_missed_that_has_one(found: list[TaskFact]) -> None:
    runs = [run(day) for day in range(3)]
    own = belongings(runs, found, [], slack=GRACE)
    held = [task.guid for evidence in own.values() for task in [*evidence.exports, *evidence.stores]]
    assert len(held) == len(set(held))
    for one in runs:
        judged = judge_run(one, own[one.id], seen(due(9)), grace=GRACE, now=due(9))
        assert (judged.outcome == Outcome.MISSED) == (not own[one.id].exports and not own[one.id].stores)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 24 * 60), min_size=2, max_size=6), st.integers(0, 24 * 60))
def test_what_is_missed_stays_missed_as_time_goes_on(minutes: list[int], read_after: int) -> None:
    """Time alone makes waiting into missed, and never missed into anything else."""
    read_at = due(0) + timedelta(minutes=read_after)
    order = ["waiting", "excused", "missed"]
    said = [
        order.index(judge_run(run(0), Evidence(), seen(max(read_at, now)), grace=GRACE, now=now).outcome)
        for now in sorted(due(0) + timedelta(minutes=minute) for minute in minutes)
    ]
    assert all(before <= after for before, after in pairwise(said))
