"""When one schedule fires, whoever keeps it: a schedule of vPlus by its UTC rule, or one of ours by wall times.

Pure. vPlus's rule is ours read in UTC (vplus-api.md 3.9), so that both are a `Promise` and are computed alike.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from vplus_bridge.protection.promised_runs import Gap, longest_gap_of
from vplus_bridge.protection.wall_time import (
    DAY,
    BackupType,
    ExecutionType,
    Month,
    Occurrence,
    Promise,
    Weekday,
    promised_seconds,
)

DAY_MS = DAY * 1000
MINUTE_MS = 60_000
INTERVALS_WINDOW = timedelta(hours=6)
"""The longest that an interval's run is taken to wait, where vPlus says nothing (vplus-api.md 3.9)."""
LOOK_AHEAD_DAYS = (2, 9, 40, 400)


@dataclass(frozen=True, slots=True)
class Timetable:
    """One schedule as the ledger knows it.

    `key` names it for good. `guids` are the schedules of vPlus that carry it: what a task may name. `seconds_late` is
    what its firings lie behind the whole minute.
    """

    key: str
    guids: tuple[str, ...]
    fires: Promise
    window: timedelta
    seconds_late: int = 0

    def seconds(self, start: int, end: int) -> set[int]:
        """Return when it fires, start <= second < end since the epoch; nothing while it is not active."""
        if not self.fires.active:
            return set()
        late = self.seconds_late
        return {second + late for second in promised_seconds(self.fires, start - late, end - late)}

    def firings(self, since: datetime, until: datetime) -> list[datetime]:
        """Return when it fires, since < instant <= until, in order."""
        start, end = int(since.timestamp()) + 1, int(until.timestamp()) + 1
        return [datetime.fromtimestamp(second, UTC) for second in sorted(self.seconds(start, end))]

    def as_json(self) -> dict[str, Any]:
        """Return it in JSON's terms; `timetable_of` makes it of them again."""
        promise = self.fires
        return {
            "key": self.key,
            "guids": list(self.guids),
            "window_seconds": int(self.window.total_seconds()),
            "seconds_late": self.seconds_late,
            "backup_type": promise.backup_type.value,
            "execution_type": promise.execution_type.value,
            "zone": promise.zone,
            "time_of_day": _clock(promise.time_of_day),
            "start": _clock(promise.start),
            "end": _clock(promise.end),
            "frequency_seconds": None if promise.frequency is None else int(promise.frequency.total_seconds()),
            "days_of_week": [day.name for day in sorted(promise.days_of_week)],
            "months": [month.name for month in sorted(promise.months)],
            "occurrences": [occurrence.name for occurrence in sorted(promise.occurrences)],
            "active": promise.active,
        }


def timetable_of(spec: Mapping[str, Any]) -> Timetable:
    """Return the timetable that was kept."""
    every = spec["frequency_seconds"]
    return Timetable(
        key=spec["key"],
        guids=tuple(spec["guids"]),
        window=timedelta(seconds=spec["window_seconds"]),
        seconds_late=spec["seconds_late"],
        fires=Promise(
            backup_type=BackupType(spec["backup_type"]),
            execution_type=ExecutionType(spec["execution_type"]),
            zone=spec["zone"],
            days_of_week=frozenset(Weekday[name] for name in spec["days_of_week"]),
            time_of_day=_time(spec["time_of_day"]),
            start=_time(spec["start"]),
            end=_time(spec["end"]),
            frequency=None if every is None else timedelta(seconds=every),
            months=frozenset(Month[name] for name in spec["months"]),
            occurrences=frozenset(Occurrence[name] for name in spec["occurrences"]),
            start_window=timedelta(seconds=spec["window_seconds"]),
            active=spec["active"],
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UtcRule:
    """A schedule as vPlus words it: ms of a UTC day, names of days, months and occurrences."""

    guid: str
    active: bool
    execution_type: str
    backup_type: str
    days_of_week: Iterable[str]
    months: Iterable[str] = ()
    occurrences: Iterable[str] = ()
    hour_ms: int | None = None
    start_window_ms: int | None = None
    interval_ms: tuple[int, int, int] | None = None
    """From, until, every."""


def timetable_of_utc(rule: UtcRule) -> Timetable | None:
    """Return the timetable of a schedule of vPlus; None where what it tells does not say when it fires."""
    try:
        days = frozenset(Weekday[name] for name in rule.days_of_week)
        months = frozenset(Month[name] for name in rule.months)
        occurrences = frozenset(Occurrence[name.removesuffix("_IN_MONTH")] for name in rule.occurrences)
        execution = ExecutionType(rule.execution_type)
    except (KeyError, ValueError):
        return None  # a day, a month or a kind that this version does not know
    window = timedelta(milliseconds=rule.start_window_ms or 0)
    frequency = first = last = None
    if execution is ExecutionType.TIME:
        if rule.hour_ms is None or not 0 <= rule.hour_ms < DAY_MS:
            return None
        begins = rule.hour_ms
    else:
        if rule.interval_ms is None:
            return None
        begins, ends, every = rule.interval_ms
        if not (0 <= begins <= ends < DAY_MS and every >= MINUTE_MS):
            return None
        frequency = timedelta(milliseconds=every)
        window = min(frequency, window or INTERVALS_WINDOW)
        first, last = _at(begins), _at(ends - begins % MINUTE_MS if ends % MINUTE_MS < begins % MINUTE_MS else ends)
    timed = execution is ExecutionType.TIME
    # What is not an incremental makes a restore point by itself, whatever it is called.
    incremental = rule.backup_type == BackupType.INCREMENTAL
    return Timetable(
        key=f"vplus:{rule.guid}",
        guids=(rule.guid,),
        window=window,
        seconds_late=begins % MINUTE_MS // 1000,
        fires=Promise(
            backup_type=BackupType.INCREMENTAL if incremental else BackupType.FULL,
            execution_type=execution,
            zone="UTC",
            days_of_week=days,
            time_of_day=_at(begins) if timed else None,
            start=first,
            end=last,
            frequency=frequency,
            months=months,
            occurrences=occurrences,
            start_window=window,
            active=rule.active and bool(days),
        ),
    )


def gap_of(timetables: Iterable[Timetable], at: datetime) -> Gap | None:
    """Return the longest time without a run of these together, now or in the year to come; None without any run."""
    return longest_gap_of([(table.seconds, table.window) for table in timetables if table.fires.active], at)


def next_firing(timetables: Iterable[Timetable], after: datetime) -> datetime | None:
    """Return the first run of any of these after this instant; None where there is none in a year and a month."""
    active = [table for table in timetables if table.fires.active]
    for days in LOOK_AHEAD_DAYS if active else ():
        found = [table.firings(after, after + timedelta(days=days)) for table in active]
        if firsts := [firings[0] for firings in found if firings]:
            return min(firsts)
    return None


def _at(ms: int) -> time:
    minutes = ms // MINUTE_MS
    return time(minutes // 60, minutes % 60)


def _clock(at: time | None) -> str | None:
    return None if at is None else f"{at:%H:%M}"


def _time(clock: str | None) -> time | None:
    return None if clock is None else time.fromisoformat(clock)
