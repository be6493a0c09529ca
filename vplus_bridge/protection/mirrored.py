"""What the mirror holds of policies and schedules, as the client's records. In the open scope: a tenant sees its own."""

from collections.abc import Iterable

from vplus_bridge.client import IntervalRecord, PolicyRecord, RuleRecord, ScheduleRecord
from vplus_bridge.mirror.models import VplusPolicy, VplusSchedule


def policy_record(row: VplusPolicy) -> PolicyRecord:
    """Return a policy as it was read."""
    return PolicyRecord(
        guid=row.guid,
        name=row.name,
        active=row.active,
        priority=row.priority,
        vm_guids=None if row.vm_guids is None else tuple(row.vm_guids),
        rules=None if row.rules is None else tuple(_rule(rule) for rule in row.rules),
        auto_remove_non_present=row.auto_remove_non_present,
        auto_assign_mode=row.auto_assign_mode or None,
    )


def _rule(told: dict[str, object]) -> RuleRecord:
    # The mirror keeps no difference between "none" and "not told"; the schedules tell of the relation too.
    schedules, destinations = told["schedule_guids"], told["destination_guids"]
    return RuleRecord(
        guid=str(told["guid"]),
        name=str(told["name"]),
        active=None if told["active"] is None else bool(told["active"]),
        marked_for_deletion=bool(told["marked_for_deletion"]),
        schedule_guids=tuple(schedules) if isinstance(schedules, list) and schedules else None,
        destination_guids=tuple(destinations) if isinstance(destinations, list) and destinations else None,
    )


def schedule_record(row: VplusSchedule) -> ScheduleRecord:
    """Return a schedule as it was read."""
    every = None
    if row.execution_type == "INTERVAL":
        every = IntervalRecord(row.interval_start_ms, row.interval_end_ms, row.interval_frequency_ms)
    return ScheduleRecord(
        guid=row.guid,
        name=row.name,
        active=row.active,
        type=row.type or None,
        execution_type=row.execution_type or None,
        backup_type=row.backup_type or None,
        hour_ms=row.hour_ms,
        start_window_ms=row.start_window_ms,
        interval=every,
        days_of_week=tuple(row.days_of_week) or None,
        months=tuple(row.months),
        occurrences=tuple(row.occurrences),
        rule_guids=None if row.rule_guids is None else tuple(row.rule_guids),
    )


def schedule_records(guids: Iterable[str]) -> dict[str, ScheduleRecord]:
    """Return those of these schedules that are there, by guid."""
    rows = VplusSchedule.objects.filter(guid__in=list(guids), gone_at=None)
    return {row.guid: schedule_record(row) for row in rows}
