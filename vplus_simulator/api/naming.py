"""What writes of policies, rules and schedules share: their names, their tenant's label, and how they are answered."""

from __future__ import annotations

from typing import Any

from ..entities import Policy, Rule, Schedule
from ..listing import answer_list, in_order, matches_text
from ..messages import Answer, empty_answer, json_answer, not_found, required_name
from ..shapes import name_prefix
from .call import Call


def listed(call: Call, kind: str, items: list[Any]) -> Answer:
    """Answer a list of objects with names."""
    rows = [item for item in items if matches_text(call.request, call.painter.name(item))]
    return answer_list(call.request, call.painter, kind, in_order(call.request, call.painter, kind, rows))


def found(call: Call, objects: dict[str, Any], words: str) -> Any:
    """Return the object that the path names, or refuse with 404."""
    guid = call.request.parts["guid"]
    if guid not in objects:
        raise not_found(words, guid)
    return objects[guid]


def tenant_label(call: Call, body: dict[str, Any], held: str | None = None) -> str | None:
    """Return the label that a write gives: the guide's `tenantId`, else the current dialect's project (0.1).

    A PUT that names none keeps the label that the object has or clears it, by switch.
    """
    given = (
        None if call.settings.current else body.get("tenantId"),
        call.request.one("project-uuid"),
        body.get("projectUuid"),
        call.request.headers.get("3rd-party-project"),
    )
    label = next((value for value in given if isinstance(value, str) and value), None)
    return held if label is None and call.settings.put_without_tenant == "keeps" else label


def wire_name(call: Call, body: dict[str, Any], item: Policy | Rule | Schedule | None = None) -> str:
    """Return the name to keep; a name that comes back as it was shown loses the prefix that the server put before."""
    name = required_name(body)
    prefix = name_prefix(call.world, item) if item is not None and call.settings.prefixes else ""
    return name.removeprefix(prefix) or name


def created(call: Call, kind: str, item: Any) -> Answer:
    """Answer a POST that made `item`."""
    call.made = item.guid
    if call.settings.created_object == "empty":
        return empty_answer(201)
    return json_answer(call.painter.record(kind, item, detail=True), 201)


def replaced(call: Call, kind: str, item: Any) -> Answer:
    """Answer a PUT of `item`."""
    if call.settings.put_response == "empty":
        return empty_answer()
    return json_answer(call.painter.record(kind, item, detail=True))
