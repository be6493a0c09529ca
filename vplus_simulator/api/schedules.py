"""Schedules (vplus-api.md 2.7)."""

from __future__ import annotations

from typing import Any

from ..entities import CURRENT_SCHEDULE_TYPES, DAYS, MONTHS, OCCURRENCES, SCHEDULE_TYPES, Schedule
from ..messages import (
    Answer,
    Refusal,
    bad_request,
    empty_answer,
    enum_name,
    enum_names,
    flag,
    json_answer,
    optional_number,
    optional_references,
)
from ..protection import assign_rules, refuse_rules, refuse_taken_name, remove_schedule
from .call import Call, Route
from .naming import created, found, listed, replaced, tenant_label, wire_name
from .tenant_filter import wanted_tenant

DAY = 86_400_000
SHORTEST_FREQUENCY = 60_000
DEFAULT_START_WINDOW = 21_600_000
"""What an INTERVAL schedule shows, which has no use for one: the 2020 client formats it unguarded (7.1)."""


def schedules(call: Call) -> Answer:
    """List schedules."""
    request, world = call.request, call.world
    rows = list(world.schedules.values())
    tenant = wanted_tenant(call, "tenantid", "tenant-id")
    if tenant is not None:
        rows = [schedule for schedule in rows if schedule.tenant_id == tenant]
    kind = request.one("type")
    if kind is not None:
        if kind not in _types(call):
            raise bad_request(f"type must be one of {', '.join(_types(call))}")
        rows = [schedule for schedule in rows if schedule.type == kind]
    vm = request.one("protected-entity")
    if vm is not None:
        owner = world.vms.get(vm)
        touching = {s.guid for s in world.schedules_of(owner.policy)} if owner and owner.policy else set()
        rows = [schedule for schedule in rows if schedule.guid in touching]
    asked_rules = set(request.many("rules"))
    if asked_rules:
        rows = [s for s in rows if any(r.guid in asked_rules for r in world.rules_with(s.guid))]
    return listed(call, "schedule", rows)


def schedule(call: Call) -> Answer:
    """Return one schedule."""
    return json_answer(call.painter.record("schedule", _found(call), detail=True))


def create(call: Call) -> Answer:
    """Make a schedule."""
    made, rules = _read(call, None)
    made.guid = call.world.new_guid("schedule")
    call.world.schedules[made.guid] = made
    assign_rules(call.world, made, rules)
    call.engine.firing.plan(made, call.now)
    return created(call, "schedule", made)


def replace(call: Call) -> Answer:
    """Replace a schedule by what the body says, its rules included."""
    held = _found(call)
    new, rules = _read(call, held)
    new.guid, new.last_run = held.guid, held.last_run
    call.world.schedules[held.guid] = new
    assign_rules(call.world, new, rules)
    call.engine.firing.plan(new, call.now)
    return replaced(call, "schedule", new)


def delete(call: Call) -> Answer:
    """Remove a schedule."""
    held = _found(call)
    if call.settings.schedule_in_use == "refused" and call.world.rules_with(held.guid):
        raise Refusal(409, f"Schedule {held.name} is in use")
    remove_schedule(call.world, held)
    return empty_answer()


def _found(call: Call) -> Schedule:
    schedule: Schedule = found(call, call.world.schedules, "Schedule")
    return schedule


def _read(call: Call, held: Schedule | None) -> tuple[Schedule, list[str]]:
    """Return what a body asks for, still without a guid, and the rules it wants; refuse what is wrong (400)."""
    body = call.request.json_object()
    name = wire_name(call, body, held)
    guid = None if held is None else held.guid
    refuse_taken_name(call.world.schedules, name, call.settings.duplicate_name, but=guid)
    days = enum_names(body.get("daysOfWeek"), "daysOfWeek", DAYS)
    if not days:
        raise bad_request("daysOfWeek must not be empty")
    kind = enum_name(body.get("type"), "type", _types(call))
    rules = optional_references(body.get("rules"), "rules")
    refuse_rules(call.world, kind, rules)
    wanted = Schedule(
        guid="",
        name=name,
        backup_type=enum_name(body.get("backupType"), "backupType", ("FULL", "INCREMENTAL")),
        execution_type=enum_name(body.get("executionType"), "executionType", ("TIME", "INTERVAL")),
        type=kind,
        active=flag(body, "active", default=True),
        days=days,
        occurrences=enum_names(body.get("dayOfWeekOccurrences"), "dayOfWeekOccurrences", OCCURRENCES),
        months=enum_names(body.get("months"), "months", MONTHS),
        tenant_id=tenant_label(call, body, None if held is None else held.tenant_id),
    )
    # What the kind does not use is not looked at: the 2020 client sends all of it for both kinds (2.7).
    if wanted.execution_type == "TIME":
        wanted.hour = _hour(body, "hour")
        wanted.start_window = _length(body, "startWindowLength", least=1)
    else:
        wanted.interval = _interval(body.get("interval"))
        wanted.hour, wanted.start_window = wanted.interval[0], DEFAULT_START_WINDOW
    return wanted, rules


def _types(call: Call) -> tuple[str, ...]:
    return CURRENT_SCHEDULE_TYPES if call.settings.current else SCHEDULE_TYPES


def _interval(value: Any) -> tuple[int, int, int]:
    if not isinstance(value, dict):
        raise bad_request("interval must be given for an INTERVAL schedule")
    frequency = _length(value, "frequency", least=SHORTEST_FREQUENCY)
    return _hour(value, "startHour"), _hour(value, "endHour"), frequency


def _hour(body: dict[str, Any], name: str) -> int:
    hour = optional_number(body, name)
    if hour is None or not 0 <= hour < DAY:
        raise bad_request(f"{name} must be between 0 and {DAY - 1}")
    return hour


def _length(body: dict[str, Any], name: str, *, least: int) -> int:
    length = optional_number(body, name)
    if length is None or length < least:
        raise bad_request(f"{name} must be at least {least}")
    return length


ROUTES = (
    Route(
        "GET",
        "/schedules",
        schedules,
        "list; `tenantid`, `tenant-id`, `type`, `protected-entity`, `rules` (repeated), paging",
    ),
    Route("POST", "/schedules", create, "makes one; 409 for a name that anybody has", changes=True),
    Route("GET", "/schedules/{guid}", schedule, "one"),
    Route("PUT", "/schedules/{guid}", replace, "replaces it whole, its rules included", changes=True),
    Route("DELETE", "/schedules/{guid}", delete, "removes it, also from its rules", changes=True),
)
