"""Comparing policies with vPlus costs as many SQL statements for many as for one."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tenants.scope import every_tenant
from tests.conftest import Cast
from tests.protection.test_ledger import EVENING, HOUR, NIGHT, machine, policy, schedule
from vplus_bridge.mirror.policies import POLICIES, POLICY_DETAILS, SCHEDULES
from vplus_bridge.models import (
    Policy,
    PolicyMember,
    PolicyPromise,
    ReadState,
    VirtualMachine,
    VplusPolicy,
    VplusSchedule,
)
from vplus_bridge.protection import promises
from vplus_bridge.protection.drift import note_drift


def kept(number: int, cast: Cast, *, priority: int = 50) -> Policy:
    """A policy of one machine in our rows and in the mirror, which may have another priority there."""
    guid, name = f"p-{number}", f"a-policy-{number}"
    row = Policy.objects.create(
        tenant=cast.alpha,
        name=name,
        state="kept",
        vplus_guid=guid,
        wire_name=name,
        rule_guid=f"r-{number}",
        destination_guid="bd-main",
        compared_at=EVENING,
    )
    machine(f"vm-{number}", cast.alpha, policy_guid=guid)
    PolicyMember.objects.create(tenant=cast.alpha, policy=row, virtual_machine_guid=f"vm-{number}")
    rule = {
        "guid": f"r-{number}",
        "name": name,
        "active": True,
        "marked_for_deletion": False,
        "schedule_guids": [],
        "destination_guids": ["bd-main"],
    }
    VplusPolicy.objects.create(
        guid=guid,
        name=name,
        digest=b"",
        priority=priority,
        vm_guids=[f"vm-{number}"],
        rules=[rule],
        detail_read_at=NIGHT,
    )
    return row


def statements() -> int:
    with CaptureQueriesContext(connection) as asked:
        note_drift(NIGHT + timedelta(minutes=1))
    return len(asked)


def test_many_policies_are_compared_as_quickly_as_one(cast: Cast) -> None:
    with every_tenant("test"):
        for name in (POLICIES, POLICY_DETAILS, SCHEDULES):
            ReadState.objects.create(name=name, started_at=NIGHT, succeeded_at=NIGHT + HOUR)
        kept(1, cast)
        one = statements()
        for number in range(2, 6):
            kept(number, cast)
        assert statements() == one
        other = kept(6, cast, priority=70)
        statements()
        assert [policy.pk for policy in Policy.objects.exclude(drift=[])] == [other.pk]


def test_where_machines_changed_only_their_promises_are_looked_at(cast: Cast) -> None:
    later = EVENING + timedelta(minutes=1)
    with every_tenant("test"):
        for number in (1, 2):
            policy(f"p-{number}", schedules=(f"s-{number}",)), schedule(f"s-{number}")
            machine(f"vm-{number}", cast.alpha, policy_guid=f"p-{number}")
        machine("vm-3", cast.alpha, policy_guid="p-1")
        promises.refresh(EVENING)
        VplusSchedule.objects.update(hour_ms=3_600_000)
        VirtualMachine.objects.filter(guid="vm-3").update(policy_guid="p-2")
        promises.refresh(later, machines=["vm-3"])
        computed = dict(PolicyPromise.objects.values_list("policy_guid", "computed_at"))
        assert computed == {"p-1": EVENING, "p-2": later}
        VirtualMachine.objects.filter(guid="vm-1").update(policy_guid="p-2")
        promises.refresh(later, machines=["vm-1"])
        assert [row.policy_guid for row in PolicyPromise.objects.all()] == ["p-2"]


@pytest.mark.parametrize("few", [0, 200], ids=["among all", "one by one"])
def test_schedules_of_few_policies_are_those_that_are_found_among_all(
    few: int, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule names its schedules, or a schedule its rules or policies: whichever vPlus tells."""
    monkeypatch.setattr(promises, "FEW_POLICIES", few)
    with every_tenant("test"):
        policy("p-1", schedules=("s-1",)), schedule("s-1")
        policy("p-2", schedules=()), schedule("s-2", rule_guids=["r-p-2"])
        policy("p-3", rules=None), schedule("s-3", policy_guids=["p-3"])
        policy("p-4", schedules=("s-4",)), schedule("s-4", rule_guids=["r-p-2"])
        found = promises.promised_of(["p-1", "p-2", "p-3", "p-none"])
    assert [len(found[guid].timetables) for guid in ("p-1", "p-2", "p-3", "p-none")] == [1, 2, 1, 0]
