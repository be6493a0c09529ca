"""What vPlus does and what was promised, computed a second time: day by day, slowly, and with nothing of the product.

A carrier is turned into vPlus's own names first, so that only the wire's meaning counts (vplus-api.md 2.7, 3.9, 4.2).
"""

import calendar
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from vplus_bridge.protection.carriers import Carrier
from vplus_bridge.protection.wall_time import Promise

DAY_NAMES = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"]
MONTH_NAMES = [name.upper() for name in calendar.month_name]
NTH = ["FIRST_IN_MONTH", "SECOND_IN_MONTH", "THIRD_IN_MONTH", "FOURTH_IN_MONTH"]


def wire(carrier: Carrier) -> dict[str, Any]:
    """Return the schedule as vPlus would hold it."""
    interval = carrier.interval
    return {
        "executionType": str(carrier.execution_type),
        "hour": carrier.hour_ms,
        "interval": interval
        and {
            "startHour": interval.start_hour_ms,
            "endHour": interval.end_hour_ms,
            "frequency": interval.frequency_ms,
        },
        "active": carrier.active,
        "daysOfWeek": [day.name for day in carrier.days_of_week],
        "months": [month.name for month in carrier.months],
        "dayOfWeekOccurrences": [f"{occurrence.name}_IN_MONTH" for occurrence in carrier.occurrences],
    }


@cache
def named(day: date) -> tuple[str, str, frozenset[str]]:
    """Return weekday, month and occurrences of a date in vPlus's names."""
    days_in_month = calendar.monthrange(day.year, day.month)[1]
    occurrences = {NTH[(day.day - 1) // 7]} if day.day <= 28 else set()
    if day.day + 7 > days_in_month:
        occurrences.add("LAST_IN_MONTH")
    return DAY_NAMES[day.weekday()], MONTH_NAMES[day.month], frozenset(occurrences)


def days_between(first: date, last: date) -> Iterator[date]:
    while first <= last:
        yield first
        first += timedelta(days=1)


def vplus_fires(schedules: Iterable[dict[str, Any]], start: datetime, end: datetime) -> list[datetime]:
    """Return every firing, start <= instant < end, one entry for each schedule that fires."""
    fired: list[datetime] = []
    for day in days_between(start.date(), end.date()):
        weekday, month, occurrences = named(day)
        midnight = datetime.combine(day, time(), tzinfo=UTC)
        for schedule in schedules:
            if not schedule["active"] or weekday not in schedule["daysOfWeek"]:
                continue
            if schedule["months"] and month not in schedule["months"]:
                continue
            if schedule["dayOfWeekOccurrences"] and not occurrences & set(schedule["dayOfWeekOccurrences"]):
                continue
            if schedule["executionType"] == "TIME":
                fired.append(midnight + timedelta(milliseconds=schedule["hour"]))
                continue
            at, interval = schedule["interval"]["startHour"], schedule["interval"]
            while at <= interval["endHour"]:
                fired.append(midnight + timedelta(milliseconds=at))
                at += interval["frequency"]
    return sorted(instant for instant in fired if start <= instant < end)


@cache
def steady(zone: ZoneInfo, day: date) -> timedelta | None:
    """Return the offset of a day on which the zone's clock does not change, and that has none of a change close by."""
    midnight = datetime.combine(day, time(), tzinfo=zone)
    offsets = {(midnight + timedelta(hours=hours)).utcoffset() for hours in (-3, 0, 24, 27)}
    return offsets.pop() if len(offsets) == 1 else None


def east_of_utc(zone: ZoneInfo, day: date, wall: datetime) -> timedelta:
    """Return the offset that maps this wall time of the day, by fold=0."""
    offset = steady(zone, day) or wall.replace(tzinfo=zone, fold=0).utcoffset()
    assert offset is not None
    return offset


@dataclass(frozen=True)
class Meant:
    """One promised run: the wall time of the rule, and when it is."""

    wall: datetime
    utc: datetime


def meant_runs(promise: Promise, start: datetime, end: datetime) -> list[Meant]:
    """Return what the rule promises, start <= instant < end, each instant once."""
    zone = ZoneInfo(promise.zone)
    days = {DAY_NAMES[number] for number in promise.days_of_week}
    months = {MONTH_NAMES[number] for number in promise.months}
    occurrences = {[*NTH, "LAST_IN_MONTH"][number - 1] for number in promise.occurrences}
    if promise.time_of_day is not None:
        times = [timedelta(hours=promise.time_of_day.hour, minutes=promise.time_of_day.minute)]
    else:
        assert promise.start is not None
        assert promise.end is not None
        assert promise.frequency is not None
        times = [timedelta(hours=promise.start.hour, minutes=promise.start.minute)]
        until = timedelta(hours=promise.end.hour, minutes=promise.end.minute)
        while times[-1] + promise.frequency <= until:
            times.append(times[-1] + promise.frequency)
    found: dict[datetime, Meant] = {}
    for day in days_between(start.date() - timedelta(days=3), end.date() + timedelta(days=3)):
        weekday, month, which = named(day)
        if weekday in days and (not months or month in months) and (not occurrences or which & occurrences):
            for after_midnight in times:
                wall = datetime.combine(day, time()) + after_midnight
                utc = (wall - east_of_utc(zone, day, wall)).replace(tzinfo=UTC)
                if start <= utc < end:
                    found.setdefault(utc, Meant(wall, utc))
    return [found[utc] for utc in sorted(found)]
