"""The steps of an operation on a policy, in the order in which they can be done and undone. Pure: rows become steps.

Schedules come before the rule that names them, a policy before its rule; what is removed goes last, when nothing refers
to it any more. A reference names an object by guid, or by the wire name under which an earlier step makes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from vplus_bridge.protection.compare import PolicyMeant

Spec = dict[str, Any]
Reference = dict[str, str]


@dataclass(frozen=True)
class Planned:
    """One step that is to be: what it writes; `object_name` is the wire name of what it makes."""

    action: str
    spec: Spec
    object_name: str = ""
    target_guid: str = ""


@dataclass(frozen=True, kw_only=True)
class CarrierWish:
    """One schedule of vPlus as it is to be; without a guid it is to be made. `was` None: whatever it is now."""

    name: str
    spec: Spec
    guid: str = ""
    was: Spec | None = None
    written: bool = True
    """Whether it stands in vPlus as it is to be already, so that no step is needed."""

    @property
    def reference(self) -> Reference:
        """Return it as other steps name it."""
        return {"guid": self.guid} if self.guid else {"name": self.name}


@dataclass(frozen=True, kw_only=True)
class PolicyWish:
    """A whole policy as it is to be in vPlus."""

    name: str
    rule_name: str
    meant: PolicyMeant
    destination: str
    carriers: Sequence[CarrierWish]
    guid: str = ""
    rule_guid: str = ""
    may_leave: Sequence[str] = ()
    """Guids of policies that its machines may come from."""


@dataclass(frozen=True, kw_only=True)
class PolicyHeld:
    """A policy as it was last written, where that is known."""

    meant: PolicyMeant
    destination: str
    schedule_guids: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Leaving:
    """Another policy that machines are taken from."""

    guid: str
    name: str
    was: PolicyMeant
    meant: PolicyMeant


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """A schedule that is no longer needed."""

    guid: str
    name: str


@dataclass
class _Made:
    steps: list[Planned] = field(default_factory=list)

    def add(self, action: str, spec: Spec, *, name: str = "", guid: str = "") -> None:
        self.steps.append(Planned(action, spec, object_name=name, target_guid=guid))


def to_create(wish: PolicyWish, leaving: Sequence[Leaving]) -> list[Planned]:
    """Return the steps that make a policy (vplus-api.md 3.8): take from A, then give to B."""
    made = _Made()
    _leave(made, leaving)
    _carry(made, wish)
    rule = {
        "name": wish.rule_name,
        "schedules": [carrier.reference for carrier in wish.carriers],
        "destinations": [wish.destination],
    }
    made.add(
        "policy_create",
        {**wish.meant.as_json(), "rule": rule, "may_leave": list(wish.may_leave)},
        name=wish.name,
    )
    made.add("rule_create", {**rule, "policy": {"name": wish.name}}, name=wish.rule_name)
    made.steps.append(_check(wish))
    return made.steps


def to_change(
    wish: PolicyWish,
    held: PolicyHeld | None,
    leaving: Sequence[Leaving],
    dropped: Sequence[Dropped],
    *,
    strange_rules: Sequence[str] = (),
) -> list[Planned]:
    """Return the steps that turn a policy as it was last written into what is wished; `held` None: whatever it is now.

    `strange_rules` are guids of rules that others made in it, and that go. They go first: where vPlus refuses that, nothing
    else was touched, and a schedule of ours that they fire too is ours alone again before it is written.
    """
    made = _Made()
    for guid in strange_rules:
        made.add("rule_delete", {"guid": guid, "policy": {"guid": wish.guid}}, guid=guid)
    _leave(made, leaving)
    _carry(made, wish)
    schedules = [carrier.reference for carrier in wish.carriers]
    if not wish.rule_guid:
        # First, since where a policy is written with its rules it is not taken without one.
        rule = {"name": wish.rule_name, "schedules": schedules, "destinations": [wish.destination]}
        made.add("rule_create", {**rule, "policy": {"guid": wish.guid}}, name=wish.rule_name)
    if held is None or not same(held.meant, wish.meant):
        spec: Spec = {
            "guid": wish.guid,
            "name": wish.name,
            "meant": wish.meant.as_json(),
            "was": None if held is None else held.meant.as_json(),
            "may_leave": list(wish.may_leave),
        }
        made.add("policy_update", spec, guid=wish.guid)
    was = None if held is None else _rule_was(held)
    known = [carrier.guid for carrier in wish.carriers]
    says_else = held is None or held.destination != wish.destination or sorted(known) != sorted(held.schedule_guids)
    if wish.rule_guid and says_else:
        spec = {
            "guid": wish.rule_guid,
            "policy": {"guid": wish.guid},
            "schedules": schedules,
            "destinations": [wish.destination],
            "was": was,
        }
        made.add("rule_update", spec, guid=wish.rule_guid)
    _drop(made, dropped, {"guid": wish.rule_guid} if wish.rule_guid else {"name": wish.rule_name})
    made.steps.append(_check(wish))
    return made.steps


def to_delete(policy_guid: str, policy_name: str, rule_guid: str, dropped: Sequence[Dropped]) -> list[Planned]:
    """Return the steps that remove a policy and its schedules; its rule goes with it."""
    made = _Made()
    made.add("policy_delete", {"guid": policy_guid, "name": policy_name}, guid=policy_guid)
    _drop(made, dropped, {"guid": rule_guid})
    made.add("policy_check", {"policy": {"guid": policy_guid}, "gone": True})
    return made.steps


def to_remove(orphans: Sequence[tuple[str, str, str]]) -> list[Planned]:
    """Return the steps that remove what no policy holds: (delete action, guid, wire name) of each, policies first."""
    first = sorted(orphans, key=lambda orphan: orphan[0] != "policy_delete")
    return [
        Planned(action, {"guid": guid, "name": name, "tidy": True}, target_guid=guid) for action, guid, name in first
    ]


def to_take_out(policy_guid: str, policy_name: str, meant: PolicyMeant, machines: Sequence[str]) -> list[Planned]:
    """Return the steps that take machines out of a policy and leave the rest of it as vPlus holds it, changed there or not.

    `meant` is what our rows say, for what vPlus does not tell. The second step looks whether the first one took, and sends
    again where it did not.
    """
    spec: Spec = {"guid": policy_guid, "name": policy_name, "meant": meant.as_json(), "machines": list(machines)}
    return 2 * [Planned("policy_take_out", spec, target_guid=policy_guid)]


class Stepped(Protocol):
    """A step that was taken."""

    action: str
    spec: Spec


def undoing(taken: Sequence[tuple[Any, str]], *, refused: Any = None) -> list[Planned]:
    """Return the steps that undo these, given latest first with the guid of what each made; "" where none is known.

    Of the one that was `refused` it is most likely that nothing is to be undone.

    What a creation may have made without anybody knowing its guid is left to the repair, which finds it by its name.
    """
    undo = _Made()
    made_policy = any(step.action == "policy_create" and guid for step, guid in taken)
    for step, guid in taken:
        spec: Mapping[str, Any] = step.spec
        if spec.get("undo"):
            continue
        if step.action in ("schedule_create", "policy_create"):
            if guid:
                action = step.action.replace("create", "delete")
                undo.add(action, {"guid": guid, "name": spec["object_name"], "undo": True}, guid=guid)
        elif step.action == "rule_create":
            if guid and not made_policy:
                undo.add("rule_delete", {"guid": guid, "policy": spec["policy"], "undo": True}, guid=guid)
        elif spec.get("was") is not None:
            back = {**_back(step.action, spec), "undo": True, "was": None, "refused": step == refused}
            undo.add(step.action, back, guid=spec["guid"])
    return undo.steps


def _back(action: str, spec: Mapping[str, Any]) -> Spec:
    if action == "schedule_update":
        return {**spec, "carrier": spec["was"]}
    if action == "rule_update":
        return {**spec, **spec["was"]}
    return {**spec, "meant": spec["was"]}


def same(one: PolicyMeant, other: PolicyMeant) -> bool:
    """Tell whether two mean the same, in whatever order the machines are named."""
    return (set(one.vms), one.priority, one.auto_remove) == (set(other.vms), other.priority, other.auto_remove)


def _rule_was(held: PolicyHeld) -> Spec:
    return {"schedules": [{"guid": guid} for guid in held.schedule_guids], "destinations": [held.destination]}


def _leave(made: _Made, leaving: Sequence[Leaving]) -> None:
    for other in leaving:
        spec = {"guid": other.guid, "name": other.name, "meant": other.meant.as_json(), "was": other.was.as_json()}
        made.add("policy_update", spec, guid=other.guid)


def _carry(made: _Made, wish: PolicyWish) -> None:
    for carrier in wish.carriers:
        if not carrier.guid:
            made.add("schedule_create", {"carrier": carrier.spec}, name=carrier.name)
        elif not carrier.written:
            spec = {
                "guid": carrier.guid,
                "name": carrier.name,
                "carrier": carrier.spec,
                "was": carrier.was,
                "rule_guid": wish.rule_guid,
            }
            made.add("schedule_update", spec, guid=carrier.guid)


def _drop(made: _Made, dropped: Sequence[Dropped], rule: Reference) -> None:
    for one in dropped:
        made.add("schedule_delete", {"guid": one.guid, "name": one.name, "rule": rule, "tidy": True}, guid=one.guid)


def _check(wish: PolicyWish) -> Planned:
    policy: Reference = {"guid": wish.guid} if wish.guid else {"name": wish.name}
    rule: Reference = {"name": wish.rule_name, **({"guid": wish.rule_guid} if wish.rule_guid else {})}
    carriers = [{"name": one.name, "guid": one.guid, "spec": one.spec} for one in wish.carriers]
    spec = {
        "policy": policy,
        "rule": rule,
        "meant": wish.meant.as_json(),
        "destinations": [wish.destination],
        "carriers": carriers,
        "gone": False,
    }
    return Planned("policy_check", spec)
