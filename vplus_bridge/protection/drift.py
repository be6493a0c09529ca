"""Changes that somebody made in vPlus itself: seen by comparing the mirror with what we last wrote. Wide scope, no calls.

Only readings that began after our last write count, so that a change of ours is never taken for somebody else's.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import structlog
from django.db.models import Q

from tenants import audit
from vplus_bridge.client import ScheduleRecord
from vplus_bridge.mirror.models import VirtualMachine, VplusPolicy
from vplus_bridge.mirror.policies import POLICIES, POLICY_DETAILS, SCHEDULES
from vplus_bridge.mirror.read_state import state_of
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import ACTIVE, Kind
from vplus_bridge.ownership.models import AllowedDestination
from vplus_bridge.protection import compare
from vplus_bridge.protection.both_sides import BothSides, both_sides
from vplus_bridge.protection.compare import Difference
from vplus_bridge.protection.held import carriers_of
from vplus_bridge.protection.mirrored import policy_record, schedule_records
from vplus_bridge.protection.models import Carrier, Policy, PolicyState
from vplus_bridge.protection.outcome import label_machines

log = structlog.get_logger(__name__)
COMPARED_TOGETHER = 500


def note_drift(now: datetime) -> int:
    """Compare every policy of ours with the mirror; write down where it differs, and where no more. Returns how many changed."""
    read_since = _read_since()
    if read_since is None:
        return 0
    changing = set[str]()
    for plan in Operation.objects.filter(kind=Kind.POLICY, state__in=ACTIVE).values_list("plan", flat=True):
        changing.update(plan["touches"])
    changed = 0
    rows = Policy.objects.filter(state=PolicyState.KEPT, attached=False, compared_at__lt=read_since)
    rows = rows.exclude(pk__in=changing).order_by("pk")
    # All of them before the first policy is written, as everywhere: machines first.
    for policy in rows.filter(auto_remove_gone=True).iterator(chunk_size=COMPARED_TOGETHER):
        _follow_removals(policy)
    chosen = list(rows.values_list("pk", flat=True))
    for start in range(0, len(chosen), COMPARED_TOGETHER):
        together = list(Policy.objects.filter(pk__in=chosen[start : start + COMPARED_TOGETHER]).order_by("pk"))
        sides = both_sides(together)
        changed += sum(_note(policy, sides, now) for policy in together)
    return changed


def _note(policy: Policy, sides: BothSides, now: datetime) -> int:
    """Write down where one policy differs; return how many rows that changed."""
    differing = differences(policy, sides)
    found = kept_of(policy, differing) if differing else []
    if found == policy.drift and (policy.differs_since is not None) == bool(found):
        return 0
    # Without a lock, so that nobody waits for the whole comparison: what was written meanwhile is compared next time.
    since = (policy.differs_since or now) if found else None
    same = Policy.objects.filter(pk=policy.pk, compared_at=policy.compared_at, version=policy.version)
    log.info("a policy differs in vPlus" if found else "a policy differs no more", policy=str(policy.pk))
    return same.update(drift=found, differs_since=since)


def _follow_removals(policy: Policy) -> None:
    """Take machines out that vPlus took out by itself because they are gone, as the policy asks."""
    row = _read_since_written(policy)
    if row is None or row.vm_guids is None:
        return
    missing = policy.members.exclude(virtual_machine_guid__in=row.vm_guids)
    guids = list(missing.values_list("virtual_machine_guid", flat=True))
    gone = [machine.guid for machine in VirtualMachine.objects.filter(guid__in=guids) if machine.gone]
    if not gone:
        return
    label_machines(gone, "")
    missing.filter(virtual_machine_guid__in=gone).delete()
    audit.record(
        None,
        "policy.machines_gone",
        tenant_id=policy.tenant_id,
        object_kind="policy",
        object_id=str(policy.pk),
        object_name=policy.name,
        detail={"virtual_machines": gone},
        via="vPlus",
    )


def _read_since_written(policy: Policy) -> VplusPolicy | None:
    """Return the mirror's row of a policy if its detail was read since we last wrote it."""
    row = VplusPolicy.objects.filter(guid=policy.vplus_guid, gone_at=None).first()
    read = row.detail_read_at if row else None
    return row if read and policy.compared_at and read > policy.compared_at else None


def read_since_written(policy: Policy) -> bool:
    """Tell whether a policy that vPlus holds was read there since we last wrote it."""
    return _read_since_written(policy) is not None


def kept_of(policy: Policy, found: Sequence[Difference]) -> list[dict[str, Any]]:
    """Return differences as the policy's row keeps them, in the policy's scope or the wide one."""
    places = AllowedDestination.objects.filter(tenant_id=policy.tenant_id).values_list("destination_guid", flat=True)
    return without_others([asdict(one) for one in found], _own_machines(policy), set(places))


