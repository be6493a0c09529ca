"""The stamp of an export, which names it alone, and windows by vPlus's own clock."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from tenants.scope import every_tenant
from tests.bridge.scenes import (
    ask,
    attempts,
    exports_sent,
    ms,
    sent_operation,
)
from tests.bridge.sending_scenes import (
    in_step,
)
from tests.conftest import VPLUS_PASSWORD, Bridge, Cast, StartSimulator, assign_everything
from vplus_bridge import connection as vplus_connection
from vplus_bridge.models import Operation
from vplus_bridge.operations.writes.export import STAMP_APART, next_free_second
from vplus_simulator.http import SimulatorServer
from vplus_simulator.options import ServerOptions
from vplus_simulator.settings import Settings

BASE = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
moments = st.integers(0, 240_000).map(lambda offset: BASE + timedelta(milliseconds=offset))
stamps = st.lists(st.integers(0, 240).map(lambda offset: BASE + timedelta(seconds=offset)), max_size=30)


@given(wished=moments, taken=stamps)
def test_a_stamp_names_its_export_alone(wished: datetime, taken: list[datetime]) -> None:
    stamp = next_free_second(wished, taken)
    assert stamp >= wished, "not before it was wished"
    assert stamp.microsecond == 0
    assert stamp.second != 0, "schedules fire there"
    assert all(abs(stamp - other) >= STAMP_APART for other in taken)


@given(wished=moments, taken=stamps)
def test_no_free_second_is_passed_over(wished: datetime, taken: list[datetime]) -> None:
    stamp = next_free_second(wished, taken)
    second = wished.replace(microsecond=0) + timedelta(seconds=1 if wished.microsecond else 0)
    while second < stamp:
        assert second.second == 0 or any(abs(second - other) < STAMP_APART for other in taken)
        second += timedelta(seconds=1)


def test_a_stamp_keeps_away_from_those_of_the_same_machine(cast: Cast, mirrored: Bridge) -> None:
    start = (timezone.now() + timedelta(hours=1)).replace(second=30, microsecond=0)
    sent_operation(cast.alpha, stamp=start + timedelta(seconds=1), state="succeeded")
    sent_operation(cast.alpha, stamp=start + timedelta(seconds=4), state="succeeded", subject="vm-alpha-db", task="t-2")
    asked = ask(cast.oscar, window_start=start)
    in_step(mirrored)
    mirrored.send()
    assert attempts(asked)[0].stamp == start + timedelta(seconds=4)


@pytest.mark.parametrize("offset", [-7200.0, 7200.0])
def test_windows_are_told_by_vpluss_own_clock(
    offset: float, cast: Cast, start_simulator: StartSimulator, tls_dir: Any, settings: Any
) -> None:
    """A server whose clock is two hours off: without the offset the window would be over, or far ahead."""
    server = SimulatorServer(
        ServerOptions(
            settings=Settings(pickup_seconds=0.1, inventory_sync_seconds=0, daily_cleanup=False, schedules_fire=False),
            tls_dir=tls_dir,
            password=VPLUS_PASSWORD,
            clock_offset_seconds=offset,
        )
    ).start()
    try:
        settings.VPLUS_URL, settings.VPLUS_CA_BUNDLE = server.url, str(server.ca_path)
        settings.VPLUS_USERNAME, settings.VPLUS_PASSWORD = "portal", VPLUS_PASSWORD
        vplus_connection.client.cache_clear()
        bridge = Bridge(server)
        bridge.sync()
        assign_everything(server, cast)
        asked = ask(cast.oscar)
        bridge.send()
        [sent], [attempt] = exports_sent(server), attempts(asked)
        ahead = (attempt.stamp - timezone.now()).total_seconds()
        assert abs(ahead - offset) < 10
        length = (sent.asked["windowEnd"] - sent.asked["windowStart"]) / 1000
        assert 6 * 3600 - 10 < length <= 6 * 3600 + 1
        assert 0 <= sent.asked["windowStart"] - sent.at < 10_000, "by its clock it may begin now"
    finally:
        server.stop()


def test_a_window_that_is_over_is_not_sent(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    with every_tenant("test"):
        row = Operation.objects.get(pk=asked.operations[0].pk)
        row.plan["window_end"] = ms(timezone.now())
        row.save()
    mirrored.send()
    assert attempts(asked)[0].sent_at is None
    assert exports_sent(mirrored.simulator) == []
