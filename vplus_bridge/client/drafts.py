"""What a restored VM, a schedule, a rule or a policy is to be, and the members that both dialects write alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Required, TypedDict, Unpack

from vplus_bridge.client.bodies import (
    Body,
    Plainer,
    checked_name,
    checked_priority,
    enum,
    enum_in,
    enums,
    filled,
    given,
    guid_in,
    plain_enum,
    plain_reference,
    reference,
    references,
    replacement,
)
from vplus_bridge.client.errors import Invalid
from vplus_bridge.client.records import RawObject

SCHEDULES, POLICIES, RULES = "/schedules", "/policies/vm-backup", "/rules/vm-backup"

DAYS_OF_WEEK = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
OCCURRENCES = ("FIRST_IN_MONTH", "SECOND_IN_MONTH", "THIRD_IN_MONTH", "FOURTH_IN_MONTH", "LAST_IN_MONTH")
MONTHS = (
    "JANUARY",
    "FEBRUARY",
    "MARCH",
    "APRIL",
    "MAY",
    "JUNE",
    "JULY",
    "AUGUST",
    "SEPTEMBER",
    "OCTOBER",
    "NOVEMBER",
    "DECEMBER",
)
BACKUP_TYPES = ("FULL", "INCREMENTAL")

MINUTE_MS = 60_000
DAY_MS = 86_400_000


def _checked_hour(ms: int) -> int:
    """Ms since midnight UTC; a small number is seconds taken for ms (vplus-api.md 4.3). Raises Invalid."""
    if not 0 <= ms < DAY_MS or 0 < ms < MINUTE_MS:
        raise Invalid("an hour is given in milliseconds since midnight UTC, below 86,400,000")
    return ms


def _checked_length(ms: int) -> int:
    """Ms, at least a minute: a smaller number is seconds taken for ms. Raises Invalid."""
    if ms < MINUTE_MS:
        raise Invalid("a length of time is given in milliseconds and is a minute at least")
    return ms


@dataclass(frozen=True)
class AtTime:
    """Once on each matching day. `hour_ms` is ms since midnight UTC; exports start within `start_window_ms`.

    Raises Invalid for figures that are no ms of a day.
    """

    hour_ms: int
    start_window_ms: int

    def __post_init__(self) -> None:
        _checked_hour(self.hour_ms)
        _checked_length(self.start_window_ms)

    def members(self) -> Body:
        """As the wire has it (vplus-api.md 2.7)."""
        return {"executionType": enum("TIME"), "hour": self.hour_ms, "startWindowLength": self.start_window_ms}


@dataclass(frozen=True)
class AtInterval:
    """From `start_hour_ms` every `frequency_ms` while not after `end_hour_ms`; hours are ms since midnight UTC.

    Raises Invalid for figures that are no ms, and for an end before the start, of which no source says what
    vPlus makes (vplus-api.md 3.9).
    """

    start_hour_ms: int
    end_hour_ms: int
    frequency_ms: int

    def __post_init__(self) -> None:
        _checked_hour(self.start_hour_ms)
        _checked_hour(self.end_hour_ms)
        _checked_length(self.frequency_ms)
        if self.end_hour_ms < self.start_hour_ms:
            raise Invalid("an interval ends before it starts")

    def members(self) -> Body:
        """As the wire has it (vplus-api.md 2.7)."""
        interval = {"startHour": self.start_hour_ms, "endHour": self.end_hour_ms, "frequency": self.frequency_ms}
        return {"executionType": enum("INTERVAL"), "interval": interval}


Timing = AtTime | AtInterval

_OF_TIME = ("hour", "startWindowLength")
_OF_INTERVAL = ("interval",)
_OF_KIND = {"TIME": _OF_TIME, "INTERVAL": _OF_INTERVAL}


@dataclass(frozen=True)
class RuleDraft:
    """A rule that is to be made: which schedules fire it and where its backups go.

    Without a destination nothing could run, so one at least is needed (vplus-api.md 4.10). Raises Invalid.
    """

    name: str
    schedule_guids: tuple[str, ...]
    destination_guids: tuple[str, ...]

    def __post_init__(self) -> None:
        checked_name(self.name)
        checked_destinations(self.destination_guids)


def checked_destinations(guids: Sequence[str]) -> list[str]:
    """The guids, each once; at least one. Raises Invalid."""
    if not guids or not all(guids):
        raise Invalid("a rule needs a backup destination")
    return list(dict.fromkeys(guids))


# Restores


class RestorePlace(TypedDict, total=False):
    """Where a restored VM goes and what it is called there: exactly one of hypervisor and manager.

    Storage and cluster go by the platform's uuid, not by guid (vplus-api.md 1.4).
    """

    hypervisor_guid: str | None
    hypervisor_manager_guid: str | None
    restored_name: str | None
    storage_uuid: str | None
    cluster_uuid: str | None
    data_center: str | None


# Schedules

_SCHEDULE_PLAINERS: Mapping[str, Plainer] = {
    "backupType": plain_enum,
    "type": plain_enum,
    "executionType": plain_enum,
    "daysOfWeek": plain_enum,
    "months": plain_enum,
    "dayOfWeekOccurrences": plain_enum,
    "rules": plain_reference,
}
_SCHEDULE_REQUIRED = (
    "name",
    "backupType",
    "type",
    "executionType",
    "active",
    "daysOfWeek",
    "months",
    "dayOfWeekOccurrences",
    "rules",
)


class ScheduleMembers(TypedDict, total=False):
    """What can be said of a schedule; what is None or left out stays as it is.

    Days, months and occurrences are in UTC, the last two empty for any (vplus-api.md 2.7, 4.2).
    """

    name: str | None
    backup_type: str | None
    timing: Timing | None
    days_of_week: Iterable[str] | None
    months: Iterable[str] | None
    occurrences: Iterable[str] | None
    active: bool | None
    rule_guids: Iterable[str] | None


class NewSchedule(TypedDict, total=False):
    """What makes a schedule: in any month, on any occurrence of the day, active and of no rule, unless told otherwise."""

    name: Required[str]
    backup_type: Required[str]
    timing: Required[Timing]
    days_of_week: Required[Iterable[str]]
    months: Iterable[str]
    occurrences: Iterable[str]
    active: bool
    rule_guids: Iterable[str]


def new_schedule(schedule: NewSchedule) -> Body:
    """The members of a schedule that is to be made, which is one for VM backups. Raises Invalid."""
    plain: NewSchedule = {"months": (), "occurrences": (), "active": True, "rule_guids": (), **schedule}
    return {**schedule_members(plain), "type": enum("VM_BACKUP")}


def schedule_members(said: ScheduleMembers | NewSchedule) -> Body:
    """The members of a schedule for what is given (vplus-api.md 2.7). Raises Invalid."""
    name, backup_type, timing = said.get("name"), said.get("backup_type"), said.get("timing")
    days_of_week, months, occurrences = said.get("days_of_week"), said.get("months"), said.get("occurrences")
    active, rule_guids = said.get("active"), said.get("rule_guids")
    days = None if days_of_week is None else enums(days_of_week, DAYS_OF_WEEK, "day of the week")
    if days == []:
        raise Invalid("a schedule needs a day of the week at least")
    return given(
        name=None if name is None else checked_name(name),
        backupType=None if backup_type is None else enums([backup_type], BACKUP_TYPES, "backup type")[0],
        **({} if timing is None else timing.members()),
        active=active,
        daysOfWeek=days,
        months=None if months is None else enums(months, MONTHS, "month"),
        dayOfWeekOccurrences=None if occurrences is None else enums(occurrences, OCCURRENCES, "day's occurrence"),
        rules=None if rule_guids is None else references(rule_guids),
    )


def changed_schedule(current: RawObject, changes: Body, required: Iterable[str] = ()) -> Body:
    """The whole schedule after `changes`; a new kind of execution takes the figures of the other one with it.

    Raises Invalid when something would be lost.
    """
    kept = dict(current)
    if "executionType" in changes:
        for name in (*_OF_TIME, *_OF_INTERVAL):
            kept.pop(name, None)
    kind = enum_in(changes.get("executionType", kept.get("executionType")))
    needed = (*_SCHEDULE_REQUIRED, *_OF_KIND.get(kind or "", ()), *required)
    return replacement("schedule", kept, changes, _SCHEDULE_PLAINERS, needed)


# Policies


class PolicyMembers(TypedDict, total=False):
    """What can be said of a policy; what is None or left out stays as it is. `vm_guids` is the whole set of its VMs."""

    name: str | None
    vm_guids: Iterable[str] | None
    priority: int | None
    auto_remove_non_present: bool | None


class NewPolicy(TypedDict, total=False):
    """What makes a policy: of middle priority, and no VM leaves it by itself, unless told otherwise."""

    name: Required[str]
    vm_guids: Required[Iterable[str]]
    priority: int
    auto_remove_non_present: bool


def new_policy(policy: NewPolicy) -> Body:
    """The members of a policy that is to be made. Raises Invalid."""
    plain: NewPolicy = {"priority": 50, "auto_remove_non_present": False, **policy}
    return policy_members(plain)


def policy_members(said: PolicyMembers | NewPolicy) -> Body:
    """The members of a policy for what is given (vplus-api.md 2.8). Raises Invalid."""
    name, priority, vm_guids = said.get("name"), said.get("priority"), said.get("vm_guids")
    return given(
        name=None if name is None else checked_name(name),
        priority=None if priority is None else checked_priority(priority),
        autoRemoveNonPresent=said.get("auto_remove_non_present"),
        vms=None if vm_guids is None else references(vm_guids),
    )


def changed_policy(current: RawObject, changes: Body, required: Iterable[str]) -> Body:
    """The whole policy after `changes`, never taking in VMs by itself (vplus-api.md 4.25).

    Raises Invalid when something would be lost.
    """
    settings = current.get("autoAssignSettings")
    disabled = {**(settings if isinstance(settings, dict) else {}), "mode": enum("DISABLED")}
    needed = ("name", "priority", "autoRemoveNonPresent", "vms", *required)
    return replacement("policy", current, {**changes, "autoAssignSettings": disabled}, {"vms": plain_reference}, needed)


# Rules


class RuleMembers(TypedDict, total=False):
    """What can be said of a rule; what is None or left out stays as it is. Its destinations are each dialect's own."""

    name: str | None
    schedule_guids: Iterable[str] | None
    policy_guid: str | None