def _own_machines(policy: Policy) -> set[str]:
    held = VplusPolicy.objects.filter(guid=policy.vplus_guid).values_list("vm_guids", flat=True).first()
    rows = VirtualMachine.objects.filter(guid__in=held or [], tenant_id=policy.tenant_id)
    return set(rows.values_list("guid", flat=True))


def written_since_read() -> bool:
    """Tell whether a policy of ours was written or deleted since policies were last read from vPlus."""
    read = _read_since()
    if read is None:
        return False
    written = Q(compared_at__gt=read) | Q(state=PolicyState.DELETED, changed_at__gt=read)
    return Policy.objects.filter(written, attached=False).exists()


def _read_since() -> datetime | None:
    """Return when the oldest of the readings began that this looks at; None while one never worked."""
    moments = [state_of(name).succeeded_at for name in (POLICIES, POLICY_DETAILS, SCHEDULES)]
    known = [moment for moment in moments if moment is not None]
    return min(known) if len(known) == len(moments) else None


def differences(policy: Policy, sides: BothSides | None = None) -> list[Difference]:
    """Return what differs between a policy's rows and the mirror; `theirs` None: it is not there any more.

    `sides` are those of this policy, maybe among others, where they were read already.
    """
    sides = both_sides([policy]) if sides is None else sides
    row = sides.held.get(policy.vplus_guid)
    if row is None:
        return [Difference("policy", policy.wire_name, None)]
    if row.detail_read_at is None or policy.compared_at is None or row.detail_read_at <= policy.compared_at:
        return []  # its detail was not read since; the next reading tells
    held, carriers = policy_record(row), sides.carriers[policy.pk]
    found = compare.of_policy(sides.meant[policy.pk], held, gone=sides.gone, wire_name=policy.wire_name)
    rules = [rule for rule in held.rules or () if not rule.marked_for_deletion]
    rule = next((rule for rule in rules if rule.guid == policy.rule_guid), None)
    if rule is None:
        found.append(Difference("rule", policy.rule_wire_name, None))
    else:
        guids = [carrier.vplus_guid for carrier in carriers]
        found += compare.of_rule(guids, [policy.destination_guid], rule)
    if others := sorted(other.guid for other in rules if other.guid != policy.rule_guid):
        found.append(Difference("other_rules", [], others))
    return found + _of_carriers(policy, carriers, sides.schedules)


def _of_carriers(
    policy: Policy, carriers: Sequence[Carrier], records: Mapping[str, ScheduleRecord]
) -> list[Difference]:
    found: list[Difference] = []
    for carrier in carriers:
        held = records.get(carrier.vplus_guid)
        if held is None:
            found.append(Difference("schedule", carrier.wire_name, None, carrier.wire_name))
            continue
        found += compare.of_schedule(carrier.spec, held, carrier.wire_name)
        if held.rule_guids is not None and policy.rule_guid not in held.rule_guids:
            found.append(Difference("rule_schedules", carrier.wire_name, None, carrier.wire_name))
    return found


def shared_carriers(policy: Policy) -> list[str]:
    """Return the guids of a policy's carriers that serve rules of others too, by the mirror: such a one is split first."""
    guids = [carrier.vplus_guid for carrier in carriers_of(policy)]
    records: dict[str, Any] = schedule_records(guids)
    return [guid for guid in guids if guid in records and compare.shared_with(records[guid], policy.rule_guid)]


def without_others(
    differences: list[dict[str, Any]], own_machines: set[str], own_destinations: set[str]
) -> list[dict[str, Any]]:
    """Return differences as a tenant's row may keep them: what is somebody else's is only counted."""
    kept = []
    for one in differences:
        field, ours, theirs = one["field"], one["ours"], one["theirs"]
        if field == "virtual_machines":
            kept.append({**one, **_counted(theirs, own_machines.union(ours))})
        elif field == "destination":
            known = [guid for guid in ours if guid in own_destinations]  # ours may have been taken away since
            kept.append({**one, "ours": known, **_counted(theirs, own_destinations)})
        elif field == "rule_schedules" and theirs is not None:
            kept.append({**one, **_counted(theirs, ours)})
        elif field == "other_rules":
            # Their names are not the tenant's to read; by their guids they can be taken away again.
            kept.append({**one, "theirs": len(theirs), "rules": theirs})
        elif field == "name":
            kept.append({**one, "theirs": ""})
        else:
            kept.append(one)
    return kept


def _counted(guids: Collection[str], known: Collection[str]) -> dict[str, Any]:
    told = [guid for guid in guids if guid in known]
    return {"theirs": told, "others": len(guids) - len(told)}


def told_of(drift: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row's differences as the tenant's audit tells them: without the guids that only serve to undo them."""
    return [{name: value for name, value in one.items() if name != "rules"} for one in drift]
