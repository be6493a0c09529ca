"""When carriers are written anew, so that vPlus goes on firing at the promised wall times.

Pure. A plan says what vPlus must hold from one instant, until when that is exact, and when to write the next. A clock
matters only by its runs: the plan ends between the last run by the old offset and the first by the new one, at a moment
when no carrier, old or new, would fire wrongly, and outside the start windows (design.md 6, Time). That interval opens
as soon as the last run by the old offset had its window, so a portal that is down over the change has the longest time.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from enum import StrEnum
from itertools import pairwise

from vplus_bridge.protection.carriers import (
    Carrier,
    Deviation,
    carriers_at,
    deviations_of,
    differences,
    firing_seconds,
    instant,
    parts_at,
    seconds_of,
)
from vplus_bridge.protection.date_cover import LONGEST_RANGE
from vplus_bridge.protection.wall_time import (
    DAY,
    EPOCH,
    ExecutionType,
    LocalDate,
    Promise,
    instants_of,
    mistakes,
    offset_at,
    promised_seconds,
    selected_dates,
)

HORIZON = timedelta(days=300)
"""Within it no month of the year comes twice, so that each atom is one date (design.md 6, Time)."""
SHORTER_HORIZONS = (timedelta(days=150), timedelta(days=75), timedelta(days=35))
"""Tried where an accepted promise needs too many carriers later on: rewritten more often, but never off."""
ADMITTED_FOR = timedelta(days=730)
MARGIN = 120
"""Seconds between a rewrite and any firing: writing takes a moment, and firing may too."""
EARLY = 30 * DAY
"""How long before its horizon a plan is written anew, and how long before a far first run it must be exact."""
FAR = 250 * DAY
OVERTIME = 35 * DAY
"""How long after its horizon a plan goes on by its old offset where that costs nothing: late is an hour off, not silent."""
HALF_DAY = DAY // 2
BEHIND = 3
"""Dates looked at behind the end."""
GRID_MINUTES = 15


class Reason(StrEnum):
    """Why the plan ends."""

    CLOCK_CHANGE = "clock_change"
    HORIZON = "horizon"
    """No clock change is near. The next plan is often the same: compare the carriers, write only what differs."""
    HELD = "held"
    """Carriers would misfire first, just after a clock change: they are written inactive, and made active here."""
    PAUSED = "paused"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What vPlus must hold from `made_at` on. All times are aware UTC.

    Write the next plan at `rewrite_at`, planned for the instant of writing; any instant up to `rewrite_by` is as good,
    for HORIZON any `quiet_moment` up to it. After `rewrite_by` write at once: runs may be off, and `differences` says
    which. Both are None while paused.
    `deviations` are the runs until `rewrite_at` that cannot be as promised: of an INTERVAL around a clock change.
    """

    made_at: datetime
    carriers: tuple[Carrier, ...]
    horizon_end: datetime
    rewrite_at: datetime | None
    rewrite_by: datetime | None
    reason: Reason
    inside_window: bool = False
    """The rewrite falls within the start window of a run, because windows leave no other moment."""
    deviations: tuple[Deviation, ...] = ()

    def is_late(self, at_utc: datetime) -> bool:
        """Tell whether the next plan should have been written before this instant: runs may be off, ask `runs_off`."""
        return self.rewrite_by is not None and at_utc > self.rewrite_by


@dataclass(frozen=True, slots=True)
class CannotCarry:
    """vPlus cannot keep this promise with the schedules that we allow ourselves; the nearest ones that it can.

    `shifts` are the UTC days minus the local days on which its runs fall, other than 0. `schedule_words.refusal` says it.
    """

    promise: Promise
    shifts: frozenset[int]
    alternatives: tuple[Promise, ...]


def admit(promise: Promise, at_utc: datetime) -> Plan | CannotCarry:
    """Return the plan for now, if each plan of the next two years fits; for a promise that is being made or changed.

    Raises ValueError for a promise with mistakes.
    """
    found = _first_of_lasting(promise, at_utc)
    return found or _refusal(promise, at_utc)


