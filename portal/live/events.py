"""From what the bridge tells to what a browser shows: figures and words, made once for all who watch."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

import msgspec

from portal.web import runs_shown, shown, tasks_shown
from portal.web.wording import moments, numbers, operation_words
from portal.web.wording.badges import Badge, task_badge
from vplus_bridge import changes
from vplus_bridge.mirror.models import Task
from vplus_bridge.mirror.told import KIND as VIRTUAL_MACHINE
from vplus_bridge.operations.estimate import seconds_left
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.runs import Progress
from vplus_bridge.operations.told import KIND as OPERATION
from vplus_bridge.operations.told import TOLD
from vplus_bridge.operations.told_runs import KIND as RUN
from vplus_bridge.operations.told_tasks import KIND as TASK
from vplus_bridge.operations.told_tasks import TOLD as TOLD_OF_TASK

TOLD_OF_RUN = tuple(one.name for one in fields(Progress))


def framed(name: str, data: Any) -> bytes:
    """Return one event of a stream, as bytes for the wire."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(data))


def for_browsers(message: Mapping[str, Any], now: datetime) -> bytes:
    """Return the event that browsers get of one message of the bridge; kinds without words of their own pass as they are."""
    kind = str(message.get("kind", ""))
    if kind == changes.AGAIN:
        return framed("resync", {})
    return framed("change", WORDED.get(kind, _as_it_is)(message, now))


def _operation(message: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    row = Operation(
        **{name: message[name] for name in TOLD if name in message and name not in {"kind", "started_at"}},
        kind=message.get("asked", ""),
        started_at=_moment(message.get("started_at")),
        virtual_machine_guid=message.get("vm", ""),
        virtual_machine_name=message.get("name", ""),
        plan={"backup_type": message.get("backup_type", "")},
    )
    badge = shown.badge_of_operation(row)
    return {
        "kind": OPERATION,
        "id": message["id"],
        "vm": row.virtual_machine_guid,
        "new": bool(message.get("new")),
        "news": int(message.get("news", 0)),
        "active": row.active,
        "state": row.state,
        "stage": operation_words.stage(row) if row.active else str(badge.word),
        "percent": row.progress,
        "percentWords": "" if row.progress is None else numbers.percent_words(row.progress),
        "left": moments.time_left_words(seconds_left(row, now)) if row.active else "",
        "badge": _badge(badge),
    }


def _task(message: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    del now
    row = Task(**{name: message[name] for name in TOLD_OF_TASK})
    return {
        "kind": TASK,
        "id": message["id"],
        "vm": message.get("vm", ""),
        "new": bool(message.get("new")),
        "news": int(message.get("news", 0)),
        "active": row.live,
        "state": row.state,
        "stage": str(tasks_shown.doing(row)),
        "percent": row.progress,
        "percentWords": "" if row.progress is None else numbers.percent_words(row.progress),
        "badge": _badge(task_badge(row.known_state, row.state_description)),
    }


def _run(message: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    del now
    row = Progress(**{name: message[name] for name in TOLD_OF_RUN})
    return {
        "kind": RUN,
        "id": message["id"],
        "vm": message.get("vm", ""),
        "new": bool(message.get("new")),
        "news": int(message.get("news", 0)),
        "active": not row.ended,
        "state": row.state,
        "stage": str(runs_shown.stage(row)),
        "percent": row.percent,
        "percentWords": "" if row.percent is None else numbers.percent_words(row.percent),
        "badge": _badge(runs_shown.badge(row)),
    }


def _badge(badge: Badge) -> dict[str, str]:
    return {"colour": badge.colour, "icon": badge.icon, "word": str(badge.word)}


def _as_it_is(message: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    del now
    return dict(message)


def _moment(value: Any) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else None


# Where a new kind of object gets words for its cells; without an entry, pages read again what they show of it.
WORDED: Mapping[str, Callable[[Mapping[str, Any], datetime], dict[str, Any]]] = {
    OPERATION: _operation,
    TASK: _task,
    RUN: _run,
    VIRTUAL_MACHINE: _as_it_is,
}
