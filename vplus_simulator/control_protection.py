"""What somebody who works in vPlus itself does to policies, rules and schedules: none of it is in the journal."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from .entities import Policy, Rule, Schedule
from .firing import firings
from .messages import Refusal, bad_request, not_found
from .protection import (
    assign_rules,
    assign_vms,
    forget_shown,
    refuse_destinations,
    refuse_rules,
    refuse_schedules,
    refuse_taken_name,
    refuse_vms,
    remove_policy,
    remove_rule,
    remove_schedule,
)

if TYPE_CHECKING:
    from .http import SimulatorServer

KINDS: dict[str, type[Policy] | type[Rule] | type[Schedule]] = {
    "policies": Policy,
    "rules": Rule,
    "schedules": Schedule,
}
RELATIONS = {"policies": "vms", "schedules": "rules"}
"""What can be given beside an object's own members: the guids on the other side, all of them."""
OWN = {"guid"}
"""Members that nobody gives."""
FIRINGS_SHOWN = 20


class ProtectionControl:
    """Adds, changes and removes by the members of `entities`, such as `hour` or `days`; not by those of the wire.

    A policy also takes `vms`, a schedule `rules`: guids. Refuses by raising `messages.Refusal`.
    """

    def __init__(self, server: SimulatorServer) -> None:
        self._server = server
        self._world = server.world

    def add(self, kind: str, **members: Any) -> Any:
        """Make a policy, a rule or a schedule; return it."""
        with self._world.lock:
            self._advance()
            guid = self._world.new_guid({"policies": "policy", "rules": "rule", "schedules": "schedule"}[_known(kind)])
            return self._keep(kind, {"guid": guid}, members)

    def change(self, kind: str, guid: str, **members: Any) -> Any:
        """Change the given members of an object; return it."""
        with self._world.lock:
            self._advance()
            return self._keep(kind, msgspec.to_builtins(self._held(kind, guid)), members)

    def remove(self, kind: str, guid: str) -> None:
        """Remove an object as a DELETE does: a policy takes its rules along."""
        with self._world.lock:
            self._advance()
            held = self._held(kind, guid)
            if isinstance(held, Policy):
                remove_policy(self._world, held)
            elif isinstance(held, Rule):
                remove_rule(self._world, held)
            else:
                remove_schedule(self._world, held)

    def firings(self, schedule: str, count: int = FIRINGS_SHOWN) -> list[int]:
        """Return the next instants (ms) at which a schedule is due, whether or not it is active."""
        with self._world.lock:
            held = self._world.schedules.get(schedule)
            if held is None:
                raise not_found("schedules", schedule)
            return list(islice(firings(held, self._advance()), count))

    def _held(self, kind: str, guid: str) -> Policy | Rule | Schedule:
        held: Policy | Rule | Schedule | None = getattr(self._world, _known(kind)).get(guid)
        if held is None:
            raise not_found(kind, guid)
        return held

    def _keep(self, kind: str, held: dict[str, Any], members: dict[str, Any]) -> Policy | Rule | Schedule:
        relation = members.pop(RELATIONS.get(kind, ""), None)
        unknown = set(members) - (set(KINDS[kind].__struct_fields__) - OWN)
        if unknown:
            raise bad_request(f"{kind} have no {', '.join(sorted(unknown))}")
        try:
            new = msgspec.convert(held | members, KINDS[kind])
        except msgspec.ValidationError as error:
            raise bad_request(str(error)) from error
        if isinstance(new, Policy):
            self._keep_policy(new, relation)
        elif isinstance(new, Rule):
            self._keep_rule(new)
        else:
            self._keep_schedule(new, relation)
        forget_shown(self._world)
        return new

    def _keep_policy(self, policy: Policy, vms: list[str] | None) -> None:
        refuse_taken_name(self._world.policies, policy.name, 409, but=policy.guid)
        refuse_vms(self._world, vms or [])
        self._world.policies[policy.guid] = policy
        if vms is not None:
            assign_vms(self._world, policy, vms)

    def _keep_rule(self, rule: Rule) -> None:
        if rule.policy not in self._world.policies:
            raise not_found("policies", rule.policy)
        refuse_schedules(self._world, rule.policy, rule.schedules, but=rule.guid)
        refuse_destinations(self._world, rule.destinations)
        self._world.rules[rule.guid] = rule

    def _keep_schedule(self, schedule: Schedule, rules: list[str] | None) -> None:
        refuse_taken_name(self._world.schedules, schedule.name, 409, but=schedule.guid)
        refuse_rules(self._world, schedule.type, rules or [])
        self._world.schedules[schedule.guid] = schedule
        if rules is not None:
            assign_rules(self._world, schedule, rules)
        self._server.engine.firing.plan(schedule, self._server.clock.now())

    def _advance(self) -> int:
        now = self._server.clock.now()
        self._server.engine.advance(now)
        return now


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise Refusal(404, f"There is no kind {kind}; there are {', '.join(KINDS)}")
    return kind
