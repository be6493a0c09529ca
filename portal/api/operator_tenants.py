"""For the provider: the tenants."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.fields import Moment, problems
from portal.api.pagination import PageParameters, page_answer, page_of
from portal.api.views import OperatorView, checked
from vplus_bridge import keyset
from vplus_bridge.mirror.read_state import INVENTORY, read_at
from vplus_bridge.ownership import by_provider


class TenantRow(serializers.Serializer[Mapping[str, Any]]):
    """A tenant."""

    slug = serializers.CharField(help_text="Short name, as in addresses")
    name = serializers.CharField()
    vplus_tenant_id = serializers.CharField(allow_null=True, help_text="uuid of its OpenStack project")
    time_zone = serializers.CharField(help_text="IANA zone")
    suspended_at = Moment(allow_null=True)
    created_at = Moment()
    virtual_machine_count = serializers.IntegerField()


class TenantList(OperatorView):
    """Every tenant."""

    @extend_schema(
        operation_id="operator_tenants",
        tags=["operator"],
        parameters=[PageParameters],
        responses={200: page_of(TenantRow, "Tenant"), **problems(400, 401, 403, 404)},
    )
    def get(self, request: Request) -> Response:
        """List the tenants by name, each with the number of its virtual machines."""
        wanted = checked(PageParameters, request.query_params)
        rows = by_provider.tenants(self.provider)
        page = keyset.page_of(rows, by_provider.TENANTS_BY_NAME, wanted["cursor"], wanted["page_size"])
        counts = by_provider.machine_counts(self.provider, [row.pk for row in page.rows])
        shapes = [
            {
                "slug": row.slug,
                "name": row.name,
                "vplus_tenant_id": row.vplus_tenant_id or None,
                "time_zone": row.time_zone,
                "suspended_at": row.suspended_at,
                "created_at": row.created_at,
                "virtual_machine_count": counts.get(row.pk, 0),
            }
            for row in page.rows
        ]
        return page_answer(request, page, shapes, TenantRow, read_at(INVENTORY)[INVENTORY])
