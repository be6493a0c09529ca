"""How policies and schedules are told in JSON and given to us: shapes for the OpenAPI document, rows, forms and drafts."""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, time
from typing import Any
from uuid import UUID

from rest_framework import serializers

from portal.api.drift_shapes import DriftShape
from portal.api.fields import Form, Moment, OneOf, Text, WholeNumber, YesOrNo
from portal.api.operation_shapes import OperationBrief, operation_brief
from tenants.rights import Actor
from vplus_bridge.operations.models import Operation
from vplus_bridge.protection import schedule_words
from vplus_bridge.protection.carrier_wire import IN_MONTH
from vplus_bridge.protection.drafts import HIGHEST_PRIORITY, LONGEST_NAME, ScheduleDraft
from vplus_bridge.protection.listing import Standing, next_run
from vplus_bridge.protection.models import Policy, Schedule
from vplus_bridge.protection.stored import columns_of, promise_of
from vplus_bridge.protection.wall_time import BackupType, ExecutionType, Month, Occurrence, Promise, Weekday

MOST_MINUTES = 100_000
CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


class Clock(serializers.CharField):
    """A wall time of the schedule's zone, to the minute: ``02:00``."""

    def to_internal_value(self, data: Any) -> time:  # type: ignore[override]  # text that means a time
        """Return the time; refuse everything else, seconds and milliseconds too."""
        if not isinstance(data, str) or not CLOCK.fullmatch(data):
            raise serializers.ValidationError("Give hours and minutes of the chosen zone, for example 02:00.")
        return time.fromisoformat(data)

    def to_representation(self, value: Any) -> str:
        """Return the time as text."""
        return value if isinstance(value, str) else f"{value:%H:%M}"


class OccurrenceName(Text):
    """Which of its kind a day is in its month: our word, or vPlus's, which has more behind it."""

    def to_internal_value(self, data: Any) -> str:
        """Return our word."""
        return super().to_internal_value(data).removesuffix(IN_MONTH)


class ScheduleMembers(Form):
    """What a schedule says; also how it is sent."""

    backup_type = OneOf([one.value for one in BackupType])
    execution_type = OneOf(
        [one.value for one in ExecutionType], help_text="TIME: once a day; INTERVAL: again and again"
    )
    zone = Text(help_text="IANA name; all times are wall times of it")
    days_of_week = serializers.ListField(child=OneOf([one.name for one in Weekday]))
    time_of_day = Clock(required=False, allow_null=True, help_text="TIME: HH:MM")
    start = Clock(required=False, allow_null=True, help_text="INTERVAL: the first run of a day, HH:MM")
    end = Clock(required=False, allow_null=True, help_text="INTERVAL: no run after it, HH:MM")
    frequency_minutes = WholeNumber(
        required=False, allow_null=True, min_value=0, max_value=MOST_MINUTES, help_text="INTERVAL: at least 15"
    )
    months = serializers.ListField(child=OneOf([one.name for one in Month]), required=False, help_text="Empty: any")
    occurrences = serializers.ListField(
        child=OccurrenceName(),
        required=False,
        help_text=f"Which of its kind a day is in its month: {', '.join(Occurrence.__members__)}. Empty: any",
    )
    start_window_minutes = WholeNumber(
        required=False, min_value=0, max_value=MOST_MINUTES, help_text="How late a run may start; default 360"
    )
    active = YesOrNo(required=False, help_text="default true")


class ScheduleOfPolicy(ScheduleMembers):
    """A schedule inside a policy that is sent."""

    id = serializers.UUIDField(required=False, allow_null=True, help_text="The one it changes; left out: a new one")


class PolicyForm(Form):
    """A whole policy. Members that are not named here are refused."""

    name = Text(
        allow_blank=True, help_text=f"at most {LONGEST_NAME} characters; yours alone, other tenants may have the same"
    )
    virtual_machines = serializers.ListField(child=Text(), help_text="guids")
    schedules = ScheduleOfPolicy(many=True)
    destination = Text(required=False, allow_null=True, help_text="guid; default: the only one allowed")
    priority = WholeNumber(required=False, help_text=f"0 to {HIGHEST_PRIORITY}, default 50")
    auto_remove_gone = YesOrNo(
        required=False,
        help_text="vPlus takes out virtual machines that left the platform; one that comes back has no schedule then.",
    )
    paused = YesOrNo(required=False)
    moves = serializers.ListField(
        child=Text(), required=False, help_text="guids of those that may leave the policy they are in"
    )


class PolicyChangeForm(PolicyForm):
    """A whole policy as it is to become."""

    version = WholeNumber(help_text="The one that was read; if it is not the newest, 409 tells what changed.")


class NewScheduleForm(ScheduleMembers):
    """A schedule for a policy."""

    policy = serializers.UUIDField()
    version = WholeNumber(required=False, help_text="The policy's, as it was read. Left out: whichever it is")


class ScheduleChangeForm(ScheduleMembers):
    """A schedule as it is to become."""

    version = WholeNumber(help_text="The policy's, as it was read.")


