"""Policies, rules and schedules as they come, and how each becomes a record (vplus-api.md 2.7, 2.8)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from vplus_bridge.client.records import IntervalRecord, PolicyRecord, RuleRecord, ScheduleRecord
from vplus_bridge.client.wire import (
    TEXT_LIMIT,
    Duration,
    EnumName,
    EnumValue,
    Instant,
    Reference,
    ReferenceValue,
    Wire,
    WireObject,
    clipped,
    enum_name,
    guid_of,
    guids_of,
)

HourOfDay = Annotated[int, Meta(ge=0, lt=86_400_000)]
"""Ms since midnight UTC."""


class WireRuleDestination(Wire):
    """A rule's destination in the current dialect (vplus-api.md 2.8)."""

    backup_destination: ReferenceValue = None
    active: bool | None = None
    """One that is not active gets no backups."""


class WireRule(WireObject):
    """A rule, alone or embedded in its policy, of either dialect (vplus-api.md 2.8)."""

    name: str | None = None
    active: bool | None = None
    marked_for_deletion: bool | None = None
    policy: ReferenceValue = None
    schedules: list[Reference | str] | None = None
    backup_destinations: list[Reference | str] | None = None
    rule_backup_destinations: list[WireRuleDestination] | None = None


class WireAutoAssign(Wire):
    """How a policy takes in VMs by itself; ours never do (vplus-api.md 4.25)."""

    mode: EnumValue = None


class WirePolicy(WireObject):
    """vplus-api.md 2.8; lists leave out `vms` and sometimes `rules`."""

    name: str
    active: bool | None = None
    priority: Annotated[int, Meta(ge=0, le=100)] | None = None
    vms: list[Reference | str] | None = None
    rules: list[WireRule] | None = None
    auto_remove_non_present: bool | None = None
    auto_assign_mode: EnumValue = None
    auto_assign_settings: WireAutoAssign | None = None
    vm_count: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    tenant_id: str | None = None


class WireInterval(Wire):
    """`interval` of a schedule (vplus-api.md 2.7)."""

    start_hour: HourOfDay | None = None
    end_hour: HourOfDay | None = None
    frequency: Duration | None = None


class WireSchedule(WireObject):
    """vplus-api.md 2.7; a server may fill in the members of both kinds."""

    name: str
    active: bool | None = None
    type: EnumValue = None
    execution_type: EnumValue = None
    backup_type: EnumValue = None
    hour: HourOfDay | None = None
    start_window_length: Duration | None = None
    interval: WireInterval | None = None
    days_of_week: list[EnumName | str] | None = None
    months: list[EnumName | str] | None = None
    day_of_week_occurrences: list[EnumName | str] | None = None
    rules: list[Reference | str] | None = None
    policies: list[Reference | str] | None = None
    last_run: Instant | None = None
    tenant_id: str | None = None


def rule_record(rule: WireRule) -> RuleRecord:
    """Flatten a rule; the current dialect's destinations win where both are given, and those that are off do not count."""
    destinations = guids_of(rule.backup_destinations)
    if rule.rule_backup_destinations is not None:
        current = [
            guid_of(entry.backup_destination) for entry in rule.rule_backup_destinations if entry.active is not False
        ]
        named = tuple(guid for guid in current if guid is not None)
        # Entries that name no destination at all tell nothing; beside one that does, they are its page saying nothing.
        destinations = named if named or not current else None
    return RuleRecord(
        guid=rule.guid,
        name=clipped(rule.name),
        active=rule.active,
        marked_for_deletion=rule.marked_for_deletion,
        schedule_guids=guids_of(rule.schedules),
        destination_guids=destinations,
        policy_guid=guid_of(rule.policy),
    )


def policy_record(policy: WirePolicy) -> PolicyRecord:
    """Flatten a policy; a list says the mode of auto-assignment in one member, the detail in another."""
    settings = policy.auto_assign_settings
    return PolicyRecord(
        guid=policy.guid,
        name=policy.name[:TEXT_LIMIT],
        active=policy.active,
        priority=policy.priority,
        vm_guids=guids_of(policy.vms),
        rules=None if policy.rules is None else tuple(rule_record(rule) for rule in policy.rules),
        auto_remove_non_present=policy.auto_remove_non_present,
        auto_assign_mode=enum_name(settings.mode if settings is not None else policy.auto_assign_mode),
        vm_count=policy.vm_count,
        tenant_label=clipped(policy.tenant_id),
    )


def schedule_record(schedule: WireSchedule) -> ScheduleRecord:
    """Flatten a schedule."""
    every = schedule.interval
    return ScheduleRecord(
        guid=schedule.guid,
        name=schedule.name[:TEXT_LIMIT],
        active=schedule.active,
        type=enum_name(schedule.type),
        execution_type=enum_name(schedule.execution_type),
        backup_type=enum_name(schedule.backup_type),
        hour_ms=schedule.hour,
        start_window_ms=schedule.start_window_length,
        interval=None if every is None else IntervalRecord(every.start_hour, every.end_hour, every.frequency),
        days_of_week=_names(schedule.days_of_week),
        months=_names(schedule.months),
        occurrences=_names(schedule.day_of_week_occurrences),
        rule_guids=guids_of(schedule.rules),
        policy_guids=guids_of(schedule.policies),
        last_run_ms=schedule.last_run,
        tenant_label=clipped(schedule.tenant_id),
    )


def _names(values: list[EnumName | str] | None) -> tuple[str, ...] | None:
    if values is None:
        return None
    return tuple(name for name in map(enum_name, values) if name is not None)
