"""What tests of sending begin with: one step of the protocol done by hand, and answers that vPlus may give."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from tenants.scope import every_tenant
from tests.bridge.scenes import (
    attempts,
)
from tests.conftest import Bridge
from vplus_bridge.client import Outcome as Answer
from vplus_bridge.client import OutcomeKind, TaskRecord, WriteRequest, guide
from vplus_bridge.models import Attempt, Operation
from vplus_bridge.operations import send
from vplus_bridge.operations.request import Asked


def in_threads(count: int, work: Callable[[], Any]) -> list[Any]:
    """Do the same in so many threads at once, each with a connection of its own."""
    together = threading.Barrier(count)

    def one() -> Any:
        try:
            together.wait(30)
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return [future.result(60) for future in [pool.submit(one) for _ in range(count)]]


def claim(asked: Asked) -> send.Claim | None:
    attempt = attempts(asked)[-1]
    return send._claim(attempt.tenant_id, attempt.pk)


def claimed(asked: Asked) -> send.Claim:
    taken = claim(asked)
    assert taken is not None
    return taken


def set_mark(claim: send.Claim, found: send.Prepared) -> WriteRequest | None:
    return send._mark(claim, found, guide)


def prepared(**facts: Any) -> send.Prepared:
    return send.Prepared(**{"baseline_tasks": [], "baseline_backups": [], "clock_offset": timedelta(), **facts})


def in_step(bridge: Bridge) -> None:
    """Bring vPlus's clock, which stood still while a test was set up, to ours: windows are told by vPlus's."""
    control = bridge.simulator.control
    control.step(max(0.0, time.time() - control.summary().now / 1000))


def from_now(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts in which a length of time means so long from now: what is collected may run minutes later."""
    now = timezone.now()
    return {name: now + value if isinstance(value, timedelta) else value for name, value in facts.items()}


def change(asked: Asked, **facts: Any) -> None:
    with every_tenant("test"):
        Attempt.objects.filter(step__operation=asked.operations[0].pk).update(**facts)


def change_operation(asked: Asked, **facts: Any) -> None:
    with every_tenant("test"):
        Operation.objects.filter(pk=asked.operations[0].pk).update(**facts)


def taken_task(guid: str = "t-1") -> Answer:
    return Answer(OutcomeKind.ACCEPTED, 201, "accepted", tasks=(TaskRecord(guid=guid),))


UNCERTAIN = Answer(OutcomeKind.UNCERTAIN, None, "the connection broke")
NOT_ACCEPTED = Answer(OutcomeKind.NOT_ACCEPTED, None, "nothing was sent")
