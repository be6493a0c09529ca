"""Machines that were given to another tenant while a policy of the one before still has them: they are taken out of it.

Until then that policy backs up what is not its tenant's any more. It is done by an operation of the portal, like every
write, and told there without a word about the new owner. A machine that is nobody's stays in: no other tenant is touched
by it, and a wrong step in the map of owners must not leave machines without backups (design record 0010).
"""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import structlog
from django.db.models import Exists, F, OuterRef, Subquery
from django.utils.translation import gettext as _

from vplus_bridge.mirror.models import VirtualMachine
from vplus_bridge.operations.models import Operation
from vplus_bridge.ownership.models import OwnershipChange
from vplus_bridge.protection.asking import note_own, open_operation, portals_turn
from vplus_bridge.protection.held import wire_of
from vplus_bridge.protection.models import PolicyMember, PolicyState
from vplus_bridge.protection.steps import to_take_out
from vplus_bridge.protection.summary import members_change

log = structlog.get_logger(__name__)
TAKE_OUT = "take_out"
Policies = dict[tuple[UUID, UUID], dict[str, str]]
"""By (tenant, policy): the machines that are to leave it, by guid, with their names as that tenant knew them."""


def given_away() -> Policies:
    """Return what is to be taken out of which policies. In the open wide scope, no calls."""
    # Whoever had a machine once, and only they, may have it in a policy still.
    changes = OwnershipChange.objects.filter(
        virtual_machine_guid=OuterRef("virtual_machine_guid"), from_tenant=OuterRef("tenant")
    ).order_by("-at", "-pk")
    owned = VirtualMachine.objects.filter(guid=OuterRef("virtual_machine_guid"), tenant__isnull=False)
    rows = PolicyMember.objects.filter(
        Exists(changes),
        Exists(owned.exclude(tenant=OuterRef("tenant"))),
        policy__state=PolicyState.KEPT,
        policy__attached=False,
    ).annotate(called=Subquery(changes.values("virtual_machine_name")[:1]), owner=F("policy__tenant"))
    found: Policies = {}
    for tenant_id, policy_id, guid, called in rows.order_by("pk").values_list(
        "owner", "policy", "virtual_machine_guid", "called"
    ):
        found.setdefault((tenant_id, policy_id), {})[guid] = called or guid
    return found


def take_out(policy_id: UUID, machines: Mapping[str, str], now: datetime) -> Operation | None:
    """Ask for these machines to leave a policy, in the scope of its tenant.

    None where they have left already, or that waits for somebody's change to end or for a failure to be over.
    """
    turn = portals_turn(policy_id, TAKE_OUT, now)
    if turn is None:
        return None
    author, policy = turn
    meant = wire_of(policy)
    # A machine that came back meanwhile can be seen here again.
    back = set(VirtualMachine.objects.filter(guid__in=machines).values_list("guid", flat=True))
    leaving = {guid: called for guid, called in machines.items() if guid in meant.vms and guid not in back}
    if not leaving:
        return None
    stay = [guid for guid in meant.vms if guid not in leaving]
    seen = dict(VirtualMachine.objects.filter(guid__in=stay).values_list("guid", "name"))
    operation = open_operation(
        author,
        policy,
        to_take_out(policy.vplus_guid, policy.wire_name, meant, list(leaving)),
        wish={"action": TAKE_OUT, "virtual_machines": list(leaving)},
        apply={
            "action": TAKE_OUT,
            "counts": True,
            "policy": {},
            "vms": stay,
            "leaving": {},
            "schedules": [],
            "whole": False,
        },
        changes=[members_change(meant.vms, stay, {**seen, **leaving})],
        now=now,
    )
    log.warning("machines of somebody else leave a policy", policy=str(policy.pk), machines=list(leaving))
    note_own(
        operation,
        policy,
        "policy.take_out",
        reason=_("They were given to another tenant."),
        virtual_machines=list(leaving),
    )
    return operation
