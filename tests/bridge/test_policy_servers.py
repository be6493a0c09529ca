"""Policies on servers of every kind, in both dialects; and a year of runs on one that fires, across both clock changes."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tenants.scope import every_tenant
from tests.bridge.policy_scenes import (
    HOURLY,
    NEW,
    NIGHTLY,
    asked_to_change,
    asked_to_create,
    asked_to_delete,
    carried_out,
    draft,
    made,
    policy_of,
    same_in_both,
    upstream,
)
from tests.conftest import VPLUS_PASSWORD, Bridge, Cast, StartSimulator, assign_everything
from vplus_bridge import jobs
from vplus_bridge.client import Endpoint, VplusClient
from vplus_bridge.models import Operation, Schedule
from vplus_simulator.faults import Fault

SERVERS: dict[str, dict[str, Any]] = {
    "plain": {"richness": "plain"},
    "generous": {"richness": "generous"},
    "empty answers to who creates": {"created_object": "empty"},
    "empty answers to PUT": {"put_response": "empty"},
    "taken names are 400": {"duplicate_name": 400},
    "taken names are 500": {"duplicate_name": 500},
    "names get a prefix": {"prefix_names": True},
    "schedules in use cannot go": {"schedule_in_use": "refused"},
    "one rule for each policy": {"second_rule": "refused"},
    "a PUT without a tenant clears it": {"put_without_tenant": "clears"},
    "paging": {"paging": True},
}


def server(start: StartSimulator, cast: Cast, **switches: Any) -> Bridge:
    bridge = Bridge(start(**switches))
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    return bridge


def lived(bridge: Bridge, cast: Cast) -> None:
    """Made with a lost answer at each call, changed, and deleted."""
    for path in ("/schedules", "/policies/vm-backup", "/rules/vm-backup"):
        bridge.simulator.control.arm(Fault(kind="cut", phase="after", method="POST", path=path, count=1))
    policy = made(bridge, cast.alice)
    same_in_both(bridge)
    for method, path in (("PUT", "/schedules/{guid}"), ("PUT", "/policies/vm-backup/{guid}")):
        bridge.simulator.control.arm(Fault(kind="cut", phase="after", method=method, path=path, count=1))
    with every_tenant("test"):
        pk = Schedule.objects.filter(policy=policy).order_by("position")[0].pk
    schedules = (replace(NIGHTLY, id=pk, time_of_day=time(4, 0)), replace(HOURLY, frequency_minutes=180))
    operation = carried_out(bridge, asked_to_change(cast.alice, policy, schedules=schedules, priority=71))
    assert (operation.state, operation.error_code, operation.warnings) == ("succeeded", "", [])
    same_in_both(bridge)
    bridge.simulator.control.arm(
        Fault(kind="cut", phase="after", method="DELETE", path="/policies/vm-backup/{guid}", count=1)
    )
    operation = carried_out(bridge, asked_to_delete(cast.alice, policy))
    assert (operation.state, operation.warnings) == ("succeeded", [])
    assert upstream(bridge) == {}


@pytest.mark.parametrize("kind", SERVERS)
def test_a_policy_lives_on_each_server(kind: str, cast: Cast, start_simulator: StartSimulator) -> None:
    lived(server(start_simulator, cast, **SERVERS[kind]), cast)


class CurrentBridge(Bridge):
    """The workers' deeds in the current dialect."""

    @cached_property
    def client(self) -> Any:  # type: ignore[override]  # made once
        server = self.simulator
        return VplusClient(
            Endpoint(
                url=server.url,
                username="portal",
                password=VPLUS_PASSWORD,
                dialect="current",
                ca_bundle=str(server.ca_path),
            )
        )


def test_a_policy_lives_in_the_current_dialect(cast: Cast, start_simulator: StartSimulator) -> None:
    bridge = CurrentBridge(start_simulator(richness="generous", policy_rules="required", prefix_names=True))
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    lived(bridge, cast)


# A year

WARSAW = ZoneInfo("Europe/Warsaw")
AT = time(2, 30)
EVERY_NIGHT = replace(NIGHTLY, time_of_day=AT, days_of_week=HOURLY.days_of_week)
"""It does not exist on one night of the year, and comes twice on another."""


def simulated_now(bridge: Bridge) -> datetime:
    return datetime.fromtimestamp(bridge.simulator.clock.now() / 1000, UTC)


def advance(bridge: Bridge, until: datetime) -> None:
    bridge.simulator.control.step(max(0.0, (until - simulated_now(bridge)).total_seconds()))


def fired(bridge: Bridge) -> Counter[datetime]:
    """When exports of the machine were begun by its schedule."""
    found: Counter[datetime] = Counter()
    for task in bridge.simulator.control.objects("tasks"):
        if task.type == "EXPORT" and task.vm == NEW:
            found[datetime.fromtimestamp(task.window_start / 1000, UTC)] += 1
    return found


def test_runs_stay_at_the_promised_local_time_over_a_year(cast: Cast, start_simulator: StartSimulator) -> None:
    switches = {"schedules_fire": True, "task_retention_seconds": 10.0**9, "export_seconds": (1.0, 1.0)}
    bridge = server(start_simulator, cast, **switches)
    begin = simulated_now(bridge)
    operation = carried_out(bridge, asked_to_create(cast.alice, draft(schedules=(EVERY_NIGHT,)), now=begin))
    policy, rewrites = policy_of(operation), 0
    end = begin + timedelta(days=365)
    while True:
        with every_tenant("test"):
            at = Schedule.objects.get(policy=policy).rewrite_at
        assert at is not None
        if at >= end:
            break
        advance(bridge, at)
        jobs.rewrite_due(at)
        with every_tenant("test"):
            active = Operation.objects.get(kind="policy", state="requested")
        assert carried_out(bridge, active).warnings == []
        same_in_both(bridge)
        rewrites += 1
    advance(bridge, end)
    first = begin.astimezone(WARSAW).date()
    nights = [datetime.combine(first + timedelta(days=n), AT, WARSAW).astimezone(UTC) for n in range(367)]
    assert fired(bridge) == Counter(night for night in nights if begin < night <= end)
    assert rewrites >= 2
