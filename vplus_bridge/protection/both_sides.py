"""Some policies as our rows mean them and as the mirror has them, to be compared: in a few SQL statements, however many.

In the open scope: a tenant sees its own.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q

from vplus_bridge.client import ScheduleRecord
from vplus_bridge.mirror.models import VirtualMachine, VplusPolicy
from vplus_bridge.protection.compare import PolicyMeant
from vplus_bridge.protection.mirrored import schedule_records
from vplus_bridge.protection.models import Carrier, Policy, PolicyMember


@dataclass(frozen=True)
class BothSides:
    """What was read, by the guids in vPlus and by the ids of our policies."""

    held: Mapping[str, VplusPolicy]
    schedules: Mapping[str, ScheduleRecord]
    meant: Mapping[UUID, PolicyMeant]
    carriers: Mapping[UUID, Sequence[Carrier]]
    gone: Collection[str]
    """Members that are no longer on the platform."""


def both_sides(policies: Sequence[Policy]) -> BothSides:
    """Return both sides of these policies, as they are now."""
    rows = VplusPolicy.objects.filter(guid__in=[policy.vplus_guid for policy in policies], gone_at=None)
    members: dict[UUID, list[str]] = defaultdict(list)
    of_policies = PolicyMember.objects.filter(policy__in=policies).order_by("pk")
    for policy_id, guid in of_policies.values_list("policy", "virtual_machine_guid"):
        members[policy_id].append(guid)
    carriers: dict[UUID, list[Carrier]] = defaultdict(list)
    of_schedules = Carrier.objects.filter(schedule__policy__in=policies).select_related("schedule")
    for carrier in of_schedules.order_by("schedule__position", "schedule", "position"):
        carriers[carrier.schedule.policy_id].append(carrier)
    machines = VirtualMachine.objects.filter(guid__in=of_policies.order_by().values("virtual_machine_guid"))
    gone = machines.filter(Q(present=False) | Q(absent_since__isnull=False)).values_list("guid", flat=True)
    return BothSides(
        held={row.guid: row for row in rows},
        schedules=schedule_records(carrier.vplus_guid for some in carriers.values() for carrier in some),
        meant={
            policy.pk: PolicyMeant(
                vms=tuple(members[policy.pk]), priority=policy.priority, auto_remove=policy.auto_remove_gone
            )
            for policy in policies
        },
        carriers={policy.pk: carriers[policy.pk] for policy in policies},
        gone=frozenset(gone),
    )
