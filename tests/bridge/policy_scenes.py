"""What tests of policies begin with: a draft, an operation carried out, and what vPlus and the portal hold then."""

from dataclasses import replace
from datetime import datetime, time
from typing import Any, Protocol
from uuid import UUID

from django.utils import timezone

from tenants.scope import every_tenant, in_tenant
from tests.conftest import Bridge, Member
from vplus_bridge import jobs
from vplus_bridge.mirror import policies as mirror
from vplus_bridge.models import Attempt, Carrier, Operation, Policy, Schedule, VirtualMachine
from vplus_bridge.protection import drafts
from vplus_bridge.protection.drafts import PolicyDraft, ScheduleDraft
from vplus_bridge.protection.request_policy import (
    request_policy_change,
    request_policy_create,
    request_policy_delete,
    request_put_back,
)
from vplus_simulator.http import SimulatorServer

NEW = "vm-alpha-new"
NIGHTLY = ScheduleDraft(
    zone="Europe/Warsaw", days_of_week=("MONDAY", "THURSDAY"), time_of_day=time(2, 0), backup_type="FULL"
)
HOURLY = ScheduleDraft(
    execution_type="INTERVAL",
    backup_type="INCREMENTAL",
    zone="Europe/Warsaw",
    days_of_week=tuple(day.name for day in drafts.Weekday),
    start=time(8, 0),
    end=time(18, 0),
    frequency_minutes=120,
)
DRAFT = PolicyDraft(name="Gold", virtual_machines=(NEW,), schedules=(NIGHTLY, HOURLY))


def draft(**members: Any) -> PolicyDraft:
    return replace(DRAFT, **members)


def asked_to_create(member: Member, wanted: PolicyDraft = DRAFT, now: datetime | None = None) -> Operation:
    actor = member.actor
    with in_tenant(actor.tenant_id):
        return request_policy_create(actor, wanted, now=now or timezone.now())


def asked_to_change(member: Member, policy: Policy, version: int | None = None, **members: Any) -> Operation:
    actor = member.actor
    with in_tenant(actor.tenant_id):
        row = Policy.objects.get(pk=policy.pk)
        wanted = replace(drafts.draft_of(row), **members)
        return request_policy_change(actor, row.pk, wanted, version=version or row.version, now=timezone.now())


def asked_to_delete(member: Member, policy: Policy) -> Operation:
    actor = member.actor
    with in_tenant(actor.tenant_id):
        row = Policy.objects.get(pk=policy.pk)
        return request_policy_delete(actor, row.pk, version=row.version, now=timezone.now())


def asked_to_put_back(member: Member, policy: Policy) -> Operation:
    actor = member.actor
    with in_tenant(actor.tenant_id):
        row = Policy.objects.get(pk=policy.pk)
        return request_put_back(actor, row.pk, version=row.version, now=timezone.now())


def hurry() -> None:
    """Let what waits be due, and what was claimed or sent by somebody who died be long ago."""
    long_ago = timezone.now().replace(year=2020)
    with every_tenant("test"):
        Attempt.objects.filter(outcome="", sent_at=None).update(due_at=long_ago, claimed_until=None)
        Attempt.objects.filter(outcome="", sent_at__isnull=False).update(sent_at=long_ago)


def carried_out(bridge: Bridge, operation: Operation, *, tries: int = 60) -> Operation:
    """Let workers, sweeper and repair go on until the operation has ended."""
    from vplus_bridge.jobs import sweep_policies
    from vplus_bridge.operations import settle

    for _ in range(tries):
        bridge.send()
        hurry()
        with every_tenant("test"):
            settle.note_deaths()
        sweep_policies()
        row = operation_of(operation.pk)
        if not row.active:
            return row
    raise AssertionError(f"still {row.state} after {tries} tries: {journal(bridge)[-10:]}")


def operation_of(pk: UUID) -> Operation:
    with every_tenant("test"):
        return Operation.objects.get(pk=pk)


def policy_of(operation: Operation) -> Policy:
    with every_tenant("test"):
        return Policy.objects.get(pk=UUID(operation.subject))


