"""The first lock: no tenant in scope, no rows. Opens both locks together, ORM filter and row-level security.

`in_tenant` narrows everything to one tenant; `every_tenant` is the explicit wide door, for the few modules that a
test lists. Both open a transaction, because PostgreSQL keeps the setting and the role for the transaction only.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

import structlog
from django.db import connection, models, transaction

log = structlog.get_logger(__name__)
PROVIDER_ROLE = "portal_provider"


@dataclass(frozen=True)
class Scope:
    """What the current code may see: one tenant's rows, or with ``tenant_id`` None every tenant's, for a reason."""

    tenant_id: UUID | None
    reason: str = ""


class TenantScopeMissing(RuntimeError):
    """Rows of tenants were asked for with no tenant in scope: a programming error, never an empty list."""


class WrongTenant(RuntimeError):
    """A row of one tenant was about to be saved in the scope of another."""


_current: ContextVar[Scope | None] = ContextVar("tenant_scope", default=None)


def current_scope() -> Scope | None:
    """Return the open scope, or None where neither door is open."""
    return _current.get()


def scoped_tenant_id() -> UUID:
    """Return the one tenant in scope; raise TenantScopeMissing where there is none, or where the wide door is open."""
    scope = _current.get()
    if scope is None or scope.tenant_id is None:
        raise TenantScopeMissing("this needs one tenant in scope")
    return scope.tenant_id


@contextmanager
def in_tenant(tenant: models.Model | UUID) -> Iterator[None]:
    """Open the scope of one tenant (the row or its id) in a transaction, joining one that is open; restore the outer one."""
    tenant_id = tenant if isinstance(tenant, UUID) else getattr(tenant, "pk", None)
    if not isinstance(tenant_id, UUID):
        raise TenantScopeMissing("in_tenant needs a tenant; None never means everyone")
    with _opened(Scope(tenant_id)):
        yield


@contextmanager
def every_tenant(reason: str) -> Iterator[None]:
    """Open the wide scope: mirror, jobs, entrance, console and commands only; the reason is logged."""
    if not reason:
        raise TenantScopeMissing("every_tenant needs a reason")
    log.debug("every_tenant", reason=reason)
    with _opened(Scope(None, reason)):
        yield


@contextmanager
def _opened(scope: Scope) -> Iterator[None]:
    outer = _current.get() if connection.in_atomic_block else None
    token = _current.set(scope)
    try:
        # No savepoint: an error inside spoils the whole transaction, so nobody can go on with half a change.
        with transaction.atomic(savepoint=False):
            _lock_to(scope, outer)
            yield
            if connection.in_atomic_block and not connection.needs_rollback:
                _lock_to(outer, scope)
    finally:
        _current.reset(token)


def _lock_to(scope: Scope | None, before: Scope | None) -> None:
    """Tell PostgreSQL, for this transaction, what may be seen; skips what already holds."""
    wide, was_wide = (s is not None and s.tenant_id is None for s in (scope, before))
    tenant = "" if scope is None or scope.tenant_id is None else str(scope.tenant_id)
    was_tenant = "" if before is None or before.tenant_id is None else str(before.tenant_id)
    with connection.cursor() as cursor:
        if was_wide and not wide:
            cursor.execute("SET LOCAL ROLE NONE")
        if tenant != was_tenant:
            cursor.execute("SELECT set_config('app.tenant', %s, true)", [tenant])
        if wide and not was_wide:
            cursor.execute(f"SET LOCAL ROLE {PROVIDER_ROLE}")


M = TypeVar("M", bound=models.Model)


class TenantManager(models.Manager[M], Generic[M]):
    """Filters by the tenant in scope and raises where there is none."""

    path = "tenant_id"

    def get_queryset(self) -> models.QuerySet[M]:
        """Return the rows that the open scope may see."""
        scope = _current.get()
        if scope is None:
            raise TenantScopeMissing(f"{self.model.__name__} was read with no tenant in scope")
        rows = super().get_queryset()
        return rows if scope.tenant_id is None else rows.filter(**{self.path: scope.tenant_id})


class TenantOwned(models.Model):
    """A row that belongs to one tenant: guarded by the manager, by `save`, and by row-level security in its table."""

    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.PROTECT, related_name="+")

    objects = TenantManager()

    class Meta:
        abstract = True
        base_manager_name = "objects"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save in the scope of the row's own tenant; raise WrongTenant or TenantScopeMissing elsewhere."""
        scope = _current.get()
        if scope is None:
            raise TenantScopeMissing(f"{type(self).__name__} was saved with no tenant in scope")
        if scope.tenant_id is not None and self.tenant_id != scope.tenant_id:
            raise WrongTenant(f"{type(self).__name__} of another tenant was about to be saved")
        super().save(*args, **kwargs)
