"""What the provider's people see and decide of ownership, in the open wide scope: for the console and its API."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from django.db.models import Count, Model, Q, QuerySet
from django.db.models.functions import Lower

from tenants import audit
from tenants.models import Tenant
from tenants.refusals import Invalid
from tenants.rights import ProviderActor, Right
from vplus_bridge.keyset import Key, Keyset
from vplus_bridge.mirror.models import VirtualMachine
from vplus_bridge.ownership.assignment import assign, tenant_by_slug

NOBODY = "nobody"
BY_NAME = Keyset("name", (Key(Lower("name")), Key("guid")))
TENANTS_BY_NAME = Keyset("tenant name", (Key(Lower("name")), Key("id")))
MOST_NAMED_IN_AUDIT = 200
M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Assigned:
    """What an assignment did: the tenant, and the guids whose owner changed."""

    tenant: Tenant
    changed: list[str]


def virtual_machines(provider: ProviderActor, *, owner: str = "") -> QuerySet[VirtualMachine]:
    """Return every tenant's virtual machines, one tenant's by its short name, or those that are "nobody"'s.

    Raises NotAllowed, or Invalid naming ``owner`` where no tenant has the short name.
    """
    provider.require(Right.PROVIDER_READ)
    return owned_by(VirtualMachine.objects.select_related("tenant"), owner)


def owned_by(rows: QuerySet[M], owner: str) -> QuerySet[M]:
    """Return those of these rows that are one tenant's by its short name, or "nobody"'s; all where nobody is named.

    Raises Invalid naming ``owner`` where no tenant has the short name.
    """
    if owner == NOBODY:
        return rows.filter(tenant=None)
    if not owner:
        return rows
    if not Tenant.objects.filter(slug=owner).exists():
        raise Invalid({"owner": [f"No tenant has the short name {owner}; use one, or {NOBODY}."]})
    return rows.filter(tenant__slug=owner)


def tenants(provider: ProviderActor) -> QuerySet[Tenant]:
    """Return every tenant. Raises NotAllowed."""
    provider.require(Right.PROVIDER_READ)
    return Tenant.objects.all()


def machine_counts(provider: ProviderActor, tenant_ids: Iterable[UUID]) -> dict[UUID, int]:
    """Return how many virtual machines each of these tenants has, in one SQL statement. Raises NotAllowed."""
    provider.require(Right.PROVIDER_READ)
    owned = VirtualMachine.objects.filter(tenant__in=list(tenant_ids)).order_by().values("tenant")
    return dict(owned.annotate(count=Count("guid")).values_list("tenant", "count"))


def searched(rows: QuerySet[VirtualMachine], search: str) -> QuerySet[VirtualMachine]:
    """Return those whose name or project holds the text, or whose guid or uuid it is."""
    text = search.strip()
    if not text:
        return rows
    return rows.filter(Q(name__icontains=text) | Q(project_name__icontains=text) | Q(guid=text) | Q(uuid=text))


def assign_to(provider: ProviderActor, *, slug: str, vm_guids: Sequence[str], hand_over: bool = False) -> Assigned:
    """Make virtual machines a tenant's, with an audit event there and with whoever had them.

    ``hand_over`` lets history go along where another tenant had them. Raises NotAllowed, or Invalid naming the short
    name or the guids that are not known; then none is assigned.
    """
    provider.require(Right.PROVIDER_CHANGE)
    who = provider.person.name or provider.person.email
    return assign_noted(provider, slug=slug, vm_guids=vm_guids, by=who, hand_over=hand_over)


def assign_noted(
    actor: ProviderActor | None, *, slug: str, vm_guids: Sequence[str], by: str, hand_over: bool = False, via: str = ""
) -> Assigned:
    """Do what `assign_to` does, also for a command (``actor`` None, ``via`` its name), in the open wide scope."""
    tenant = tenant_by_slug(slug)
    guids = list(dict.fromkeys(vm_guids))
    others = VirtualMachine.objects.filter(guid__in=[guid.replace("\0", "") for guid in guids]).exclude(tenant=None)
    had: dict[UUID, list[str]] = {}
    for owner, guid in others.exclude(tenant=tenant).order_by("guid").values_list("tenant", "guid"):
        had.setdefault(owner, []).append(guid)
    changed = assign(tenant_id=tenant.pk, vm_guids=guids, by=by, hand_over=hand_over)
    for owner, lost in had.items():
        _note(actor, "virtual_machine.take_away", owner, lost, hand_over=hand_over, via=via)
    _note(actor, "virtual_machine.assign", tenant.pk, guids, hand_over=hand_over, via=via)
    return Assigned(tenant, changed)


def _note(
    actor: ProviderActor | None, action: str, tenant_id: UUID, guids: Sequence[str], *, hand_over: bool, via: str
) -> None:
    audit.record(
        actor,
        action,
        tenant_id=tenant_id,
        object_kind="virtual_machine",
        object_id=guids[0] if len(guids) == 1 else "",
        object_name=f"{len(guids)} virtual machines" if len(guids) > 1 else "",
        detail={"virtual_machines": list(guids[:MOST_NAMED_IN_AUDIT]), "hand_over": hand_over},
        via=via,
    )
