"""Who I am to the portal: person, tenant, role, rights, and what the token narrows."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.authentication import IsSomebody, actor_behind, provider_behind
from portal.api.fields import Moment, problems
from portal.api.views import ApiView
from tenants.rights import Actor, ProviderActor, Right, Token


class PersonShape(serializers.Serializer[Mapping[str, Any]]):
    """A person as others may see them."""

    name = serializers.CharField(allow_blank=True)
    email = serializers.EmailField()
    time_zone = serializers.CharField(help_text="IANA zone in which pages show times; the API gives UTC.")


class TenantShape(serializers.Serializer[Mapping[str, Any]]):
    """The tenant that the token belongs to."""

    slug = serializers.CharField()
    name = serializers.CharField()
    time_zone = serializers.CharField(help_text="IANA zone")
    suspended = serializers.BooleanField(help_text="Its people can read, but start nothing new.")


class ShownToken(serializers.Serializer[Mapping[str, Any]]):
    """The token that was shown."""

    name = serializers.CharField()
    scopes = serializers.ListField(child=serializers.CharField(), help_text="Empty: all that the person may.")
    expires_at = Moment(allow_null=True, help_text="null: it does not end by itself.")


class GrantShape(serializers.Serializer[Mapping[str, Any]]):
    """What is granted beside the role, for one virtual machine."""

    virtual_machine = serializers.CharField()
    role = serializers.CharField()


class Me(serializers.Serializer[Mapping[str, Any]]):
    """Who asks."""

    person = PersonShape()
    tenant = TenantShape(allow_null=True, help_text="null: a token of the provider")
    role = serializers.CharField(
        help_text="In the tenant: admin, operator, viewer; at the provider: operator, auditor."
    )
    rights = serializers.ListField(
        child=serializers.CharField(), help_text="What this token may do, by role and scopes; grants come on top."
    )
    sees = serializers.CharField(help_text="all: every virtual machine of the tenant; granted: only those granted.")
    grants = GrantShape(many=True)
    token = ShownToken()


class MeView(ApiView):
    """Who asks."""

    permission_classes = (IsSomebody,)

    @extend_schema(operation_id="me", tags=["me"], responses={200: Me, **problems(401)})
    def get(self, request: Request) -> Response:
        """Tell whose token this is, in which tenant, and what it may do."""
        actor = actor_behind(request)
        if actor is not None:
            return Response(Me(_member(actor)).data)
        provider = provider_behind(request)
        if provider is None:
            raise RuntimeError("me was reached without IsSomebody")
        return Response(Me(_of_provider(provider)).data)


def _member(actor: Actor) -> dict[str, Any]:
    return {
        "person": {"name": actor.person.name, "email": actor.person.email, "time_zone": actor.time_zone},
        "tenant": {
            "slug": actor.tenant_slug,
            "name": actor.tenant_name,
            "time_zone": actor.tenant_time_zone,
            "suspended": actor.suspended,
        },
        "role": actor.role,
        "rights": [str(right) for right in Right if actor.may(right)],
        "sees": "all" if actor.sees_all else "granted",
        "grants": [{"virtual_machine": guid, "role": role} for guid, role in sorted(actor.grants.items())],
        "token": _token(actor.token),
    }


def _of_provider(provider: ProviderActor) -> dict[str, Any]:
    person = provider.person
    return {
        "person": {"name": person.name, "email": person.email, "time_zone": person.time_zone or "UTC"},
        "tenant": None,
        "role": provider.role,
        "rights": [str(right) for right in Right if provider.may(right)],
        "sees": "all",
        "grants": [],
        "token": _token(provider.token),
    }


def _token(token: Token | None) -> dict[str, Any]:
    if token is None:
        raise RuntimeError("me was reached without a token")
    return {"name": token.name, "scopes": sorted(token.scopes), "expires_at": token.expires_at}
