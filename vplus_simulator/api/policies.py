"""VM backup policies (vplus-api.md 2.8, 3.8)."""

from __future__ import annotations

from typing import Any

from ..entities import AUTO_ASSIGN_MODES, Policy, Rule
from ..messages import (
    Answer,
    bad_request,
    empty_answer,
    enum_name,
    flag,
    json_answer,
    optional_number,
    optional_references,
    reference_guid,
    reference_guids,
)
from ..protection import assign_vms, forget_shown, refuse_taken_name, refuse_vms, remove_policy, remove_rule
from ..shapes import OTHER_POLICY_MEMBERS
from .call import Call, Route
from .naming import created, found, listed, replaced, tenant_label, wire_name
from .rules import demand, keep_rule, read_rule
from .tenant_filter import wanted_tenant

HIGHEST_PRIORITY = 100
DEFAULT_PRIORITY = 50
POLICY_DEMANDS = ("priority", "autoRemoveNonPresent", "autoAssignSettings", "active", "backupRetryCount")
"""What the current dialect requires; its primitive booleans may be absent, which is false (2.8)."""
Body = dict[str, Any]


def policies(call: Call) -> Answer:
    """List VM backup policies with their rules; in the current dialect these only where they are asked for."""
    if call.settings.current and not call.request.flag("extended"):
        call.painter.hide("policy.rules")
    rows = list(call.world.policies.values())
    tenant = wanted_tenant(call, "tenantid", "tenant-id")
    if tenant is not None:
        rows = [policy for policy in rows if policy.tenant_id == tenant]
    vm = call.request.one("virtual-machine")
    if vm is not None:
        rows = [policy for policy in rows if vm in call.world.members_of.get(policy.guid, {})]
    return listed(call, "policy", rows)


def policy(call: Call) -> Answer:
    """Return one policy with its VMs and rules."""
    return json_answer(call.painter.record("policy", _found(call), detail=True))


def by_entities(call: Call) -> Answer:
    """List the policies of the given VMs that have rules."""
    guids = reference_guids(call.request.json_object().get("protectedEntities"), "protectedEntities")
    wanted = dict.fromkeys(call.world.vms[guid].policy for guid in guids if guid in call.world.vms)
    rows = [call.world.policies[guid] for guid in wanted if guid is not None and call.world.rules_of(guid)]
    return listed(call, "policy", rows)


def create(call: Call) -> Answer:
    """Make a policy; its rules come by calls of their own, or must be there already, by switch (4.7)."""
    body = call.request.json_object()
    made, vms = _read(call, body, None)
    made.guid = call.world.new_guid("policy")
    rules = _read_rules(call, body, made)
    call.world.policies[made.guid] = made
    _keep(call, made, vms, rules)
    return created(call, "policy", made)


def replace(call: Call) -> Answer:
    """Replace a policy by what the body says, the set of its VMs included."""
    held, body = _found(call), call.request.json_object()
    new, vms = _read(call, body, held)
    new.guid = held.guid
    rules = _read_rules(call, body, new)
    call.world.policies[held.guid] = new
    _keep(call, new, vms, rules)
    return replaced(call, "policy", new)


def delete(call: Call) -> Answer:
    """Remove a policy with its rules."""
    remove_policy(call.world, _found(call))
    return empty_answer()


def _found(call: Call) -> Policy:
    policy: Policy = found(call, call.world.policies, "VM backup policy")
    return policy


def _read(call: Call, body: Body, held: Policy | None) -> tuple[Policy, list[str]]:
    """Return what a body asks for, still without a guid, and the VMs it wants; refuse what is wrong (400)."""
    name = wire_name(call, body, held)
    guid = None if held is None else held.guid
    refuse_taken_name(call.world.policies, name, call.settings.duplicate_name, but=guid)
    priority = optional_number(body, "priority")
    if priority is not None and not 0 <= priority <= HIGHEST_PRIORITY:
        raise bad_request(f"priority must be between 0 and {HIGHEST_PRIORITY}")
    if call.settings.current:
        demand(body, POLICY_DEMANDS)
    settings = body.get("autoAssignSettings")
    mode = settings.get("mode") if isinstance(settings, dict) else None
    vms = optional_references(body.get("vms"), "vms")
    refuse_vms(call.world, vms)
    made = Policy(
        guid="",
        name=name,
        priority=DEFAULT_PRIORITY if priority is None else priority,
        active=flag(body, "active", default=True),
        auto_remove_non_present=flag(body, "autoRemoveNonPresent", default=False),
        auto_assign_mode="DISABLED" if mode in (None, "") else enum_name(mode, "mode", AUTO_ASSIGN_MODES),
        tenant_id=tenant_label(call, body, None if held is None else held.tenant_id),
        others={name: body[name] for name in OTHER_POLICY_MEMBERS if body.get(name) is not None},
    )
    return made, vms


def _read_rules(call: Call, body: Body, policy: Policy) -> list[Rule] | None:
    """Return the rules that a body brings along, where this server looks at them at all."""
    if not call.settings.embeds_rules:
        return None
    entries = body.get("rules")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise bad_request("rules must not be empty")
    held = {rule.guid: rule for rule in call.world.rules_of(policy.guid)}
    made = [_read_entry(call, entry, policy, _held_rule(entry, held)) for entry in entries]
    schedules = [guid for rule in made for guid in rule.schedules]
    if len(set(schedules)) < len(schedules):
        raise bad_request("rules: a schedule can be used by one rule of a policy only")
    return made


def _read_entry(call: Call, entry: Body, policy: Policy, held: Rule | None) -> Rule:
    """Return the rule that an entry asks for; one that says no more than a NameAndGuid leaves the rule as it is."""
    if held is not None and set(entry) <= {"guid", "name"}:
        return held
    return read_rule(call, entry, policy, held=held)


def _held_rule(entry: Body, held: dict[str, Rule]) -> Rule | None:
    guid = reference_guid(entry, "rules")
    if guid is not None and guid not in held:
        raise bad_request(f"rules: the policy has no rule with guid {guid}")
    return held.get(guid or "")


def _keep(call: Call, policy: Policy, vms: list[str], rules: list[Rule] | None) -> None:
    assign_vms(call.world, policy, vms)
    if rules is not None:
        kept = {rule.guid for rule in rules}
        for rule in call.world.rules_of(policy.guid):
            if rule.guid not in kept:
                remove_rule(call.world, rule)
        for rule in rules:
            keep_rule(call, rule)
    forget_shown(call.world)


ROUTES = (
    Route(
        "GET",
        "/policies/vm-backup",
        policies,
        "list; `tenantid`, `tenant-id`, `virtual-machine`, `extended` (current), paging",
    ),
    Route("POST", "/policies/vm-backup", create, "makes one; 409 for a name that anybody has", changes=True),
    Route("GET", "/policies/vm-backup/{guid}", policy, "one, with its VMs"),
    Route("PUT", "/policies/vm-backup/{guid}", replace, "replaces it whole, the set of VMs included", changes=True),
    Route("DELETE", "/policies/vm-backup/{guid}", delete, "removes it and its rules; schedules stay", changes=True),
    Route("POST", "/policies/vm-backup/list-by-entities", by_entities, "policies with rules of the given VMs"),
)
