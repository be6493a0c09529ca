"""Who asks, and for which tenant: one transaction and one scope around view and rendering.

Doors, by the path: /t/<slug>/ needs a membership, /console/ a provider's person, /api/v1/ a bearer token. Everything
else (sign-in, health, static, schema) runs with no scope at all, so that a row of a tenant cannot be read there.
"""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from zoneinfo import ZoneInfo

from django.contrib.auth.views import redirect_to_login
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponseBase
from django.utils import timezone
from structlog.contextvars import bind_contextvars

from portal import problems
from portal.client_address import client_address
from portal.scoped_request import ScopedRequest
from tenants import audit, entrance
from tenants.refusals import NotAllowed, Refusal
from tenants.rights import Actor, ProviderActor
from tenants.scope import every_tenant, in_tenant

_OBJECTS = ("guid", "operation_id", "token_id", "policy_id", "schedule_id")
"""What an address calls the object that it is about."""
_TENANT_PAGE = re.compile(r"^/t/([^/]+)/")


class RequestScopeMiddleware:
    """Opens the scope that the path asks for, and closes it with a commit, or with a rollback when anything failed."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: ScopedRequest) -> HttpResponseBase:
        """Answer inside the scope of the path."""
        if "\0" in request.path_info:
            raise Http404  # nothing has such a name, and PostgreSQL takes none in a question
        request.refusal = None
        request.failed = False
        request.may_be_saved = False
        if match := _TENANT_PAGE.match(request.path_info):
            response = self._tenant_page(request, match[1])
        elif request.path_info.startswith("/console/"):
            response = self._console(request)
        elif request.path_info.startswith("/api/v1/"):
            response = self._api(request)
        else:
            request.may_be_saved = True  # each statement by itself
            return self.get_response(request)
        timezone.deactivate()
        _audit_refusal(request)
        return response

    def process_exception(self, request: ScopedRequest, problem: Exception) -> HttpResponseBase | None:
        """Note that the view failed, so that its transaction is rolled back; show a refusal as a page."""
        request.failed = True
        if isinstance(problem, Refusal):
            request.refusal = problem
            return problems.refusal_page(request, problem)
        return None

    def _tenant_page(self, request: ScopedRequest, slug: str) -> HttpResponseBase:
        person = request.user
        if not person.is_authenticated:
            return redirect_to_login(request.get_full_path())
        with transaction.atomic():
            actor = entrance.member_of(person, slug, address=client_address(request))
            if actor is None:
                raise Http404
            entrance.remember_place(person, slug)
            return self._answer(request, actor, in_tenant(actor.tenant_id))

    def _console(self, request: ScopedRequest) -> HttpResponseBase:
        person = request.user
        if not person.is_authenticated:
            return redirect_to_login(request.get_full_path())
        provider = entrance.provider_of(person, address=client_address(request))
        if provider is None:
            raise Http404
        with transaction.atomic():
            return self._answer(request, provider, every_tenant("console"))

    def _api(self, request: ScopedRequest) -> HttpResponseBase:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return self.get_response(request)
        with transaction.atomic():
            actor = entrance.bearer_of(token.strip(), address=client_address(request))
            if isinstance(actor, Actor):
                return self._answer(request, actor, in_tenant(actor.tenant_id))
            if isinstance(actor, ProviderActor):
                return self._answer(request, actor, every_tenant("operator API"))
        return self.get_response(request)

    def _answer(
        self, request: ScopedRequest, actor: Actor | ProviderActor, scope: AbstractContextManager[None]
    ) -> HttpResponseBase:
        if isinstance(actor, Actor):
            request.actor = actor
            bind_contextvars(tenant=actor.tenant_slug)
            timezone.activate(ZoneInfo(actor.time_zone))
        else:
            request.provider = actor
            timezone.activate(ZoneInfo(actor.person.time_zone or "UTC"))
        with scope:
            response = self.get_response(request)
            if request.failed or response.status_code >= 500:  # noqa: PLR2004
                transaction.set_rollback(True)
            else:
                request.may_be_saved = True
        return response


def _audit_refusal(request: ScopedRequest) -> None:
    """Leave a trace of a no, after the request's own transaction is gone: of each change, and of each missing right."""
    refusal = request.refusal
    actor = getattr(request, "actor", None) or getattr(request, "provider", None)
    if refusal is None or actor is None:
        return
    if request.method in {"GET", "HEAD", "OPTIONS"} and not isinstance(refusal, NotAllowed):
        return
    match = request.resolver_match
    about = dict(match.kwargs) if match else {}
    audit.record_refusal(
        actor,
        f"{(request.method or '').lower()}.{match.view_name if match else 'unknown'}",
        refusal,
        object_id=str(next((about[name] for name in _OBJECTS if about.get(name)), ""))[:200],
        detail={"message": refusal.message, "errors": refusal.errors},
    )
