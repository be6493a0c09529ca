"""The runs that a promise means: for the preview, for the ledger, and how long a machine may at most wait for one.

Pure. Gap and overlap of a zone's clock are told with each run that they touch: a wall time that does not exist runs later
by the length of the gap (zoneinfo, fold=0), one that comes twice runs the first time, and two wall times of one instant
(a gap has both) are one run.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from functools import partial
from itertools import islice, pairwise

from vplus_bridge.protection.wall_time import DAY, Promise, promised_seconds

LOOK_BACK = (2, 40, 400)
"""Days in which the last run before an instant is looked for; every rule runs at least once in the longest of them."""
LOOK_AHEAD = timedelta(days=400)
"""The coming year, and enough behind it to hold the next run of a yearly rule."""


class Oddity(StrEnum):
    """What is odd about a run; `schedule_words.note` says it."""

    SKIPPED_TIME = "skipped_time"
    """The clock leaves this wall time out: it runs later that day."""
    SKIPPED_DAY = "skipped_day"
    """The gap takes it to another date, as where a zone crossed the date line."""
    COMES_TWICE = "comes_twice"
    """The clock shows this wall time twice: it runs the first time only."""


@dataclass(frozen=True, slots=True)
class Run:
    """One promised run.

    `promised` is the wall time that the rule names, without a zone; `local` what the clock of the zone shows when it
    runs, which differs only in a gap; `utc` the same instant.
    """

    promised: datetime
    local: datetime
    utc: datetime
    oddity: Oddity | None


def expected_runs(promise: Promise, since_utc: datetime, until_utc: datetime) -> list[Run]:
    """Return the runs with since <= instant < until, in order of time; none while the promise is not active.

    Each instant is given once. The promise must be free of mistakes.
    """
    if not promise.active:
        return []
    first, last = since_utc.astimezone(UTC).toordinal(), until_utc.astimezone(UTC).toordinal()
    # A zone is less than a day from UTC, and a gap, which was a whole day on the date line, puts a run off by its length.
    return [
        run
        for run in _runs_of_dates(promise, filter(promise.selects, range(first - 2, last + 2)))
        if since_utc <= run.utc < until_utc
    ]


def next_runs(promise: Promise, count: int, after_utc: datetime) -> list[Run]:
    """Return the next `count` runs at or after this instant, in order of time; none while the promise is not active."""
    if not promise.active:
        return []
    first = after_utc.astimezone(UTC).toordinal() - 2
    dates = filter(promise.selects, range(first, date.max.toordinal() - 1))
    ahead = (run for run in _runs_of_dates(promise, dates) if run.utc >= after_utc)
    return list(islice(ahead, count))


def _runs_of_dates(promise: Promise, dates: Iterable[int]) -> Iterator[Run]:
    """Give the runs of these dates in order of time, each instant once; a date is held back until its next is known."""
    zone, walls = promise.tzinfo, promise.wall_seconds()
    held: list[Run] = []
    for ordinal in dates:
        midnight = datetime.combine(date.fromordinal(ordinal), time())
        runs = [_run(midnight + timedelta(seconds=wall), zone) for wall in walls]
        begins = min(run.utc for run in runs)
        yield from _once([run for run in held if run.utc < begins])
        held = [run for run in held if run.utc >= begins] + runs
    yield from _once(held)


def _once(runs: list[Run]) -> list[Run]:
    """Order runs by time and keep the first of those that share an instant."""
    by_instant: dict[datetime, Run] = {}
    for run in runs:
        by_instant.setdefault(run.utc, run)
    return [by_instant[instant] for instant in sorted(by_instant)]


def _run(wall: datetime, zone: tzinfo) -> Run:
    meant = wall.replace(tzinfo=zone)
    utc = meant.astimezone(UTC)
    local = utc.astimezone(zone)
    shown = local.replace(tzinfo=None)
    oddity = None
    if shown != wall:
        oddity = Oddity.SKIPPED_TIME if shown.date() == wall.date() else Oddity.SKIPPED_DAY
    elif meant.utcoffset() != meant.replace(fold=1).utcoffset():
        oddity = Oddity.COMES_TWICE
    return Run(promised=wall, local=local, utc=utc, oddity=oddity)


@dataclass(frozen=True, slots=True)
class Gap:
    """The longest time without a promised run: from one run to the next, and how late that next one may start."""

    begins: datetime
    ends: datetime
    start_window: timedelta

    @property
    def length(self) -> timedelta:
        """Return the time between the two runs."""
        return self.ends - self.begins

    @property
    def allowance(self) -> timedelta:
        """Return how old a restore point may be while the promise is kept; the grace for making it comes on top."""
        return self.length + self.start_window


def longest_gap(promises: Iterable[Promise], at_utc: datetime) -> Gap | None:
    """Return the longest gap between the runs of these promises together, now or in the year to come; None without one.

    For all promises that touch one virtual machine. The gap that is open at this instant counts, so the last run before
    it is computed too, by the rule, also for a promise that was made only since. Promises that are not active do not
    count. The longest is the one with the greatest allowance; where promises share an instant the shorter window counts,
    since either makes a restore point.
    """
    active = (promise for promise in promises if promise.active)
    return longest_gap_of([(partial(promised_seconds, promise), promise.window) for promise in active], at_utc)


Fires = Callable[[int, int], set[int]]
"""Gives the instants of a rule, start <= second < end since the epoch."""


def longest_gap_of(rules: Iterable[tuple[Fires, timedelta]], at_utc: datetime) -> Gap | None:
    """Do what `longest_gap` does for whatever fires; with each rule how late its runs may start."""
    at = int(at_utc.timestamp())
    until = at + int(LOOK_AHEAD.total_seconds())
    windows: dict[int, int] = {}
    for fires, length in rules:
        window = int(length.total_seconds())
        for second in _last_before(fires, at) | fires(at, until):
            windows[second] = min(window, windows.get(second, window))
    if not windows:
        return None
    begins, ends = max(
        ((one, other) for one, other in pairwise(sorted(windows)) if other >= at),
        key=lambda gap: gap[1] - gap[0] + windows[gap[1]],
    )
    return Gap(datetime.fromtimestamp(begins, UTC), datetime.fromtimestamp(ends, UTC), timedelta(seconds=windows[ends]))


def _last_before(fires: Fires, at: int) -> set[int]:
    for days in LOOK_BACK:
        if found := fires(at - days * DAY, at):
            return {max(found)}
    return set()
