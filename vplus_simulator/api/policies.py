"""VM backup policies, their rules and the schedules, for reading (vplus-api.md 2.7, 2.8)."""

from __future__ import annotations

from typing import Any

from ..listing import answer_list, in_order, matches_text
from ..messages import Answer, bad_request, json_answer, not_found
from .call import Call, Route
from .tenant_filter import wanted_tenant

SCHEDULE_TYPES = ("VM_BACKUP", "APP_BACKUP", "SNAPSHOT")


def _list(call: Call, kind: str, items: list[Any]) -> Answer:
    rows = [item for item in items if matches_text(call.request, item.name)]
    return answer_list(call.request, call.painter, kind, in_order(call.request, call.painter, kind, rows))


def _one(call: Call, kind: str, objects: dict[str, Any], words: str) -> Answer:
    guid = call.request.parts["guid"]
    if guid not in objects:
        raise not_found(words, guid)
    return json_answer(call.painter.record(kind, objects[guid], detail=True))


def policies(call: Call) -> Answer:
    """List VM backup policies with their rules."""
    found = list(call.world.policies.values())
    tenant = wanted_tenant(call, "tenantid", "tenant-id")
    if tenant is not None:
        found = [policy for policy in found if policy.tenant_id == tenant]
    vm = call.request.one("virtual-machine")
    if vm is not None:
        found = [policy for policy in found if vm in call.world.members_of.get(policy.guid, {})]
    return _list(call, "policy", found)


def policy(call: Call) -> Answer:
    """Return one policy with its VMs and rules."""
    return _one(call, "policy", call.world.policies, "VM backup policy")


def by_entities(call: Call) -> Answer:
    """List the policies of the given VMs that have rules."""
    guids = call.request.json_object().get("protectedEntities")
    if not isinstance(guids, list):
        raise bad_request("protectedEntities must be a list")
    wanted = dict.fromkeys(call.world.vms[guid].policy for guid in guids if guid in call.world.vms)
    found = [call.world.policies[guid] for guid in wanted if guid is not None and call.world.rules_of(guid)]
    return _list(call, "policy", found)


def rules(call: Call) -> Answer:
    """List rules; only `policy` narrows, a wrong name for it returns the rules of everybody (4.12)."""
    policy_guid = call.request.one("policy")
    return _list(call, "rule", [r for r in call.world.rules.values() if policy_guid in (None, r.policy)])


def rule(call: Call) -> Answer:
    """Return one rule."""
    return _one(call, "rule", call.world.rules, "VM backup rule")


def schedules(call: Call) -> Answer:
    """List schedules."""
    request, world = call.request, call.world
    found = list(world.schedules.values())
    tenant = wanted_tenant(call, "tenantid", "tenant-id")
    if tenant is not None:
        found = [schedule for schedule in found if schedule.tenant_id == tenant]
    kind = request.one("type")
    if kind is not None:
        if kind not in SCHEDULE_TYPES:
            raise bad_request(f"type must be one of {', '.join(SCHEDULE_TYPES)}")
        found = [schedule for schedule in found if schedule.type == kind]
    vm = request.one("protected-entity")
    if vm is not None:
        owner = world.vms.get(vm)
        touching = {s.guid for s in world.schedules_of(owner.policy)} if owner and owner.policy else set()
        found = [schedule for schedule in found if schedule.guid in touching]
    asked_rules = set(request.many("rules"))
    if asked_rules:
        found = [s for s in found if any(r.guid in asked_rules for r in world.rules_with(s.guid))]
    return _list(call, "schedule", found)


def schedule(call: Call) -> Answer:
    """Return one schedule."""
    return _one(call, "schedule", call.world.schedules, "Schedule")


ROUTES = (
    Route("GET", "/policies/vm-backup", policies, "list; `tenantid`, `tenant-id`, `virtual-machine`, paging"),
    Route("GET", "/policies/vm-backup/{guid}", policy, "one, with its VMs"),
    Route("POST", "/policies/vm-backup/list-by-entities", by_entities, "policies with rules of the given VMs"),
    Route("GET", "/rules/vm-backup", rules, "list; `policy`"),
    Route("GET", "/rules/vm-backup/{guid}", rule, "one"),
    Route(
        "GET",
        "/schedules",
        schedules,
        "list; `tenantid`, `tenant-id`, `type`, `protected-entity`, `rules` (repeated), paging",
    ),
    Route("GET", "/schedules/{guid}", schedule, "one"),
)
