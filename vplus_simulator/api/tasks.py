"""Tasks: watching, cancelling, and asking for a backup (vplus-api.md 2.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..entities import CURRENT_TASK_TYPES, LIVE, TASK_STATES, TASK_TYPES, Rule, Task, VirtualMachine
from ..listing import answer_list, has_text, in_order, matches_text
from ..messages import (
    Answer,
    Refusal,
    bad_request,
    empty_answer,
    enum_name,
    json_answer,
    not_found,
    optional_number,
    reference_guid,
    reference_guids,
)
from ..shapes import reference
from .call import Call, Route
from .tenant_filter import wanted_project

WINDOW_NAMES = ("windowStart", "windowEnd")
HIGHEST_PRIORITY = 100
DEFAULT_PRIORITY = 50


def listing(call: Call) -> Answer:
    """List tasks, oldest first."""
    rows = in_order(call.request, call.painter, "task", _filtered(call))
    return answer_list(call.request, call.painter, "task", rows)


def _filtered(call: Call) -> list[Task]:
    request, world = call.request, call.world
    state, states = _asked_state(call), _asked_states(call)
    vm = request.one("protected-entity" if call.settings.current else "protectedEntity")
    found: Iterable[Task] = world.tasks.values()
    if vm is not None:
        found = [world.tasks[guid] for guid in world.tasks_of.get(vm, {})]
    elif state is not None:
        found = sorted((world.tasks[guid] for guid in world.tasks_in.get(state, {})), key=lambda task: task.number)
    tests: list[Callable[[Task], bool]] = []
    if state is not None:
        tests.append(lambda task: task.state == state)
    if states:
        tests.append(lambda task: task.state in states)
    kind = request.one("type")
    if kind is not None:
        types = CURRENT_TASK_TYPES if call.settings.current else TASK_TYPES
        if kind not in types:
            raise bad_request(f"type must be one of {', '.join(types)}")
        tests.append(lambda task: task.type == kind)
    backup, schedule = request.one("backup"), request.one("schedule")
    if backup is not None:
        tests.append(lambda task: task.backup == backup)
    if schedule is not None:
        tests.append(lambda task: task.origin.type == "SCHEDULE" and task.origin.guid == schedule)
    projects = wanted_project(call, "tenantId")
    if projects is not None:
        tests.append(lambda task: task.vm is not None and world.vms[task.vm].project in projects)
    if has_text(request):
        tests.append(lambda task: matches_text(request, task.vm_name or ""))
    return [task for task in found if all(test(task) for test in tests)]


def _asked_state(call: Call) -> str | None:
    state = call.request.one("state")
    if state is None or call.settings.state_filter == "ignored":
        return None
    return enum_name(state, "state", TASK_STATES)


def _asked_states(call: Call) -> set[str]:
    """Return the states of `states`, which the current dialect knows beside `state` (2.2.1)."""
    if not call.settings.current or call.settings.state_filter == "ignored":
        return set()
    return {enum_name(state, "states", TASK_STATES) for state in call.request.many("states")}


def one(call: Call) -> Answer:
    """Return one task; 404 once retention or somebody removed it."""
    return json_answer(call.painter.record("task", _task(call), detail=True))


def _task(call: Call) -> Task:
    guid = call.request.parts["guid"]
    task = call.world.tasks.get(guid)
    if task is None:
        raise not_found("Task", guid)
    return task


def set_state(call: Call) -> Answer:
    """Cancel a live task; a second time on one that still stops removes it by force (3.7)."""
    task, body = _task(call), call.request.json_object()
    if enum_name(body.get("state"), "state", TASK_STATES) != "CANCELLED":
        raise bad_request("Only the state CANCELLED can be set")
    if call.settings.cancel == "missing":
        raise Refusal(405, "Method not allowed")
    reason = body.get("statusInfo")
    note(call, task)
    if task.state in LIVE:
        call.engine.cancel(task, call.now, reason if isinstance(reason, str) and reason else "Canceled by user")
    elif task.thread_until is not None:
        call.engine.remove(task, call.now)
    else:
        raise Refusal(409, f"Task {task.guid} has ended as {task.state}")
    if call.settings.put_response == "empty":
        return empty_answer()
    return json_answer(call.painter.record("task", task, detail=True))


def delete(call: Call) -> Answer:
    """Remove a queued or ended task; cancel a running one, and remove it by force when it is asked again (2.2)."""
    task = _task(call)
    note(call, task)
    if task.state == "RUNNING":
        if call.settings.cancel == "missing":
            raise Refusal(405, "Method not allowed")
        call.engine.cancel(task, call.now, "Canceled by user")
    else:
        call.engine.remove(task, call.now)
    return empty_answer()


def note(call: Call, task: Task) -> None:
    """Write a task and its backup into the journal of this call."""
    call.tasks.append(task.guid)
    if task.backup is not None:
        call.backups.append(task.backup)


def export(call: Call) -> Answer:
    """Create one EXPORT task and one backup record per VM (2.2.3)."""
    body, world = call.request.json_object(), call.world
    guids = list(dict.fromkeys(reference_guids(body.get("protectedEntities"), "protectedEntities")))
    if not guids:
        raise bad_request("protectedEntities must not be empty")
    for guid in guids:
        if guid not in world.vms:
            raise not_found("Virtual machine", guid)
    backup_type = enum_name(body.get("backupType"), "backupType", ("FULL", "INCREMENTAL"))
    start, end = (optional_number(body, name) for name in WINDOW_NAMES)
    if end is not None and end <= (call.now if start is None else start):
        raise bad_request("windowEnd must be after windowStart")
    priority = optional_number(body, "priority")
    if priority is not None and not 0 <= priority <= HIGHEST_PRIORITY:
        raise bad_request(f"priority must be between 0 and {HIGHEST_PRIORITY}")
    retry_count = optional_number(body, "retryCount")
    if retry_count is not None and retry_count < 0:
        raise bad_request("retryCount must not be negative")
    vms = [world.vms[guid] for guid in guids]
    wanted = _by_rules(call, body, vms) if call.settings.current else _to_destination(call, body, vms)
    tasks = [
        call.engine.exports.ask(
            vm,
            backup_type=backup_type,
            now=call.now,
            window_start=start,
            window_end=end,
            priority=DEFAULT_PRIORITY if priority is None else priority,
            destination=destination,
            retry_count=retry_count,
            rule=rule,
        )
        for vm, destination, rule in wanted
    ]
    for task in tasks:
        note(call, task)
    call.engine.advance(call.now)
    return created(call, tasks, default="array")


Wanted = tuple[VirtualMachine, str | None, str | None]
"""A VM, where its backup goes, and by which rule of its policy."""


def _to_destination(call: Call, body: dict[str, Any], vms: list[VirtualMachine]) -> list[Wanted]:
    """Return what the guide's export asks for: one destination, or the server's choice."""
    destination = reference_guid(body.get("backupDestination"), "backupDestination")
    if destination is not None and destination not in call.world.destinations:
        raise not_found("Backup destination", destination)
    return [(vm, destination, None) for vm in vms]


def _by_rules(call: Call, body: dict[str, Any], vms: list[VirtualMachine]) -> list[Wanted]:
    """Return what the current dialect's export asks for: a backup of each VM by each rule, which names the destination.

    `backupDestination` is not looked at. Without an active rule of its own policy a VM is not backed up (2.2.3, 3.8).
    """
    enum_name(body.get("protectedEntityType"), "protectedEntityType", ("VM",))
    entries = body.get("rules")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise bad_request("rules: no active rules present")
    rules = [_active_rule(call, entry) for entry in entries]
    for vm in vms:
        for rule in rules:
            if rule.policy != vm.policy:
                raise bad_request(f"rules: {rule.name} is not a rule of the policy of {vm.name}")
    return [(vm, call.world.destination_of(rule, vm), rule.guid) for vm in vms for rule in rules]


def _active_rule(call: Call, entry: dict[str, Any]) -> Rule:
    """Return the rule that an entry is; the entry is the whole record, as clients send it."""
    guid = reference_guid(entry, "rules")
    rule = call.world.rules.get(guid or "")
    if rule is None:
        raise bad_request(f"rules: rule with guid {guid} does not exist")
    if not rule.active or not rule.active_destinations():
        raise bad_request("rules: no active rules present")
    told = any(member.name == "ruleBackupDestinations" for member in call.painter.members("rule", detail=True))
    if told and not entry.get("ruleBackupDestinations"):
        raise bad_request("rules: ruleBackupDestinations must not be empty")
    return rule


def created(call: Call, tasks: list[Task], *, default: str) -> Answer:
    """Answer a POST that made tasks, in the shape that this server uses (2.2.2)."""
    shape = call.settings.created_tasks
    if shape == "default":
        shape = "array" if default == "array" else "one"
    if shape == "empty":
        return empty_answer(201)
    records = [call.painter.record("task", task, detail=True) for task in tasks]
    if shape == "one":
        return json_answer(records[0], 201)
    if shape == "array":
        return json_answer(records, 201)
    names: list[dict[str, Any]] = [reference(task.vm or "", task.vm_name or "") for task in tasks]
    return json_answer({"successful": names, "unsuccessful": [], "tasks": records}, 201)


ROUTES = (
    Route(
        "GET",
        "/tasks",
        listing,
        "list; `protectedEntity` (current: `protected-entity`, `states`), `backup`, `schedule`, `state`, "
        "`type`, `tenantId`, `filter`, `nameLike`, paging",
    ),
    Route("GET", "/tasks/{guid}", one, "one; 404 after task retention"),
    Route("PUT", "/tasks/{guid}/state", set_state, "cancels; a second time removes by force", changes=True),
    Route("DELETE", "/tasks/{guid}", delete, "removes; cancels a running one first", changes=True),
    Route("POST", "/tasks/export", export, "backs up: one task and one backup record per VM", changes=True),
)
