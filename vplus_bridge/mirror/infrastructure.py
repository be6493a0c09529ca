"""Small listings: projects, destinations, and the platforms' places. What the account may not read is a named gap."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

from django.db.models import Model
from django.utils import timezone

from tenants.scope import every_tenant
from vplus_bridge.client import InfrastructureRecord, VplusClient, VplusError
from vplus_bridge.client.paging import Listing
from vplus_bridge.mirror.instants import clean, whole
from vplus_bridge.mirror.models import BackupDestination, InfrastructureItem, InfrastructureKind, Project
from vplus_bridge.mirror.read_state import contact_lost, recorded

REASON = "mirror: infrastructure"
PROJECTS, DESTINATIONS = "projects", "destinations"
LISTINGS = (PROJECTS, DESTINATIONS, *(f"{kind}s" for kind in InfrastructureKind.values))


def read_infrastructure(client: VplusClient) -> None:
    """Read every small listing; one that cannot be read leaves the others alone. Raises VplusError when contact is lost."""
    _read(PROJECTS, client.projects, Project, {}, lambda r: {"uuid": clean(r.uuid, 200), "name": clean(r.name, 300)})
    _read(
        DESTINATIONS,
        client.backup_destinations,
        BackupDestination,
        {},
        lambda r: {
            "name": clean(r.name, 300),
            "type": clean(r.type, 40),
            "is_default": bool(r.default),
            "total_space": whole(r.total_space),
            "used_space": whole(r.used_space),
        },
    )
    calls: dict[str, Callable[[], Listing[InfrastructureRecord]]] = {
        InfrastructureKind.MANAGER: client.hypervisor_managers,
        InfrastructureKind.HYPERVISOR: client.hypervisors,
        InfrastructureKind.CLUSTER: client.hypervisor_clusters,
        InfrastructureKind.STORAGE: client.hypervisor_storages,
    }
    for kind, call in calls.items():
        _read(
            f"{kind}s",
            call,
            InfrastructureItem,
            {"kind": kind},
            lambda r: {
                "uuid": clean(r.uuid, 200),
                "name": clean(r.name, 300),
                "platform": clean(r.type, 40),
                "parent_guid": clean(r.parent_guid, 200),
                "total_space": whole(r.total_space),
                "used_space": whole(r.used_space),
            },
        )


def _read(
    name: str,
    call: Callable[[], Listing[Any]],
    model: type[Model],
    part: dict[str, str],
    columns: Callable[[Any], dict[str, Any]],
) -> None:
    try:
        with recorded(name) as reading:
            listing = call()
            by_guid = {record.guid: record for page in listing for record in page}
            whole_list = listing.completeness.complete
            if listing.completeness.unproven and _lacks_known(model, part, by_guid):
                # No number of rows came with it, so it may be short: only what a second one lacks too is gone.
                second = call()
                by_guid |= {record.guid: record for page in second for record in page}
                whole_list = second.completeness.complete
            with every_tenant(REASON):
                _write(model, part, by_guid.values(), columns, whole_list=whole_list)
            reading.counts = {"listed": len(by_guid), "complete": whole_list}
    except VplusError as problem:
        if contact_lost(problem):
            raise
        return  # a named gap, written down by the reading itself: features that need it say so


def _lacks_known(model: type[Model], part: dict[str, str], found: Collection[str]) -> bool:
    with every_tenant(REASON):
        return model._default_manager.filter(**part, gone_at=None).exclude(guid__in=list(found)).exists()


def _write(
    model: type[Model],
    part: dict[str, str],
    records: Iterable[Any],
    columns: Callable[[Any], dict[str, Any]],
    *,
    whole_list: bool,
) -> None:
    now = timezone.now()
    rows = model._default_manager
    known: dict[str, Any] = {row.guid: row for row in rows.filter(**part)}  # type: ignore[attr-defined]  # each of the three models has one
    seen = set()
    for record in records:
        seen.add(record.guid)
        facts = {**columns(record), "gone_at": None}
        before = known.get(record.guid)
        if before is None:
            rows.create(guid=record.guid, **part, **facts, changed_at=now)
        elif any(getattr(before, name) != value for name, value in facts.items()):
            rows.filter(pk=before.pk).update(**facts, changed_at=now)
    if whole_list:
        rows.filter(**part, gone_at=None).exclude(guid__in=seen).update(gone_at=now, changed_at=now)
