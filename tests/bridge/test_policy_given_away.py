"""Machines that change hands leave the policies of the tenant before, in vPlus too, whatever breaks meanwhile."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tenants.models import AuditEvent
from tenants.scope import every_tenant
from tests.bridge.policy_scenes import (
    NEW,
    asked_to_change,
    asked_to_create,
    asked_to_put_back,
    carried_out,
    draft,
    drift_of,
    fresh,
    journal,
    look,
    machine_named,
    made,
    same_in_both,
)
from tests.bridge.test_policy_faults import MOMENTS, ONCE, Deaths, Died
from tests.conftest import Bridge, Cast
from vplus_bridge import jobs
from vplus_bridge.models import Operation, VirtualMachine
from vplus_bridge.ownership.assignment import assign, attribute
from vplus_bridge.ownership.models import Assignment
from vplus_bridge.protection import own_members
from vplus_simulator.faults import Fault


def given(guid: str, to: Any) -> None:
    """What the provider does with a machine that is somebody else's from now on."""
    with every_tenant("test"):
        assign(tenant_id=to.pk, vm_guids=[guid], by="test")


def taken_out(bridge: Bridge) -> Operation | None:
    """Let the portal see to it; return the operation that it asked for, when it has ended."""
    with every_tenant("test"):
        before = set(Operation.objects.values_list("pk", flat=True))
    jobs.take_out_given_away(timezone.now())
    with every_tenant("test"):
        new = list(Operation.objects.exclude(pk__in=before))
    assert len(new) < 2
    return carried_out(bridge, new[0]) if new else None


def test_a_machine_that_is_somebody_elses_leaves_the_policy_of_the_one_before(cast: Cast, roomy: Bridge) -> None:
    other = machine_named("alpha-second")
    policy = made(roomy, cast.alice, virtual_machines=(NEW, other))
    look(roomy)
    given(NEW, cast.beta)
    operation = taken_out(roomy)
    assert operation is not None
    assert (operation.state, operation.tenant_id, operation.requested_by_name) == (
        "succeeded",
        cast.alpha.pk,
        "The portal",
    )
    same_in_both(roomy)
    assert roomy.simulator.world.members_of[fresh(policy).vplus_guid].keys() == {other}
    (change,) = operation.plan["changes"]
    assert (change["left"], change["came"], change["after"]) == ("fresh-01", "", "alpha-second")
    assert "beta" not in str(operation.plan).lower(), "whose it is now is nobody's business here"
    with every_tenant("test"):
        event = AuditEvent.objects.get(action="policy.take_out")
        machine = VirtualMachine.objects.get(guid=NEW)
    assert (event.tenant_id, event.detail["virtual_machines"]) == (cast.alpha.pk, [NEW])
    assert machine.policy_label == "", "nor whose policy it was"
    assert (fresh(policy).version, fresh(policy).drift) == (2, [])
    look(roomy)
    assert fresh(policy).drift == []
    assert taken_out(roomy) is None
    with every_tenant("test"):
        own_members.tell_members(timezone.now())
    mallory = replace(draft(name="Beta's"), virtual_machines=(NEW,))
    assert carried_out(roomy, asked_to_create(cast.mallory, mallory)).state == "succeeded"
    same_in_both(roomy)


def test_the_last_machine_leaves_too_and_nothing_else_of_the_policy_is_touched(cast: Cast, roomy: Bridge) -> None:
    """What somebody changed in vPlus stays as it is there, to be accepted or put back."""
    policy = made(roomy, cast.alice)
    guid = fresh(policy).vplus_guid
    roomy.simulator.control.protection.change("policies", guid, vms=[NEW, "vm-lab"], name="renamed")
    look(roomy)
    assert drift_of(policy) == {"virtual_machines", "name"}
    given(NEW, cast.beta)
    operation = taken_out(roomy)
    assert operation is not None
    assert operation.state == "succeeded"
    world = roomy.simulator.world
    assert (world.members_of[guid].keys(), world.policies[guid].name) == ({"vm-lab"}, "renamed")
    assert drift_of(policy) == {"virtual_machines", "name"}
    look(roomy)
    assert drift_of(policy) == {"virtual_machines", "name"}
    assert carried_out(roomy, asked_to_put_back(cast.alice, policy)).state == "succeeded"
    same_in_both(roomy)
    with every_tenant("test"):
        assert not policy.members.exists()


@pytest.mark.parametrize("fault", [fault for fault in ONCE if fault not in ("400 after", "409 after")])
def test_it_leaves_under_faults(fault: str, cast: Cast, roomy: Bridge) -> None:
    other = machine_named("alpha-second")
    made(roomy, cast.alice, virtual_machines=(NEW, other))
    given(NEW, cast.beta)
    roomy.simulator.control.arm(Fault(method="PUT", path="/policies/vm-backup/{guid}", count=1, **ONCE[fault]))
    operation = taken_out(roomy)
    assert operation is not None
    assert (operation.state, operation.error_code, operation.warnings) == ("succeeded", "", [])
    same_in_both(roomy)


@pytest.mark.parametrize("moment", MOMENTS)
def test_it_leaves_where_the_worker_dies(
    moment: str, cast: Cast, roomy: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name, before_it = MOMENTS[moment]
    made(roomy, cast.alice, virtual_machines=(NEW, machine_named("alpha-second")))
    given(NEW, cast.beta)
    jobs.take_out_given_away(timezone.now())
    with every_tenant("test"):
        operation = Operation.objects.get(wish__action="take_out")
    with monkeypatch.context() as patch:
        deaths = Deaths(patch)
        deaths.arm(owner, name, 1, before_it=before_it)
        with pytest.raises(Died):
            carried_out(roomy, operation)
    ended = carried_out(roomy, operation)
    assert (ended.state, ended.error_code, ended.warnings) == ("succeeded", "", [])
    same_in_both(roomy)
    puts = [entry for entry in journal(roomy) if entry.startswith("PUT /policies")]
    assert len(puts) == 1, "looked for before it is sent again"


def test_what_vplus_refused_to_take_out_is_tried_again_and_not_at_once(cast: Cast, roomy: Bridge) -> None:
    policy = made(roomy, cast.alice)
    given(NEW, cast.beta)
    roomy.simulator.control.arm(
        Fault(kind="status", method="PUT", path="/policies/vm-backup/{guid}", status=400, count=1)
    )
    operation = taken_out(roomy)
    assert operation is not None
    assert operation.error_code == "policy_refused"
    with every_tenant("test"):
        assert policy.members.count() == 1
    assert taken_out(roomy) is None
    with every_tenant("test"):
        Operation.objects.filter(pk=operation.pk).update(finished_at=timezone.now() - timedelta(minutes=11))
    assert taken_out(roomy) is not None
    same_in_both(roomy)


def test_it_waits_for_a_change_that_is_under_way_and_for_nobodys_machine_it_is_not_done(
    cast: Cast, roomy: Bridge
) -> None:
    policy = made(roomy, cast.alice)
    running = asked_to_change(cast.alice, policy, priority=8)
    given(NEW, cast.beta)
    assert taken_out(roomy) is None
    assert carried_out(roomy, running).state == "succeeded"
    with every_tenant("test"):
        Assignment.objects.filter(virtual_machine_guid=NEW).delete()
        attribute()
        assert VirtualMachine.objects.get(guid=NEW).tenant_id is None
    assert taken_out(roomy) is None
    given(NEW, cast.alpha)
    assert taken_out(roomy) is None
    given(NEW, cast.beta)
    assert taken_out(roomy) is not None
    same_in_both(roomy)
