"""For the provider: every virtual machine, whose it is, and giving it to a tenant."""

from collections.abc import Mapping, Sequence
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.fields import Form, Moment, Text, YesNoParameter, YesOrNo, problems
from portal.api.pagination import PageParameters, page_answer, page_of
from portal.api.views import OperatorView, checked
from vplus_bridge import keyset
from vplus_bridge.mirror.listing import LONGEST_SEARCH
from vplus_bridge.mirror.models import VirtualMachine
from vplus_bridge.mirror.read_state import INVENTORY, read_at
from vplus_bridge.ownership import by_provider
from vplus_bridge.protection.verdict import judge

TAGS = ["operator"]


class PlaceShape(serializers.Serializer[Mapping[str, Any]]):
    """A part of the platform."""

    guid = serializers.CharField(allow_null=True)
    name = serializers.CharField(allow_blank=True)


class TenantBrief(serializers.Serializer[Mapping[str, Any]]):
    """A tenant in short."""

    slug = serializers.CharField()
    name = serializers.CharField()


class OwnedMachineShape(serializers.Serializer[Mapping[str, Any]]):
    """A virtual machine as the provider sees it."""

    guid = serializers.CharField()
    uuid = serializers.CharField(allow_null=True)
    name = serializers.CharField(allow_blank=True)
    present = serializers.BooleanField()
    absent_since = Moment(allow_null=True)
    tenant = TenantBrief(allow_null=True, help_text="null: nobody's, which no tenant sees")
    platform = serializers.CharField(allow_null=True)
    project = PlaceShape(allow_null=True)
    hypervisor_manager = PlaceShape(allow_null=True)
    hypervisor = PlaceShape(allow_null=True)
    cluster = serializers.CharField(allow_null=True)
    restore_point_count = serializers.IntegerField()
    first_seen_at = Moment()


class OwnedMachineParameters(PageParameters):
    """Which virtual machines."""

    owner = serializers.CharField(
        default="", allow_blank=True, help_text="Short name of a tenant, or nobody; left out: all"
    )
    search = serializers.CharField(
        default="",
        allow_blank=True,
        max_length=LONGEST_SEARCH,
        help_text="Part of a name or a project, or a whole guid or uuid",
    )
    present = YesNoParameter()


class AssignmentForm(Form):
    """Whose they shall be."""

    tenant = Text(help_text="short name")
    virtual_machines = serializers.ListField(child=Text(), help_text="guids")
    hand_over = YesOrNo(default=False, help_text="History goes along where another tenant had them.")


class AssignedShape(serializers.Serializer[Mapping[str, Any]]):
    """Whose they are now."""

    tenant = TenantBrief()
    changed = serializers.ListField(child=serializers.CharField(), help_text="guids whose owner was another before")


class OwnedMachineList(OperatorView):
    """Every virtual machine, and whose it is."""

    @extend_schema(
        operation_id="operator_virtual_machines",
        tags=TAGS,
        parameters=[OwnedMachineParameters],
        responses={200: page_of(OwnedMachineShape, "OwnedMachine"), **problems(400, 401, 403, 404)},
    )
    def get(self, request: Request) -> Response:
        """List virtual machines of all tenants and of nobody, by name."""
        wanted = checked(OwnedMachineParameters, request.query_params)
        rows = by_provider.searched(
            by_provider.virtual_machines(self.provider, owner=wanted["owner"]), wanted["search"]
        )
        if wanted["present"] is not None:
            rows = rows.filter(present=wanted["present"])
        page = keyset.page_of(rows, by_provider.BY_NAME, wanted["cursor"], wanted["page_size"])
        return page_answer(request, page, _shapes(page.rows), OwnedMachineShape, read_at(INVENTORY)[INVENTORY])

    @extend_schema(
        operation_id="assign_virtual_machines",
        tags=TAGS,
        request=AssignmentForm,
        responses={200: AssignedShape, **problems(400, 401, 403, 404)},
    )
    def post(self, request: Request) -> Response:
        """Give virtual machines to a tenant, all or none; their history becomes visible there."""
        given = checked(AssignmentForm, request.data)
        done = by_provider.assign_to(
            self.provider, slug=given["tenant"], vm_guids=given["virtual_machines"], hand_over=given["hand_over"]
        )
        judge(done.changed)
        tenant = {"slug": done.tenant.slug, "name": done.tenant.name}
        return Response(AssignedShape({"tenant": tenant, "changed": done.changed}).data)


def _shapes(machines: Sequence[VirtualMachine]) -> list[dict[str, Any]]:
    return [
        {
            "guid": machine.guid,
            "uuid": machine.uuid or None,
            "name": machine.name,
            "present": machine.present,
            "absent_since": machine.gone_since if machine.gone else None,
            "tenant": {"slug": machine.tenant.slug, "name": machine.tenant.name} if machine.tenant else None,
            "platform": machine.platform or None,
            "project": _place(machine.project_guid, machine.project_name),
            "hypervisor_manager": _place(machine.manager_guid, machine.manager_name),
            "hypervisor": _place(machine.hypervisor_guid, machine.hypervisor_name),
            "cluster": machine.cluster_name or None,
            "restore_point_count": machine.restore_point_count,
            "first_seen_at": machine.first_seen_at,
        }
        for machine in machines
    ]


def _place(guid: str, name: str) -> dict[str, Any] | None:
    return {"guid": guid or None, "name": name} if guid or name else None
