"""A few nights of the simulated vPlus, stepped: schedules fire, one night they do not, and each hour says what is true."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from tenants.scope import every_tenant
from tests.conftest import Bridge, Cast, StartSimulator, assign_everything
from vplus_bridge import jobs, protection_jobs
from vplus_bridge.models import ExpectedRun, VirtualMachine
from vplus_bridge.protection import promises, verdict

HOUR = timedelta(hours=1)
WEB = "vm-beta-web"  # in "beta silver": full every day at 01:00 UTC, to start within six hours


def instant(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def outcomes() -> list[str]:
    with every_tenant("test"):
        return [row.outcome for row in ExpectedRun.objects.filter(virtual_machine_guid=WEB).order_by("due_at")]


def status(now: datetime) -> tuple[str, str]:
    with every_tenant("test"):
        verdict.judge([WEB], now=now)
        row = VirtualMachine.objects.get(guid=WEB)
        return row.protection_status, row.protection_reason


@pytest.mark.parametrize("richness", ["poorest", "generous"])
def test_nights_that_happen_and_one_that_does_not(
    richness: str, cast: Cast, start_simulator: StartSimulator, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PROTECTION_GRACE_SECONDS = 3600
    # Long ago, so that whatever is read now was read after each of these nights.
    midnight = datetime.now(UTC).replace(hour=0, minute=30, second=0, microsecond=0) - timedelta(days=9)
    bridge = Bridge(start_simulator(richness=richness, schedules_fire=True, start_at=int(midnight.timestamp() * 1000)))
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    with every_tenant("test"):
        # As if the mirror had been read in those days.
        VirtualMachine.objects.update(policy_since=midnight)
        promises.refresh(midnight)
    clock = [midnight]
    monkeypatch.setattr(jobs, "database_now", lambda: clock[0])
    seen: list[tuple[datetime, str, str]] = []

    def hours(count: int) -> None:
        for _ in islice(range(count), count):
            now = instant(bridge.simulator.control.step(HOUR.total_seconds()))
            clock[0] = now
            bridge.poll(full=True)
            with every_tenant("test"):
                VirtualMachine.objects.filter(guid=WEB).update(history_wanted_at=datetime.now(UTC))
            jobs.histories_once(bridge.client, seconds=10, limit=1)
            protection_jobs.ledger_once(now)
            seen.append((now, ",".join(outcomes()), status(now)[0]))

    hours(24)  # 01:30 to 00:30
    assert outcomes() == ["stored"]
    assert {said for _, said, _ in seen} == {"stored"}, "it took a minute, and each hour says so"
    bridge.simulator.control.protection.change("schedules", "schedule-beta", active=False)  # and nobody read it yet
    hours(6)
    assert outcomes() == ["stored", "waiting"], "until 07:00 it may still start"
    hours(1)
    assert outcomes() == ["stored", "waiting"], "and an hour is given for making it"
    hours(1)
    assert outcomes() == ["stored", "missed"]
    assert seen[-1][2] == "at_risk", "the point of the first night is 31 hours old by 08:00, which is all it may be"
    bridge.simulator.control.protection.change("schedules", "schedule-beta", active=True)
    hours(18)
    assert outcomes() == ["stored", "missed", "stored"]
    assert seen[-1][2] == "protected"
    turned = [now for (now, _, said), (_, _, before) in zip(seen[1:], seen, strict=False) if said != before]
    assert [(now - midnight) // HOUR for now in turned] == [32, 49], "it turned when it was true, and not before"
