"""Objects in vPlus that bear a name which we generated, and that no policy of ours holds: what a lost answer left behind.

They are found in the mirror, and removed only where an attempt's own row names them; by an operation, like every write.
Only readings that began after the policy's last operation had ended count: an older one may show what was removed since,
and what a living policy holds may not be in our rows yet.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db.models import Q, QuerySet

from tenants.refusals import WrongState
from tenants.scope import scoped_tenant_id
from tenants.turns import take_turn
from vplus_bridge.mirror.models import VplusPolicy, VplusSchedule
from vplus_bridge.mirror.policies import POLICIES, SCHEDULES
from vplus_bridge.mirror.read_state import read_at
from vplus_bridge.operations.models import Attempt, Operation
from vplus_bridge.operations.moves import ACTIVE, Kind
from vplus_bridge.protection.asking import note_own, open_operation, refuse_while_changing, the_portal
from vplus_bridge.protection.models import LIVING, Carrier, Policy
from vplus_bridge.protection.steps import to_remove
from vplus_bridge.protection.wire_names import PATTERN, ours_in

log = structlog.get_logger(__name__)
AGAIN_AFTER = timedelta(minutes=10)
Orphan = tuple[str, str, str]
"""The action that removes it, its guid and its wire name."""
_KINDS = {"policy_create": "policy_delete", "schedule_create": "schedule_delete"}


def orphans() -> dict[tuple[UUID, UUID], list[Orphan]]:
    """Return what is to be removed, by (tenant, policy whose operation made it). In the open wide scope, no calls."""
    read = list(read_at(POLICIES, SCHEDULES).values())
    seen: dict[tuple[str, str], str] = {}
    for action, model in (("policy_create", VplusPolicy), ("schedule_create", VplusSchedule)):
        rows = model.objects.filter(gone_at=None, name__regex=PATTERN).values_list("name", "guid")
        seen.update({(action, ours_in(name)): guid for name, guid in rows})
    held = _held(name for _action, name in seen)
    loose = {key: guid for key, guid in seen.items() if key[1] not in held}
    made = Attempt.objects.filter(
        object_name__in=[name for _action, name in loose], sent_at__isnull=False, step__operation__kind=Kind.POLICY
    )
    makers = made.order_by("pk").values_list("step__action", "object_name", "tenant_id", "step__operation__subject")
    makers = makers.exclude(step__operation__subject__in=_changed_since([at for at in read if at is not None]))
    found: dict[tuple[UUID, UUID], list[Orphan]] = {}
    for action, name, tenant_id, subject in makers.distinct():
        if guid := loose.pop((action, name), None):
            found.setdefault((tenant_id, UUID(subject)), []).append((_KINDS[action], guid, name))
    return found


def remove(policy_id: UUID, found: list[Orphan], now: datetime) -> Operation | None:
    """Ask for orphans of one policy to be removed, in the scope of its tenant; None where that has to wait."""
    tenant = take_turn(scoped_tenant_id())
    policy = Policy.objects.filter(pk=policy_id).first()
    # Looked at again under the lock under which everything is asked.
    held = _held(name for _action, _guid, name in found)
    found = [orphan for orphan in found if orphan[2] not in held]
    if policy is None or not found:
        return None
    tried = Operation.objects.filter(kind=Kind.POLICY, subject=str(policy_id), wish__action="remove")
    if tried.filter(requested_at__gt=now - AGAIN_AFTER).exists():
        return None
    try:
        refuse_while_changing([policy])
    except WrongState:
        return None
    wish = {"action": "remove", "names": [name for _action, _guid, name in found]}
    operation = open_operation(
        the_portal(tenant), policy, to_remove(found), wish=wish, apply={"action": "remove"}, now=now
    )
    log.warning("removing what no policy holds", policy=str(policy_id), names=wish["names"])
    note_own(operation, policy, "policy.repair", names=wish["names"])
    return operation


def _changed_since(readings: list[datetime]) -> QuerySet[Operation, str]:
    """Return the policies that an operation is at, or was at when the older of these readings began."""
    rows = Operation.objects.filter(kind=Kind.POLICY)
    if readings:
        rows = rows.filter(Q(state__in=ACTIVE) | Q(finished_at__gte=min(readings)))
    return rows.values_list("subject", flat=True)


def _held(names: Iterable[str]) -> set[str]:
    """Return which of these names our rows hold, or an operation under way is about to."""
    wanted = list(names)
    # Operations first: one that ends between these questions has its rows written before the others are asked.
    under_way = Attempt.objects.filter(object_name__in=wanted, step__operation__state__in=ACTIVE)
    held = set(under_way.values_list("object_name", flat=True))
    held |= set(Carrier.objects.filter(wire_name__in=wanted).values_list("wire_name", flat=True))
    return held | set(Policy.objects.filter(wire_name__in=wanted, state__in=LIVING).values_list("wire_name", flat=True))
