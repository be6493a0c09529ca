"""A schedule as people mean it: what is refused and why, its sentence, and what is odd about single runs."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protection.promises import (
    EVERY_DAY,
    FRI,
    MON,
    SAT,
    SUN,
    WED,
    WORKDAYS,
    at,
    every,
    repeated_promises,
    starts,
    timed_promises,
)
from vplus_bridge.protection.promised_runs import expected_runs, next_runs
from vplus_bridge.protection.schedule_words import errors, note, sentence, unknown_occurrence
from vplus_bridge.protection.wall_time import BackupType, Occurrence, Promise, known_zones

SUNDAYS = at("02:00", "Europe/Warsaw", [SUN])
HOURLY = every(120, "08:00", "18:00", "Europe/Warsaw", WORKDAYS)


@pytest.mark.parametrize(
    ("promise", "field", "words"),
    [
        (replace(SUNDAYS, days_of_week=frozenset()), "days_of_week", "at least one day"),
        (replace(SUNDAYS, zone="Europe/Warschau"), "zone", "Europe/Warsaw"),
        (replace(SUNDAYS, zone=""), "zone", "Choose one"),
        (replace(SUNDAYS, time_of_day=None), "time_of_day", "02:00"),
        (replace(SUNDAYS, time_of_day=time(2, 0, 30)), "time_of_day", "seconds are not kept"),
        (replace(SUNDAYS, time_of_day=time(2, tzinfo=UTC)), "time_of_day", "of the chosen zone"),
        (replace(SUNDAYS, start_window=timedelta(hours=24)), "start_window", "20 hours"),
        (replace(SUNDAYS, start_window=timedelta(seconds=6)), "start_window", "5 minutes"),
        (replace(HOURLY, start=None), "start", "time of day"),
        (replace(HOURLY, end=None), "end", "time of day"),
        (replace(HOURLY, start=time(22), end=time(6)), "end", "22:00 to 23:59, and 00:00 to 06:00"),
        (replace(HOURLY, frequency=None), "frequency", "at least 15"),
        (replace(HOURLY, frequency=timedelta()), "frequency", "at least 15"),
        (replace(HOURLY, frequency=timedelta(seconds=-7200)), "frequency", "at least 15"),
        (replace(HOURLY, frequency=timedelta(seconds=3601)), "frequency", "whole minutes"),
        (replace(HOURLY, frequency=timedelta(hours=11)), "frequency", "never runs a second time"),
        (replace(HOURLY, end=time(8)), "frequency", "never runs a second time"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_field_with_a_remedy(promise: Promise, field: str, words: str) -> None:
    found = errors(promise)
    assert list(found) == [field]
    assert words in found[field][0]


def test_names_that_mean_another_zone_on_another_machine_are_none() -> None:
    assert "Europe/Warsaw" in known_zones()
    assert {"localtime", "Factory"}.isdisjoint(known_zones())
    assert list(errors(replace(SUNDAYS, zone="localtime"))) == ["zone"]


def test_a_fifth_which_would_be_29_february_only_is_refused_with_a_remedy() -> None:
    assert "FIFTH" not in Occurrence.__members__
    assert "“FIFTH” is not" in unknown_occurrence("FIFTH")
    assert "Choose last" in unknown_occurrence("FIFTH")


def test_several_errors_are_told_at_once() -> None:
    assert set(errors(replace(HOURLY, zone="Mars", days_of_week=frozenset(), start=None))) == {
        "zone",
        "days_of_week",
        "start",
    }


def test_what_the_kind_does_not_use_is_ignored() -> None:
    assert errors(replace(SUNDAYS, start=time(9), end=time(8))) == {}
    assert errors(replace(HOURLY, time_of_day=time(2, 0, 1))) == {}


@given(timed_promises | repeated_promises)
def test_a_promise_without_errors_runs_in_every_year(promise: Promise) -> None:
    """So there is no rule for 29 February only, and none that selects nothing: it need not be looked for."""
    assert errors(promise) == {}
    for year in range(2026, 2033):
        first = date(year, 1, 1).toordinal()
        assert any(promise.selects(ordinal) for ordinal in range(first, first + 365))


@pytest.mark.parametrize(
    ("promise", "said"),
    [
        (SUNDAYS, "Full backup every Sunday at 02:00, Warsaw time."),
        (at("02:00", "UTC"), "Full backup every day at 02:00, UTC."),
        (at("09:30", "Etc/GMT+5", [SAT, SUN]), "Full backup every Saturday and Sunday at 09:30, UTC-5."),
        (at("09:30", "Etc/GMT-14", [SAT]), "Full backup every Saturday at 09:30, UTC+14."),
        (at("09:30", "EST5EDT", [SAT]), "Full backup every Saturday at 09:30, EST5EDT."),
        (
            at("22:00", "America/New_York", [SAT], occurrences=[1]),
            "Full backup on the first Saturday of every month at 22:00, New York time.",
        ),
        (
            at("22:00", "America/Argentina/Buenos_Aires", [MON, WED, FRI], occurrences=[5, 1], months=[12, 3, 6]),
            "Full backup on the first and last Monday, Wednesday and Friday of March, June and December at 22:00, "
            "Buenos Aires time.",
        ),
        (at("22:00", "UTC", months=[1]), "Full backup every day in January at 22:00, UTC."),
        (
            at("22:00", "UTC", occurrences=[5]),
            "Full backup on every day of the last seven days of every month at 22:00, UTC.",
        ),
        (at("22:00", "UTC", occurrences=range(1, 6), months=range(1, 13)), "Full backup every day at 22:00, UTC."),
        (
            replace(HOURLY, backup_type=BackupType.INCREMENTAL),
            "Incremental backup every weekday (Monday to Friday), every 2 hours from 08:00 to 18:00, Warsaw time.",
        ),
        (every(60, "08:00", "18:00", "UTC"), "Full backup every day, every hour from 08:00 to 18:00, UTC."),
        (every(90, "08:00", "18:00", "UTC"), "Full backup every day, every 90 minutes from 08:00 to 18:00, UTC."),
    ],
)
def test_the_sentence_says_the_rule(promise: Promise, said: str) -> None:
    assert sentence(promise) == said


@pytest.mark.parametrize(
    ("promise", "day", "expected"),
    [
        (at("02:00", "Europe/Warsaw"), (2027, 3, 28), "03:00 (no 02:00 that night)"),
        (at("02:15", "Australia/Lord_Howe"), (2026, 10, 4), "02:45 (no 02:15 that night)"),
        (at("01:45", "Australia/Lord_Howe"), (2027, 4, 4), "01:45 (01:45 comes twice; runs the first time)"),
        (at("02:30", "Africa/Casablanca"), (2026, 2, 15), "02:30 (02:30 comes twice; runs the first time)"),
        (at("02:30", "Africa/Casablanca"), (2026, 3, 22), "03:30 (no 02:30 that night)"),
        (at("02:00", "Pacific/Apia"), (2011, 12, 31), "02:00 (no Fri 30 Dec 02:00 in this zone)"),
        (at("02:00", "Asia/Kathmandu"), (2026, 10, 4), "02:00 ()"),
    ],
)
def test_gaps_and_overlaps_are_named(promise: Promise, day: tuple[int, int, int], expected: str) -> None:
    runs = [
        run
        for run in next_runs(promise, 5, datetime(*day, tzinfo=UTC) - timedelta(days=2))
        if run.local.date() == date(*day)
    ]
    assert [f"{run.local:%H:%M} ({note(run)})" for run in runs] == [expected]


def test_an_interval_over_a_gap_runs_once_for_two_wall_times_of_one_instant() -> None:
    runs = next_runs(every(60, "00:00", "05:00", "Europe/Berlin", [SUN]), 5, datetime(2027, 3, 27, 22, tzinfo=UTC))
    assert [f"{run.local:%H:%M}" for run in runs] == ["00:00", "01:00", "03:00", "04:00", "05:00"]


@given(timed_promises | repeated_promises, starts, st.integers(1, 30))
def test_next_runs_are_the_first_promised_ones_in_order(promise: Promise, start: datetime, count: int) -> None:
    ahead = next_runs(promise, count, start)
    assert len(ahead) == count
    assert all(one.utc < other.utc for one, other in pairwise(ahead))
    if ahead[-1].utc - start < timedelta(days=900):
        assert ahead == expected_runs(promise, start, ahead[-1].utc + timedelta(seconds=1))
    assert next_runs(replace(promise, active=False), count, start) == []


def test_an_interval_may_not_start_later_than_its_next_run() -> None:
    assert HOURLY.window == timedelta(hours=2)
    assert SUNDAYS.window == timedelta(hours=6)


def test_all_months_and_occurrences_are_as_good_as_none() -> None:
    rule: dict[str, Any] = {"months": range(1, 13), "occurrences": range(1, 6)}
    assert at("02:00", "UTC", EVERY_DAY, **rule).any_date
    assert not at("02:00", "UTC", EVERY_DAY, occurrences=range(1, 5)).any_date
