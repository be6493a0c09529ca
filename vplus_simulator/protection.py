"""Policies, rules and schedules as one structure (vplus-api.md 2.7, 2.8, 3.8): names, the relation of rules and
schedules seen from both ends, and which VMs are members. What is refused changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .entities import Policy, Rule, Schedule
from .messages import Refusal, bad_request
from .world import World

KIND = "VM_BACKUP"
"""The type of schedules that the rules of VM backup policies take."""


def refuse_taken_name(
    objects: Mapping[str, Policy] | Mapping[str, Schedule], name: str, status: int, *, but: str | None = None
) -> None:
    """Refuse a name that another object of the kind has, whoever's it is (4.11); `but` is the guid of the bearer."""
    if any(item.name == name and item.guid != but for item in objects.values()):
        raise Refusal(status, f"Object with name {name} already exists")


def refuse_vms(world: World, guids: Iterable[str]) -> None:
    """Refuse members that do not exist."""
    for guid in guids:
        if guid not in world.vms:
            raise bad_request(f"vms: virtual machine with guid {guid} does not exist")


def refuse_destinations(world: World, guids: Iterable[str]) -> None:
    """Refuse destinations that do not exist; whether a node can use them shows only when a task runs (2.9)."""
    for guid in guids:
        if guid not in world.destinations:
            raise bad_request(f"Backup destination with guid {guid} does not exist")


def refuse_schedules(world: World, policy: str, guids: Iterable[str], *, but: str | None = None) -> None:
    """Refuse schedules that a rule of `policy` cannot take; `but` is the guid of that rule where it exists."""
    others = [rule for rule in world.rules_of(policy) if rule.guid != but]
    for guid in guids:
        schedule = world.schedules.get(guid)
        if schedule is None:
            raise bad_request(f"schedules: schedule with guid {guid} does not exist")
        if schedule.type != KIND:
            raise bad_request(f"schedules: {schedule.name} is of type {schedule.type}, the policy of {KIND}")
        if any(guid in rule.schedules for rule in others):
            raise bad_request(f"schedules: {schedule.name} is used by another rule of the same policy")


def refuse_rules(world: World, kind: str, guids: Iterable[str]) -> None:
    """Refuse rules that a schedule of type `kind` cannot fire: only one within one policy."""
    policies: set[str] = set()
    for guid in guids:
        rule = world.rules.get(guid)
        if rule is None:
            raise bad_request(f"rules: rule with guid {guid} does not exist")
        if kind != KIND:
            raise bad_request(f"rules: a schedule of type {kind} cannot be used by a policy of {KIND}")
        if rule.policy in policies:
            raise bad_request("rules: a schedule can be used by one rule of a policy only")
        policies.add(rule.policy)


def assign_rules(world: World, schedule: Schedule, guids: Iterable[str]) -> None:
    """Let exactly these rules be fired by the schedule; they must have passed `refuse_rules`."""
    wanted = set(guids)
    for rule in world.rules.values():
        if rule.guid in wanted and schedule.guid not in rule.schedules:
            rule.schedules.append(schedule.guid)
        elif rule.guid not in wanted and schedule.guid in rule.schedules:
            rule.schedules.remove(schedule.guid)
    forget_shown(world)


def assign_vms(world: World, policy: Policy, guids: Iterable[str]) -> None:
    """Let exactly these VMs be members; one that was another policy's leaves it (3.8). They must exist."""
    wanted = dict.fromkeys(guids)
    members = world.members_of.get(policy.guid, {})
    for guid in [guid for guid in members if guid not in wanted]:
        world.assign_policy(world.vms[guid], None)
    for guid in wanted:
        if world.vms[guid].policy != policy.guid:
            world.assign_policy(world.vms[guid], policy.guid)


def remove_policy(world: World, policy: Policy) -> None:
    """Remove a policy with its rules; its VMs have none then, its schedules stay (3.8)."""
    assign_vms(world, policy, [])
    for rule in world.rules_of(policy.guid):
        del world.rules[rule.guid]
    del world.policies[policy.guid]
    forget_shown(world)


def remove_rule(world: World, rule: Rule) -> None:
    """Remove a rule; its policy, its schedules and the backups made under it stay."""
    del world.rules[rule.guid]
    forget_shown(world)


def remove_schedule(world: World, schedule: Schedule) -> None:
    """Remove a schedule, also from the rules that it fires."""
    assign_rules(world, schedule, [])
    del world.schedules[schedule.guid]


def forget_shown(world: World) -> None:
    """Note a change that VMs show: their lists are encoded anew."""
    world.rendered.clear()
    world.changed()
