"""Operations: what people asked for. Asking is a POST; how far it is stands in the row."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.backups import warning_shapes
from portal.api.fields import Form, Moment, Named, OneOf, Text, Warned, WholeNumber, problems
from portal.api.pagination import PageParameters, page_answer, page_of
from portal.api.views import ApiView, checked, now
from tenants.rights import Actor
from vplus_bridge import keyset
from vplus_bridge.mirror.models import Backup, Task
from vplus_bridge.mirror.read_state import TASKS, read_at
from vplus_bridge.operations import visible as visible_operations
from vplus_bridge.operations.estimate import seconds_left
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import Kind, State
from vplus_bridge.operations.request import BACKUP_TYPES, MOST_AT_ONCE, BackupWish, request_backups
from vplus_bridge.operations.words import error_words
from vplus_bridge.ownership import visible

STAGES: Mapping[str, Sequence[str]] = {Kind.BACKUP: ("export", "store")}


class StageShape(serializers.Serializer[Mapping[str, Any]]):
    """Which part of the work is under way."""

    name = serializers.CharField(help_text="export: read from the platform; store: kept at the destination")
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

    restore_point = serializers.CharField(help_text="guid")
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
    kind = serializers.CharField(help_text="backup")
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


class AskedOperation(OperationShape):
    """An operation that was asked for just now."""

    already_active = serializers.BooleanField(help_text="Somebody asked for the same before; this is that one.")


class RefusedOne(serializers.Serializer[Mapping[str, Any]]):
    """A virtual machine for which nothing was started, and why."""

    virtual_machine = serializers.CharField()
    code = serializers.CharField()
    message = serializers.CharField()


class Asked(serializers.Serializer[Mapping[str, Any]]):
    """What was started, or goes on already, and what was refused."""

    operations = AskedOperation(many=True)
    refused = RefusedOne(many=True)


class OperationParameters(PageParameters):
    """Which operations."""

    kind = OneOf(Kind.values, default="", allow_blank=True)
    state = OneOf(State.values, default="", allow_blank=True)
    virtual_machine = serializers.CharField(default="", allow_blank=True, help_text="guid")


class WishForm(Form):
    """What is asked for. What is left out gets its default; members that are not named here are refused."""

    kind = OneOf(
        Kind.values,
        error_messages={"invalid_choice": f"This cannot be asked for. What works is: {', '.join(Kind.values)}."},
    )
    virtual_machines = serializers.ListField(
        child=Text(), help_text=f"guids, at most {MOST_AT_ONCE}; one operation is made for each"
    )
    backup_type = OneOf(BACKUP_TYPES, required=False, help_text="default FULL")
    destination = Text(required=False, help_text="guid; default: the last one used, or the only one allowed")
    priority = WholeNumber(required=False, help_text="0 to 100, default 50")
    window_start = Moment(required=False, help_text="default: now")
    window_end = Moment(required=False, help_text="default: 6 hours after its start")

    def to_internal_value(self, data: Any) -> Any:
        """Check the kind first: what else there may be follows from it."""
        if isinstance(data, Mapping):
            try:
                self.fields["kind"].run_validation(data.get("kind", serializers.empty))
            except serializers.ValidationError as problem:
                raise serializers.ValidationError({"kind": problem.detail}) from None
        return super().to_internal_value(data)


class OperationList(ApiView):
    """Operations on the visible virtual machines."""

    @extend_schema(
        operation_id="operations",
        tags=["operations"],
        parameters=[OperationParameters],
        responses={200: page_of(OperationShape, "Operation"), **problems(400, 401, 403)},
    )
    def get(self, request: Request) -> Response:
        """List operations, newest first."""
        wanted = checked(OperationParameters, request.query_params)
        rows = visible_operations.operations(self.actor)
        for parameter, column in (("kind", "kind"), ("state", "state"), ("virtual_machine", "virtual_machine_guid")):
            if wanted[parameter]:
                rows = rows.filter(**{column: wanted[parameter]})
        page = keyset.page_of(rows, visible_operations.NEWEST_FIRST, wanted["cursor"], wanted["page_size"])
        shapes = operation_shapes(self.actor, page.rows, now())
        return page_answer(request, page, shapes, OperationShape, read_at(TASKS)[TASKS])

    @extend_schema(
        operation_id="request_operation",
        tags=["operations"],
        request=WishForm,
        responses={202: Asked, **problems(400, 401, 403, 404, 409)},
    )
    def post(self, request: Request) -> Response:
        """Ask for a backup of one or several virtual machines.

        Where one of them cannot be seen, or a member is wrong, nothing starts. Each virtual machine has at most one
        backup under way: the same wish again is answered with that one, another one is refused.
        """
        given = checked(WishForm, request.data)
        given.pop("kind")
        asked = request_backups(self.actor, BackupWish(**given), now=now())
        shapes = operation_shapes(self.actor, asked.operations, now())
        for shape in shapes:
            shape["already_active"] = shape["id"] in asked.already_active
        refused = [
            {"virtual_machine": one.virtual_machine, "code": one.code, "message": one.message} for one in asked.refused
        ]
        return Response(Asked({"operations": shapes, "refused": refused}).data, status=202)


class OperationDetail(ApiView):
    """One operation."""

    @extend_schema(
        operation_id="operation",
        tags=["operations"],
        responses={200: OperationShape, **problems(401, 403, 404)},
    )
    def get(self, request: Request, operation_id: UUID) -> Response:
        """Tell how far one operation is."""
        del request
        row = visible_operations.operation(self.actor, operation_id)
        return Response(OperationShape(operation_shapes(self.actor, [row], now())[0]).data)


def operation_brief(operation: Operation) -> dict[str, Any]:
    """Return an operation as OperationBrief knows it."""
    return {
        "id": operation.pk,
        "kind": operation.kind,
        "state": operation.state,
        "stage": _stage(operation),
        "progress": operation.progress,
    }


def operation_shapes(actor: Actor, operations: Sequence[Operation], moment: datetime) -> list[dict[str, Any]]:
    """Return operations as OperationShape knows them, in the same number of SQL statements however many they are."""
    tasks = visible_operations.tasks_of(actor, [operation.pk for operation in operations])
    made = [operation.backup_guid for operation in operations if operation.backup_guid]
    backups = {backup.guid: backup for backup in visible.backups(actor).filter(guid__in=made)}
    return [
        _operation_shape(operation, tasks.get(operation.pk, []), backups.get(operation.backup_guid), moment)
        for operation in operations
    ]


def _operation_shape(
    operation: Operation, tasks: Sequence[Task], backup: Backup | None, moment: datetime
) -> dict[str, Any]:
    machine = operation.virtual_machine_guid
    return {
        **operation_brief(operation),
        "estimate": {"seconds": seconds_left(operation, moment), "basis": operation.estimate_basis or "unknown"}
        if operation.active
        else None,
        "subject": operation.subject,
        "virtual_machine": {"guid": machine, "name": operation.virtual_machine_name} if machine else None,
        "restore_point": None,
        "tasks": [
            {"guid": task.guid, "type": task.type, "state": task.state, "progress": task.progress} for task in tasks
        ],
        "warnings": warning_shapes(operation.warnings),
        "result": _result(operation, backup),
        "requested_by": {"name": operation.requested_by_name, "via": operation.requested_via},
        "requested_at": operation.requested_at,
        "send_until": operation.send_until,
        "last_news_at": operation.last_news_at,
        # Cancelling is not offered yet, and a scheduled end of the work is not a cancel.
        "cancel": {"asked_at": None, "asked_by": None, "possible": False},
        "finished_at": operation.finished_at,
        "error": _error(operation),
    }


def _stage(operation: Operation) -> dict[str, Any] | None:
    stages = STAGES[operation.kind]
    if operation.stage not in stages:
        return None
    return {"name": operation.stage, "index": stages.index(operation.stage) + 1, "count": len(stages)}


def _result(operation: Operation, backup: Backup | None) -> dict[str, Any] | None:
    if operation.state != State.SUCCEEDED or backup is None:
        return None
    return {
        "restore_point": backup.guid,
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