class ScheduleShape(serializers.Serializer[Mapping[str, Any]]):
    """A schedule."""

    id = serializers.UUIDField(allow_null=True, help_text="null: of a policy that the provider keeps")
    policy = serializers.UUIDField()
    sentence = serializers.CharField(help_text="The same in words; empty: it has none here")
    backup_type = serializers.CharField()
    execution_type = serializers.CharField()
    zone = serializers.CharField()
    days_of_week = serializers.ListField(child=serializers.CharField())
    time_of_day = Clock(allow_null=True)
    start = Clock(allow_null=True)
    end = Clock(allow_null=True)
    frequency_minutes = serializers.IntegerField(allow_null=True)
    months = serializers.ListField(child=serializers.CharField())
    occurrences = serializers.ListField(child=serializers.CharField())
    start_window_minutes = serializers.IntegerField()
    active = serializers.BooleanField()
    next_run_at = Moment(allow_null=True)


class PolicyInList(serializers.Serializer[Mapping[str, Any]]):
    """A policy."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    state = serializers.CharField(help_text=", ".join(Standing))
    version = serializers.IntegerField(help_text="Counts changes; name it when you change the policy.")
    schedules = ScheduleShape(many=True)
    virtual_machine_count = serializers.IntegerField(help_text="of those that you see")
    destination = serializers.CharField(allow_null=True, help_text="guid; null: none of the tenant's")
    priority = serializers.IntegerField()
    auto_remove_gone = serializers.BooleanField()
    paused = serializers.BooleanField()
    next_run_at = Moment(allow_null=True)
    changed_at = Moment()
    changed_by = serializers.CharField(allow_null=True)
    differs_since = Moment(allow_null=True, help_text="Since when vPlus is seen to hold something else.")


class PolicyWhole(PolicyInList):
    """A policy with its virtual machines."""

    virtual_machines = serializers.ListField(child=serializers.CharField(), help_text="guids, those that you see")
    active_operation = OperationBrief(allow_null=True)
    drift = DriftShape(allow_null=True, help_text="null: it does not differ, or is being changed")


class ComingRun(serializers.Serializer[Mapping[str, Any]]):
    """A run to come."""

    at = Moment()
    local = serializers.CharField(help_text="What the zone's clock shows then: 2026-11-29T02:00:00+01:00")
    note = serializers.CharField(allow_blank=True, help_text="What is odd about it: no 02:00 that night")


class PreviewShape(serializers.Serializer[Mapping[str, Any]]):
    """What a schedule would come to."""

    sentence = serializers.CharField()
    works = serializers.BooleanField(help_text="false: vPlus cannot keep it; then refusal says why")
    refusal = serializers.CharField(allow_null=True)
    alternatives = ScheduleMembers(many=True, help_text="The nearest ones that work, where it does not.")
    next_runs = ComingRun(many=True)


def draft_of_form(given: Mapping[str, Any]) -> ScheduleDraft:
    """Return what was sent for one schedule as a draft."""
    names = ScheduleOfPolicy().fields
    return ScheduleDraft(**{name: value for name, value in given.items() if name in names})


def policy_shape(
    policy: Policy,
    standing: Standing,
    *,
    promises: Sequence[Promise | None],
    machines: int,
    places: Collection[str],
    moment: datetime,
) -> dict[str, Any]:
    """Return a policy as PolicyInList knows it; its schedules are prefetched. `places` are the tenant's destinations."""
    rows: Sequence[Schedule | None] = [None] * len(promises) if policy.attached else list(policy.schedules.all())
    return {
        "id": policy.pk,
        "name": policy.name,
        "state": standing.value,
        "version": policy.version,
        "schedules": [
            _schedule(policy.pk, row, promise, moment) for row, promise in zip(rows, promises, strict=True) if promise
        ],
        "virtual_machine_count": machines,
        "destination": policy.destination_guid if policy.destination_guid in places else None,
        "priority": policy.priority,
        "auto_remove_gone": policy.auto_remove_gone,
        "paused": policy.paused,
        "next_run_at": next_run(promises, moment),
        "changed_at": policy.changed_at,
        "changed_by": policy.changed_by_name or None,
        "differs_since": policy.differs_since,
    }


def whole_policy(
    shape: Mapping[str, Any],
    machines: Sequence[str],
    operation: Operation | None,
    drift: Mapping[str, Any] | None,
    actor: Actor,
) -> dict[str, Any]:
    """Return the same as PolicyWhole knows it."""
    shown = operation if operation is not None and actor.sees_all else None
    return {
        **shape,
        "virtual_machines": machines,
        "active_operation": operation_brief(shown) if shown else None,
        "drift": drift,
    }


def schedule_shape(row: Schedule, moment: datetime) -> dict[str, Any]:
    """Return a schedule as ScheduleShape knows it; its policy is fetched with it."""
    return _schedule(row.policy_id, row, promise_of(row, paused=row.policy.paused), moment)


def _schedule(policy_id: UUID, row: Schedule | None, promise: Promise, moment: datetime) -> dict[str, Any]:
    return {
        **members_of(promise),
        "id": row.pk if row else None,
        "policy": policy_id,
        "sentence": schedule_words.sentence(promise),
        "active": row.active if row else promise.active,
        "next_run_at": next_run([promise], moment),
    }


def members_of(promise: Promise) -> dict[str, Any]:
    """Return a promise as ScheduleMembers knows it."""
    columns = columns_of(promise)
    columns["start"], columns["end"] = columns.pop("start_time"), columns.pop("end_time")
    return {**columns, "active": promise.active}
