"""A schedule as people mean it: wall times in a zone, and the dates and instants that they select.

Pure: no Django, no rows, no clock of its own. The runs with what is odd about them are in `promised_runs.py`, what vPlus
must hold so that they come true in `carriers.py`, the words in `schedule_words.py`.
The rule of dates is vPlus's own, read on local dates (vplus-api.md 2.7, 3.9, 4.2): weekday, month and occurrence in
the month must all match; an empty set of months or occurrences means any. FIRST is day 1 to 7, SECOND 8 to 14, THIRD
15 to 21, FOURTH 22 to 28, LAST the last seven days of the month, so that a fourth that is also the last matches both.
Every rule with a day selects a date in each year: there is no way to say 29 February only.
"""

import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from enum import IntEnum, StrEnum
from functools import cache, lru_cache
from typing import TypeVar

Given = TypeVar("Given")

DAY = 86_400
"""Seconds of a UTC day."""
EPOCH = date(1970, 1, 1).toordinal()
LONGEST_MONTH_IN_WEEKS = 28
"""Days 29 to 31 are no FIRST to FOURTH: only LAST selects them."""

SHORTEST_FREQUENCY = timedelta(minutes=15)
SHORTEST_WINDOW = timedelta(minutes=5)
LONGEST_WINDOW = timedelta(hours=20)
"""A day before a clock change can have 23 hours; carriers are rewritten outside every window (design.md 6, Time)."""


class BackupType(StrEnum):
    """What vPlus is asked to make; an incremental without a base becomes a full (vplus-api.md 3.6)."""

    FULL = "FULL"
    INCREMENTAL = "INCREMENTAL"


class ExecutionType(StrEnum):
    """Once a day at a time, or again and again between two times."""

    TIME = "TIME"
    INTERVAL = "INTERVAL"


class Weekday(IntEnum):
    """Numbered as `date.weekday()` does; the names are vPlus's."""

    MONDAY = 0
    TUESDAY = 1
    WEDNESDAY = 2
    THURSDAY = 3
    FRIDAY = 4
    SATURDAY = 5
    SUNDAY = 6


class Month(IntEnum):
    """Numbered as `date.month`; the names are vPlus's."""

    JANUARY = 1
    FEBRUARY = 2
    MARCH = 3
    APRIL = 4
    MAY = 5
    JUNE = 6
    JULY = 7
    AUGUST = 8
    SEPTEMBER = 9
    OCTOBER = 10
    NOVEMBER = 11
    DECEMBER = 12


class Occurrence(IntEnum):
    """Which of its kind a weekday is in its month; vPlus's name has `_IN_MONTH` behind it."""

    FIRST = 1
    SECOND = 2
    THIRD = 3
    FOURTH = 4
    LAST = 5


NO_ZONES = frozenset({"localtime", "Factory"})
"""Listed where a system has them, but what they mean depends on the machine."""


@cache
def known_zones() -> frozenset[str]:
    """Return the IANA names that a schedule may bear."""
    return frozenset(zoneinfo.available_timezones()) - NO_ZONES