def plan_carriers(promise: Promise, at_utc: datetime, horizon: timedelta = HORIZON) -> Plan | CannotCarry:
    """Return what vPlus must hold from this instant, for at most this horizon; or why it cannot be.

    Raises ValueError for a promise with mistakes.
    """
    return _plan(promise, seconds_of(at_utc), horizon) or _refusal(promise, at_utc)


def replan(promise: Promise, at_utc: datetime) -> Plan | CannotCarry:
    """Return the next plan of an accepted promise: with a shorter horizon rather than not at all."""
    at = seconds_of(at_utc)
    for horizon in (HORIZON, *SHORTER_HORIZONS):
        if found := _plan(promise, at, horizon):
            return found
    return _refusal(promise, at_utc)


def carrier_timeline(promise: Promise, start_utc: datetime, end_utc: datetime) -> Iterator[Plan | CannotCarry]:
    """Give the plans that follow each other when each is written anew at its `rewrite_at`; the last one covers the end.

    A `CannotCarry` is the last that is given.
    """
    at: datetime | None = start_utc
    while at is not None and at < end_utc:
        plan = replan(promise, at)
        yield plan
        at = plan.rewrite_at if isinstance(plan, Plan) else None


def runs_off(promise: Promise, plan: Plan, until_utc: datetime) -> tuple[Deviation, ...]:
    """Return the runs that are off before this instant because the plan was not followed by the next one in time.

    To be logged and told when the next plan is written at `until_utc`; those that the plan itself foresaw are its
    `deviations`. Empty when it was not late.
    """
    if plan.rewrite_by is None or not plan.is_late(until_utc):
        return ()
    return differences(promise, plan.carriers, plan.rewrite_by, until_utc)


def quiet_moment(promise: Promise, at_utc: datetime) -> datetime:
    """Return the first moment from this on at which carriers are best written, where no clock change decides it.

    Outside the start windows of the promised runs and a little away from any run; where windows leave no room within a
    day, as those of an interval do, only away from the runs.
    """
    return instant(_quiet(promise, seconds_of(at_utc))[0])


def _first_of_lasting(promise: Promise, at_utc: datetime) -> Plan | None:
    first = plan = _plan(promise, seconds_of(at_utc), HORIZON)
    while plan and plan.rewrite_at and plan.rewrite_at < at_utc + ADMITTED_FOR and not promise.any_date:
        plan = _plan(promise, seconds_of(plan.rewrite_at), HORIZON)
    return first if plan else None


@dataclass(frozen=True, slots=True)
class _Ending:
    """How a plan ends; seconds since the epoch."""

    reason: Reason
    exact_until: int
    """Carriers are asked to be exact for all that fires before."""
    rewrite_at: int
    rewrite_by: int
    inside_window: bool = False


