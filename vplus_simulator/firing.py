"""When schedules fire, and what a firing makes (vplus-api.md 3.9). Everything here is UTC, where every day has 24 hours.

The next instant of each schedule is computed ahead, so that a year passes as fast as what happens in it.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING

from .entities import DAYS, MONTHS, OCCURRENCES, Origin, Policy, Rule, Schedule
from .work import ms

if TYPE_CHECKING:
    from .engine import Engine

DAY = 86_400_000
WEEK = len(DAYS)
LAST = OCCURRENCES[-1]
LONGEST_SEARCH = 366 + 31
"""Days until any schedule has come to a day that it fires on: each weekday comes at each place of each month."""


def fires_on(schedule: Schedule, day: int) -> bool:
    """Return whether a schedule fires on a UTC day, counted from 1970-01-01: weekday, month and place in the month."""
    date = datetime.fromtimestamp(day * DAY / 1000, UTC).date()
    if DAYS[date.weekday()] not in schedule.days:
        return False
    if schedule.months and MONTHS[date.month - 1] not in schedule.months:
        return False
    if not schedule.occurrences:
        return True
    in_the_last_week = date.day > monthrange(date.year, date.month)[1] - WEEK
    place = (date.day - 1) // WEEK
    return (in_the_last_week and LAST in schedule.occurrences) or (
        place < len(OCCURRENCES) - 1 and OCCURRENCES[place] in schedule.occurrences
    )


def next_firing(schedule: Schedule, after: int) -> int | None:
    """Return the first instant above `after` (ms) at which a schedule is due, active or not; None: never."""
    today = after // DAY
    # An INTERVAL that wraps past midnight belongs to the day it starts on, which may be yesterday.
    for day in range(today - 1, today + LONGEST_SEARCH + 1):
        if fires_on(schedule, day):
            at = _first_of_day(schedule, day * DAY, after)
            if at is not None:
                return at
    return None


def _first_of_day(schedule: Schedule, midnight: int, after: int) -> int | None:
    if schedule.execution_type == "TIME" or schedule.interval is None:
        at = midnight + schedule.hour
        return at if at > after else None
    start, end, frequency = schedule.interval
    first = midnight + start
    last = midnight + end + (DAY if end < start else 0)
    at = first if first > after else first + ((after - first) // frequency + 1) * frequency
    return at if at <= last else None


def firings(schedule: Schedule, after: int) -> Iterator[int]:
    """Return the instants above `after` at which a schedule is due, in order, without an end."""
    for _ in count():
        at = next_firing(schedule, after)
        if at is None:
            return
        yield at
        after = at


class Firing:
    """Plans each schedule's next instant with the engine and fires it. What was missed is not caught up."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._world = engine.world
        self._next: dict[str, int] = {}
        self.patience: int | None = None
        """By how many ms a firing may be late and still happen; None: by any, as where time is stepped."""
        engine.on("fire", self._due)

    def resume(self, now: int) -> None:
        """Plan all schedules from `now` on: what was due while the server was down stays undone."""
        self._next.clear()
        for schedule in self._world.schedules.values():
            self.plan(schedule, now)

    def plan(self, schedule: Schedule, now: int) -> None:
        """Plan a new or changed schedule; whatever was planned for it before no longer counts."""
        at = next_firing(schedule, now)
        if at is None:
            self._next.pop(schedule.guid, None)
            return
        self._next[schedule.guid] = at
        self._engine.plan(at, "fire", schedule.guid)

    def _due(self, guid: str, at: int) -> None:
        schedule = self._world.schedules.get(guid)
        if schedule is None:
            self._next.pop(guid, None)
        if schedule is None or self._next.get(guid) != at:
            return
        self.plan(schedule, at)
        missed = self.patience is not None and self._engine.playing_until - at > self.patience
        if schedule.active and self._engine.settings.schedules_fire and not missed:
            self._fire(schedule, at)

    def _fire(self, schedule: Schedule, at: int) -> None:
        """Ask for one export of each present member of each policy whose rule has this schedule."""
        for rule in self._world.rules_with(schedule.guid):
            policy = self._world.policies[rule.policy]
            if not (rule.active and policy.active):
                continue
            schedule.last_run = at
            self._world.changed()
            self._export_members(schedule, rule, policy, at)

    def _export_members(self, schedule: Schedule, rule: Rule, policy: Policy, at: int) -> None:
        origin = Origin("SCHEDULE", schedule.guid, schedule.name)
        for vm in self._world.members(policy.guid):
            if vm.present:
                self._engine.exports.ask(
                    vm,
                    backup_type=schedule.backup_type,
                    now=at,
                    priority=policy.priority,
                    window_start=at,
                    window_end=at + self._window(schedule),
                    destination=self._world.destination_of(rule, vm),
                    origin=origin,
                    rule=rule.guid,
                )

    def _window(self, schedule: Schedule) -> int:
        if schedule.interval is None:
            return schedule.start_window
        return min(schedule.interval[2], ms(self._engine.settings.export_window_seconds))
