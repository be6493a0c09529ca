"""The audit of a tenant: who did, or was refused, what, and when."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.fields import Moment, OneOf, problems
from portal.api.pagination import PageParameters, page_answer, page_of
from portal.api.views import ApiView, checked, now
from tenants import audit
from tenants.models.audit import AuditEvent, AuditResult
from vplus_bridge import keyset
from vplus_bridge.keyset import Key, Keyset

NEWEST_FIRST = Keyset("-at", (Key("at", descending=True), Key("id")))


class AuditActorShape(serializers.Serializer[Mapping[str, Any]]):
    """Who did it, from where."""

    name = serializers.CharField()
    role = serializers.CharField(allow_null=True, help_text="admin, operator, viewer; null: a command or the portal")
    via = serializers.CharField(help_text="page, the token's name, or the command")
    address = serializers.CharField(allow_null=True, help_text="IP address; null: not over the network")


class AuditObjectShape(serializers.Serializer[Mapping[str, Any]]):
    """To what it was done."""

    kind = serializers.CharField(allow_blank=True)
    id = serializers.CharField(allow_blank=True)
    name = serializers.CharField(allow_blank=True, help_text="as it was called then")


class AuditEventShape(serializers.Serializer[Mapping[str, Any]]):
    """One event; it never changes."""

    id = serializers.UUIDField()
    at = Moment()
    actor = AuditActorShape()
    action = serializers.CharField(help_text="such as operation.backup or token.create")
    object = AuditObjectShape()
    result = serializers.ChoiceField(choices=AuditResult.values)
    code = serializers.CharField(allow_null=True, help_text="of the refusal; null: done")
    detail = serializers.DictField(child=serializers.JSONField(allow_null=True), help_text="what was asked, or changed")
    reason = serializers.CharField(allow_null=True)
    reference = serializers.CharField(allow_null=True, help_text="The same stands in the portal's log.")


class AuditParameters(PageParameters):
    """Which events; a filter that matches nothing gives an empty list."""

    action = serializers.CharField(default="", allow_blank=True, max_length=64, help_text="such as operation.backup")
    result = OneOf(AuditResult.values, default="", allow_blank=True)
    actor = serializers.CharField(default="", allow_blank=True, max_length=254, help_text="name, in full")
    object = serializers.CharField(default="", allow_blank=True, max_length=200, help_text="id")
    since = Moment(required=False, default=None, help_text="not before")
    until = Moment(required=False, default=None, help_text="before")


class AuditEventList(ApiView):
    """The tenant's audit."""

    @extend_schema(
        operation_id="audit_events",
        tags=["audit"],
        parameters=[AuditParameters],
        responses={200: page_of(AuditEventShape, "AuditEvent"), **problems(400, 401, 403)},
    )
    def get(self, request: Request) -> Response:
        """List what was done and refused in the tenant, newest first; for admins."""
        wanted = checked(AuditParameters, request.query_params)
        rows = audit.visible_events(self.actor)
        for parameter, column in (
            ("action", "action"),
            ("result", "result"),
            ("actor", "actor_name"),
            ("object", "object_id"),
            ("since", "at__gte"),
            ("until", "at__lt"),
        ):
            if wanted[parameter]:
                rows = rows.filter(**{column: wanted[parameter]})
        page = keyset.page_of(rows, NEWEST_FIRST, wanted["cursor"], wanted["page_size"])
        return page_answer(request, page, [_shape(row) for row in page.rows], AuditEventShape, now())


def _shape(row: AuditEvent) -> dict[str, Any]:
    return {
        "id": row.pk,
        "at": row.at,
        "actor": {
            "name": row.actor_name,
            "role": row.actor_role or None,
            "via": row.via,
            "address": row.address,
        },
        "action": row.action,
        "object": {"kind": row.object_kind, "id": row.object_id, "name": row.object_name},
        "result": row.result,
        "code": row.code or None,
        "detail": row.detail,
        "reason": row.reason or None,
        "reference": row.reference or None,
    }
