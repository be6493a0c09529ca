"""The runs that a promise means, and how long a machine may wait for one: named cases, and all of them once more, naively."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protection.oracle import meant_runs
from tests.protection.promises import MON, SUN, WORKDAYS, at, every, repeated_promises, starts, timed_promises
from vplus_bridge.protection.promised_runs import Oddity, expected_runs, longest_gap, next_runs
from vplus_bridge.protection.wall_time import Promise

HOUR = timedelta(hours=1)
START = datetime(2026, 8, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("promises", "length", "allowance"),
    [
        ([at("02:00", "UTC")], 24 * HOUR, 30 * HOUR),
        # The night of 25 October has an hour more.
        ([at("02:00", "Europe/Warsaw")], 25 * HOUR, 31 * HOUR),
        ([at("02:00", "UTC", WORKDAYS)], 72 * HOUR, 78 * HOUR),
        ([at("02:00", "UTC", WORKDAYS), at("02:00", "UTC", [SUN])], 48 * HOUR, 54 * HOUR),
        ([at("02:00", "UTC", [SUN], months=[2], occurrences=[5])], timedelta(days=371), timedelta(days=371, hours=6)),
        ([every(120, "08:00", "18:00", "UTC", WORKDAYS)], 62 * HOUR, 64 * HOUR),
        ([at("02:00", "UTC", WORKDAYS), at("02:00", "UTC", active=False)], 72 * HOUR, 78 * HOUR),
    ],
)
def test_the_longest_gap_of_the_year(promises: list[Promise], length: timedelta, allowance: timedelta) -> None:
    gap = longest_gap(promises, START)
    assert gap is not None
    assert (gap.length, gap.allowance) == (length, allowance)


def test_without_an_active_promise_there_is_no_gap() -> None:
    assert longest_gap([], START) is None
    assert longest_gap([at("02:00", "UTC", active=False)], START) is None


def test_the_gap_that_is_open_now_counts_and_one_that_is_over_does_not() -> None:
    monthly = at("02:00", "UTC", [MON], occurrences=[1], months=[1, 5, 6, 7, 8, 9, 10, 11, 12])
    over = datetime(2027, 5, 3, 2, tzinfo=UTC)
    open_now = longest_gap([monthly], over)
    assert open_now is not None
    assert (open_now.begins, open_now.ends) == (datetime(2027, 1, 4, 2, tzinfo=UTC), over)
    next_one = longest_gap([monthly], over + timedelta(seconds=1))
    assert next_one is not None
    assert next_one.begins == datetime(2028, 1, 3, 2, tzinfo=UTC)


def test_a_shorter_wait_with_a_longer_window_can_be_the_longest() -> None:
    long_window = at("02:00", "UTC", [SUN], start_window=20 * HOUR)
    gap = longest_gap([long_window, at("03:00", "UTC", [MON], start_window=5 * HOUR)], START)
    assert gap is not None
    assert gap.length == timedelta(days=5, hours=23)
    assert gap.allowance == gap.length + 20 * HOUR


def test_of_two_runs_at_one_instant_the_shorter_window_counts() -> None:
    both = [at("02:00", "UTC", start_window=window * HOUR) for window in (20, 5)]
    for promises in (both, both[::-1]):
        gap = longest_gap(promises, START)
        assert gap is not None
        assert gap.start_window == 5 * HOUR


@settings(deadline=None, max_examples=50)
@given(st.lists(timed_promises | repeated_promises, min_size=1, max_size=3), starts)
def test_the_longest_gap_is_the_naive_one(promises: list[Promise], start: datetime) -> None:
    windows: dict[datetime, timedelta] = {}
    for promise in promises:
        for run in meant_runs(promise, start - timedelta(days=380), start + timedelta(days=400)):
            windows[run.utc] = min(promise.window, windows.get(run.utc, promise.window))
    gap = longest_gap(promises, start)
    assert gap is not None
    assert gap.allowance == max(
        other - one + windows[other] for one, other in pairwise(sorted(windows)) if other >= start
    )
    assert windows[gap.ends] == gap.start_window
    assert not any(gap.begins < run < gap.ends for run in windows)


def test_expected_runs_hold_their_first_instant_and_not_their_end() -> None:
    nightly, two = at("02:00", "UTC"), datetime(2026, 8, 3, 2, tzinfo=UTC)
    assert [run.utc for run in expected_runs(nightly, two, two + timedelta(days=1))] == [two]
    assert expected_runs(nightly, two + timedelta(seconds=1), two + timedelta(days=1)) == []
    assert expected_runs(replace(nightly, active=False), two, two + timedelta(days=1)) == []


@pytest.mark.parametrize(("zone", "clock"), [("Pacific/Kiritimati", "00:30"), ("Etc/GMT+12", "23:30")])
def test_a_run_on_another_day_than_utc_is_expected_too(zone: str, clock: str) -> None:
    (run,) = expected_runs(at(clock, zone), START, START + timedelta(days=1))
    assert run.utc.date() != run.local.date()
    after = run.utc + timedelta(minutes=1)
    assert [other.utc for other in expected_runs(at(clock, zone), run.utc, after)] == [run.utc]


def test_what_is_odd_about_a_run_is_a_code_of_its_own() -> None:
    sundays = at("02:30", "Europe/Berlin", [SUN])
    assert {run.oddity for run in next_runs(sundays, 40, START)} == {
        None,
        Oddity.COMES_TWICE,
        Oddity.SKIPPED_TIME,
    }