def _plan(promise: Promise, at: int, horizon: timedelta) -> Plan | None:
    if found := mistakes(promise):
        raise ValueError(f"This promise cannot be planned: {found}")
    stream = selected_dates(promise, at // DAY + EPOCH - 2)
    days = [next(stream)]
    while all(second < at for second, _ in instants_of(promise, days[-1])):
        days.append(next(stream))
    ahead = (run for run in instants_of(promise, days[-1]) if run[0] >= at)
    first_run, offset = min(ahead, key=lambda run: run[0])
    base = at if first_run - at < FAR else first_run - EARLY
    end = base + int(horizon.total_seconds())
    days += _until(stream, end)
    ending = _at_clock_change(promise, days, at, offset)
    if ending is None or ending.exact_until > end:
        ending = _at_horizon(promise, base, end)
    carriers = _carriers(promise, offset, base, ending.exact_until)
    if carriers is None:
        return None
    held = _held(promise, carriers, at, first_run)
    if held:
        ending, carriers = held, tuple(replace(carrier, active=False) for carrier in carriers)
    return Plan(
        made_at=instant(at),
        carriers=carriers,
        horizon_end=instant(ending.exact_until),
        rewrite_at=instant(ending.rewrite_at) if promise.active else None,
        rewrite_by=instant(ending.rewrite_by) if promise.active else None,
        reason=ending.reason if promise.active else Reason.PAUSED,
        inside_window=ending.inside_window,
        deviations=deviations_of(promise, carriers, at, ending.rewrite_at),
    )


def _carriers(promise: Promise, offset: int, start: int, end: int) -> tuple[Carrier, ...] | None:
    exact = carriers_at(promise, offset, start, end)
    longer = min(end + OVERTIME, start + (LONGEST_RANGE - 2) * DAY)
    if exact is None or longer <= end or promise.any_date:
        return exact
    overtime = carriers_at(promise, offset, start, longer)
    if overtime is None or len(overtime) > len(exact):
        return exact
    return tuple(replace(carrier, valid_until=instant(end)) for carrier in overtime)


def _held(promise: Promise, carriers: tuple[Carrier, ...], at: int, first_run: int) -> _Ending | None:
    """Tell until when to hold the carriers back, if they fire before the first run.

    So it is for a while after a clock change, when the wall time of a date that is over comes a second time. An interval
    has such runs on the day of the change anyhow, and is not held for them.
    """
    wrong = firing_seconds(carriers, at, first_run)
    if not wrong or (promise.execution_type is ExecutionType.INTERVAL and wrong[-1] > first_run - 2 * DAY):
        return None
    ends = min(wrong[-1] + MARGIN, (wrong[-1] + first_run + 1) // 2)
    return _Ending(Reason.HELD, first_run, ends, first_run - MARGIN)


def _until(stream: Iterator[LocalDate], end: int) -> list[LocalDate]:
    """Return the dates up to the end, and some behind, which tell what the first ones behind it would do."""
    found: list[LocalDate] = []
    behind = 0
    while behind < BEHIND:
        found.append(next(stream))
        behind += (found[-1].ordinal - EPOCH - 1) * DAY > end
    return found


def _at_horizon(promise: Promise, base: int, end: int) -> _Ending:
    """End without a clock change, well before the horizon."""
    moment, inside_window = _quiet(promise, end - min(EARLY, (end - base) // 3))
    return _Ending(Reason.HORIZON, end, moment, end, inside_window)


def _quiet(promise: Promise, at: int) -> tuple[int, bool]:
    """Return the first moment of the next day that is outside start windows, or where there is none, between two runs."""
    runs = sorted(promised_seconds(promise, at - 2 * DAY, at + 2 * DAY))
    window = int(promise.window.total_seconds())
    moments = sorted(
        m for m in (at, *(run + rest + MARGIN for run in runs for rest in (0, window))) if at <= m <= at + DAY
    )
    outside = (m for m in moments if not any(run - MARGIN < m < run + window + MARGIN for run in runs))
    between = (m for m in moments if not any(abs(run - m) < MARGIN for run in runs))
    quiet = next(outside, None)
    return (next(between), True) if quiet is None else (quiet, False)


def _at_clock_change(promise: Promise, days: list[LocalDate], at: int, offset: int) -> _Ending | None:
    """End where the first run by another offset comes; None where all of these dates have the one.

    The old carriers are right until the wall time comes by their own offset when it should no longer (`closes`), the
    new ones from when they would last have fired too early (`opens`).
    """
    changed = (k for k, day in enumerate(days[:-BEHIND]) if _leaves(promise, day, at, offset))
    k = next(changed, None)
    if k is None:
        return None
    before, near = days[max(k - 1, 0) : k + 1], days[max(k - 1, 0) : k + 3]
    old = {second for day in before for second, other in instants_of(promise, day) if other == offset and second >= at}
    new = [(second, other) for day in near for second, other in instants_of(promise, day) if other != offset]
    first_new, offset_then = min(run for run in new if run[0] >= at)
    last_old = max(old)
    opens = max((f for f in _by_offset(promise, near, offset_then) if f < first_new), default=at)
    closes = min(f for f in [*_by_offset(promise, near, offset), first_new] if f > last_old)
    window = int(promise.window.total_seconds())
    by = closes - MARGIN
    for rest in (window, 0):
        since = max(last_old + rest, opens) + MARGIN
        if since <= by:
            return _Ending(
                Reason.CLOCK_CHANGE, closes, since if rest else (since + by) // 2, by, inside_window=not rest
            )
    if promise.execution_type is ExecutionType.TIME:
        since = last_old + window + MARGIN
        return _Ending(Reason.CLOCK_CHANGE, closes, since if since <= by else (last_old + closes) // 2, by, since > by)
    meant = {second for day in near for second, _ in instants_of(promise, day)}
    return _least_wrong(
        meant, set(_by_offset(promise, near, offset)), set(_by_offset(promise, near, offset_then)), last_old
    )


def _leaves(promise: Promise, day: LocalDate, at: int, offset: int) -> bool:
    """Tell whether a run of this date has another offset."""
    if day.first_offset == day.last_offset == offset:
        return False
    return any(second >= at and other != offset for second, other in instants_of(promise, day))


def _by_offset(promise: Promise, days: list[LocalDate], offset: int) -> list[int]:
    """Return when carriers for this offset fire for these dates."""
    return [(day.ordinal - EPOCH) * DAY + wall - offset for day in days for wall in promise.wall_seconds()]


def _least_wrong(meant: set[int], old: set[int], new: set[int], last_old: int) -> _Ending:
    """End an interval that runs through the clock change: where the fewest runs are too many or missing."""
    events = sorted(second for second in meant | old | new if last_old <= second < last_old + DAY)
    gaps = [(a, b) for a, b in pairwise(events) if b - a > 2 * MARGIN]

    def wrong(gap: tuple[int, int]) -> int:
        return sum((second in meant) != (second in (old if second <= gap[0] else new)) for second in events)

    since, until = min(gaps, key=wrong)
    return _Ending(Reason.CLOCK_CHANGE, until, (since + until) // 2, until - MARGIN, inside_window=True)


def _refusal(promise: Promise, at_utc: datetime) -> CannotCarry:
    at = seconds_of(at_utc)
    zone = promise.tzinfo
    ahead = range(at // DAY + EPOCH, at // DAY + EPOCH + ADMITTED_FOR.days)
    offsets = sorted({offset_at(zone, ordinal, HALF_DAY) for ordinal in ahead})
    shifts = {part.shift for offset in offsets for part in parts_at(promise, offset)} - {0}
    timed = promise.execution_type is ExecutionType.TIME
    nearest = _other_times(promise, offsets, at_utc) if timed else _shorter_interval(promise, offsets)
    return CannotCarry(promise, frozenset(shifts), nearest)


def _other_times(promise: Promise, offsets: list[int], at_utc: datetime) -> tuple[Promise, ...]:
    """Return the promise at the nearest time before and after that can be carried, on a grid of 15 minutes."""
    wished = promise.wall_seconds()[0] // 60
    tried: dict[tuple[int, ...], bool] = {tuple((wished * 60 - offset) // DAY for offset in offsets): False}
    found: dict[bool, Promise] = {}
    for minute in sorted(range(0, DAY // 60, GRID_MINUTES), key=lambda minute: abs(minute - wished)):
        later = minute > wished
        shifts = tuple((minute * 60 - offset) // DAY for offset in offsets)
        if later in found or tried.get(shifts) is False:
            continue
        other = replace(promise, time_of_day=time(minute // 60, minute % 60))
        if shifts not in tried:
            tried[shifts] = _first_of_lasting(other, at_utc) is not None
        if tried[shifts]:
            found[later] = other
    return tuple(found.values())


def _shorter_interval(promise: Promise, offsets: list[int]) -> tuple[Promise, ...]:
    """Return the interval cut down to the wall times that are on the same day in UTC all year, if it still repeats."""
    walls = [wall for wall in promise.wall_seconds() if all(0 <= wall - offset < DAY for offset in offsets)]
    if not walls:
        return ()
    first, last = (time(wall // 3600, wall // 60 % 60) for wall in (walls[0], walls[-1]))
    shorter = replace(promise, start=first, end=last)
    return () if mistakes(shorter) else (shorter,)
