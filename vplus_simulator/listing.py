"""Lists: filters, order and pages (vplus-api.md 1.7)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from .entities import VirtualMachine
from .messages import JSON, Answer, Request, bad_request
from .shapes import CHANGES_BY_ITSELF, Painter

DEFAULT_PAGE = 50


def order_key(path: str) -> Callable[[dict[str, Any]], tuple[int, Any]]:
    """Return how records compare by a member path such as `hvManager.name`: absent first, text without case."""
    steps = path.split(".")

    def key(record: dict[str, Any]) -> tuple[int, Any]:
        value: Any = record
        for step in steps:
            value = value.get(step) if isinstance(value, dict) else None
        if isinstance(value, dict):
            value = value.get("name")
        if isinstance(value, str):
            return (2, value.casefold())
        return (0, 0) if value is None else (1, value)

    return key


def page_of(request: Request, painter: Painter) -> slice | None:
    """Return which part of the list was asked for, or None for all of it."""
    if not painter.settings.pages:
        return None
    page, size = request.whole("page"), request.whole("size")
    if page is None and size is None:
        return None
    page, size = page or 0, DEFAULT_PAGE if size is None else size
    if page < 0 or size < 1:
        raise bad_request("page must be 0 or more, size 1 or more")
    return slice(page * size, (page + 1) * size)


def matches_text(request: Request, name: str) -> bool:
    """Return whether a name passes the free-text parameters `filter` and `nameLike`."""
    folded = name.casefold()
    wanted = [text.casefold() for text in (request.one("filter"), request.one("nameLike")) if text is not None]
    return all(text in folded for text in wanted)


def has_text(request: Request) -> bool:
    """Return whether a free-text parameter was given."""
    return request.one("filter") is not None or request.one("nameLike") is not None


def in_order(request: Request, painter: Painter, kind: str, items: Iterable[Any]) -> list[Any]:
    """Return `items` in the order asked for, else in their own; a server that does not page does not sort either."""
    rows = list(items)
    path = request.one("orderBy")
    if path is None or not painter.settings.pages:
        return rows
    key = order_key(path)
    keyed = [(key(painter.record(kind, item)), item) for item in rows]
    keyed.sort(key=lambda pair: pair[0], reverse=request.one("direction") == "desc")
    return [item for _, item in keyed]


def vms_in_order(request: Request, painter: Painter) -> list[VirtualMachine]:
    """Return all VMs in the order asked for; it is kept between pages, so that many pages of many VMs stay cheap."""
    world = painter.world
    path, direction = request.one("orderBy") or "", request.one("direction") or ""
    revision = world.inventory_revision if path in {"", "guid", "uuid", "name", "present"} else world.revision
    name = f"{path} {direction} {painter.settings.pages}"
    kept = world.orders.get(name)
    if kept is None or kept[0] != revision:
        kept = world.orders[name] = (revision, in_order(request, painter, "vm", world.vms.values()))
    return kept[1]


def answer_list(request: Request, painter: Painter, kind: str, rows: list[Any]) -> Answer:
    """Return the records of `rows`, whole or one page of them."""
    part, wrong = page_of(request, painter), request.disorder
    total = len(rows)
    if part is not None:
        back = min(part.start, wrong.repeated)
        rows = rows[part.start - back : part.stop - back]
    elif wrong.repeated:
        rows = rows + rows[: wrong.repeated]
    rows = rows[: max(0, len(rows) - wrong.missing)] if wrong.missing else rows
    answer = Answer(200, _encoded(painter, kind, rows), JSON)
    if part is not None:
        answer.headers.append(("X-Total-Count", str(total + wrong.more_total)))
    return answer


def _encoded(painter: Painter, kind: str, rows: list[Any]) -> bytes:
    shown = {member.name for member in painter.members(kind, detail=False)}
    if kind != "vm" or shown & CHANGES_BY_ITSELF:
        return msgspec.json.encode([painter.record(kind, item) for item in rows])
    ready = painter.world.rendered
    parts = []
    for vm in rows:
        text = ready.get(vm.guid)
        if text is None:
            text = ready[vm.guid] = msgspec.json.encode(painter.record(kind, vm))
        parts.append(text)
    return b"[" + b",".join(parts) + b"]"