def rule_members(**said: Unpack[RuleMembers]) -> Body:
    """The members of a rule for what is given, but for its destinations (vplus-api.md 2.8). Raises Invalid."""
    name, schedule_guids, policy_guid = said.get("name"), said.get("schedule_guids"), said.get("policy_guid")
    return given(
        name=None if name is None else checked_name(name),
        schedules=None if schedule_guids is None else references(schedule_guids),
        policy=None if policy_guid is None else reference(policy_guid),
    )


def changed_rule(current: RawObject, changes: Body, required: Iterable[str]) -> Body:
    """The whole rule after `changes`. Raises Invalid when something would be lost."""
    plainers = {"schedules": plain_reference, "policy": plain_reference}
    return replacement("rule", current, changes, plainers, ("name", "schedules", "policy", *required))


ROLES = ("PRIMARY", "SECONDARY")
"""What the destinations of one rule are to each other, in the order given; the current dialect only."""

# What the vendor's own page fills in for a new destination (vplus-api.md 2.8).
_RETENTION: Mapping[str, Any] = {
    "retentionKeepLastNFull": 4,
    "retentionKeepFullNewerThan": 30 * DAY_MS,
    "retentionKeepLastNIncremental": 30,
    "retentionKeepIncrementalNewerThan": 30 * DAY_MS,
    "keepLastBackupWhenSourceStillExists": False,
}


