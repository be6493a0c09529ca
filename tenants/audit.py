"""Writes the audit. Each change and each refusal that a person meets leaves one row."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from structlog.contextvars import get_contextvars

from tenants.models.audit import AuditEvent, AuditResult
from tenants.refusals import Refusal
from tenants.rights import Actor, ProviderActor, Right
from tenants.scope import every_tenant, in_tenant

MOST_PRUNED = 20_000


def record(
    actor: Actor | ProviderActor | None,
    action: str,
    *,
    tenant_id: UUID | None = None,
    object_kind: str = "",
    object_id: str = "",
    object_name: str = "",
    detail: Mapping[str, Any] | None = None,
    reason: str = "",
    refusal: Refusal | None = None,
    via: str = "",
) -> None:
    """Add one event in the transaction that is open, so that a change and its trace stand or fall together.

    ``actor`` None means a management command or the portal itself, which ``via`` then names. ``tenant_id`` is needed
    where a provider's person acts on a tenant; a member's own tenant is taken from the actor. ``detail`` is shown to
    admins: before and after, never a secret.
    """
    token = actor.token if actor else None
    AuditEvent.objects.create(
        tenant_id=actor.tenant_id if isinstance(actor, Actor) else tenant_id,
        actor_id=actor.person.id if actor else None,
        actor_name=(actor.person.name or actor.person.email) if actor else "The portal",
        actor_role=_role_of(actor),
        via=via or (f"token {token.name}" if token else "page"),
        address=actor.address if actor else None,
        action=action,
        object_kind=object_kind,
        object_id=object_id,
        object_name=object_name[:300],
        result=AuditResult.REFUSED if refusal else AuditResult.DONE,
        code=refusal.code if refusal else "",
        detail=dict(detail or {}),
        reason=reason,
        reference=get_contextvars().get("reference", ""),
    )


def visible_events(actor: Actor) -> QuerySet[AuditEvent]:
    """Return the events of the tenant, for those who may read them. Raises NotAllowed."""
    actor.require(Right.AUDIT)
    return AuditEvent.objects.all()


def record_refusal(actor: Actor | ProviderActor, action: str, refusal: Refusal, **about: Any) -> None:
    """Add a refusal in a transaction of its own, after the request's own was rolled back."""
    if isinstance(actor, Actor):
        with in_tenant(actor.tenant_id):
            record(actor, action, refusal=refusal, **about)
    else:
        with every_tenant("audit of a refusal at the provider"):
            record(actor, action, refusal=refusal, **about)


def prune(now: datetime) -> int:
    """Remove events older than they are kept, in the open wide scope; return how many went, at most ``MOST_PRUNED``."""
    oldest = now - timedelta(days=settings.AUDIT_KEEP_DAYS)
    old = AuditEvent.objects.filter(at__lt=oldest).order_by("at").values_list("pk", flat=True)[:MOST_PRUNED]
    removed, _ = AuditEvent.objects.filter(pk__in=list(old)).delete()
    return removed


def _role_of(actor: Actor | ProviderActor | None) -> str:
    if actor is None:
        return ""
    return actor.role if isinstance(actor, Actor) else f"provider {actor.role}"
