"""A small listing of vPlus into its table: changed rows only, and a failed or short one marks nothing as gone."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

from django.db.models import Model
from django.utils import timezone

from tenants.scope import every_tenant
from vplus_bridge.client import VplusError
from vplus_bridge.client.paging import Listing
from vplus_bridge.mirror.read_state import contact_lost, recorded

REASON = "mirror: small listings"


def read_listing(
    name: str,
    call: Callable[[], Listing[Any]],
    model: type[Model],
    part: dict[str, str],
    columns: Callable[[Any], dict[str, Any]],
    *,
    steady: Collection[str] = (),
) -> bool:
    """Read one listing into ``model`` and tell whether it could be read; ``part`` narrows the rows that it is about.

    ``steady`` are texts that never change in vPlus: where a record leaves one out, what is known of it stays. Raises
    VplusError when contact is lost; other trouble is a named gap, written down by the reading itself.
    """
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
                _write(model, part, by_guid.values(), columns, steady, whole_list=whole_list)
            reading.counts = {"listed": len(by_guid), "complete": whole_list}
    except VplusError as problem:
        if contact_lost(problem):
            raise
        return False  # a named gap: features that need it say so
    return True


def _lacks_known(model: type[Model], part: dict[str, str], found: Collection[str]) -> bool:
    with every_tenant(REASON):
        return model._default_manager.filter(**part, gone_at=None).exclude(guid__in=list(found)).exists()


def _write(
    model: type[Model],
    part: dict[str, str],
    records: Iterable[Any],
    columns: Callable[[Any], dict[str, Any]],
    steady: Collection[str],
    *,
    whole_list: bool,
) -> None:
    now = timezone.now()
    rows = model._default_manager
    known: dict[str, Any] = {row.guid: row for row in rows.filter(**part)}  # type: ignore[attr-defined]  # each of the models has one
    seen = set()
    for record in records:
        seen.add(record.guid)
        facts = {**columns(record), "gone_at": None}
        before = known.get(record.guid)
        if before is None:
            rows.create(guid=record.guid, **part, **facts, changed_at=now)
            continue
        facts |= {name: getattr(before, name) for name in steady if not facts[name]}
        if any(getattr(before, name) != value for name, value in facts.items()):
            rows.filter(pk=before.pk).update(**facts, changed_at=now)
    if whole_list:
        rows.filter(**part, gone_at=None).exclude(guid__in=seen).update(gone_at=now, changed_at=now)
