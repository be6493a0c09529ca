"""The rules of VM backup policies: which schedules fire, and where the backups go (vplus-api.md 2.8, 4.6, 4.10)."""

from __future__ import annotations

from typing import Any

import msgspec

from ..entities import ROLES, Policy, Rule, RuleDestination
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
)
from ..protection import forget_shown, refuse_destinations, refuse_schedules, remove_rule
from .call import Call, Route
from .naming import created, found, listed, replaced, wire_name

RULE_DEMANDS = ("ruleBackupDestinations", "active", "position")
DESTINATION_DEMANDS = ("roleType", "backupRetentionSettings", "daysToKeepRetentionLock", "active")
"""What the current dialect requires of a rule and of each destination that it names (2.8)."""
Body = dict[str, Any]


def demand(body: Body, names: tuple[str, ...]) -> None:
    """Refuse a body that lacks one of these members (400)."""
    for name in names:
        if body.get(name) in (None, "", []):
            raise bad_request(f"{name} must be given")


def rules(call: Call) -> Answer:
    """List rules; only `policy` narrows, a wrong name for it returns the rules of everybody (4.12)."""
    policy_guid = call.request.one("policy")
    return listed(call, "rule", [rule for rule in call.world.rules.values() if policy_guid in (None, rule.policy)])


def rule(call: Call) -> Answer:
    """Return one rule; destinations that are not active only where they are asked for."""
    held = _found(call)
    if call.request.flag("only-active-destinations") is not False:
        held = msgspec.structs.replace(held, destinations=held.active_destinations())
    return json_answer(call.painter.record("rule", held, detail=True))


def create(call: Call) -> Answer:
    """Make a rule of a policy that is there."""
    body = call.request.json_object()
    policy = _policy(call, body)
    if call.settings.second_rule == "refused" and call.world.rules_of(policy.guid):
        raise bad_request(f"policy: {policy.name} has its rule already")
    made = read_rule(call, body, policy)
    keep_rule(call, made)
    return created(call, "rule", made)


def replace(call: Call) -> Answer:
    """Replace a rule by what the body says; without a policy it stays with its own."""
    held, body = _found(call), call.request.json_object()
    policy = _policy(call, body, default=held.policy)
    new = read_rule(call, body, policy, held=held)
    keep_rule(call, new)
    return replaced(call, "rule", new)


def delete(call: Call) -> Answer:
    """Remove a rule; its policy stays, and nothing fires for it any more."""
    remove_rule(call.world, _found(call))
    return empty_answer()


def _found(call: Call) -> Rule:
    rule: Rule = found(call, call.world.rules, "VM backup rule")
    return rule


def _policy(call: Call, body: Body, *, default: str | None = None) -> Policy:
    guid = reference_guid(body.get("policy"), "policy") or default
    if guid is None:
        raise bad_request("policy must be given")
    if guid not in call.world.policies:
        raise bad_request(f"policy: VM backup policy with guid {guid} does not exist")
    return call.world.policies[guid]


def read_rule(call: Call, body: Body, policy: Policy, *, held: Rule | None = None) -> Rule:
    """Return the rule that a body asks for, of its own or embedded in a policy's; refuse what is wrong (400).

    Nothing is kept yet. A name need not be unique: clients call their rules "Default".
    """
    if call.settings.current:
        demand(body, RULE_DEMANDS)
    schedules = optional_references(body.get("schedules"), "schedules")
    refuse_schedules(call.world, policy.guid, schedules, but=None if held is None else held.guid)
    made = Rule(
        guid=call.world.new_guid("rule") if held is None else held.guid,
        name=wire_name(call, body, held),
        policy=policy.guid,
        schedules=schedules,
        active=flag(body, "active", default=True),
        keep_fulls=4 if held is None else held.keep_fulls,
    )
    if body.get("ruleBackupDestinations") not in (None, "", []):
        _read_current(made, body["ruleBackupDestinations"], strict=call.settings.current)
    else:
        made.destinations = optional_references(body.get("backupDestinations"), "backupDestinations")
    refuse_destinations(call.world, made.destinations)
    return made


def _read_current(rule: Rule, entries: Any, *, strict: bool) -> None:
    """Take the current dialect's destinations; an entry that names none is the vendor's page saying nothing (2.8)."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise bad_request("ruleBackupDestinations must be a list of objects")
    for entry in entries:
        guid = reference_guid(entry.get("backupDestination"), "backupDestination")
        if guid is None:
            continue
        if strict:
            demand(entry, DESTINATION_DEMANDS)
        if guid in rule.destinations:
            raise bad_request("ruleBackupDestinations: a backup destination is named twice")
        retention = entry.get("backupRetentionSettings")
        told = RuleDestination(
            role=enum_name(entry.get("roleType"), "roleType", ROLES),
            active=flag(entry, "active", default=True),
            lock_days=optional_number(entry, "daysToKeepRetentionLock") or 0,
            retention=retention if isinstance(retention, dict) else None,
        )
        if any(other.role == told.role for other in rule.details.values()):
            raise bad_request(f"ruleBackupDestinations: there is more than one {told.role}")
        rule.destinations.append(guid)
        rule.details[guid] = told
        if told.role == "PRIMARY" and told.retention:
            rule.keep_fulls = optional_number(told.retention, "retentionKeepLastNFull") or rule.keep_fulls


def keep_rule(call: Call, rule: Rule) -> None:
    """Keep a rule that `read_rule` has made."""
    call.world.rules[rule.guid] = rule
    forget_shown(call.world)


ROUTES = (
    Route("GET", "/rules/vm-backup", rules, "list; `policy`, paging"),
    Route("POST", "/rules/vm-backup", create, "makes one for a policy", changes=True),
    Route("GET", "/rules/vm-backup/{guid}", rule, "one; `only-active-destinations`"),
    Route("PUT", "/rules/vm-backup/{guid}", replace, "replaces it whole", changes=True),
    Route("DELETE", "/rules/vm-backup/{guid}", delete, "removes it; policy and schedules stay", changes=True),
)
