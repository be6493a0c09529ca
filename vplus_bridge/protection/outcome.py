"""What an operation on a policy leaves in our rows once it is known what it left in vPlus. Works in memory and the open scope.

An operation's plan holds under `apply` what the rows are to say. It is written down when the last step is done, in the
same transaction, so that the rows never say what vPlus does not hold.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from vplus_bridge.mirror.models import VirtualMachine
from vplus_bridge.mirror.sole_writer import one_at_a_time
from vplus_bridge.operations.models import Attempt, Operation, Outcome
from vplus_bridge.protection.models import Carrier, Policy, PolicyMember, PolicyState, Schedule
from vplus_bridge.protection.stored import row_values


def written(operation: Operation, now: datetime, *, as_meant: bool) -> None:
    """Make the rows say what was written; `as_meant` tells whether a fresh read showed just that."""
    one_at_a_time()  # before the policy's lock, as in all that write machines and policies
    apply = operation.plan["apply"]
    policy = Policy.objects.select_for_update().filter(pk=UUID(operation.subject)).first()
    if policy is None:
        return
    made = dict(
        Attempt.objects.filter(step__operation=operation, outcome=Outcome.ACCEPTED)
        .exclude(object_guid="")
        .exclude(object_name="")
        .values_list("object_name", "object_guid")
    )
    if apply["action"] == "delete":
        deleted(policy, operation.requested_by_name, now)
        return
    if apply["action"] == "remove":
        return
    for column, value in apply["policy"].items():
        setattr(policy, column, value)
    policy.vplus_guid = made.get(policy.wire_name, policy.vplus_guid)
    policy.rule_guid = made.get(policy.rule_wire_name, policy.rule_guid)
    if policy.state == PolicyState.KEPT and apply["counts"]:
        policy.version += 1
    policy.state = PolicyState.KEPT
    if apply["counts"]:
        policy.changed_at, policy.changed_by_name = now, operation.requested_by_name
    policy.compared_at = now
    if not as_meant:
        policy.differs_since = policy.differs_since or now
    elif apply["action"] != "take_out":  # which leaves a difference as it was
        policy.differs_since, policy.drift = None, []
    policy.save()
    if apply["vms"] is not None:
        _members(policy, apply["vms"], apply["leaving"], now)
    _schedules(policy, apply, made, now)


def not_written(operation: Operation, now: datetime) -> None:
    """Let the rows stay as they were; a policy that was to be made was not."""
    del now
    if operation.plan.get("apply", {}).get("action") == "create":
        Policy.objects.filter(pk=UUID(operation.subject), state=PolicyState.MAKING).update(state=PolicyState.NOT_MADE)


def label_machines(guids: Iterable[str], name: str) -> None:
    """Let machines bear the name of the policy that they are in; empty where they are in none."""
    one_at_a_time()
    VirtualMachine.objects.filter(guid__in=list(guids)).exclude(policy_label=name).update(policy_label=name)


def deleted(policy: Policy, by: str, now: datetime) -> None:
    """Let a policy be gone; its schedules' rows stay, so that what was promised can still be told."""
    label_machines(policy.members.values_list("virtual_machine_guid", flat=True), "")
    policy.state, policy.differs_since, policy.drift = PolicyState.DELETED, None, []
    policy.version += 1
    policy.changed_at, policy.changed_by_name = now, by
    policy.save()
    policy.members.all().delete()
    Carrier.objects.filter(schedule__policy=policy).delete()
    policy.schedules.update(rewrite_at=None, rewrite_by=None, active=False)


def _members(policy: Policy, guids: list[str], leaving: dict[str, list[str]], now: datetime) -> None:
    for other, left in leaving.items():
        PolicyMember.objects.filter(policy=UUID(other), virtual_machine_guid__in=left).delete()
        for row in Policy.objects.select_for_update().filter(pk=UUID(other)):
            row.version += 1
            row.changed_at, row.changed_by_name = now, policy.changed_by_name
            row.save(update_fields=["version", "changed_at", "changed_by_name"])
    leavers = policy.members.exclude(virtual_machine_guid__in=guids)
    label_machines(leavers.values_list("virtual_machine_guid", flat=True), "")
    leavers.delete()
    # A machine is in one policy; an older reading may have put it elsewhere since this was asked for.
    PolicyMember.objects.filter(virtual_machine_guid__in=guids).exclude(policy=policy).delete()
    there = set(policy.members.values_list("virtual_machine_guid", flat=True))
    PolicyMember.objects.bulk_create(
        PolicyMember(tenant_id=policy.tenant_id, policy=policy, virtual_machine_guid=guid)
        for guid in guids
        if guid not in there
    )
    label_machines(guids, policy.name)


def _schedules(policy: Policy, apply: dict[str, Any], made: dict[str, str], now: datetime) -> None:
    told = {UUID(one["id"]): one for one in apply["schedules"]}
    if apply["whole"]:
        policy.schedules.exclude(pk__in=list(told)).delete()
    for pk, one in told.items():
        columns = row_values(one["columns"])
        row, _made = Schedule.objects.update_or_create(
            pk=pk, defaults=columns, create_defaults={**columns, "tenant_id": policy.tenant_id, "policy": policy}
        )
        row.carriers.all().delete()
        Carrier.objects.bulk_create(
            Carrier(
                tenant_id=policy.tenant_id,
                schedule=row,
                position=position,
                wire_name=carrier["name"],
                vplus_guid=carrier["guid"] or made[carrier["name"]],
                spec=carrier["spec"],
                valid_from=datetime.fromisoformat(carrier["valid_from"]),
                valid_until=datetime.fromisoformat(carrier["valid_until"]),
                written_at=now,
            )
            for position, carrier in enumerate(one["carriers"], 1)
        )
