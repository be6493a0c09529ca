"""For the provider: the policies that vPlus has, whose they are, and letting a tenant read one that was there before."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.fields import Form, Text, problems
from portal.api.operator_virtual_machines import TAGS, TenantBrief
from portal.api.pagination import PageParameters, page_answer, page_of
from portal.api.views import OperatorView, checked
from tenants.refusals import NotVisible
from tenants.rights import Right
from vplus_bridge import keyset
from vplus_bridge.mirror.listing import LONGEST_SEARCH
from vplus_bridge.mirror.models import VplusPolicy
from vplus_bridge.mirror.policies import POLICIES
from vplus_bridge.mirror.read_state import read_at
from vplus_bridge.ownership.assignment import tenant_by_slug
from vplus_bridge.protection import attached
from vplus_bridge.protection.drafts import LONGEST_NAME
from vplus_bridge.protection.models import Policy


class ProviderPolicyShape(serializers.Serializer[Mapping[str, Any]]):
    """A policy of vPlus, as the provider sees it."""

    guid = serializers.CharField(help_text="vPlus's")
    name = serializers.CharField(help_text="The name that it has in vPlus")
    virtual_machine_count = serializers.IntegerField(allow_null=True, help_text="null: its members were not read yet")
    tenant = TenantBrief(allow_null=True, help_text="Who reads it; null: nobody")
    called = serializers.CharField(allow_null=True, help_text="What the tenant calls it")
    attached = serializers.BooleanField(help_text="It was there before: the tenant reads it, you change it in vPlus")


class ProviderPolicyParameters(PageParameters):
    """Which policies."""

    owner = serializers.CharField(
        default="", allow_blank=True, help_text="Short name of a tenant, or nobody; left out: all"
    )
    search = serializers.CharField(
        default="", allow_blank=True, max_length=LONGEST_SEARCH, help_text="Part of the name in vPlus, or a whole guid"
    )


class AttachForm(Form):
    """Who shall read it, and under which name."""

    tenant = Text(help_text="short name")
    name = Text(
        default="",
        allow_blank=True,
        max_length=LONGEST_NAME,
        help_text="What the tenant calls it. Left out: the name that it has in vPlus, which can tell who else uses it.",
    )


class OperatorPolicyList(OperatorView):
    """Every policy of vPlus, and whose it is."""

    @extend_schema(
        operation_id="operator_policies",
        tags=TAGS,
        parameters=[ProviderPolicyParameters],
        responses={200: page_of(ProviderPolicyShape, "ProviderPolicy"), **problems(400, 401, 403, 404)},
    )
    def get(self, request: Request) -> Response:
        """List policies by the name that they have in vPlus; owner=nobody are those that can be attached."""
        wanted = checked(ProviderPolicyParameters, request.query_params)
        rows = attached.in_vplus(self.provider, owner=wanted["owner"], search=wanted["search"])
        page = keyset.page_of(rows, attached.BY_NAME, wanted["cursor"], wanted["page_size"])
        holders = attached.holders(self.provider, [row.guid for row in page.rows])
        shapes = [_shape(row, holders.get(row.guid)) for row in page.rows]
        return page_answer(request, page, shapes, ProviderPolicyShape, read_at(POLICIES)[POLICIES])


class _OnePolicy(OperatorView):
    def may_change(self, guid: str) -> VplusPolicy:
        """Return the policy that is to be changed hands. Raises NotAllowed, NotVisible."""
        self.provider.require(Right.PROVIDER_CHANGE)
        row = attached.in_vplus(self.provider).filter(guid=guid).first()
        if row is None:
            raise NotVisible
        return row


class AttachPolicy(_OnePolicy):
    """Letting a tenant read one."""

    @extend_schema(
        operation_id="attach_policy",
        tags=TAGS,
        request=AttachForm,
        responses={200: ProviderPolicyShape, **problems(400, 401, 403, 404)},
    )
    def post(self, request: Request, guid: str) -> Response:
        """Let a tenant read a policy that is nobody's; it stays yours to change, in vPlus."""
        row = self.may_change(guid)
        given = checked(AttachForm, request.data)
        tenant = tenant_by_slug(given["tenant"])
        policy = attached.attach_policy(tenant_id=tenant.pk, guid=guid, name=given["name"], actor=self.provider)
        return Response(ProviderPolicyShape(_shape(row, policy)).data)


class DetachPolicy(_OnePolicy):
    """Taking it back."""

    @extend_schema(
        operation_id="detach_policy",
        tags=TAGS,
        request=None,
        responses={200: ProviderPolicyShape, **problems(401, 403, 404)},
    )
    def post(self, request: Request, guid: str) -> Response:
        """Let the tenant no longer read it; in vPlus nothing changes. 404 where it is attached to nobody."""
        del request
        row = self.may_change(guid)
        held = attached.holders(self.provider, [guid]).get(guid)
        if held is None or not held.attached:
            raise NotVisible
        attached.detach_policy(tenant_id=held.tenant_id, guid=guid, actor=self.provider)
        return Response(ProviderPolicyShape(_shape(row, None)).data)


def _shape(row: VplusPolicy, held: Policy | None) -> dict[str, Any]:
    return {
        "guid": row.guid,
        "name": row.name,
        "virtual_machine_count": None if row.vm_guids is None else len(row.vm_guids),
        "tenant": {"slug": held.tenant.slug, "name": held.tenant.name} if held else None,
        "called": held.name if held else None,
        "attached": held is not None and held.attached,
    }
