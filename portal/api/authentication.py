"""Who asks: the bearer of a token. The request scope has looked the token up already; here DRF is told of it."""

from typing import TYPE_CHECKING, Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from tenants.refusals import NotAllowed, NotVisible
from tenants.rights import Actor, ProviderActor, Right

if TYPE_CHECKING:  # its module asks for this one while it loads
    from rest_framework.views import APIView


class BearerAuthentication(BaseAuthentication):
    """Takes over whom RequestScopeMiddleware found behind the token; without a valid one there is nobody (401)."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """Return the actor and their token, or None."""
        bearer = actor_behind(request) or provider_behind(request)
        return (bearer, bearer.token) if bearer is not None else None

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge of a 401."""
        del request
        return 'Bearer realm="vPlus Portal"'


def actor_behind(request: Request) -> Actor | None:
    """Return the member of a tenant whose token was shown, or None."""
    return getattr(request._request, "actor", None)


def provider_behind(request: Request) -> ProviderActor | None:
    """Return the provider's person whose token was shown, or None."""
    return getattr(request._request, "provider", None)


class IsActor(BasePermission):
    """For what belongs to a tenant: a member's token; reading needs the scope ``read``."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Tell whether somebody asks; raise NotAllowed where they are the provider's, or lack the right to read."""
        del view
        actor = actor_behind(request)
        if actor is None:
            if provider_behind(request) is not None:
                raise NotAllowed(
                    "provider_token",
                    "This token belongs to the provider and to no tenant. Use a tenant's token here, "
                    "or the provider's own addresses below /api/v1/operator/.",
                )
            return False
        if request.method in SAFE_METHODS:
            actor.require(Right.READ)
        return True


class IsProvider(BasePermission):
    """For the provider's own addresses; to a tenant's token they do not exist."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Tell whether the provider asks; raise NotVisible to a tenant, NotAllowed where the right to read is missing."""
        del view
        provider = provider_behind(request)
        if provider is None:
            if actor_behind(request) is not None:
                raise NotVisible
            return False
        provider.require(Right.PROVIDER_READ)
        return True


class IsSomebody(BasePermission):
    """For what every valid token may ask, whatever its scopes."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Tell whether a valid token was shown."""
        del view
        return actor_behind(request) is not None or provider_behind(request) is not None
