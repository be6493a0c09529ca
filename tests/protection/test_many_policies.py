"""Comparing policies with vPlus costs as many SQL statements for many as for one."""

from datetime import timedelta

from django.db import connection
from django.test.utils import CaptureQueriesContext

from tenants.scope import every_tenant
from tests.conftest import Cast
from tests.protection.test_ledger import EVENING, HOUR, NIGHT, machine
from vplus_bridge.mirror.policies import POLICIES, POLICY_DETAILS, SCHEDULES
from vplus_bridge.models import Policy, PolicyMember, ReadState, VplusPolicy
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
