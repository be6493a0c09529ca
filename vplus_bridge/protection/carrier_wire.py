"""Carriers in the client's words: what is sent for one, what differs from what vPlus holds, and what a foreign one means.

vPlus names each field of these; a carrier and a schedule of vPlus that fire alike are equal here, however it is written.
"""

from collections.abc import Iterable
from datetime import time, timedelta
from typing import TypedDict

from vplus_bridge.client import AtInterval, AtTime, ScheduleRecord, Timing
from vplus_bridge.protection.carriers import DAY_MS, Carrier
from vplus_bridge.protection.wall_time import BackupType, ExecutionType, Month, Occurrence, Promise, Weekday

IN_MONTH = "_IN_MONTH"
"""What vPlus puts behind the name of an occurrence."""


class Members(TypedDict):
    """What the client's `create_schedule_request` and `update_schedule_request` take for a carrier, beside its name."""

    backup_type: str
    timing: Timing
    days_of_week: list[str]
    months: list[str]
    occurrences: list[str]
    active: bool


def members(carrier: Carrier) -> Members:
    """Return what is sent for a carrier: `client.create_schedule_request(name=..., **members(carrier))`."""
    if carrier.interval is not None and carrier.execution_type is ExecutionType.INTERVAL:
        every = carrier.interval
        timing: Timing = AtInterval(every.start_hour_ms, every.end_hour_ms, every.frequency_ms)
    else:
        timing = AtTime(carrier.hour_ms or 0, carrier.start_window_ms)
    return Members(
        backup_type=carrier.backup_type.value,
        timing=timing,
        days_of_week=[day.name for day in sorted(carrier.days_of_week)],
        months=[month.name for month in sorted(carrier.months)],
        occurrences=[occurrence.name + IN_MONTH for occurrence in sorted(carrier.occurrences)],
        active=carrier.active,
    )


def drifted(carrier: Carrier, held: ScheduleRecord) -> list[str]:
    """Return the fields in which the schedule that vPlus holds is not the carrier, by the record's names, sorted.

    What the record leaves out is not known and no drift; what its kind does not use does not count, and all months or
    all occurrences are as good as none.
    """
    ours = members(carrier)
    pairs: dict[str, tuple[object, object]] = {
        "active": (carrier.active, held.active),
        "backup_type": (ours["backup_type"], held.backup_type),
        "execution_type": (carrier.execution_type.value, held.execution_type),
        "days_of_week": (frozenset(ours["days_of_week"]), _set(held.days_of_week)),
        "months": (frozenset(ours["months"]), _set(held.months, any_of=len(Month))),
        "occurrences": (frozenset(ours["occurrences"]), _set(held.occurrences, any_of=len(Occurrence))),
    }
    if carrier.execution_type is ExecutionType.TIME:
        pairs["hour_ms"] = carrier.hour_ms, held.hour_ms
        pairs["start_window_ms"] = carrier.start_window_ms, held.start_window_ms
    elif carrier.interval is not None and held.interval is not None:
        for name in ("start_hour_ms", "end_hour_ms", "frequency_ms"):
            pairs[f"interval.{name}"] = getattr(carrier.interval, name), getattr(held.interval, name)
    return sorted(name for name, (meant, found) in pairs.items() if found is not None and found != meant)


def _set(names: Iterable[str] | None, any_of: int = 0) -> frozenset[str] | None:
    if names is None:
        return None
    found = frozenset(names)
    return frozenset() if len(found) == any_of else found


def promise_of(held: ScheduleRecord) -> Promise | None:
    """Return what a schedule that somebody made in vPlus means: the same in wall times of UTC, which are vPlus's own.

    None where the record does not say enough, or says what is no schedule for backups of ours: another backup type, a
    time or frequency that is no whole minute, an unknown day. Lengths of over a day count as a day. It may have mistakes
    by our rules, as an interval that fires once a day; vPlus fires it all the same, and `promised_runs.py` says when.
    """
    try:
        return Promise(
            backup_type=BackupType(held.backup_type or ""),
            execution_type=ExecutionType(held.execution_type or ""),
            zone="UTC",
            days_of_week=frozenset(Weekday[name] for name in _said(held.days_of_week)),
            months=frozenset(Month[name] for name in held.months or ()),
            occurrences=frozenset(Occurrence[name.removesuffix(IN_MONTH)] for name in held.occurrences or ()),
            active=held.active is not False,
            **_wall_times(held),
        )
    except (KeyError, ValueError):
        return None


class _WallTimes(TypedDict, total=False):
    time_of_day: time
    start: time
    end: time
    frequency: timedelta
    start_window: timedelta


def _wall_times(held: ScheduleRecord) -> _WallTimes:
    if held.execution_type == ExecutionType.TIME:
        found = _WallTimes(time_of_day=_wall_time(held.hour_ms))
        if held.start_window_ms:
            found["start_window"] = _length(held.start_window_ms)
        return found
    every = held.interval
    if every is None or not every.frequency_ms or every.frequency_ms % 60_000:
        raise ValueError("an interval without its figures")
    start, end = _wall_time(every.start_hour_ms), _wall_time(every.end_hour_ms)
    if end < start:
        raise ValueError("an interval that ends before it starts")
    return _WallTimes(start=start, end=end, frequency=_length(every.frequency_ms))


def _length(ms: int) -> timedelta:
    if ms < 0:
        raise ValueError(f"{ms} is no length")
    return timedelta(milliseconds=min(ms, DAY_MS))


def _wall_time(hour_ms: int | None) -> time:
    if hour_ms is None or not 0 <= hour_ms < DAY_MS or hour_ms % 60_000:
        raise ValueError(f"{hour_ms} is no minute of a day in ms")
    return time(hour_ms // 3_600_000, hour_ms // 60_000 % 60)


def _said(names: tuple[str, ...] | None) -> tuple[str, ...]:
    if not names:
        raise ValueError("a schedule without days")
    return names
