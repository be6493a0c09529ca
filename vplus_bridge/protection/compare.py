"""What differs between what we meant and what vPlus tells. What an answer leaves out is not known, and no difference."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vplus_bridge.client import PolicyRecord, RuleRecord, ScheduleRecord, bears_name
from vplus_bridge.protection.carrier_wire import drifted, members
from vplus_bridge.protection.stored import timeless

NEVER_BY_ITSELF = "DISABLED"


@dataclass(frozen=True, slots=True)
class Difference:
    """One field in which vPlus holds something else; lists are sorted. `schedule` is the wire name of a carrier."""

    field: str
    ours: Any
    theirs: Any
    schedule: str = ""


@dataclass(frozen=True, kw_only=True)
class PolicyMeant:
    """A policy as it was or is to be written."""

    vms: Collection[str]
    priority: int
    auto_remove: bool

    def as_json(self) -> dict[str, Any]:
        """Return it as a step keeps it."""
        return {"vms": list(self.vms), "priority": self.priority, "auto_remove": self.auto_remove}

    @classmethod
    def of_json(cls, kept: Mapping[str, Any]) -> "PolicyMeant":
        """Return what was kept."""
        return cls(vms=kept["vms"], priority=kept["priority"], auto_remove=kept["auto_remove"])


def of_policy(
    meant: PolicyMeant, held: PolicyRecord, *, gone: Collection[str] = (), wire_name: str = ""
) -> list[Difference]:
    """Return what differs in a policy; its name too, where one is given.

    Machines that are `gone` may be missing where vPlus takes them out by itself.
    """
    found = []
    if held.vm_guids is not None:
        wanted, there = set(meant.vms), set(held.vm_guids)
        if wanted - (set(gone) if meant.auto_remove else set()) - there or there - wanted:
            found.append(Difference("virtual_machines", sorted(wanted), sorted(there)))
    pairs: tuple[tuple[str, Any, Any], ...] = (
        ("priority", meant.priority, held.priority),
        ("auto_remove_gone", meant.auto_remove, held.auto_remove_non_present),
        ("auto_assign_mode", NEVER_BY_ITSELF, held.auto_assign_mode),
    )
    for field, ours, theirs in pairs:
        if theirs is not None and theirs != ours:
            found.append(Difference(field, ours, theirs))
    if held.active is False:
        found.append(Difference("active", True, False))
    if wire_name and not bears_name(held.name, wire_name):
        found.append(Difference("name", wire_name, held.name))
    return found


def of_rule(schedule_guids: Iterable[str], destinations: Iterable[str], held: RuleRecord) -> list[Difference]:
    """Return what differs in a policy's rule."""
    found = []
    for field, ours, theirs in (
        ("rule_schedules", sorted(set(schedule_guids)), held.schedule_guids),
        ("destination", sorted(set(destinations)), held.destination_guids),
    ):
        if theirs is not None and sorted(set(theirs)) != ours:
            found.append(Difference(field, ours, sorted(set(theirs))))
    if held.active is False:
        found.append(Difference("active", True, False))
    return found


def of_schedule(spec: Mapping[str, Any], held: ScheduleRecord, wire_name: str = "") -> list[Difference]:
    """Return what differs in one carrier, by the record's names; its name too, where one is given."""
    ours = members(timeless(spec))
    shown: dict[str, Any] = {**spec, **{name: ours[name] for name in ("days_of_week", "months", "occurrences")}}
    found = [Difference(f, _said(shown, f), _held(held, f), wire_name) for f in drifted(timeless(spec), held)]
    if wire_name and not bears_name(held.name, wire_name):
        found.append(Difference("name", wire_name, held.name, wire_name))
    return found


def shared_with(held: ScheduleRecord, rule_guid: str) -> list[str]:
    """Return the rules of others that a schedule fires too; empty where it serves ours alone, or that is not told."""
    return sorted(set(held.rule_guids or ()) - {rule_guid})


def _said(spec: Mapping[str, Any], field: str) -> Any:
    if field.startswith("interval."):
        every = spec["interval"]
        names = ("interval.start_hour_ms", "interval.end_hour_ms", "interval.frequency_ms")
        return every[names.index(field)] if every else None
    return spec.get(field)


def _held(held: ScheduleRecord, field: str) -> Any:
    inside, _dot, name = field.rpartition(".")
    value = getattr(getattr(held, inside) if inside else held, name, None)
    return sorted(value) if isinstance(value, tuple) else value
