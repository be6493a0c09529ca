"""A policy's rows as what we last wrote to vPlus. In the open scope."""

from vplus_bridge.protection.compare import PolicyMeant
from vplus_bridge.protection.models import Carrier, Policy
from vplus_bridge.protection.steps import Dropped, PolicyHeld


def wire_of(policy: Policy) -> PolicyMeant:
    """Return what vPlus holds of the policy itself, if nobody changed it."""
    guids = policy.members.order_by("pk").values_list("virtual_machine_guid", flat=True)
    return PolicyMeant(vms=tuple(guids), priority=policy.priority, auto_remove=policy.auto_remove_gone)


def carriers_of(policy: Policy) -> list[Carrier]:
    """Return all carriers of a policy's schedules, in order."""
    rows = Carrier.objects.filter(schedule__policy=policy)
    return list(rows.select_related("schedule").order_by("schedule__position", "schedule", "position"))


def held_of(policy: Policy) -> PolicyHeld:
    """Return what vPlus holds of policy and rule, if nobody changed it."""
    guids = [carrier.vplus_guid for carrier in carriers_of(policy)]
    return PolicyHeld(meant=wire_of(policy), destination=policy.destination_guid, schedule_guids=guids)


def dropped_of(policy: Policy) -> list[Dropped]:
    """Return all its carriers as no longer needed."""
    return [Dropped(guid=carrier.vplus_guid, name=carrier.wire_name) for carrier in carriers_of(policy)]
