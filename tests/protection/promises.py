"""Promises for tests: short to write, or drawn at random over zones, dates and rules."""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from vplus_bridge.protection.wall_time import (
    BackupType,
    ExecutionType,
    Month,
    Occurrence,
    Promise,
    Weekday,
    known_zones,
)

MON, TUE, WED, THU, FRI, SAT, SUN = Weekday
EVERY_DAY = tuple(Weekday)
WORKDAYS = (MON, TUE, WED, THU, FRI)

TELLING_ZONES = [
    "America/New_York",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Casablanca",
    "America/St_Johns",
    "Europe/Berlin",
    "Europe/Dublin",
    "Asia/Singapore",
    "America/Los_Angeles",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "America/Nuuk",
    "Asia/Gaza",
    "Africa/Cairo",
    "Antarctica/Troll",
    "Etc/GMT+12",
    "UTC",
]


def _promise(zone: str, days: Any, months: Any, occurrences: Any, rest: dict[str, Any]) -> Promise:
    return Promise(
        **{
            "backup_type": BackupType.FULL,
            "zone": zone,
            "days_of_week": frozenset(days),
            "months": frozenset(Month(month) for month in months),
            "occurrences": frozenset(Occurrence(occurrence) for occurrence in occurrences),
            **rest,
        }
    )


def at(
    clock: str, zone: str, days: Any = EVERY_DAY, *, months: Any = (), occurrences: Any = (), **rest: Any
) -> Promise:
    """Return a promise to run at one time of day."""
    timed = {"execution_type": ExecutionType.TIME, "time_of_day": time.fromisoformat(clock)}
    return _promise(zone, days, months, occurrences, timed | rest)


def every(
    minutes: int,
    start: str,
    end: str,
    zone: str,
    days: Any = EVERY_DAY,
    *,
    months: Any = (),
    occurrences: Any = (),
    **rest: Any,
) -> Promise:
    """Return a promise to run again and again."""
    repeated = {
        "execution_type": ExecutionType.INTERVAL,
        "start": time.fromisoformat(start),
        "end": time.fromisoformat(end),
        "frequency": timedelta(minutes=minutes),
    }
    return _promise(zone, days, months, occurrences, repeated | rest)


zones = st.sampled_from(TELLING_ZONES) | st.sampled_from(sorted(known_zones()))
starts = st.integers(
    int(datetime(2008, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2036, 1, 1, tzinfo=UTC).timestamp())
).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
"""From the Samoan day that was left out, to as far as anybody plans."""
some_days = st.sets(st.sampled_from(Weekday), min_size=1, max_size=2) | st.sets(st.sampled_from(Weekday), min_size=1)
some_months = st.sets(st.sampled_from(Month), min_size=1)
some_occurrences = st.sets(st.sampled_from(Occurrence), min_size=1, max_size=1) | st.sets(
    st.sampled_from(Occurrence), min_size=1
)
windows = st.sampled_from([timedelta(hours=6), timedelta(minutes=5), timedelta(hours=20)])
rules: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {},
        {"occurrences": some_occurrences},
        {"months": some_months},
        {"months": some_months, "occurrences": some_occurrences},
    ]
).flatmap(lambda dates: st.fixed_dictionaries({"days": some_days, "start_window": windows, **dates}))
"""A quarter of them by weekdays alone; the rest need products of months and occurrences once they cross UTC midnight."""


def clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def offset_minutes(zone: str) -> int:
    east = datetime(2026, 1, 15, tzinfo=UTC).astimezone(ZoneInfo(zone)).utcoffset()
    return int(east / timedelta(minutes=1)) if east else 0


@st.composite
def minutes_in(draw: st.DrawFn, zone: str) -> int:
    """Draw a wall time, half of the time one that falls on another day in UTC where the zone has such."""
    east = offset_minutes(zone)
    if east and draw(st.booleans()):
        return draw(st.integers(0, east - 1)) if east > 0 else draw(st.integers(24 * 60 + east, 24 * 60 - 1))
    return draw(st.integers(0, 24 * 60 - 1))


@st.composite
def _timed(draw: st.DrawFn) -> Promise:
    zone = draw(zones)
    return at(clock(draw(minutes_in(zone))), zone, **draw(rules))


@st.composite
def _repeated(draw: st.DrawFn) -> Promise:
    zone = draw(zones)
    minutes = draw(st.sampled_from([15, 20, 30, 45, 60, 90, 120, 180, 240, 420]))
    if draw(st.booleans()):
        # Through the hours at which clocks change, often enough to meet the repeated hour.
        night = clock(draw(st.integers(0, 90))), clock(draw(st.integers(4 * 60, 24 * 60 - 1)))
        return every(min(minutes, 120), *night, zone, **draw(rules))
    one, other = sorted((draw(minutes_in(zone)), draw(st.integers(0, 24 * 60 - 1))))
    start = min(one, 24 * 60 - 1 - minutes)
    return every(minutes, clock(start), clock(max(other, start + minutes)), zone, **draw(rules))


timed_promises = _timed()
repeated_promises = _repeated()
