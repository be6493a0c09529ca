"""Backups and restore points of one virtual machine, in the form in which the API gives them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from rest_framework import serializers

from portal.api.fields import Moment, Named, Warned
from tenants.rights import Actor
from vplus_bridge.keyset import Key, Keyset
from vplus_bridge.mirror.models import Backup, TimeSource, VirtualMachine
from vplus_bridge.mirror.words import why_not_restorable
from vplus_bridge.operations import visible as visible_operations
from vplus_bridge.operations.backup_places import kept_at
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.words import warning_words
from vplus_bridge.ownership import visible
from vplus_bridge.protection import visible as schedules

NEWEST_FIRST = Keyset("-taken_at", (Key("taken_at", descending=True, nullable=True), Key("guid")))
ORIGINS: Mapping[str, str] = {"USER": "vplus_user", "SCHEDULE": "schedule", "SYSTEM_SCHEDULE": "system"}


class TimesShape(serializers.Serializer[Mapping[str, Any]]):
    """How long each part took, in seconds; null: not given."""

    queued_export = serializers.FloatField(allow_null=True)
    export = serializers.FloatField(allow_null=True)
    queued_store = serializers.FloatField(allow_null=True)
    store = serializers.FloatField(allow_null=True)


class OriginShape(serializers.Serializer[Mapping[str, Any]]):
    """Who or what asked for a backup."""

    kind = serializers.CharField(
        help_text="operation: asked here; schedule; vplus_user: asked in vPlus; system; unknown: not given"
    )
    operation = serializers.UUIDField(allow_null=True)
    requested_by = serializers.CharField(allow_null=True)
    schedule = serializers.CharField(
        allow_null=True, help_text="Its id, or vPlus's guid of one that has none here; null: not known"
    )


class BackupShape(serializers.Serializer[Mapping[str, Any]]):
    """One backup, good or not. A restore point is one that can be restored."""

    guid = serializers.CharField()
    virtual_machine = Named()
    status = serializers.CharField(
        help_text="vPlus's own: QUEUED, INPROGRESS, SUCCESS, PARTIAL_SUCCESS, FAILED, SUCCESS_REMOVED"
    )
    type = serializers.CharField(allow_null=True, help_text="What was made: FULL, INCREMENTAL; null: not given")
    type_asked = serializers.CharField(allow_null=True, help_text="What was asked for here; null: not asked here")
    taken_at = Moment(allow_null=True, help_text="The moment one can go back to; null: not known")
    taken_at_source = serializers.CharField(
        help_text="Where that is known from, best first: snapshot, location, finished, task, first_seen (not given)"
    )
    size = serializers.IntegerField(allow_null=True, help_text="bytes")
    destination = Named(
        allow_null=True, help_text="Where the copy is kept; the name is empty for one not allowed to you"
    )
    times = TimesShape()
    parent = serializers.CharField(  # type: ignore[assignment]  # a field called as Field's own member; DRF keeps them apart
        allow_null=True, help_text="Guid of the backup that this one builds on"
    )
    restorable = serializers.BooleanField()
    restorable_reason = serializers.CharField(allow_null=True, help_text="Why it cannot be restored; null: it can")
    origin = OriginShape()
    warnings = Warned(many=True)
    as_of = Moment(allow_null=True)


def backup_shapes(actor: Actor, machine: VirtualMachine, backups: Sequence[Backup]) -> list[dict[str, Any]]:
    """Return backups as BackupShape knows them, in the same number of SQL statements however many they are."""
    makers = visible_operations.makers_of(actor, [backup.guid for backup in backups])
    labels = dict(visible.destinations(actor).values_list("destination_guid", "label"))
    of_schedules = visible_operations.schedules_of_backups(actor, backups)
    ids = schedules.our_ids(actor, set(of_schedules.values()))
    return [
        _backup_shape(
            machine,
            backup,
            makers.get(backup.guid),
            labels,
            _origin(backup, makers, of_schedules.get(backup.guid), ids),
        )
        for backup in backups
    ]


def _backup_shape(
    machine: VirtualMachine,
    backup: Backup,
    maker: Operation | None,
    labels: Mapping[str, str],
    origin: dict[str, Any],
) -> dict[str, Any]:
    asked = maker.plan.get("backup_type") if maker else None
    place = kept_at(backup, maker)
    as_of: datetime | None = machine.history_read_at
    return {
        "guid": backup.guid,
        "virtual_machine": {"guid": machine.guid, "name": machine.name},
        "status": backup.status,
        "type": backup.type or None,
        "type_asked": asked,
        "taken_at": backup.taken_at,
        "taken_at_source": backup.taken_at_source,
        "size": backup.size,
        "destination": {"guid": place, "name": labels.get(place, "")} if place else None,
        "times": {
            "queued_export": backup.queued_export_seconds,
            "export": backup.export_seconds,
            "queued_store": backup.queued_store_seconds,
            "store": backup.store_seconds,
        },
        "parent": backup.parent_guid or None,
        "restorable": backup.restorable,
        "restorable_reason": why_not_restorable(backup),
        "origin": origin,
        "warnings": warning_shapes(_warning_codes(backup, asked)),
        "as_of": as_of,
    }


def warning_shapes(codes: Sequence[str]) -> list[dict[str, str]]:
    """Return warnings as Warned knows them."""
    return [{"code": code, "message": str(warning_words(code).cause)} for code in codes]


def _warning_codes(backup: Backup, asked: str | None) -> list[str]:
    """Return the codes for what is odd about a backup; vPlus's own texts are the provider's alone."""
    said = {
        "stored_in_part": backup.status == "PARTIAL_SUCCESS",
        "full_instead_of_incremental": asked == "INCREMENTAL" and backup.type == "FULL",
        "vplus_warnings": backup.warnings_present,
        "time_not_given": backup.taken_at_source == TimeSource.FIRST_SEEN,
    }
    return [code for code, holds in said.items() if holds]


def _origin(
    backup: Backup, makers: Mapping[str, Operation], schedule: str | None, ids: Mapping[str, UUID]
) -> dict[str, Any]:
    maker = makers.get(backup.guid)
    kind = "operation" if maker else ORIGINS.get(backup.origin_type, "schedule" if schedule else "unknown")
    return {
        "kind": kind,
        "operation": maker.pk if maker else None,
        "requested_by": maker.requested_by_name if maker else None,
        "schedule": ids.get(schedule, schedule) if schedule and kind == "schedule" else None,
    }
