"""Workers that write the same rows at the same moment: one waits for the other, and nobody for ever."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection

from tenants.scope import every_tenant
from tests.conftest import Cast
from tests.protection.test_ledger import EVENING, HOUR, NIGHT, machine, policy, read_all, schedule
from vplus_bridge.mirror.sole_writer import one_at_a_time
from vplus_bridge.models import ExpectedRun, PolicyPromise, VirtualMachine
from vplus_bridge.protection import expected, ledger, policy_names, promises, verdict
from vplus_bridge.protection.outcome import label_machines

PATIENCE = 60.0
MORNING = NIGHT + 12 * HOUR


def somebody_waits() -> bool:
    """Tell whether another transaction waits for the right to write many machines."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
            """
        )
        return bool(cursor.fetchone()[0])


def side_by_side(first: Callable[[], Any], second: Callable[[], Any]) -> None:
    """Let ``second`` begin while ``first``'s transaction has the right to write many machines and nothing else yet."""
    failed: list[DatabaseError] = []

    def other() -> None:
        try:
            with every_tenant("test"):
                second()
        except DatabaseError as problem:
            failed.append(problem)
        finally:
            connection.close()

    thread = threading.Thread(target=other)
    with every_tenant("test"):
        one_at_a_time()
        thread.start()
        until = time.monotonic() + PATIENCE
        while not somebody_waits():
            assert thread.is_alive(), f"it did not wait: {failed}"
            assert time.monotonic() < until, "it neither waits nor ends"
            time.sleep(0.02)
        first()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert failed == []


def touch_everything() -> None:
    """Write every row that a sync writes, and those that a machine's move takes along."""
    VirtualMachine.objects.update(changed_at=NIGHT)
    PolicyPromise.objects.update(computed_at=NIGHT)
    ExpectedRun.objects.update(backup_type="FULL")


def settled_and_judged() -> None:
    """What follows the reading of histories."""
    ledger.settle_of(["vm-1", "vm-2"], MORNING)
    verdict.judge(["vm-1", "vm-2"], now=MORNING)


def promised_and_named() -> None:
    """What follows the reading of policies."""
    promises.refresh(NIGHT + timedelta(days=1, hours=1))
    policy_names.name_policies()


def labelled() -> None:
    """What a policy's operation ends with."""
    label_machines(["vm-1", "vm-2"], "Gold")


@pytest.mark.parametrize(
    "work",
    [settled_and_judged, promised_and_named, lambda: expected.write_what_is_due(MORNING), labelled],
    ids=["runs", "promises", "what is due", "names"],
)
def test_who_writes_machines_beside_a_sync_holds_nothing_that_the_sync_wants(
    work: Callable[[], Any], cast: Cast
) -> None:
    with every_tenant("test"):
        policy(), schedule()
        machine("vm-1", cast.alpha), machine("vm-2", cast.alpha)
        promises.refresh(EVENING)
        if work is settled_and_judged:
            expected.write_what_is_due(NIGHT + HOUR)
            read_all(EVENING)
    side_by_side(touch_everything, work)
