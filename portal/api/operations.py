"""Operations: what people asked for. Asking is a POST; how far it is stands in the row."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.asking import ask, wish_forms
from portal.api.fields import OneOf, problems
from portal.api.operation_shapes import OperationShape, operation_shapes
from portal.api.pagination import PageParameters, page_answer, page_of
from portal.api.views import ApiView, checked, now
from vplus_bridge import keyset
from vplus_bridge.mirror.read_state import TASKS, read_at
from vplus_bridge.operations import cancel
from vplus_bridge.operations import visible as visible_operations
from vplus_bridge.operations.moves import Kind, State


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
        request=wish_forms(),
        responses={202: Asked, **problems(400, 401, 403, 404, 409)},
    )
    def post(self, request: Request) -> Response:
        """Ask for something: backups, a restore as a new virtual machine, or an end of a task that nobody asked for here.

        Where one of the virtual machines cannot be seen, or a member is wrong, nothing starts. Each has at most one
        operation of a kind under way: the same wish again is answered with that one, another one is refused.
        """
        asked = ask(self.actor, request.data, now())
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


class OperationCancel(ApiView):
    """An end of one operation, asked for."""

    @extend_schema(
        operation_id="cancel_operation",
        tags=["operations"],
        request=None,
        responses={202: OperationShape, **problems(401, 403, 404, 409)},
    )
    def post(self, request: Request, operation_id: UUID) -> Response:
        """Ask for an end of one operation; asking again is answered with the same.

        What was not sent yet is cancelled at once. Else it is asked of vPlus, once: cancelled it is when the state says so.
        """
        del request
        row = cancel.request_cancel(self.actor, operation_id, now=now())
        return Response(OperationShape(operation_shapes(self.actor, [row], now())[0]).data, status=202)
