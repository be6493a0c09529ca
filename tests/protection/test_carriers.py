"""What vPlus holds: what must never reach it, when it fires, and how a late rewrite is told."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protection.oracle import vplus_fires, wire
from tests.protection.promises import MON, SUN, TUE, at, every, rules, starts
from vplus_bridge.protection.carriers import Carrier, Interval, differences, firings
from vplus_bridge.protection.date_cover import cover
from vplus_bridge.protection.rewriting import Plan, Reason, plan_carriers, quiet_moment, runs_off
from vplus_bridge.protection.schedule_words import told
from vplus_bridge.protection.wall_time import BackupType, ExecutionType

HOUR = 3_600_000
START = datetime(2026, 8, 1, tzinfo=UTC)
NIGHTLY = Carrier(
    backup_type=BackupType.FULL,
    execution_type=ExecutionType.TIME,
    days_of_week=frozenset({MON, TUE}),
    months=frozenset(),
    occurrences=frozenset(),
    start_window_ms=6 * HOUR,
    hour_ms=HOUR,
    valid_from=START,
    valid_until=START,
)
DAILY = Interval(start_hour_ms=8 * HOUR, end_hour_ms=18 * HOUR, frequency_ms=2 * HOUR)


@pytest.mark.parametrize(
    "wrong",
    [
        {"hour_ms": 3600},
        {"hour_ms": None},
        {"hour_ms": -HOUR},
        {"hour_ms": 24 * HOUR},
        {"start_window_ms": 21_600},
        {"days_of_week": frozenset()},
        {"execution_type": ExecutionType.INTERVAL, "interval": None},
        {"execution_type": ExecutionType.INTERVAL, "interval": replace(DAILY, start_hour_ms=28_800)},
        {"execution_type": ExecutionType.INTERVAL, "interval": replace(DAILY, end_hour_ms=7 * HOUR)},
        {"execution_type": ExecutionType.INTERVAL, "interval": replace(DAILY, frequency_ms=7200)},
    ],
    ids=str,
)
def test_what_must_not_reach_vplus_cannot_be_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"seconds|day|endHour|interval"):
        replace(NIGHTLY, **wrong)


def test_midnight_is_no_mistake() -> None:
    assert replace(NIGHTLY, hour_ms=0).hour_ms == 0


def test_equal_on_the_wire_is_equal() -> None:
    assert replace(NIGHTLY, valid_until=START + timedelta(days=9)) == NIGHTLY
    assert replace(NIGHTLY, active=False) != NIGHTLY


def test_it_fires_at_the_start_of_a_range_and_not_at_its_end() -> None:
    monday = datetime(2026, 8, 3, 1, tzinfo=UTC)
    assert firings(NIGHTLY, monday, monday + timedelta(days=1)) == [monday]
    assert firings(NIGHTLY, monday + timedelta(microseconds=1), monday + timedelta(days=1)) == []
    assert firings(replace(NIGHTLY, active=False), monday, monday + timedelta(days=1)) == []


@settings(deadline=None)
@given(rules, st.booleans(), starts)
def test_our_model_of_firing_is_the_naive_one(rule: dict[str, Any], repeated: bool, start: datetime) -> None:
    promise = every(45, "00:15", "23:50", "UTC", **rule) if repeated else at("23:59", "UTC", **rule)
    plan = plan_carriers(promise, start)
    assert isinstance(plan, Plan)
    (carrier,) = plan.carriers
    end = start + timedelta(days=400)
    assert firings(carrier, start, end) == vplus_fires([wire(carrier)], start, end)


def test_a_late_rewrite_says_which_run_was_off_and_by_how_much() -> None:
    promise = at("02:30", "Europe/Berlin", [MON, TUE])
    plan = plan_carriers(promise, START)
    assert isinstance(plan, Plan)
    back = datetime(2026, 10, 27, 0, tzinfo=UTC)
    (off,) = differences(promise, plan.carriers, START, back)
    assert told(off, promise) == "The run of Mon 26 Oct 2026 02:30 is 60 minutes early."
    assert [told(one, promise) for one in differences(promise, (), back, back + timedelta(days=1))] == [
        "The run of Tue 27 Oct 2026 02:30 does not happen."
    ]
    twice = differences(promise, plan.carriers * 2, START, START + timedelta(days=3))
    assert [told(one, promise) for one in twice] == ["One run more than promised, Mon 3 Aug 2026 02:30."]
    assert differences(replace(promise, active=False), (), START, back) == ()
    monday = datetime(2026, 8, 3, 0, 30, tzinfo=UTC)
    assert differences(promise, (), monday - timedelta(hours=1), monday) == ()
    assert len(differences(promise, (), monday, monday + timedelta(hours=1))) == 1


def test_a_plan_is_late_after_its_last_moment_and_then_names_each_run_that_was_off() -> None:
    promise = at("02:30", "Europe/Berlin")
    plan = plan_carriers(promise, START)
    assert isinstance(plan, Plan)
    assert plan.reason is Reason.CLOCK_CHANGE
    assert plan.rewrite_by == datetime(2026, 10, 26, 0, 28, tzinfo=UTC)
    assert not plan.is_late(plan.rewrite_by)
    assert runs_off(promise, plan, plan.rewrite_by) == ()
    after = plan.rewrite_by + timedelta(days=2)
    assert plan.is_late(after)
    assert [told(off, promise) for off in runs_off(promise, plan, after)] == [
        "The run of Mon 26 Oct 2026 02:30 is 60 minutes early.",
        "The run of Tue 27 Oct 2026 02:30 is 60 minutes early.",
    ]
    paused = plan_carriers(replace(promise, active=False), START)
    assert isinstance(paused, Plan)
    assert runs_off(promise, paused, after) == ()


def test_carriers_are_written_outside_windows_and_away_from_runs() -> None:
    promise = at("02:00", "UTC")
    at_two = datetime(2026, 8, 3, 2, tzinfo=UTC)
    assert quiet_moment(promise, at_two - timedelta(hours=1)) == at_two - timedelta(hours=1)
    for moment in (at_two - timedelta(seconds=1), at_two, at_two + timedelta(hours=6)):
        assert quiet_moment(promise, moment) == at_two + timedelta(hours=6, minutes=2)
    hourly = every(60, "00:00", "23:00", "UTC")
    assert quiet_moment(hourly, at_two) == at_two + timedelta(minutes=2)


def test_a_promise_with_errors_is_not_planned() -> None:
    with pytest.raises(ValueError, match="days_of_week"):
        plan_carriers(at("02:00", "UTC", []), START)


@settings(deadline=None)
@given(rules, st.sampled_from([-1, 1]), starts, st.integers(0, 299))
def test_products_select_each_wanted_date_once_and_no_other(
    rule: dict[str, Any], shift: int, start: datetime, length: int
) -> None:
    promise = at("00:00", "UTC", **rule)
    first = start.toordinal()
    found = cover(lambda ordinal: promise.selects(ordinal - shift), first, first + length, limit=40)
    assert found is not None
    for ordinal in range(first, first + length + 1):
        hits = sum(
            at("00:00", "UTC", p.days_of_week, months=p.months, occurrences=p.occurrences).selects(ordinal)
            for p in found
        )
        assert hits == promise.selects(ordinal - shift)


def test_too_many_products_are_none_and_too_long_a_range_is_an_error() -> None:
    spread = at("00:00", "UTC", occurrences=[1])
    first = START.toordinal()
    assert cover(lambda ordinal: spread.selects(ordinal - 1), first, first + 200, limit=8) is None
    with pytest.raises(ValueError, match="twice"):
        cover(lambda ordinal: False, first, first + 330, limit=8)


def test_a_shifted_weekday_at_the_end_of_the_month_takes_last_for_the_fifth() -> None:
    saturdays = at("02:00", "Asia/Singapore", [SUN - 1], occurrences=[1])
    plan = plan_carriers(saturdays, datetime(2027, 4, 15, tzinfo=UTC))
    assert isinstance(plan, Plan)
    last = [c for c in plan.carriers if 5 in c.occurrences]
    assert [sorted(m.name for m in c.months) for c in last] == [["APRIL", "DECEMBER"]]
