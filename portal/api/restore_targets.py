"""Restore targets that a tenant may use."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.destinations import BY_LABEL
from portal.api.fields import problems
from portal.api.pagination import PageParameters, page_answer, page_of
from portal.api.views import ApiView, checked
from vplus_bridge import keyset
from vplus_bridge.mirror.models import InfrastructureKind
from vplus_bridge.mirror.read_state import read_at
from vplus_bridge.ownership import visible

MANAGERS = f"{InfrastructureKind.MANAGER}s"  # the name of their reading


class RestoreTargetShape(serializers.Serializer[Mapping[str, Any]]):
    """A place where a restored virtual machine can go."""

    id = serializers.UUIDField(help_text="What target takes when a restore is asked for")
    name = serializers.CharField()


class RestoreTargetList(ApiView):
    """The restore targets that the tenant may use."""

    @extend_schema(
        operation_id="restore_targets",
        tags=["restore targets"],
        parameters=[PageParameters],
        responses={200: page_of(RestoreTargetShape, "RestoreTarget"), **problems(400, 401, 403)},
    )
    def get(self, request: Request) -> Response:
        """List the restore targets that your provider allows you, by name."""
        wanted = checked(PageParameters, request.query_params)
        page = keyset.page_of(visible.restore_targets(self.actor), BY_LABEL, wanted["cursor"], wanted["page_size"])
        shapes = [{"id": row.pk, "name": row.label} for row in page.rows]
        return page_answer(request, page, shapes, RestoreTargetShape, read_at(MANAGERS)[MANAGERS])
