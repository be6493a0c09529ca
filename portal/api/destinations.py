"""Backup destinations that a tenant may use."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.fields import problems
from portal.api.pagination import PageParameters, page_answer, page_of
from portal.api.views import ApiView, checked
from vplus_bridge import keyset
from vplus_bridge.keyset import Key, Keyset
from vplus_bridge.mirror.infrastructure import DESTINATIONS
from vplus_bridge.mirror.read_state import read_at
from vplus_bridge.operations.backup_places import places_of
from vplus_bridge.ownership import visible

BY_LABEL = Keyset("label", (Key("label"), Key("id")))


class DestinationShape(serializers.Serializer[Mapping[str, Any]]):
    """A place where copies are kept."""

    guid = serializers.CharField(help_text="What destination takes when a backup is asked for")
    name = serializers.CharField()


class DestinationParameters(PageParameters):
    """Which backup destinations."""

    virtual_machine = serializers.CharField(
        default="",
        allow_blank=True,
        help_text="guid; only those that it can be backed up to. Some servers back up by a policy's rule, which names them",
    )


class DestinationList(ApiView):
    """The backup destinations that the tenant may use."""

    @extend_schema(
        operation_id="backup_destinations",
        tags=["backup destinations"],
        parameters=[DestinationParameters],
        responses={200: page_of(DestinationShape, "BackupDestination"), **problems(400, 401, 403, 404)},
    )
    def get(self, request: Request) -> Response:
        """List the backup destinations that your provider allows you, by name."""
        wanted = checked(DestinationParameters, request.query_params)
        rows = visible.destinations(self.actor)
        if wanted["virtual_machine"]:
            machine = visible.virtual_machine(self.actor, wanted["virtual_machine"])
            rows = rows.filter(destination_guid__in=list(places_of(self.actor, [machine])[machine.guid].labels))
        page = keyset.page_of(rows, BY_LABEL, wanted["cursor"], wanted["page_size"])
        shapes = [{"guid": row.destination_guid, "name": row.label} for row in page.rows]
        return page_answer(request, page, shapes, DestinationShape, read_at(DESTINATIONS)[DESTINATIONS])
