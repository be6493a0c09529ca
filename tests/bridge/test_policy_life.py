"""A policy's life against the poorest vPlus: changes, moves, repair, clock changes, and the provider's own."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from tenants.refusals import Invalid, WrongState
from tenants.scope import every_tenant, in_tenant
from tests.bridge.policy_scenes import (
    NEW,
    NIGHTLY,
    asked_to_change,
    asked_to_create,
    asked_to_delete,
    carried_out,
    carriers_of,
    draft,
    fresh,
    journal,
    look,
    machine_named,
    made,
    policy_of,
    same_in_both,
    schedules_of,
    upstream,
)
from tests.conftest import Bridge, Cast
from vplus_bridge import jobs
from vplus_bridge.mirror import policies as mirror
from vplus_bridge.models import Operation, Policy, PolicyMember, ReadState, VirtualMachine, VplusSchedule
from vplus_bridge.protection import orphans
from vplus_bridge.protection.attached import promises_of_attached
from vplus_bridge.protection.drift import written_since_read
from vplus_simulator.faults import Fault

# Changes


def test_only_what_differs_is_written(cast: Cast, mirrored: Bridge) -> None:
    policy = made(mirrored, cast.alice)
    before = len(journal(mirrored))
    assert carried_out(mirrored, asked_to_change(cast.alice, policy, name="Golden")).state == "succeeded"
    assert len(journal(mirrored)) == before
    assert (fresh(policy).name, fresh(policy).version) == ("Golden", 2)
    operation = carried_out(mirrored, asked_to_change(cast.alice, policy, priority=90))
    assert operation.state == "succeeded"
    assert [entry.split()[:2] for entry in journal(mirrored)[before:]] == [["PUT", "/policies/vm-backup/{guid}"]]
    assert operation.plan["changes"] == [{"field": "priority", "before": "50", "after": "90"}]
    same_in_both(mirrored)


def test_a_paused_policy_holds_its_schedules_inactive_and_goes_on(cast: Cast, mirrored: Bridge) -> None:
    policy = made(mirrored, cast.alice)
    for paused in (True, False):
        assert carried_out(mirrored, asked_to_change(cast.alice, policy, paused=paused)).state == "succeeded"
        same_in_both(mirrored)
        actives = {held["active"] for held in upstream(mirrored).values() if "active" in held}
        assert actives == {not paused}
    assert all(row.active for row in schedules_of(policy))


def test_a_policy_has_what_was_written_also_where_an_older_reading_put_it_elsewhere(
    cast: Cast, mirrored: Bridge
) -> None:
    """Crash point: all is written; before that is recorded, an attached policy follows what was read before."""
    asked = asked_to_create(cast.alice)
    with every_tenant("test"):
        attached = Policy.objects.create(
            tenant=cast.alpha, name="The provider's", state="kept", attached=True, vplus_guid="held"
        )
        PolicyMember.objects.create(tenant=cast.alpha, policy=attached, virtual_machine_guid=NEW)
    assert carried_out(mirrored, asked).state == "succeeded"
    with every_tenant("test"):
        assert PolicyMember.objects.get(virtual_machine_guid=NEW).policy_id == policy_of(asked).pk


def test_two_who_edit_at_once_do_not_lose_one(cast: Cast, mirrored: Bridge) -> None:
    policy = made(mirrored, cast.alice)
    assert carried_out(mirrored, asked_to_change(cast.alice, policy, version=1, priority=70)).state == "succeeded"
    with pytest.raises(WrongState) as caught:
        asked_to_change(cast.alice, policy, version=1, name="Other")
    assert caught.value.code == "changed_by_somebody"
    assert caught.value.errors == {"priority": ["Was 50, is now 70."]}


def test_members_that_we_do_not_understand_stay(cast: Cast, start_simulator: Any) -> None:
    from tests.conftest import assign_everything

    bridge = Bridge(start_simulator(richness="generous"))
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    policy = made(bridge, cast.alice)
    with bridge.simulator.world.lock:
        held = bridge.simulator.world.policies[fresh(policy).vplus_guid]
        held.others["backupRetryCount"] = 3
    assert carried_out(bridge, asked_to_change(cast.alice, policy, priority=77)).state == "succeeded"
    assert bridge.simulator.world.policies[fresh(policy).vplus_guid].others["backupRetryCount"] == 3


# Moves


def test_a_machine_moves_from_a_to_b(cast: Cast, roomy: Bridge) -> None:
    other = machine_named("alpha-second")
    silver = made(roomy, cast.alice, name="Silver", virtual_machines=(NEW, other))
    gold = made(roomy, cast.alice, name="Gold", virtual_machines=(machine_named("alpha-third"),))
    with pytest.raises(Invalid) as caught:
        asked_to_change(cast.alice, gold, virtual_machines=(machine_named("alpha-third"), NEW))
    assert caught.value.errors["moves"] == ["fresh-01 leaves Silver. Confirm that, or leave it out."]
    machines = (machine_named("alpha-third"), NEW)
    operation = asked_to_change(cast.alice, gold, virtual_machines=machines, moves=(NEW,))
    with pytest.raises(WrongState):
        asked_to_change(cast.alice, silver, priority=1)
    assert carried_out(roomy, operation).state == "succeeded"
    same_in_both(roomy)
    assert (fresh(silver).version, fresh(gold).version) == (2, 2)
    with every_tenant("test"):
        assert VirtualMachine.objects.get(guid=NEW).policy_label == "Gold"


def test_a_move_that_is_refused_leaves_both_as_they_were(cast: Cast, roomy: Bridge) -> None:
    other = machine_named("alpha-second")
    made(roomy, cast.alice, name="Silver", virtual_machines=(NEW, other))
    before = upstream(roomy)
    roomy.simulator.control.arm(Fault(kind="status", method="POST", path="/rules/vm-backup", status=400, count=1))
    operation = carried_out(roomy, asked_to_create(cast.alice, draft(virtual_machines=(NEW,), moves=(NEW,))))
    assert (operation.state, operation.error_code) == ("failed", "policy_refused")
    assert upstream(roomy) == before
    same_in_both(roomy)


def test_a_machine_in_a_policy_that_is_not_the_tenants_stays_there(cast: Cast, roomy: Bridge) -> None:
    roomy.sync()
    look(roomy)
    with pytest.raises(Invalid) as caught:
        asked_to_create(cast.alice, draft(virtual_machines=("vm-alpha-web",), moves=("vm-alpha-web",)))
    assert caught.value.errors == {
        "virtual_machines": ["web-01 is in a policy that your provider keeps. Ask your provider to take it out."]
    }


def test_what_was_written_is_read_soon_and_promised(cast: Cast, roomy: Bridge, settings: Any) -> None:
    settings.VPLUS_INFRASTRUCTURE_SECONDS = 3600
    monday = made(roomy, cast.alice)
    with every_tenant("test"):
        ReadState.objects.filter(name=mirror.POLICIES).update(duration_seconds=0)
        ReadState.objects.update(started_at=timezone.now() - timedelta(seconds=60))
    jobs.read_infrastructure()
    with every_tenant("test"):
        machine = VirtualMachine.objects.get(guid=NEW)
        assert (machine.policy_guid, machine.policy_label) == (fresh(monday).vplus_guid, "Gold")
        assert not written_since_read()


# Repair


def test_what_a_lost_answer_left_behind_is_removed(cast: Cast, roomy: Bridge) -> None:
    policy = made(roomy, cast.alice, schedules=(NIGHTLY,))
    look(roomy)
    roomy.simulator.control.arm(Fault(kind="status", method="DELETE", path="/schedules/{guid}", status=409, count=1))
    operation = carried_out(roomy, asked_to_delete(cast.alice, policy))
    assert (operation.state, operation.warnings) == ("succeeded", ["left_behind"])
    assert len(upstream(roomy)) == 1
    jobs.after_policies()
    with every_tenant("test"):
        assert not Operation.objects.filter(wish__action="remove").exists(), (
            "what was read before the end tells nothing"
        )
    look(roomy)
    with every_tenant("test"):
        repair = Operation.objects.get(wish__action="remove")
    assert repair.requested_by_name == "The portal"
    assert carried_out(roomy, repair).state == "succeeded"
    assert upstream(roomy) == {}


def test_what_a_living_policy_came_to_hold_meanwhile_is_not_taken_for_left_behind(cast: Cast, roomy: Bridge) -> None:
    """Its operation ends between the questions what the mirror shows and what is ours."""
    operation = asked_to_create(cast.alice, draft(schedules=(NIGHTLY,)))
    while len(upstream(roomy)) < 2:
        roomy.send()
    mirror.read_policies(roomy.client)
    with every_tenant("test"):
        (schedule,) = VplusSchedule.objects.filter(name__contains="-schedule-")
    assert carried_out(roomy, operation).state == "succeeded"
    with every_tenant("test"):
        assert orphans.orphans() == {}
    stale = [("schedule_delete", schedule.guid, schedule.name)]
    with in_tenant(cast.alpha.pk):
        assert orphans.remove(policy_of(operation).pk, stale, timezone.now()) is None
    same_in_both(roomy)


def test_what_was_refused_can_be_asked_for_again_at_once(cast: Cast, roomy: Bridge) -> None:
    """The mirror still shows the machine in the policy that was made, and taken back."""
    operation = asked_to_create(cast.alice)
    roomy.simulator.control.arm(Fault(kind="status", method="POST", path="/rules/vm-backup", status=400, count=1))
    while not [name for name in upstream(roomy) if "-policy-" in name]:
        roomy.send()
    roomy.sync()
    assert carried_out(roomy, operation).error_code == "policy_refused"
    with every_tenant("test"):
        assert VirtualMachine.objects.get(guid=NEW).policy_guid
    assert carried_out(roomy, asked_to_create(cast.alice)).state == "succeeded"


def test_what_looks_like_ours_but_no_attempt_names_is_left_alone(cast: Cast, roomy: Bridge) -> None:
    roomy.simulator.control.protection.add(
        "schedules", name="0a1b2c3d-gold-schedule-abcdefghjk", backup_type="FULL", days=["MONDAY"]
    )
    look(roomy)
    with every_tenant("test"):
        assert not Operation.objects.exists()


# Clock changes

BEFORE_SUMMER = datetime(2027, 3, 20, 12, 0, tzinfo=UTC)


def rewritten(bridge: Bridge, now: datetime) -> list[Operation]:
    with every_tenant("test"):
        before = set(Operation.objects.values_list("pk", flat=True))
    jobs.rewrite_due(now)
    with every_tenant("test"):
        new = list(Operation.objects.exclude(pk__in=before))
    return [carried_out(bridge, operation) for operation in new]


def test_schedules_are_written_anew_for_a_clock_change(cast: Cast, mirrored: Bridge) -> None:
    operation = carried_out(mirrored, asked_to_create(cast.alice, draft(schedules=(NIGHTLY,)), now=BEFORE_SUMMER))
    policy = policy_of(operation)
    assert carriers_of(policy)[0].spec["hour_ms"] == 3_600_000
    row = schedules_of(policy)[0]
    assert row.rewrite_reason == "clock_change"
    assert rewritten(mirrored, row.rewrite_at - timedelta(minutes=1)) == []  # type: ignore[operator]
    (done,) = rewritten(mirrored, row.rewrite_at)  # type: ignore[arg-type]
    assert (done.state, done.requested_by_name, done.warnings) == ("succeeded", "The portal", [])
    assert carriers_of(policy)[0].spec["hour_ms"] == 0
    same_in_both(mirrored)
    later = schedules_of(policy)[0]
    assert later.rewrite_at > row.rewrite_at  # type: ignore[operator]
    assert fresh(policy).version == 1


def test_a_late_rewrite_is_told_with_the_runs_that_were_off(cast: Cast, mirrored: Bridge) -> None:
    operation = carried_out(mirrored, asked_to_create(cast.alice, draft(schedules=(NIGHTLY,)), now=BEFORE_SUMMER))
    policy = policy_of(operation)
    (done,) = rewritten(mirrored, datetime(2027, 3, 30, 12, 0, tzinfo=UTC))
    assert (done.state, done.warnings) == ("succeeded", ["rewrite_late"])
    (row,) = schedules_of(policy)
    assert row.runs_off == [{"promised": "2027-03-29T00:00:00+00:00", "actual": "2027-03-29T01:00:00+00:00"}]
    same_in_both(mirrored)


def test_a_rewrite_that_vplus_refuses_is_tried_again_and_not_at_once(cast: Cast, mirrored: Bridge) -> None:
    carried_out(mirrored, asked_to_create(cast.alice, draft(schedules=(NIGHTLY,)), now=BEFORE_SUMMER))
    mirrored.simulator.control.arm(Fault(kind="status", method="PUT", path="/schedules/{guid}", status=400, count=1))
    late = datetime(2027, 3, 30, 12, 0, tzinfo=UTC)
    (failed,) = rewritten(mirrored, late)
    assert failed.state == "failed"
    with every_tenant("test"):
        Operation.objects.filter(pk=failed.pk).update(finished_at=late)
    assert rewritten(mirrored, late + timedelta(minutes=5)) == []
    (done,) = rewritten(mirrored, late + timedelta(minutes=11))
    assert done.state == "succeeded"
    same_in_both(mirrored)


# The provider's own


def test_a_policy_of_the_provider_can_be_read_by_its_tenant_and_not_changed(cast: Cast, roomy: Bridge) -> None:
    call_command("attach_policy", "alpha", "policy-alpha", "--name", "Platinum")
    with every_tenant("test"):
        policy = Policy.objects.get(vplus_guid="policy-alpha")
        members = set(policy.members.values_list("virtual_machine_guid", flat=True))
        promises = promises_of_attached([policy])[policy.pk]
    assert members == {"vm-alpha-web", "vm-alpha-db", "vm-alpha-gone"}
    assert {promise.time_of_day for promise in promises if promise} == {time(1, 0), time(2, 0)}
    with pytest.raises(WrongState) as caught:
        asked_to_change(cast.alice, policy, priority=1)
    assert caught.value.code == "read_only"
    with pytest.raises(CommandError, match="belongs to a tenant"):
        call_command("attach_policy", "beta", "policy-alpha")
    with pytest.raises(CommandError, match="no such policy"):
        call_command("attach_policy", "alpha", "policy-none")
    roomy.simulator.control.protection.change("policies", "policy-alpha", vms=["vm-alpha-web"])
    look(roomy)
    with every_tenant("test"):
        assert policy.members.count() == 1
        assert VirtualMachine.objects.get(guid="vm-alpha-db").policy_label == ""
        assert VirtualMachine.objects.get(guid="vm-alpha-web").policy_label == "Platinum"
    call_command("attach_policy", "alpha", "policy-alpha", "--detach")
    assert fresh(policy).state == "deleted"


# Late, and double


def test_what_vplus_makes_long_after_it_was_given_up_is_found_and_removed(cast: Cast, roomy: Bridge) -> None:
    roomy.simulator.control.arm(Fault(kind="late", method="POST", path="/schedules", count=4, seconds=600))
    operation = carried_out(roomy, asked_to_create(cast.alice, draft(schedules=(NIGHTLY,))))
    assert (operation.state, operation.error_code) == ("failed", "policy_no_answer")
    assert upstream(roomy) == {}
    roomy.simulator.control.step(700)
    assert len(upstream(roomy)) == 1
    look(roomy)
    with every_tenant("test"):
        repair = Operation.objects.get(wish__action="remove")
    assert carried_out(roomy, repair).state == "succeeded"
    assert upstream(roomy) == {}


def test_a_rule_that_a_lost_answer_left_double_is_removed(cast: Cast, mirrored: Bridge) -> None:
    """Names of rules are not unique, so a server that is slow may make two."""
    control = mirrored.simulator.control
    operation = asked_to_create(cast.alice, draft(schedules=(NIGHTLY,)))
    while not (rules := [rule for rule in control.objects("rules") if "-rule-" in rule.name]):
        mirrored.send()
    control.protection.add("rules", name=rules[0].name, policy=rules[0].policy, destinations=["bd-main"])
    done = carried_out(mirrored, operation)
    assert (done.state, done.error_code, done.warnings) == ("succeeded", "", [])
    same_in_both(mirrored)
