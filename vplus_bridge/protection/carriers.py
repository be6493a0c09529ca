"""What vPlus must hold in UTC so that a promise comes true: its schedules, which we call carriers, and when they fire.

Pure. vPlus knows UTC only: weekday, month and occurrence are those of the UTC day (vplus-api.md 3.9). Under one offset
from UTC a promise is carried by schedules whose weekdays are shifted where the wall time falls on another UTC day. Where
months or occurrences restrict it too, the shifted dates are said by `date_cover.py`. An interval that crosses UTC
midnight is carried in two parts, because `endHour` before `startHour` is nothing that vPlus documents.
When carriers must be written anew is decided in `rewriting.py`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from vplus_bridge.protection.date_cover import Product, cover
from vplus_bridge.protection.wall_time import (
    DAY,
    EPOCH,
    BackupType,
    ExecutionType,
    Month,
    Occurrence,
    Promise,
    Weekday,
    occurrences_of,
    promised_seconds,
)

MAX_CARRIERS = 8
"""How many schedules of vPlus may carry one of ours."""
DAY_MS = DAY * 1000
SUSPICIOUS_MS = 60_000
"""Below this a time or a length that is not 0 is most likely seconds where milliseconds belong (vplus-api.md 4.3)."""
PAIRED_WITHIN = 3 * 3600
"""Seconds; a run this near to the missing one is the same at a wrong time: off the date line no clock changes by more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """From `start_hour_ms`, every `frequency_ms`, while not after `end_hour_ms`: ms of a UTC day (vplus-api.md 2.7)."""

    start_hour_ms: int
    end_hour_ms: int
    frequency_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Carrier:
    """One schedule as vPlus holds it: ms, UTC days; an empty set of months or occurrences means any (vplus-api.md 4.2).

    `hour_ms` belongs to TIME, `interval` to INTERVAL. Between `valid_from` and `valid_until` it selects exactly what was
    promised; vPlus knows nothing of these two, and they do not count when carriers are compared. Raises ValueError for
    what must never reach vPlus: no days, a time outside the day, an interval that ends before it starts, seconds.
    """

    backup_type: BackupType
    execution_type: ExecutionType
    days_of_week: frozenset[Weekday]
    months: frozenset[Month]
    occurrences: frozenset[Occurrence]
    start_window_ms: int
    hour_ms: int | None = None
    interval: Interval | None = None
    active: bool = True
    valid_from: datetime = field(compare=False)
    valid_until: datetime = field(compare=False)

    def __post_init__(self) -> None:
        if not self.days_of_week:
            raise ValueError("A schedule without a day never fires, and vPlus refuses it")
        if self.execution_type is ExecutionType.TIME:
            hours, lengths = [self.hour_ms], [self.start_window_ms]
        elif self.interval is not None:
            hours = [self.interval.start_hour_ms, self.interval.end_hour_ms]
            lengths = [self.start_window_ms, self.interval.frequency_ms]
            if self.interval.end_hour_ms < self.interval.start_hour_ms:
                raise ValueError("endHour is before startHour; an interval stays within one UTC day")
        else:
            raise ValueError("An INTERVAL schedule needs its interval")
        for hour in hours:
            if hour is None or not 0 <= hour < DAY_MS or 0 < hour < SUSPICIOUS_MS:
                raise ValueError(f"{hour} is no time of a UTC day in ms; are these seconds?")
        for length in lengths:
            if length < SUSPICIOUS_MS:
                raise ValueError(f"{length} is no length in ms; are these seconds?")


def firings(carrier: Carrier, start_utc: datetime, end_utc: datetime) -> list[datetime]:
    """Return when vPlus fires this schedule, start <= instant < end, by its rule (vplus-api.md 3.9)."""
    start, end = seconds_of(start_utc), seconds_of(end_utc)
    return [instant(second) for second in firing_seconds([carrier], start, end)]


