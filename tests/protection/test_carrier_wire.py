"""A carrier as it is sent and read back: the same, or the fields that drifted; and a foreign schedule as a promise."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from tests.protection.oracle import vplus_fires, wire
from tests.protection.promises import MON, SAT, SUN, WORKDAYS, at, every, repeated_promises, starts, timed_promises
from vplus_bridge.client import AtInterval, AtTime, ScheduleRecord
from vplus_bridge.client.records import IntervalRecord
from vplus_bridge.protection.carrier_wire import drifted, members, promise_of
from vplus_bridge.protection.carriers import Carrier
from vplus_bridge.protection.promised_runs import expected_runs
from vplus_bridge.protection.rewriting import Plan, plan_carriers
from vplus_bridge.protection.schedule_words import sentence
from vplus_bridge.protection.wall_time import Month, Occurrence, Promise

HOUR = 3_600_000
START = datetime(2026, 8, 1, tzinfo=UTC)


def held(carrier: Carrier, **changed: Any) -> ScheduleRecord:
    """Return the carrier as vPlus gives it back."""
    schedule, interval = wire(carrier), carrier.interval
    record = ScheduleRecord(
        guid="s-1",
        name="nightly",
        active=schedule["active"],
        execution_type=schedule["executionType"],
        backup_type=str(carrier.backup_type),
        hour_ms=schedule["hour"],
        start_window_ms=carrier.start_window_ms if interval is None else None,
        interval=interval and IntervalRecord(interval.start_hour_ms, interval.end_hour_ms, interval.frequency_ms),
        days_of_week=tuple(schedule["daysOfWeek"]),
        months=tuple(schedule["months"]),
        occurrences=tuple(schedule["dayOfWeekOccurrences"]),
    )
    return msgspec.structs.replace(record, **changed)


def carrier_of(promise: Promise) -> Carrier:
    plan = plan_carriers(promise, START)
    assert isinstance(plan, Plan)
    return plan.carriers[0]


NIGHTLY = carrier_of(at("02:00", "UTC", [SUN, MON], months=[3, 1], occurrences=[5]))
DAYTIME = carrier_of(every(120, "08:00", "18:00", "UTC", WORKDAYS))


def test_what_is_sent_for_a_time_and_for_an_interval() -> None:
    assert members(NIGHTLY) == {
        "backup_type": "FULL",
        "timing": AtTime(2 * HOUR, 6 * HOUR),
        "days_of_week": ["MONDAY", "SUNDAY"],
        "months": ["JANUARY", "MARCH"],
        "occurrences": ["LAST_IN_MONTH"],
        "active": True,
    }
    assert members(DAYTIME)["timing"] == AtInterval(8 * HOUR, 18 * HOUR, 2 * HOUR)


@pytest.mark.parametrize(
    ("carrier", "changed", "fields"),
    [
        (NIGHTLY, {}, []),
        (NIGHTLY, {"hour_ms": HOUR}, ["hour_ms"]),
        (NIGHTLY, {"start_window_ms": HOUR, "active": False}, ["active", "start_window_ms"]),
        (NIGHTLY, {"days_of_week": ("MONDAY",), "months": ()}, ["days_of_week", "months"]),
        (NIGHTLY, {"days_of_week": ("SUNDAY", "MONDAY"), "months": ("MARCH", "JANUARY")}, []),
        (NIGHTLY, {"occurrences": ("FIRST_IN_MONTH",), "backup_type": "INCREMENTAL"}, ["backup_type", "occurrences"]),
        (NIGHTLY, {"active": None, "hour_ms": None, "months": None, "backup_type": None}, []),
        (NIGHTLY, {"execution_type": "INTERVAL"}, ["execution_type"]),
        (NIGHTLY, {"interval": IntervalRecord(0, HOUR, HOUR)}, []),
        (DAYTIME, {"hour_ms": HOUR, "start_window_ms": HOUR}, []),
        (
            DAYTIME,
            {"interval": IntervalRecord(8 * HOUR, 19 * HOUR, HOUR)},
            ["interval.end_hour_ms", "interval.frequency_ms"],
        ),
        (DAYTIME, {"interval": IntervalRecord(9 * HOUR, None, None)}, ["interval.start_hour_ms"]),
        (DAYTIME, {"months": tuple(m.name for m in Month)}, []),
        (DAYTIME, {"occurrences": tuple(f"{o.name}_IN_MONTH" for o in Occurrence)}, []),
    ],
    ids=str,
)
def test_drift_is_named_field_by_field(carrier: Carrier, changed: dict[str, Any], fields: list[str]) -> None:
    assert drifted(carrier, held(carrier, **changed)) == fields


@settings(deadline=None, max_examples=50)
@given(timed_promises | repeated_promises, starts)
def test_a_schedule_made_in_vplus_means_what_vplus_does(promise: Promise, start: datetime) -> None:
    plan = plan_carriers(promise, start)
    if not isinstance(plan, Plan):
        return
    for carrier in plan.carriers:
        read = held(carrier)
        assert drifted(carrier, read) == []
        meant = promise_of(read)
        assert meant is not None
        end = start + timedelta(days=200)
        assert [run.utc for run in expected_runs(meant, start, end)] == vplus_fires([wire(carrier)], start, end)


def test_a_foreign_schedule_has_a_sentence() -> None:
    foreign = promise_of(held(carrier_of(at("22:00", "America/New_York", [SAT]))))
    assert foreign is not None
    assert sentence(foreign) == "Full backup every Sunday at 02:00, UTC."


@pytest.mark.parametrize(
    "changed",
    [
        {"backup_type": "SYNCHRONIZATION"},
        {"execution_type": None},
        {"days_of_week": ()},
        {"days_of_week": None},
        {"days_of_week": ("FUNDAY",)},
        {"hour_ms": None},
        {"hour_ms": 24 * HOUR},
        {"hour_ms": 3601},
        {"execution_type": "INTERVAL"},
        {"execution_type": "INTERVAL", "interval": IntervalRecord(0, HOUR, 0)},
        {"execution_type": "INTERVAL", "interval": IntervalRecord(0, HOUR, 500)},
        {"execution_type": "INTERVAL", "interval": IntervalRecord(0, HOUR, -HOUR)},
        {"execution_type": "INTERVAL", "interval": IntervalRecord(2 * HOUR, HOUR, HOUR)},
        {"occurrences": ("FIFTH_IN_MONTH",)},
    ],
    ids=str,
)
def test_what_cannot_be_read_is_no_promise(changed: dict[str, Any]) -> None:
    assert promise_of(held(NIGHTLY, **changed)) is None


def test_senseless_lengths_count_as_a_day() -> None:
    endless = promise_of(held(NIGHTLY, start_window_ms=10**18))
    assert endless is not None
    assert endless.window == timedelta(days=1)


def test_paused_upstream_is_paused() -> None:
    paused = promise_of(held(replace(NIGHTLY, active=False)))
    assert paused is not None
    assert not paused.active