def made(bridge: Bridge, member: Member, **members: Any) -> Policy:
    """A policy that is there."""
    operation = carried_out(bridge, asked_to_create(member, draft(**members)))
    assert operation.state == "succeeded", operation.error_code
    return policy_of(operation)


def journal(bridge: Bridge) -> list[str]:
    return [f"{entry.call} {entry.status}" for entry in bridge.simulator.control.journal()]


class HasSimulator(Protocol):
    """Something with a vPlus: a bridge, or processes."""

    @property
    def simulator(self) -> SimulatorServer: ...


def upstream(bridge: HasSimulator) -> dict[str, Any]:
    """Everything that the seed did not plant, by kind and name, in vPlus's words."""
    control = bridge.simulator.control
    found: dict[str, Any] = {}
    policies = {policy.guid: policy for policy in control.objects("policies")}
    schedules = {schedule.guid: schedule for schedule in control.objects("schedules")}
    world = bridge.simulator.world
    for guid, policy in policies.items():
        if "-policy-" in policy.name:
            found[policy.name] = {
                "vms": sorted(world.members_of.get(guid, {})),
                "priority": policy.priority,
                "auto_remove": policy.auto_remove_non_present,
                "rules": [
                    (rule.name, sorted(schedules[one].name for one in rule.schedules), sorted(rule.destinations))
                    for rule in world.rules_of(guid)
                ],
            }
    for schedule in schedules.values():
        if "-schedule-" in schedule.name:
            found[schedule.name] = {
                "type": schedule.backup_type,
                "hour": schedule.hour,
                "days": sorted(schedule.days),
                "active": schedule.active,
                "interval": schedule.interval,
            }
    return found


def promised() -> dict[str, Any]:
    """The same as the portal's rows say it."""
    found: dict[str, Any] = {}
    with every_tenant("test"):
        for policy in Policy.objects.filter(state="kept", attached=False):
            carriers = []
            for schedule in Schedule.objects.filter(policy=policy):
                for carrier in schedule.carriers.all():
                    carriers.append(carrier.wire_name)
                    found[carrier.wire_name] = {
                        "type": carrier.spec["backup_type"],
                        "days": sorted(carrier.spec["days_of_week"]),
                        "active": carrier.spec["active"],
                        "hour": carrier.spec["hour_ms"],
                        "interval": carrier.spec["interval"],
                    }
            found[policy.wire_name] = {
                "vms": sorted(policy.members.values_list("virtual_machine_guid", flat=True)),
                "priority": policy.priority,
                "auto_remove": policy.auto_remove_gone,
                "rules": [(policy.rule_wire_name, sorted(carriers), [policy.destination_guid])],
            }
    return found


def same_in_both(bridge: HasSimulator) -> None:
    """vPlus holds exactly what the portal says: nothing else that bears our names, nothing twice."""
    there, ours = upstream(bridge), promised()
    for found in there.values():
        if "interval" in found:
            every = found["interval"]
            found["interval"] = every and list(every)
            if found["interval"]:
                found["hour"] = None
    assert there == ours


def machine_named(name: str) -> str:
    with every_tenant("test"):
        return VirtualMachine.objects.get(name=name).guid


def look(bridge: Bridge) -> None:
    """Read vPlus's policies and schedules, and do what follows from it."""
    mirror.read_policies(bridge.client)
    jobs.after_policies()


def fresh(policy: Policy) -> Policy:
    with every_tenant("test"):
        return Policy.objects.get(pk=policy.pk)


def schedules_of(policy: Policy) -> list[Schedule]:
    with every_tenant("test"):
        return list(Schedule.objects.filter(policy=policy).order_by("position"))


def carriers_of(policy: Policy) -> list[Carrier]:
    with every_tenant("test"):
        return list(Carrier.objects.filter(schedule__policy=policy).order_by("schedule__position", "position"))


def drift_of(policy: Policy) -> set[str]:
    return {one["field"] for one in fresh(policy).drift}
