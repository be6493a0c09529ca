"""From schedules as they are to be, and carriers as they are, to what is written and what the rows say afterwards.

A carrier that fires as it should stays; another is rewritten rather than made anew, so that its runs stay one history.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from vplus_bridge.protection.drafts import Planned
from vplus_bridge.protection.models import Carrier, Policy, Schedule
from vplus_bridge.protection.rewriting import Plan
from vplus_bridge.protection.steps import CarrierWish, Dropped
from vplus_bridge.protection.stored import columns_of, plan_columns, spec_of
from vplus_bridge.protection.wire_names import new_wire_name

Row = dict[str, Any]


@dataclass
class Shaped:
    """What vPlus is to hold of a policy's schedules, and what is no longer needed; `rows` is what `outcome` writes down."""

    carriers: list[CarrierWish] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)


def shape(policy: Policy, planned: Sequence[Planned], *, shared: Collection[str] = ()) -> Shaped:
    """Return what a policy's schedules come to when they are to be just these.

    `shared` are guids of carriers that serve rules of others too: they are left to those, and made anew for us.
    """
    shaped = Shaped()
    existing = {row.pk: row for row in policy.schedules.all()}
    for position, one in enumerate(planned, 1):
        row = existing.pop(one.draft.id, None) if one.draft.id is not None else None
        columns = {**columns_of(one.promise), "position": position, "active": one.draft.active}
        if one.plan is None and row is not None:
            _keep(shaped, row, columns)
        elif one.plan is not None:
            carry(shaped, policy, row, one.plan, columns, shared=shared)
    for row in existing.values():
        _drop(shaped, row.carriers.all(), shared)
    return shaped


def carry(
    shaped: Shaped, policy: Policy, row: Schedule | None, plan: Plan, columns: Row, *, shared: Collection[str] = ()
) -> None:
    """Add one schedule with its plan: pair the carriers that it has with those that it needs."""
    olds = [carrier for carrier in row.carriers.all() if carrier.vplus_guid not in shared] if row else []
    needed = [(spec_of(carrier), carrier) for carrier in plan.carriers]
    paired: list[Carrier | None] = []
    for spec, _carrier in needed:
        equal = next((old for old in olds if old.spec == spec), None)
        paired.append(equal)
        if equal is not None:
            olds.remove(equal)
    told = []
    for number, (spec, carrier) in enumerate(needed):
        old = paired[number]
        if old is None and olds:
            old = olds.pop(0)
        name = old.wire_name if old else new_wire_name(policy.tenant_id, policy.name, "schedule")
        guid = old.vplus_guid if old else ""
        shaped.carriers.append(
            CarrierWish(
                name=name,
                spec=spec,
                guid=guid,
                was=old.spec if old else None,
                written=old is not None and old.spec == spec,
            )
        )
        told.append(
            {
                "name": name,
                "guid": guid,
                "spec": spec,
                "valid_from": carrier.valid_from.isoformat(),
                "valid_until": carrier.valid_until.isoformat(),
            }
        )
    _drop(shaped, olds, shared)
    pk = row.pk if row else uuid4()
    shaped.rows.append({"id": str(pk), "columns": {**columns, **plan_columns(plan)}, "carriers": told})


def as_they_are(policy: Policy, *, missing: Collection[str]) -> Shaped:
    """Return all of a policy's carriers to be written once more, whatever vPlus holds; `missing` ones are made anew."""
    shaped = Shaped()
    for row in policy.schedules.all():
        told = []
        for carrier in row.carriers.all():
            lost = carrier.wire_name in missing
            name = new_wire_name(policy.tenant_id, policy.name, "schedule") if lost else carrier.wire_name
            guid = "" if lost else carrier.vplus_guid
            shaped.carriers.append(CarrierWish(name=name, spec=carrier.spec, guid=guid, written=False))
            told.append({**_told(carrier), "name": name, "guid": guid})
        shaped.rows.append({"id": str(row.pk), "columns": {}, "carriers": told})
    return shaped


def kept(shaped: Shaped, row: Schedule) -> None:
    """Add a schedule whose carriers stay as they are."""
    _keep(shaped, row, {})


def _keep(shaped: Shaped, row: Schedule, columns: Row) -> None:
    told = []
    for carrier in row.carriers.all():
        shaped.carriers.append(CarrierWish(name=carrier.wire_name, spec=carrier.spec, guid=carrier.vplus_guid))
        told.append(_told(carrier))
    shaped.rows.append({"id": str(row.pk), "columns": columns, "carriers": told})


def _told(carrier: Carrier) -> Row:
    return {
        "name": carrier.wire_name,
        "guid": carrier.vplus_guid,
        "spec": carrier.spec,
        "valid_from": carrier.valid_from.isoformat(),
        "valid_until": carrier.valid_until.isoformat(),
    }


def _drop(shaped: Shaped, rows: Iterable[Carrier], shared: Collection[str]) -> None:
    shaped.dropped += [Dropped(guid=row.vplus_guid, name=row.wire_name) for row in rows if row.vplus_guid not in shared]
