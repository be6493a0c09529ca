"""How an operation is told in JSON: shapes for the OpenAPI document, and the rows turned into them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from rest_framework import serializers

from portal.api.backups import warning_shapes
from portal.api.fields import Moment, Named, Warned
from tenants.rights import Actor
from vplus_bridge.mirror.models import Backup, Task
from vplus_bridge.operations import cancel
from vplus_bridge.operations import visible as visible_operations
from vplus_bridge.operations.estimate import seconds_left
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import Kind, State
from vplus_bridge.operations.words import error_words
from vplus_bridge.ownership import visible

STAGES: Mapping[str, Sequence[str]] = {Kind.BACKUP: ("export", "store"), Kind.RESTORE: ("restore", "import")}


class StageShape(serializers.Serializer[Mapping[str, Any]]):
    """Which part of the work is under way."""

    name = serializers.CharField(
        help_text="export: read from the platform; store: kept at the destination; restore: read from where it is kept; "
        "import: made a virtual machine of on the platform"
    )
    index = serializers.IntegerField(help_text="1 is the first")
    count = serializers.IntegerField()


class EstimateShape(serializers.Serializer[Mapping[str, Any]]):
    """How long it still takes."""

    seconds = serializers.FloatField(allow_null=True, help_text="What is left; null: not known")
    basis = serializers.CharField(help_text="last_3: the last 3 backups of this virtual machine; unknown")


class TaskBrief(serializers.Serializer[Mapping[str, Any]]):
    """A task of the operation; whole at /api/v1/tasks/."""

    guid = serializers.CharField()
    type = serializers.CharField()
    state = serializers.CharField()
    progress = serializers.FloatField(allow_null=True)


class ResultShape(serializers.Serializer[Mapping[str, Any]]):
    """What came of it."""

    restore_point = serializers.CharField(allow_null=True, help_text="guid of what a backup made; null for a restore")
    virtual_machine = serializers.CharField(
        allow_null=True,
        help_text="guid of what a restore made; null until the inventory shows it for sure, while you do not see it, "
        "and for a backup",
    )
    name = serializers.CharField(allow_null=True, help_text="of the restored virtual machine; null for a backup")
    type = serializers.CharField(allow_null=True, help_text="FULL, INCREMENTAL; null: not given")
    taken_at = Moment(allow_null=True)
    size = serializers.IntegerField(allow_null=True, help_text="bytes")


class RequestedBy(serializers.Serializer[Mapping[str, Any]]):
    """Who asked."""

    name = serializers.CharField()
    via = serializers.CharField(help_text="page, or the token's name")


class CancelShape(serializers.Serializer[Mapping[str, Any]]):
    """Whether it was asked to stop, and whether it can be."""

    asked_at = Moment(allow_null=True)
    asked_by = serializers.CharField(allow_null=True)
    possible = serializers.BooleanField()


class ErrorShape(serializers.Serializer[Mapping[str, Any]]):
    """Why it did not end well: cause, who has to act, next step."""

    code = serializers.CharField()
    message = serializers.CharField()
    actor = serializers.CharField(help_text="Who has to act: you, provider, nobody")
    next_step = serializers.CharField()
    reference = serializers.CharField(help_text="To name when asking the provider")


class OperationBrief(serializers.Serializer[Mapping[str, Any]]):
    """An operation in short; whole at /api/v1/operations/{id}/."""

    id = serializers.UUIDField()
    kind = serializers.CharField()
    state = serializers.CharField()
    stage = StageShape(allow_null=True)
    progress = serializers.FloatField(allow_null=True)


class OperationShape(serializers.Serializer[Mapping[str, Any]]):
    """What a person asked for, for one virtual machine, and how far it is."""

    id = serializers.UUIDField()
    kind = serializers.CharField(help_text="backup, restore, cancel_task and others")
    state = serializers.CharField(
        help_text="requested, submitted, running, cancelling; at the end succeeded, failed, cancelled; needs_attention"
    )
    stage = StageShape(allow_null=True)
    progress = serializers.FloatField(
        allow_null=True, help_text="0 to 100 over all stages, never falling; null: unknown"
    )
    estimate = EstimateShape(allow_null=True, help_text="null once it has ended")
    subject = serializers.CharField(help_text="Guid of what it is done to")
    virtual_machine = Named(allow_null=True, help_text="The name is the one it had when this was asked.")
    restore_point = serializers.CharField(allow_null=True, help_text="What is restored; null for a backup")
    tasks = TaskBrief(many=True)
    warnings = Warned(many=True)
    result = ResultShape(allow_null=True, help_text="null until it has succeeded, or where it cannot be told apart")
    requested_by = RequestedBy()
    requested_at = Moment()
    send_until = Moment(help_text="After this nothing is sent to vPlus any more.")
    last_news_at = Moment(allow_null=True)
    cancel = CancelShape()
    finished_at = Moment(allow_null=True)
    error = ErrorShape(allow_null=True)


def operation_brief(operation: Operation) -> dict[str, Any]:
    """Return an operation as OperationBrief knows it."""
    return {
        "id": operation.pk,
        "kind": operation.kind,
        "state": operation.state,
        "stage": _stage(operation),
        "progress": None if operation.progress is None else round(operation.progress, 1),
    }


def operation_shapes(actor: Actor, operations: Sequence[Operation], moment: datetime) -> list[dict[str, Any]]:
    """Return operations as OperationShape knows them, in the same number of SQL statements however many they are."""
    tasks = visible_operations.tasks_of(actor, [operation.pk for operation in operations])
    made = [operation.backup_guid for operation in operations if operation.backup_guid]
    backups = {backup.guid: backup for backup in visible.backups(actor).filter(guid__in=made)}
    new = {operation.restored_vm_guid for operation in operations if operation.restored_vm_guid}
    seen = set(visible.virtual_machines(actor).filter(guid__in=new).values_list("guid", flat=True)) if new else set()
    server_can = cancel.can_cancel()
    return [
        {
            **_operation_shape(operation, tasks.get(operation.pk, []), moment),
            "result": _result(operation, backups.get(operation.backup_guid), seen),
            "cancel": {
                "asked_at": operation.cancel_asked_at,
                "asked_by": operation.cancel_asked_by_name or None,
                "possible": cancel.possible(actor, operation, server_can=server_can),
            },
        }
        for operation in operations
    ]


def _operation_shape(operation: Operation, tasks: Sequence[Task], moment: datetime) -> dict[str, Any]:
    machine = operation.virtual_machine_guid
    return {
        **operation_brief(operation),
        "estimate": {"seconds": seconds_left(operation, moment), "basis": operation.estimate_basis or "unknown"}
        if operation.active
        else None,
        "subject": operation.subject,
        "virtual_machine": {"guid": machine, "name": operation.virtual_machine_name} if machine else None,
        "restore_point": operation.restore_point_guid or None,
        "tasks": [
            {"guid": task.guid, "type": task.type, "state": task.known_state, "progress": task.progress}
            for task in tasks
        ],
        "warnings": warning_shapes(operation.warnings),
        "requested_by": {"name": operation.requested_by_name, "via": operation.requested_via},
        "requested_at": operation.requested_at,
        "send_until": operation.send_until,
        "last_news_at": operation.last_news_at,
        "finished_at": operation.finished_at,
        "error": _error(operation),
    }


def _stage(operation: Operation) -> dict[str, Any] | None:
    stages = STAGES.get(operation.kind, ())
    if operation.stage not in stages:
        return None
    return {"name": operation.stage, "index": stages.index(operation.stage) + 1, "count": len(stages)}


def _result(operation: Operation, backup: Backup | None, seen: Collection[str]) -> dict[str, Any] | None:
    """Return what came of it; ``seen`` are the new virtual machines that the actor sees."""
    if operation.state != State.SUCCEEDED:
        return None
    if operation.kind == Kind.RESTORE:
        new = operation.restored_vm_guid
        made = {"virtual_machine": new if new in seen else None, "name": operation.restored_name}
        return {"restore_point": None, **made, "type": None, "taken_at": None, "size": None}
    if backup is None:
        return None
    return {
        "restore_point": backup.guid,
        "virtual_machine": None,
        "name": None,
        "type": backup.type or None,
        "taken_at": backup.taken_at,
        "size": backup.size,
    }


def _error(operation: Operation) -> dict[str, Any] | None:
    if not operation.error_code:
        return None
    words = error_words(operation.error_code, operation.kind)
    return {
        "code": operation.error_code,
        "message": words.cause,
        "actor": words.actor,
        "next_step": words.next_step,
        "reference": operation.reference,
    }