def first_ordinal_after(ordinal: int) -> int:
    """Return the ordinal of the first day of the next month."""
    day = date.fromordinal(ordinal)
    return date(day.year + day.month // 12, day.month % 12 + 1, 1).toordinal()


@lru_cache(maxsize=4096)
def occurrences_of(ordinal: int) -> frozenset[Occurrence]:
    """Return every occurrence that this date is, given as `date.toordinal()`: one or two of them."""
    day = date.fromordinal(ordinal).day
    found = {Occurrence((day - 1) // 7 + 1)} if day <= LONGEST_MONTH_IN_WEEKS else set()
    if first_ordinal_after(ordinal) - ordinal <= len(Weekday):
        found.add(Occurrence.LAST)
    return frozenset(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class Promise:
    """One schedule as its author means it: local wall times, never an offset.

    `time_of_day` belongs to TIME; `start`, `end` (inclusive) and `frequency` to INTERVAL; what the kind does not use is
    ignored. `zone` is an IANA name. Empty `months` or `occurrences` mean any. `start_window` is how late a run may start.
    A promise in which `mistakes()` finds some has no meaning: ask it first.
    """

    backup_type: BackupType
    execution_type: ExecutionType
    zone: str
    days_of_week: frozenset[Weekday]
    time_of_day: time | None = None
    start: time | None = None
    end: time | None = None
    frequency: timedelta | None = None
    months: frozenset[Month] = frozenset()
    occurrences: frozenset[Occurrence] = frozenset()
    start_window: timedelta = timedelta(hours=6)
    active: bool = True

    @property
    def tzinfo(self) -> tzinfo:
        """Return the zone's rules."""
        return zoneinfo.ZoneInfo(self.zone)

    @property
    def window(self) -> timedelta:
        """Return how late a run may really start: vPlus ends an interval's run when the next is due (vplus-api.md 3.9)."""
        if self.execution_type is ExecutionType.INTERVAL and self.frequency is not None:
            return min(self.start_window, self.frequency)
        return self.start_window

    @property
    def any_date(self) -> bool:
        """Tell whether only weekdays restrict the dates: all months and all occurrences are as good as none named."""
        return len(self.months) in (0, len(Month)) and len(self.occurrences) in (0, len(Occurrence))

    def selects(self, ordinal: int) -> bool:
        """Tell whether the rule selects this local date, given as `date.toordinal()`."""
        return (
            (ordinal + 6) % 7 in self.days_of_week
            and (not self.months or date.fromordinal(ordinal).month in self.months)
            and (not self.occurrences or not self.occurrences.isdisjoint(occurrences_of(ordinal)))
        )

    def wall_seconds(self) -> range:
        """Return the wall times of one selected date, as seconds after local midnight, in order."""
        if self.execution_type is ExecutionType.TIME:
            at = _seconds(_given(self.time_of_day))
            return range(at, at + 1)
        step = int(_given(self.frequency).total_seconds())
        return range(_seconds(_given(self.start)), _seconds(_given(self.end)) + 1, step)


def _given(value: Given | None) -> Given:
    if value is None:
        raise ValueError("This promise lacks a time that its kind needs; ask mistakes() first")
    return value


def _seconds(at: time) -> int:
    return at.hour * 3600 + at.minute * 60


class Mistake(StrEnum):
    """What can be wrong with a promise; `schedule_words.py` has the sentences and the remedies."""

    UNKNOWN_ZONE = "unknown_zone"
    NO_DAYS = "no_days"
    NO_TIME = "no_time"
    SECONDS = "seconds"
    NO_FREQUENCY = "no_frequency"
    END_BEFORE_START = "end_before_start"
    NEVER_AGAIN = "never_again"
    START_WINDOW = "start_window"


def mistakes(promise: Promise) -> dict[str, Mistake]:
    """Return what is wrong, by field; empty when the promise can be kept at some time. Its own fields name the keys."""
    found: dict[str, Mistake] = {}
    if promise.zone not in known_zones():
        found["zone"] = Mistake.UNKNOWN_ZONE
    if not promise.days_of_week:
        found["days_of_week"] = Mistake.NO_DAYS
    if promise.execution_type is ExecutionType.TIME:
        found |= _time_mistakes("time_of_day", promise.time_of_day)
    else:
        found |= _interval_mistakes(promise)
    if not SHORTEST_WINDOW <= promise.start_window <= LONGEST_WINDOW:
        found["start_window"] = Mistake.START_WINDOW
    return found


def _time_mistakes(field: str, at: time | None) -> dict[str, Mistake]:
    if at is None:
        return {field: Mistake.NO_TIME}
    if at.second or at.microsecond or at.tzinfo is not None:
        return {field: Mistake.SECONDS}
    return {}


def _interval_mistakes(promise: Promise) -> dict[str, Mistake]:
    found = _time_mistakes("start", promise.start) | _time_mistakes("end", promise.end)
    frequency = promise.frequency
    if frequency is None or frequency < SHORTEST_FREQUENCY or frequency % timedelta(minutes=1):
        found["frequency"] = Mistake.NO_FREQUENCY
    if found or promise.start is None or promise.end is None or frequency is None:
        return found
    start, end = _seconds(promise.start), _seconds(promise.end)
    if end < start:
        return {"end": Mistake.END_BEFORE_START}
    return {"frequency": Mistake.NEVER_AGAIN} if start + frequency.total_seconds() > end else {}


@dataclass(frozen=True, slots=True)
class LocalDate:
    """A selected date with the offsets in force at its first and its last wall time, in seconds; both by fold=0."""

    ordinal: int
    first_offset: int
    last_offset: int


def offset_at(zone: tzinfo, ordinal: int, wall: int) -> int:
    """Return the seconds east of UTC that map this wall time, by fold=0."""
    hour, rest = divmod(wall, 3600)
    at = datetime.combine(date.fromordinal(ordinal), time(hour, rest // 60, rest % 60), tzinfo=zone)
    offset = at.utcoffset()
    if offset is None:
        raise ValueError(f"{zone} does not know its offset")
    return offset.days * DAY + offset.seconds


def selected_dates(promise: Promise, first: int) -> Iterator[LocalDate]:
    """Give the selected dates from this ordinal on, without end, with their offsets."""
    zone, walls = promise.tzinfo, promise.wall_seconds()
    for ordinal in filter(promise.selects, range(first, date.max.toordinal() - 1)):
        offset = offset_at(zone, ordinal, walls[0])
        yield LocalDate(ordinal, offset, offset if len(walls) == 1 else offset_at(zone, ordinal, walls[-1]))


def instants_of(promise: Promise, day: LocalDate) -> list[tuple[int, int]]:
    """Return the runs of one date as (seconds since the epoch, offset), in order of wall time."""
    midnight, walls = (day.ordinal - EPOCH) * DAY, promise.wall_seconds()
    if day.first_offset == day.last_offset:
        return [(midnight + wall - day.first_offset, day.first_offset) for wall in walls]
    zone = promise.tzinfo
    offsets = [(wall, offset_at(zone, day.ordinal, wall)) for wall in walls]
    return [(midnight + wall - offset, offset) for wall, offset in offsets]


def promised_seconds(promise: Promise, start: int, end: int) -> set[int]:
    """Return the promised instants, start <= second < end since the epoch, active or not."""
    found: set[int] = set()
    for day in selected_dates(promise, start // DAY + EPOCH - 2):
        if (day.ordinal - EPOCH - 1) * DAY >= end:
            break
        found.update(second for second, _ in instants_of(promise, day) if start <= second < end)
    return found
