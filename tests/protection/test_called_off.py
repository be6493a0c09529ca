"""What calls a run off, and when: only what was so before its window was over is held against it."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from tests.protection.test_ledger import DAY, HOUR, MINUTE, NIGHT, due, read_all, runs, wide  # noqa: F401  # fixtures
from vplus_bridge.models import PolicyPromise, VirtualMachine, VplusSchedule
from vplus_bridge.protection import ledger, promises
from vplus_bridge.protection.evidence import HELD, Seen, Why, standing_of

OVER = NIGHT + 6 * HOUR
NOTED = 20 * MINUTE
"""More than a reading may lag behind what it shows."""
INSIDE, JUST_BEHIND, BEHIND = NIGHT + HOUR, OVER + MINUTE, OVER + NOTED


def judged() -> tuple[str, str]:
    """Look again a day later, with everything read, and return what became of the run."""
    read_all(NIGHT + DAY)
    look(NIGHT + DAY)
    [(_, _, outcome, why)] = runs()
    return outcome, why


def look(at: datetime) -> None:
    ledger.settle_of(["vm-1"], at)


def reschedule(at: datetime, hour: int) -> None:
    VplusSchedule.objects.update(hour_ms=hour * 3_600_000)
    promises.refresh(at)


def go(at: datetime) -> None:
    VirtualMachine.objects.update(present=False, not_present_since=at)


def come(at: datetime) -> None:
    del at
    VirtualMachine.objects.update(present=True, not_present_since=None)


def move(to: str) -> Callable[[datetime], object]:
    return lambda at: VirtualMachine.objects.update(policy_guid=to, policy_since=at)


AWAY: dict[str, tuple[Callable[[datetime], object], Callable[[datetime], object], str]] = {
    "schedule": (lambda at: reschedule(at, 5), lambda at: reschedule(at, 2), "schedule_changed"),
    "machine": (go, come, "not_on_platform"),
    "policy": (move("p-2"), move("p-1"), "left_policy"),
}


@pytest.mark.usefixtures("due")
@pytest.mark.parametrize("what", AWAY)
@pytest.mark.parametrize("at", [INSIDE, JUST_BEHIND], ids=["inside", "may have been inside"])
def test_what_changed_before_the_window_was_over_excuses(what: str, at: datetime) -> None:
    change, _, why = AWAY[what]
    look(NIGHT + MINUTE)
    change(at)
    look(at)
    assert judged() == ("excused", why)


@pytest.mark.usefixtures("due")
@pytest.mark.parametrize("what", AWAY)
def test_what_changed_after_the_window_was_over_excuses_nothing(what: str) -> None:
    change, _, _ = AWAY[what]
    look(BEHIND)
    change(BEHIND + MINUTE)
    look(BEHIND + MINUTE)
    assert judged() == ("missed", "")


@pytest.mark.usefixtures("due")
@pytest.mark.parametrize("what", AWAY)
def test_what_was_changed_and_changed_back_was_so_in_between(what: str) -> None:
    """The latest change alone would tell that everything is as it was promised."""
    change, back, why = AWAY[what]
    change(INSIDE)
    look(INSIDE)
    back(INSIDE + HOUR)
    look(INSIDE + HOUR)
    assert judged() == ("excused", why)


@pytest.mark.usefixtures("due")
def test_a_machine_that_left_and_came_back_between_two_looks_was_away_too() -> None:
    look(NIGHT + MINUTE)
    move("p-1")(INSIDE)
    assert judged() == ("excused", "left_policy")


@pytest.mark.usefixtures("due")
@pytest.mark.parametrize("what", ["machine", "policy"])
def test_nobody_looked_and_the_time_is_known_all_the_same(what: str) -> None:
    """As after an hour without workers: machine and policy tell since when, a schedule does not."""
    AWAY[what][0](BEHIND + MINUTE)
    assert judged() == ("missed", "")


@pytest.mark.usefixtures("due")
def test_nobody_looked_and_no_time_is_known() -> None:
    AWAY["schedule"][0](NIGHT + 12 * HOUR)
    assert judged() == ("excused", "schedule_changed")


@pytest.mark.usefixtures("due")
def test_a_moment_in_which_schedules_cannot_be_told_calls_nothing_off() -> None:
    PolicyPromise.objects.update(state="cannot_tell", timetables=[])
    look(INSIDE)
    promises.refresh(INSIDE + MINUTE)
    assert judged() == ("missed", "")


@pytest.mark.parametrize(
    ("before", "seen", "now", "standing"),
    [
        ("", None, OVER - MINUTE, ""),
        ("", None, OVER, HELD),
        ("", Seen(why=Why.LEFT_POLICY), OVER - HOUR, "left_policy"),
        ("", Seen(why=Why.LEFT_POLICY), OVER + DAY, "left_policy"),
        ("", Seen(why=Why.LEFT_POLICY, since=OVER), OVER + DAY, "left_policy"),
        ("", Seen(why=Why.LEFT_POLICY, since=OVER + MINUTE), OVER + DAY, HELD),
        (HELD, Seen(why=Why.NOT_ON_PLATFORM), OVER + DAY, HELD),
        ("left_policy", None, OVER + DAY, "left_policy"),
    ],
)
def test_a_standing_that_was_found_stays(before: str, seen: Any, now: datetime, standing: str) -> None:
    assert standing_of(before, seen, OVER, now) == standing
