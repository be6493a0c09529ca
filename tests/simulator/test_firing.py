"""Schedules fire in UTC: against a slow re-computation, and over HTTPS as tasks (vplus-api.md 3.9)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vplus_simulator.clock import START_OF_STEPPED_TIME
from vplus_simulator.entities import DAYS, Schedule
from vplus_simulator.firing import firings
from vplus_simulator.world import Outcome

from .conftest import Start, Vplus

HOUR = 3_600_000
MINUTE = 60_000
YEAR = (datetime(2027, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC))
NAMES = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
MONTHS = tuple(datetime(2000, month, 1, tzinfo=UTC).strftime("%B").upper() for month in range(1, 13))
PLACES = {
    "FIRST_IN_MONTH": range(1, 8),
    "SECOND_IN_MONTH": range(8, 15),
    "THIRD_IN_MONTH": range(15, 22),
    "FOURTH_IN_MONTH": range(22, 29),
}


def ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)


def matches(schedule: Schedule, day: datetime) -> bool:
    """The rule in its own words, day by day."""
    if day.strftime("%A").upper() not in schedule.days:
        return False
    if schedule.months and MONTHS[day.month - 1] not in schedule.months:
        return False
    places = [name for name, days in PLACES.items() if day.day in days]
    if (day + timedelta(days=7)).month != day.month:
        places.append("LAST_IN_MONTH")
    return not schedule.occurrences or any(place in schedule.occurrences for place in places)


def recomputed(schedule: Schedule, start: datetime, end: datetime) -> list[int]:
    """Every instant in [start, end) at which the schedule is due, by going through all days."""
    due: list[datetime] = []
    day = start - timedelta(days=2)
    while day < end:
        if matches(schedule, day):
            if schedule.interval is None:
                due.append(day + timedelta(milliseconds=schedule.hour))
            else:
                first, last, step = (timedelta(milliseconds=part) for part in schedule.interval)
                at, until = day + first, day + last + (timedelta(days=1) if last < first else timedelta())
                while at <= until:
                    due.append(at)
                    at += step
        day += timedelta(days=1)
    return [ms(at) for at in due if start <= at < end]


def due_in(schedule: Schedule, start: datetime, end: datetime) -> list[int]:
    return list(takewhile(lambda at: at < ms(end), firings(schedule, ms(start) - 1)))


def schedule(**members: Any) -> Schedule:
    return Schedule(**{"guid": "s", "name": "s", "backup_type": "FULL", "days": list(DAYS)} | members)


def some(values: Iterable[str], least: int) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(list(values)), min_size=least, unique=True)


dates = {
    "days": some(NAMES, 1),
    "months": some(MONTHS, 0),
    "occurrences": some([*PLACES, "LAST_IN_MONTH"], 0),
}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(hour=st.integers(0, 24 * HOUR - 1), **dates)
def test_a_year_is_as_a_recomputation_says(hour: int, **members: list[str]) -> None:
    chosen = schedule(hour=hour, **members)
    assert due_in(chosen, *YEAR) == recomputed(chosen, *YEAR)


QUARTERS = st.integers(0, 95).map(lambda quarter: quarter * 15 * MINUTE)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(start=QUARTERS, length=QUARTERS, every=st.integers(2, 40), **dates)
def test_a_year_of_intervals_is_as_a_recomputation_says(
    start: int, length: int, every: int, **members: list[str]
) -> None:
    """Half of them wrap past midnight, and many end exactly on a firing."""
    interval = (start, (start + length) % (24 * HOUR), every * 15 * MINUTE)
    chosen = schedule(execution_type="INTERVAL", interval=interval, **members)
    assert due_in(chosen, *YEAR) == recomputed(chosen, *YEAR)


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe"])
def test_clock_changes_of_the_world_mean_nothing_in_utc(zone: str) -> None:
    """The same instant of each UTC day, so another wall time on either side of both changes."""
    due = due_in(schedule(hour=HOUR), *YEAR)
    assert {later - earlier for earlier, later in pairwise(due)} == {24 * HOUR}
    assert len(due) == 365
    walls = {datetime.fromtimestamp(at / 1000, ZoneInfo(zone)).time() for at in due}
    assert len(walls) == 2


def days_of(due: list[int]) -> list[str]:
    return [datetime.fromtimestamp(at / 1000, UTC).strftime("%m-%d") for at in due]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"days": ["MONDAY"], "occurrences": ["LAST_IN_MONTH"], "months": ["FEBRUARY"]}, ["02-22"]),
        ({"days": ["SUNDAY"], "occurrences": ["LAST_IN_MONTH"], "months": ["FEBRUARY"]}, ["02-28"]),
        ({"days": ["SUNDAY"], "occurrences": ["FOURTH_IN_MONTH"], "months": ["FEBRUARY"]}, ["02-28"]),
        ({"days": ["SUNDAY"], "occurrences": ["FOURTH_IN_MONTH"], "months": ["JANUARY"]}, ["01-24"]),
        ({"days": ["SUNDAY"], "occurrences": ["LAST_IN_MONTH"], "months": ["JANUARY"]}, ["01-31"]),
        ({"days": ["FRIDAY"], "occurrences": ["FIRST_IN_MONTH"], "months": ["JANUARY", "MAY"]}, ["01-01", "05-07"]),
        ({"days": ["FRIDAY"], "occurrences": ["LAST_IN_MONTH"], "months": ["DECEMBER"]}, ["12-31"]),
    ],
)
def test_months_ends_by_the_calendar(members: dict[str, Any], expected: list[str]) -> None:
    assert days_of(due_in(schedule(**members), *YEAR)) == expected


def test_a_fourth_that_is_also_the_last_fires_once() -> None:
    both = schedule(days=["SUNDAY"], occurrences=["FOURTH_IN_MONTH", "LAST_IN_MONTH"], months=["FEBRUARY", "JANUARY"])
    assert days_of(due_in(both, *YEAR)) == ["01-24", "01-31", "02-28"]


def test_an_interval_that_ends_before_it_starts_goes_on_past_midnight_of_the_day_it_began() -> None:
    night = schedule(
        days=["SUNDAY"],
        occurrences=["LAST_IN_MONTH"],
        months=["JANUARY"],
        execution_type="INTERVAL",
        interval=(22 * HOUR, 2 * HOUR, 2 * HOUR),
    )
    assert days_of(due_in(night, *YEAR)) == ["01-31", "02-01", "02-01"]


# Over HTTPS. The stepped clock begins on Monday 2026-11-23, 12:00 UTC.


def at(day: int, hour: int, minute: int = 0) -> int:
    return ms(datetime(2026, 11, day, hour, minute, tzinfo=UTC))


def exports(vplus: Vplus) -> list[tuple[str, int]]:
    """Which VM was exported, and from when its window runs."""
    return [
        (row["protectedEntity"]["guid"], row["windowStart"])
        for row in vplus.read("/tasks", type="EXPORT")
        if row["originEntity"]["type"]["name"] == "SCHEDULE"
    ]


def until(vplus: Vplus, instant: int) -> None:
    vplus.server.control.step((instant - vplus.server.clock.now()) / 1000)


@pytest.fixture
def lively(start: Start) -> Vplus:
    """A generous server whose schedules fire and whose tasks stay listed."""
    return start(schedules_fire=True, task_retention_seconds=0, daily_cleanup=False)


def test_each_present_member_is_exported_with_the_window_and_priority_promised(lively: Vplus) -> None:
    until(lively, at(24, 2, 5))
    assert exports(lively) == [
        ("vm-beta-web", at(24, 1)),
        ("vm-beta-mail", at(24, 1)),
        ("vm-alpha-web", at(24, 2)),
        ("vm-alpha-db", at(24, 2)),
    ], "a VM that is gone is left out"
    task = lively.read("/tasks", type="EXPORT")[2]
    assert (task["windowEnd"] - task["windowStart"], task["priority"]) == (6 * HOUR, 60)
    assert task["originEntity"] == {
        "type": {"name": "SCHEDULE", "description": "Schedule"},
        "guid": "schedule-alpha-inc",
        "name": "alpha daily incremental",
    }
    assert task["backupDestination"]["guid"] == "bd-main"
    assert lively.read("/schedules/schedule-alpha-inc")["lastRun"] == at(24, 2)
    assert "lastRun" not in lively.read("/schedules/schedule-alpha-full")
    backup = lively.newest_backup("vm-alpha-db")
    assert (backup["status"]["name"], backup["type"]["name"]) == ("SUCCESS", "INCREMENTAL")
    assert lively.newest_backup("vm-alpha-web")["backupRule"]["guid"] == "rule-alpha"
    assert len(lively.read("/tasks", schedule="schedule-beta")) == 4


def test_the_window_of_an_interval_is_its_frequency_or_the_servers_own_if_that_is_shorter(lively: Vplus) -> None:
    control = lively.server.control
    for frequency, window in ((2 * HOUR, 2 * HOUR), (8 * HOUR, 5 * HOUR)):
        control.protection.change(
            "schedules", "schedule-beta", execution_type="INTERVAL", interval=[0, 23 * HOUR, frequency]
        )
        control.step(8 * 3600)
        task = lively.read("/tasks", type="EXPORT", protectedEntity="vm-beta-web")[-1]
        assert task["windowEnd"] - task["windowStart"] == window


@pytest.mark.parametrize(
    ("kind", "guid"), [("schedules", "schedule-beta"), ("rules", "rule-beta"), ("policies", "policy-beta")]
)
def test_nothing_fires_where_something_is_switched_off(lively: Vplus, kind: str, guid: str) -> None:
    lively.server.control.protection.change(kind, guid, active=False)
    until(lively, at(24, 1, 30))
    assert exports(lively) == []
    lively.server.control.protection.change(kind, guid, active=True)
    until(lively, at(25, 1, 30))
    assert ("vm-beta-web", at(25, 1)) in exports(lively)


def test_a_rule_without_a_destination_takes_the_default_one_and_fails_where_there_is_none(lively: Vplus) -> None:
    lively.server.control.protection.change("rules", "rule-beta", destinations=[])
    until(lively, at(24, 1, 30))
    assert lively.read("/tasks", protectedEntity="vm-beta-web")[0]["backupDestination"]["guid"] == "bd-main"
    lively.server.world.destinations["bd-main"].default = False
    until(lively, at(25, 1, 30))
    task = lively.read("/tasks", protectedEntity="vm-beta-web")[-1]
    assert (task["state"]["name"], task["statusInfo"]) == ("FAILED", "No backup destination is assigned")


def fail_next(vplus: Vplus, kind: str, vm: str) -> None:
    vplus.server.control.next_outcome(Outcome(type=kind, vm=vm, outcome="fail", reason="by hand"))


@pytest.mark.parametrize(("borne", "second"), [(None, "SUCCESS"), (49, "FAILED"), (50, "SUCCESS"), (0, "FAILED")])
@pytest.mark.parametrize("kind", ["EXPORT", "STORE"])
def test_the_rest_of_a_run_is_failed_when_more_of_it_failed_than_its_policy_bears(
    start: Start, kind: str, borne: int | None, second: str
) -> None:
    """Of the two members the first one fails; the second has not begun by then."""
    vplus = start(schedules_fire=True, task_retention_seconds=0, daily_cleanup=False, export_threads=1, store_threads=1)
    member = f"failRemainingBackupTasks{kind.capitalize()}Threshold"
    if borne is not None:
        vplus.server.world.policies["policy-beta"].others[member] = borne
    fail_next(vplus, kind, "vm-beta-web")
    until(vplus, at(24, 4))
    first, other = (vplus.newest_backup(vm) for vm in ("vm-beta-web", "vm-beta-mail"))
    assert (first["status"]["name"], other["status"]["name"]) == ("FAILED", second)
    until(vplus, at(25, 4))
    assert vplus.newest_backup("vm-beta-mail")["status"]["name"] == "SUCCESS", "the next run is another one"


def test_a_changed_schedule_fires_at_its_new_hour_only(lively: Vplus) -> None:
    body = lively.read("/schedules/schedule-beta")
    assert lively.put("/schedules/schedule-beta", body | {"hour": 13 * HOUR}).status_code == 200
    until(lively, at(24, 0, 30))
    assert exports(lively) == [("vm-beta-web", at(23, 13)), ("vm-beta-mail", at(23, 13))]
    lively.put("/schedules/schedule-beta", body | {"hour": HOUR})
    until(lively, at(24, 1, 30))
    assert [when for vm, when in exports(lively) if vm == "vm-beta-web"] == [at(23, 13), at(24, 1)]
    assert lively.put("/schedules/schedule-beta", body).json()["lastRun"] == at(24, 1)
    lively.delete("/schedules/schedule-beta")
    until(lively, at(26, 0))
    assert [when for vm, when in exports(lively) if vm == "vm-beta-web"] == [at(23, 13), at(24, 1)]


def test_an_instant_that_has_passed_or_is_now_waits_for_the_next_day(lively: Vplus) -> None:
    for hour in (12 * HOUR, 11 * HOUR):
        lively.server.control.protection.change("schedules", "schedule-beta", hour=hour)
        lively.server.control.step(600)
        assert exports(lively) == []


def test_what_was_missed_is_not_caught_up(start: Start, tmp_path: Path, lively: Vplus) -> None:
    lively.server.control.change(schedules_fire=False)
    until(lively, at(24, 12))
    lively.server.control.change(schedules_fire=True)
    until(lively, at(25, 1, 30))
    assert [when for vm, when in exports(lively) if vm == "vm-beta-web"] == [at(25, 1)]
    first = start(state_file=tmp_path / "world", schedules_fire=True, task_retention_seconds=0)
    first.server.stop()
    second = start(state_file=tmp_path / "world", schedules_fire=True, task_retention_seconds=0, start_at=at(25, 1) + 1)
    until(second, at(25, 2, 30))
    assert {when for _, when in exports(second)} == {at(25, 2)}


def test_a_server_that_stood_still_does_not_catch_up_either(lively: Vplus) -> None:
    lively.server.engine.firing.patience = MINUTE
    until(lively, at(24, 1, 2))
    assert exports(lively) == []
    until(lively, at(25, 0, 59))
    until(lively, at(25, 1, 0) + 1000)
    assert [when for _, when in exports(lively)] == [at(25, 1)] * 2


def test_schedules_fire_by_themselves_on_a_fast_clock(start: Start) -> None:
    vplus = start(stepped=False, speed=240.0, schedules_fire=True)
    assert vplus.server.engine.firing.patience == 240 * MINUTE
    vplus.server.control.protection.change(
        "schedules", "schedule-beta", execution_type="INTERVAL", interval=[0, 24 * HOUR - 1, MINUTE]
    )
    give_up = time.monotonic() + 20
    while len(found := [when for vm, when in exports(vplus) if vm == "vm-beta-web"]) < 3:
        assert time.monotonic() < give_up
        time.sleep(0.05)
    assert all(when % MINUTE == 0 for when in found)
    assert {later - earlier for earlier, later in pairwise(found)} == {MINUTE}


def test_a_vm_that_disappears_leaves_a_policy_that_says_so_at_the_next_sync(lively: Vplus) -> None:
    control = lively.server.control
    control.remove_vm("vm-beta-mail")
    control.protection.change("policies", "policy-beta", auto_remove_non_present=True)
    assert "vm-beta-mail" in lively.server.world.members_of["policy-beta"]
    control.sync()
    assert list(lively.server.world.members_of["policy-beta"]) == ["vm-beta-web"]
    assert "vm-alpha-gone" in lively.server.world.members_of["policy-alpha"]
    control.protection.change("policies", "policy-alpha", auto_remove_non_present=True)
    control.sync()
    assert "vm-alpha-gone" not in lively.server.world.members_of["policy-alpha"]


@pytest.mark.parametrize("richness", ["poorest", "plain"])
def test_a_poorer_server_does_not_say_who_started_a_task(start: Start, richness: str) -> None:
    vplus = start(richness=richness, schedules_fire=True)
    until(vplus, at(24, 1, 30))
    tasks = vplus.read("/tasks")
    assert len(tasks) == 4
    assert all("originEntity" not in task and "windowStart" not in task for task in tasks)


def test_a_year_in_one_step_fires_each_due_instant_in_order(start: Start) -> None:
    vplus = start(schedules_fire=True, task_retention_seconds=3600)
    control, world = vplus.server.control, vplus.server.world
    for number in range(20):
        control.protection.add(
            "schedules",
            name=f"many {number}",
            backup_type="FULL",
            days=list(DAYS[: number % 7 + 1]),
            occurrences=[["LAST_IN_MONTH"], [], ["FIRST_IN_MONTH", "THIRD_IN_MONTH"]][number % 3],
            hour=number * HOUR,
            rules=["rule-beta"],
        )
    begun = vplus.server.clock.now()
    control.step(366 * 86_400)
    born = [backup for backup in world.backups.values() if backup.origin.type == "SCHEDULE"]
    fired = Counter((backup.origin.guid, backup.created) for backup in born if backup.vm == "vm-beta-web")
    start_day = datetime.fromtimestamp(begun / 1000, UTC).replace(hour=0)
    expected = {
        (one.guid, when)
        for one in world.schedules.values()
        if "rule-beta" in {rule.guid for rule in world.rules_with(one.guid)}
        for when in recomputed(one, start_day, start_day + timedelta(days=368))
        if begun < when <= vplus.server.clock.now()
    }
    assert set(fired) == expected
    assert set(fired.values()) == {1}
    created = [backup.created for backup in born]
    assert created == sorted(created)
    assert len(created) > 2000


def test_one_step_and_many_end_in_the_same_world(start: Start) -> None:
    first, second = (start(schedules_fire=True) for _ in range(2))
    first.server.control.step(3 * 86_400)
    for _ in range(3 * 24 * 4):
        second.server.control.step(900)
    for path in ("/tasks", "/schedules", "/backups", "/virtual-machines"):
        assert first.read(path) == second.read(path)
    assert first.server.world.last_sync == second.server.world.last_sync


def test_the_next_instants_are_told(vplus: Vplus) -> None:
    assert vplus.control("GET", "/firings?schedule=schedule-beta&count=2").json() == [at(24, 1), at(25, 1)]
    assert vplus.control("GET", "/firings?schedule=nobody").status_code == 404
    assert vplus.server.clock.now() == START_OF_STEPPED_TIME