def rule_destinations(guids: Sequence[str], current: Any = None) -> list[Body]:
    """`ruleBackupDestinations` for exactly these destinations, the first PRIMARY, the second SECONDARY.

    What `current` has for a role, such as its retention, stays with the role also when its destination changes.
    Raises Invalid for no destination or more than there are roles.
    """
    wanted = checked_destinations(guids)
    if len(wanted) > len(ROLES):
        raise Invalid("a rule has two backup destinations at most")
    entries = [entry for entry in current if isinstance(entry, dict)] if isinstance(current, list) else []
    by_role = {enum_in(entry.get("roleType")): entry for entry in reversed(entries)}
    return [_rule_destination(guid, role, by_role.get(role)) for guid, role in zip(wanted, ROLES, strict=False)]


def _rule_destination(guid: str, role: str, held: Body | None) -> Body:
    entry = {
        **_completed(held or {}),
        "active": True,
        "roleType": enum(role),
        "backupDestination": reference(guid),
    }
    if held is not None and guid_in(held.get("backupDestination")) != guid:
        entry.pop("type", None)  # it is the kind of the destination that was here before
    return entry


def _completed(entry: RawObject) -> Body:
    return filled(entry, {"backupRetentionSettings": dict(_RETENTION), "daysToKeepRetentionLock": 0, "active": True})


def whole_destinations(entries: Any) -> list[Any]:
    """`ruleBackupDestinations` as it came, each that names one with what a server requires and this one does not tell."""
    return [
        _completed(entry) if isinstance(entry, dict) and guid_in(entry.get("backupDestination")) else entry
        for entry in entries
    ]


def destinations_in(entries: Any) -> list[str] | None:
    """The guids in a `ruleBackupDestinations` as it came; None where it names none."""
    found = [guid_in(entry.get("backupDestination")) for entry in entries or () if isinstance(entry, dict)]
    return [guid for guid in found if guid is not None] or None