def firing_seconds(carriers: Iterable[Carrier], start: int, end: int) -> list[int]:
    """Return when these fire, start <= second < end since the epoch, in order; twice where two carriers fire at once."""
    found: list[int] = []
    for carrier in carriers:
        if not carrier.active:
            continue
        times = _times(carrier)
        for number in range((start - times[-1]) // DAY, (end - times[0]) // DAY + 1):
            if _matches(carrier, number + EPOCH):
                found += [at for time in times if start <= (at := number * DAY + time) < end]
    return sorted(found)


def _times(carrier: Carrier) -> Sequence[int]:
    """Return the seconds of a UTC day at which it fires."""
    if carrier.interval is None:
        return [(carrier.hour_ms or 0) // 1000]
    interval = carrier.interval
    return range(interval.start_hour_ms // 1000, interval.end_hour_ms // 1000 + 1, interval.frequency_ms // 1000)


def _matches(carrier: Carrier, ordinal: int) -> bool:
    return (
        (ordinal + 6) % 7 in carrier.days_of_week
        and (not carrier.months or date.fromordinal(ordinal).month in carrier.months)
        and (not carrier.occurrences or not carrier.occurrences.isdisjoint(occurrences_of(ordinal)))
    )


def instant(seconds: int) -> datetime:
    """Return the aware UTC time of seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)


def seconds_of(at: datetime) -> int:
    """Return the first whole second since the epoch that is not before this time."""
    return -int(-at.timestamp() // 1)


@dataclass(frozen=True, slots=True)
class Part:
    """The wall times of a promise that fall, under one offset, on one UTC day: seconds of it, and how far it lies off."""

    shift: int
    """UTC day minus local day: -1, 0 or 1."""
    first: int
    last: int


def parts_at(promise: Promise, offset: int) -> list[Part]:
    """Return the parts of a promise under this offset (seconds east of UTC): one, or two when it crosses UTC midnight."""
    by_shift: dict[int, list[int]] = {}
    for wall in promise.wall_seconds():
        shift, second = divmod(wall - offset, DAY)
        by_shift.setdefault(shift, []).append(second)
    return [Part(shift, seconds[0], seconds[-1]) for shift, seconds in by_shift.items()]


def carriers_at(promise: Promise, offset: int, start: int, end: int) -> tuple[Carrier, ...] | None:
    """Return carriers that fire, while this offset holds, exactly as promised with start <= second < end.

    Where only weekdays restrict the dates, or no wall time leaves its UTC day, they do so for ever. None where more than
    `MAX_CARRIERS` would be needed. In a stable order, so that an old set and a new one pair off.
    """
    found: list[Carrier] = []
    for part in parts_at(promise, offset):
        products = _products(promise, part, start, end, MAX_CARRIERS - len(found))
        if products is None or len(found) + len(products) > MAX_CARRIERS:
            return None
        found += [_carrier(promise, part, product, start, end) for product in products]
    return tuple(found)


def _products(promise: Promise, part: Part, start: int, end: int, limit: int) -> list[Product] | None:
    if promise.any_date or not part.shift:
        days = frozenset(Weekday((day + part.shift) % 7) for day in promise.days_of_week)
        return [Product(promise.months, days, promise.occurrences)]
    first, last = EPOCH - (part.last - start) // DAY, EPOCH + (end - 1 - part.first) // DAY
    found = cover(lambda ordinal: promise.selects(ordinal - part.shift), first, last, limit=limit)
    return found and sorted(found, key=lambda p: (sorted(p.months), sorted(p.days_of_week), sorted(p.occurrences)))


def _carrier(promise: Promise, part: Part, product: Product, start: int, end: int) -> Carrier:
    timed = promise.execution_type is ExecutionType.TIME
    step = promise.wall_seconds().step
    return Carrier(
        backup_type=promise.backup_type,
        execution_type=promise.execution_type,
        days_of_week=product.days_of_week,
        months=frozenset() if len(product.months) == len(Month) else product.months,
        occurrences=frozenset() if len(product.occurrences) == len(Occurrence) else product.occurrences,
        start_window_ms=int(promise.window.total_seconds()) * 1000,
        hour_ms=part.first * 1000 if timed else None,
        interval=None
        if timed
        else Interval(start_hour_ms=part.first * 1000, end_hour_ms=part.last * 1000, frequency_ms=step * 1000),
        active=promise.active,
        valid_from=instant(start),
        valid_until=instant(end),
    )


@dataclass(frozen=True, slots=True)
class Deviation:
    """A run that is not as promised: both set is one at the wrong time, `actual` alone one too many, `promised` alone none."""

    promised: datetime | None
    actual: datetime | None


def differences(
    promise: Promise, carriers: Iterable[Carrier], start_utc: datetime, end_utc: datetime
) -> tuple[Deviation, ...]:
    """Compare what was promised with what these carriers do, start <= instant < end, while vPlus held just these.

    For the catching up after a rewrite that came late: it says which runs were off.
    """
    return deviations_of(promise, carriers, seconds_of(start_utc), seconds_of(end_utc))


def deviations_of(promise: Promise, carriers: Iterable[Carrier], start: int, end: int) -> tuple[Deviation, ...]:
    """Do what `differences` does, in seconds since the epoch."""
    meant = Counter(promised_seconds(promise, start, end) if promise.active else ())
    done = Counter(firing_seconds(carriers, start, end))
    missing, extra = sorted((meant - done).elements()), sorted((done - meant).elements())
    found = []
    for second in missing:
        near = min(extra, key=lambda other: abs(other - second), default=None)
        if near is not None and abs(near - second) <= PAIRED_WITHIN:
            extra.remove(near)
            found.append(Deviation(instant(second), instant(near)))
        else:
            found.append(Deviation(instant(second), None))
    found += [Deviation(None, instant(second)) for second in extra]
    return tuple(sorted(found, key=lambda deviation: deviation.promised or deviation.actual or instant(0)))
