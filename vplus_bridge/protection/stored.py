"""Promises and carriers as columns and JSON, and back: what a row says is what the pure code computes with."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any

from vplus_bridge.protection import models
from vplus_bridge.protection.carriers import Carrier, Interval
from vplus_bridge.protection.rewriting import Plan, Reason
from vplus_bridge.protection.wall_time import BackupType, ExecutionType, Month, Occurrence, Promise, Weekday

_CLOCKS = ("time_of_day", "start_time", "end_time")
_MOMENTS = ("planned_at", "exact_until", "rewrite_at", "rewrite_by", "runs_off_at")
Spec = dict[str, Any]
"""A carrier without its moments, in JSON's terms."""


def promise_of(row: models.Schedule, *, paused: bool) -> Promise:
    """Return what a schedule promises; a paused policy's promises nothing for now."""
    return Promise(
        backup_type=BackupType(row.backup_type),
        execution_type=ExecutionType(row.execution_type),
        zone=row.zone,
        days_of_week=frozenset(Weekday[name] for name in row.days_of_week),
        time_of_day=row.time_of_day,
        start=row.start_time,
        end=row.end_time,
        frequency=None if row.frequency_minutes is None else timedelta(minutes=row.frequency_minutes),
        months=frozenset(Month[name] for name in row.months),
        occurrences=frozenset(Occurrence[name] for name in row.occurrences),
        start_window=timedelta(minutes=row.start_window_minutes),
        active=row.active and not paused,
    )


def columns_of(promise: Promise) -> dict[str, Any]:
    """Return a schedule's columns for a promise, but for whether it is active, in JSON's terms."""
    timed = promise.execution_type is ExecutionType.TIME
    return {
        "backup_type": promise.backup_type.value,
        "execution_type": promise.execution_type.value,
        "zone": promise.zone,
        "time_of_day": _clock(promise.time_of_day if timed else None),
        "start_time": _clock(None if timed else promise.start),
        "end_time": _clock(None if timed else promise.end),
        "frequency_minutes": None if timed or promise.frequency is None else minutes(promise.frequency),
        "days_of_week": names(promise.days_of_week),
        "months": names(promise.months),
        "occurrences": names(promise.occurrences),
        "start_window_minutes": minutes(promise.start_window),
    }


def spec_of(carrier: Carrier) -> Spec:
    """Return what a carrier fires at, in JSON's terms; two that fire alike give the same."""
    every = carrier.interval if carrier.execution_type is ExecutionType.INTERVAL else None
    return {
        "backup_type": carrier.backup_type.value,
        "execution_type": carrier.execution_type.value,
        "days_of_week": names(carrier.days_of_week),
        "months": names(carrier.months),
        "occurrences": names(carrier.occurrences),
        "start_window_ms": carrier.start_window_ms,
        "hour_ms": None if every else carrier.hour_ms,
        "interval": None if every is None else [every.start_hour_ms, every.end_hour_ms, every.frequency_ms],
        "active": carrier.active,
    }


def carrier_of(spec: Mapping[str, Any], valid_from: datetime, valid_until: datetime) -> Carrier:
    """Return the carrier that was stored."""
    every = spec["interval"]
    return Carrier(
        backup_type=BackupType(spec["backup_type"]),
        execution_type=ExecutionType(spec["execution_type"]),
        days_of_week=frozenset(Weekday[name] for name in spec["days_of_week"]),
        months=frozenset(Month[name] for name in spec["months"]),
        occurrences=frozenset(Occurrence[name] for name in spec["occurrences"]),
        start_window_ms=spec["start_window_ms"],
        hour_ms=spec["hour_ms"],
        interval=None
        if every is None
        else Interval(start_hour_ms=every[0], end_hour_ms=every[1], frequency_ms=every[2]),
        active=spec["active"],
        valid_from=valid_from,
        valid_until=valid_until,
    )


def timeless(spec: Mapping[str, Any]) -> Carrier:
    """Return the carrier of a spec where its moments do not matter: for comparing it, and for sending it."""
    return carrier_of(spec, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


def plan_of(promise: Promise, rows: Iterable[models.Carrier], schedule: models.Schedule) -> Plan | None:
    """Return the plan that a schedule's carriers were written by; None for one that was never planned."""
    if schedule.planned_at is None or schedule.exact_until is None:
        return None
    return Plan(
        made_at=schedule.planned_at,
        carriers=tuple(carrier_of(row.spec, row.valid_from, row.valid_until) for row in rows),
        horizon_end=schedule.exact_until,
        rewrite_at=schedule.rewrite_at,
        rewrite_by=schedule.rewrite_by,
        reason=Reason(schedule.rewrite_reason or Reason.PAUSED),
    )


def plan_columns(plan: Plan) -> dict[str, Any]:
    """Return the columns of a schedule that say until when its carriers are right, in JSON's terms."""
    return {
        "planned_at": plan.made_at.isoformat(),
        "exact_until": plan.horizon_end.isoformat(),
        "rewrite_at": None if plan.rewrite_at is None else plan.rewrite_at.isoformat(),
        "rewrite_by": None if plan.rewrite_by is None else plan.rewrite_by.isoformat(),
        "rewrite_reason": plan.reason.value,
    }


def row_values(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schedule's columns in the row's own terms."""
    return {name: _value(name, value) for name, value in columns.items()}


def _value(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _CLOCKS:
        return time.fromisoformat(value)
    return datetime.fromisoformat(value) if name in _MOMENTS else value


def names(members: Iterable[Weekday | Month | Occurrence]) -> list[str]:
    """Return the names of days, months or occurrences, in their order."""
    return [member.name for member in sorted(members)]


def minutes(length: timedelta) -> int:
    """Return a length in whole minutes."""
    return int(length.total_seconds()) // 60


def _clock(at: time | None) -> str | None:
    return None if at is None else f"{at:%H:%M}"
