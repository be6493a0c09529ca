"""What others do to our policies in vPlus is shown, and accepted or put back as it was shown."""

from dataclasses import replace
from datetime import time
from typing import Any

import pytest
from django.utils import timezone

from tenants.models import AuditEvent
from tenants.refusals import WrongState
from tenants.scope import every_tenant, in_tenant
from tests.bridge.policy_scenes import (
    NEW,
    NIGHTLY,
    asked_to_change,
    asked_to_create,
    asked_to_put_back,
    carried_out,
    carriers_of,
    drift_of,
    fresh,
    journal,
    look,
    machine_named,
    made,
    operation_of,
    policy_of,
    same_in_both,
    schedules_of,
    upstream,
)
from tests.bridge.test_policy_faults import ONCE
from tests.conftest import Bridge, Cast, Member
from vplus_bridge import jobs
from vplus_bridge.mirror import policies as mirror
from vplus_bridge.models import Operation, Policy, VirtualMachine
from vplus_bridge.operations import settle
from vplus_bridge.ownership.models import AllowedDestination
from vplus_bridge.protection import visible
from vplus_bridge.protection.accept import accept_drift
from vplus_bridge.protection.drift import shared_carriers
from vplus_bridge.protection.request_policy import request_put_back
from vplus_bridge.protection.shown_drift import DriftChanged, digest_of, shown_drift
from vplus_simulator.faults import Fault


def test_a_change_in_vplus_is_shown_and_can_be_put_back(cast: Cast, roomy: Bridge) -> None:
    policy = made(roomy, cast.alice)
    look(roomy)
    assert fresh(policy).differs_since is None
    control, carrier = roomy.simulator.control, carriers_of(policy)[0]
    control.protection.change("schedules", carrier.vplus_guid, hour=5 * 3_600_000)
    control.protection.change("policies", fresh(policy).vplus_guid, vms=[NEW, "vm-lab"], name="renamed")
    look(roomy)
    assert drift_of(policy) == {"hour_ms", "virtual_machines", "name"}
    assert "vm-lab" not in str(fresh(policy).drift), "what is somebody else's is counted, never named"
    with pytest.raises(WrongState) as caught:
        asked_to_change(cast.alice, policy, priority=1)
    assert caught.value.code == "differs_in_vplus"
    operation = carried_out(roomy, asked_to_put_back(cast.alice, policy))
    assert (operation.state, operation.error_code) == ("succeeded", "")
    same_in_both(roomy)
    assert fresh(policy).differs_since is None
    look(roomy)
    assert fresh(policy).drift == []


def test_a_machine_that_another_policys_change_is_about_is_not_accepted_meanwhile(cast: Cast, roomy: Bridge) -> None:
    """Else two policies would have it, and the other's operation could never end."""
    other = machine_named("alpha-second")
    silver = made(roomy, cast.alice, name="Silver", virtual_machines=(other,))
    gold = made(roomy, cast.alice)
    running = asked_to_change(cast.alice, silver, schedules=(replace(NIGHTLY, time_of_day=time(3, 0)),))
    roomy.simulator.control.protection.change("policies", fresh(gold).vplus_guid, vms=[NEW, other])
    look(roomy)
    actor = cast.alice.actor
    with in_tenant(actor.tenant_id), pytest.raises(WrongState) as caught:
        accept_drift(actor, gold.pk, version=1, now=timezone.now())
    assert caught.value.code == "operation_active"
    assert "Silver" in caught.value.message
    assert carried_out(roomy, running).state == "failed"
    look(roomy)
    with in_tenant(actor.tenant_id):
        accept_drift(actor, gold.pk, version=1, now=timezone.now())
    with every_tenant("test"):
        assert set(fresh(gold).members.values_list("virtual_machine_guid", flat=True)) == {NEW, other}


def test_a_change_in_vplus_can_be_accepted(cast: Cast, roomy: Bridge) -> None:
    policy = made(roomy, cast.alice)
    other = machine_named("alpha-second")
    control, carrier = roomy.simulator.control, carriers_of(policy)[0]
    control.protection.change("schedules", carrier.vplus_guid, hour=5 * 3_600_000, days=["FRIDAY"])
    control.protection.change("policies", fresh(policy).vplus_guid, vms=[NEW, other])
    look(roomy)
    actor, before = cast.alice.actor, len(journal(roomy))
    with in_tenant(actor.tenant_id):
        accept_drift(actor, policy.pk, version=1, now=timezone.now())
    assert len(journal(roomy)) == before
    same_in_both(roomy)
    row = schedules_of(policy)[0]
    assert (row.zone, row.time_of_day, row.days_of_week) == ("UTC", time(5, 0), ["FRIDAY"])
    assert (fresh(policy).version, fresh(policy).differs_since) == (2, None)
    look(roomy)
    assert fresh(policy).drift == []
    with in_tenant(cast.alpha.pk):
        accepted = visible.changes(cast.alice.actor, policy.pk)[0]
    assert (accepted.wish, accepted.state, accepted.requested_by_name) == (
        {"action": "accept"},
        "succeeded",
        "Alice",
    )
    changes = {change["field"]: change for change in accepted.plan["changes"]}
    assert changes.keys() == {"virtual_machines", "schedules"}
    assert changes["virtual_machines"]["came"] == "alpha-second"
    assert "Friday" in changes["schedules"]["after"]
    with pytest.raises(WrongState) as caught:
        asked_to_change(cast.alice, policy, version=1, name="Other")
    assert caught.value.errors.keys() == {"virtual_machines", "schedules"}


def digest_shown(member: Member, policy: Policy) -> str:
    """What the policy's page would give back with the press."""
    with in_tenant(member.actor.tenant_id):
        return digest_of(shown_drift(Policy.objects.get(pk=policy.pk)))


def test_what_was_not_shown_is_not_accepted(cast: Cast, roomy: Bridge) -> None:
    policy, actor = made(roomy, cast.alice), cast.alice.actor
    carrier, protection = carriers_of(policy)[0], roomy.simulator.control.protection
    written, shown = schedules_of(policy)[0].time_of_day, []
    for hour in (5, 6):
        protection.change("schedules", carrier.vplus_guid, hour=hour * 3_600_000)
        look(roomy) if hour == 5 else mirror.read_policies(roomy.client)  # read, and not compared yet
        shown.append(digest_shown(cast.alice, policy))
    with pytest.raises(DriftChanged), in_tenant(actor.tenant_id):
        accept_drift(actor, policy.pk, version=1, now=timezone.now(), shown=shown[0])
    assert schedules_of(policy)[0].time_of_day == written
    assert (fresh(policy).version, fresh(policy).differs_since is None) == (1, False)
    with in_tenant(actor.tenant_id):
        accept_drift(actor, policy.pk, version=1, now=timezone.now(), shown=shown[1])
    assert schedules_of(policy)[0].time_of_day == time(6, 0)
    same_in_both(roomy)


def test_what_differs_no_more_is_not_accepted(cast: Cast, roomy: Bridge) -> None:
    policy, actor = made(roomy, cast.alice), cast.alice.actor
    carrier, protection = carriers_of(policy)[0], roomy.simulator.control.protection
    for hour in (5 * 3_600_000, carrier.spec["hour_ms"]):
        protection.change("schedules", carrier.vplus_guid, hour=hour)
        look(roomy) if hour != carrier.spec["hour_ms"] else mirror.read_policies(roomy.client)
    for press in (accept_drift, request_put_back):
        with pytest.raises(WrongState) as caught, in_tenant(actor.tenant_id):
            press(actor, policy.pk, version=1, now=timezone.now())
        assert caught.value.code == "no_difference"
    assert fresh(policy).version == 1


def test_a_rule_that_was_not_shown_is_not_removed(cast: Cast, roomy: Bridge) -> None:
    policy, actor = made(roomy, cast.alice), cast.alice.actor
    with_a_second_rule(roomy, policy)
    look(roomy)
    shown = digest_shown(cast.alice, policy)
    with_a_second_rule(roomy, policy, name="later")
    mirror.read_policies(roomy.client)
    with pytest.raises(DriftChanged), in_tenant(actor.tenant_id):
        request_put_back(actor, policy.pk, version=1, now=timezone.now(), shown=shown)
    now_shown = digest_shown(cast.alice, policy)
    with in_tenant(actor.tenant_id):
        operation = request_put_back(actor, policy.pk, version=1, now=timezone.now(), shown=now_shown)
    assert carried_out(roomy, operation).state == "succeeded"
    same_in_both(roomy)


def test_what_was_not_read_since_our_last_write_is_not_accepted(cast: Cast, roomy: Bridge) -> None:
    """Ours could not be put back, so something differs: what that is nobody has seen yet."""
    policy, actor = made(roomy, cast.alice), cast.alice.actor
    with_a_second_rule(roomy, policy)
    look(roomy)
    with_a_second_rule(roomy, policy, name="later")
    assert carried_out(roomy, asked_to_put_back(cast.alice, policy)).error_code == "policy_not_as_meant"
    with pytest.raises(WrongState) as caught, in_tenant(actor.tenant_id):
        accept_drift(actor, policy.pk, version=1, now=timezone.now(), shown=digest_shown(cast.alice, policy))
    assert caught.value.code == "not_read_since"
    assert fresh(policy).differs_since is not None


def test_machines_of_others_in_vplus_cannot_be_accepted(cast: Cast, roomy: Bridge) -> None:
    policy = made(roomy, cast.alice)
    roomy.simulator.control.protection.change("policies", fresh(policy).vplus_guid, vms=[NEW, "vm-lab"])
    look(roomy)
    actor = cast.alice.actor
    with pytest.raises(WrongState) as caught, in_tenant(actor.tenant_id):
        accept_drift(actor, policy.pk, version=1, now=timezone.now())
    assert caught.value.code == "cannot_be_accepted"
    assert "somebody else" in str(caught.value)
    assert fresh(policy).differs_since is not None


def test_a_place_or_a_schedule_of_others_in_vplus_is_counted_and_never_named(cast: Cast, start_simulator: Any) -> None:
    from tests.conftest import assign_everything

    bridge = Bridge(start_simulator(richness="generous"))
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    policy = made(bridge, cast.alice)
    strange = with_a_second_rule(bridge, policy)
    rule, control = fresh(policy).rule_guid, bridge.simulator.control
    own = [carrier.vplus_guid for carrier in carriers_of(policy)]
    control.protection.change("rules", rule, destinations=["bd-main", "bd-alpha"], schedules=[*own, "schedule-beta"])
    look(bridge)
    found = {one["field"]: one for one in fresh(policy).drift}
    assert found.keys() == {"destination", "rule_schedules", "other_rules"}
    assert (found["destination"]["theirs"], found["destination"]["others"]) == (["bd-main"], 1)
    assert (found["rule_schedules"]["theirs"], found["rule_schedules"]["others"]) == (sorted(own), 1)
    assert carried_out(bridge, asked_to_put_back(cast.alice, policy)).state == "succeeded"
    same_in_both(bridge)
    with every_tenant("test"):
        event = AuditEvent.objects.get(action="policy.put_back")
    assert {one["field"] for one in event.detail["drift"]} == found.keys()
    for guid in ("bd-alpha", "schedule-beta", strange):
        assert guid not in str(event.detail), guid


def test_a_place_that_was_taken_away_is_not_named_by_its_guid(cast: Cast, roomy: Bridge) -> None:
    policy = made(roomy, cast.alice, destination="bd-main")
    with every_tenant("test"):
        AllowedDestination.objects.filter(tenant=cast.alpha).update(destination_guid="bd-alpha", label="Vault B")
    operation = carried_out(roomy, asked_to_change(cast.alice, policy, destination="bd-alpha"))
    assert operation.plan["changes"] == [
        {"field": "destination", "before": "one of your provider's", "after": "Vault B"}
    ]
    with every_tenant("test"):
        assert "bd-main" not in str(AuditEvent.objects.get(action="policy.change").detail)


@pytest.mark.parametrize("kind", ["policies", "rules", "schedules"])
def test_what_was_deleted_in_vplus_is_put_back(kind: str, cast: Cast, roomy: Bridge) -> None:
    policy = made(roomy, cast.alice)
    row = fresh(policy)
    guid = {"policies": row.vplus_guid, "rules": row.rule_guid, "schedules": carriers_of(policy)[0].vplus_guid}[kind]
    roomy.simulator.control.protection.remove(kind, guid)
    roomy.simulator.control.step(1)
    for _ in range(3):
        look(roomy)  # that something is gone is believed when a second list lacks it too
    assert {"policies": "policy", "rules": "rule", "schedules": "schedule"}[kind] in drift_of(policy)
    operation = carried_out(roomy, asked_to_put_back(cast.alice, policy))
    assert (operation.state, operation.error_code) == ("succeeded", "")
    for _ in range(3):
        look(roomy)
    with every_tenant("test"):
        for repair in Operation.objects.filter(wish__action="remove"):
            carried_out(roomy, repair)
    assert fresh(policy).drift == []
    same_in_both(roomy)


def with_a_second_rule(bridge: Bridge, policy: Policy, **members: Any) -> str:
    """Let somebody make another rule in our policy, in vPlus; return its guid."""
    rule = bridge.simulator.control.protection.add(
        "rules", policy=fresh(policy).vplus_guid, destinations=["bd-main"], **{"name": "by hand", **members}
    )
    return str(rule.guid)


def test_a_second_rule_made_in_vplus_is_put_back_under_faults(cast: Cast, roomy: Bridge) -> None:
    policy = made(roomy, cast.alice)
    for name, fault in ONCE.items():
        with_a_second_rule(roomy, policy)
        look(roomy)
        assert drift_of(policy) == {"other_rules"}, name
        assert "by hand" not in str(fresh(policy).drift), "it may tell of somebody else"
        roomy.simulator.control.arm(Fault(method="DELETE", path="/rules/vm-backup/{guid}", count=1, **fault))
        operation = carried_out(roomy, asked_to_put_back(cast.alice, policy))
        roomy.simulator.control.disarm()
        assert (operation.state, operation.error_code) == ("succeeded", ""), name
        same_in_both(roomy)
        look(roomy)
        assert fresh(policy).drift == []


def test_only_the_rule_that_the_difference_names_is_removed(cast: Cast, roomy: Bridge) -> None:
    """One that was made since, and is not shown yet, stays and is told."""
    policy = made(roomy, cast.alice)
    shown = with_a_second_rule(roomy, policy)
    look(roomy)
    later = with_a_second_rule(roomy, policy, name="later")
    operation = carried_out(roomy, asked_to_put_back(cast.alice, policy))
    assert (operation.state, operation.error_code) == ("failed", "policy_not_as_meant")
    world = roomy.simulator.world
    assert shown not in world.rules
    assert {rule.guid for rule in world.rules_of(fresh(policy).vplus_guid)} == {fresh(policy).rule_guid, later}
    look(roomy)
    assert [one["rules"] for one in fresh(policy).drift] == [[later]]
    assert carried_out(roomy, asked_to_put_back(cast.alice, policy)).state == "succeeded"
    same_in_both(roomy)


def test_a_second_rule_that_vplus_keeps_leaves_everything_as_it_is(cast: Cast, roomy: Bridge) -> None:
    """It goes first, so that nothing is half done."""
    policy = made(roomy, cast.alice)
    with_a_second_rule(roomy, policy)
    roomy.simulator.control.protection.change("schedules", carriers_of(policy)[0].vplus_guid, hour=5 * 3_600_000)
    look(roomy)
    before = upstream(roomy)
    roomy.simulator.control.arm(
        Fault(kind="status", method="DELETE", path="/rules/vm-backup/{guid}", status=409, count=1)
    )
    operation = carried_out(roomy, asked_to_put_back(cast.alice, policy))
    assert (operation.state, operation.error_code) == ("failed", "policy_refused")
    assert upstream(roomy) == before
    look(roomy)
    assert drift_of(policy) == {"other_rules", "hour_ms"}


def test_a_second_rule_that_vplus_keeps_for_its_backups_is_gone_when_it_is_marked(cast: Cast, roomy: Bridge) -> None:
    """Nothing is sent for it again (vplus-api.md 2.8)."""
    policy = made(roomy, cast.alice)
    second = with_a_second_rule(roomy, policy)
    look(roomy)
    rules = roomy.client.policy_detail(fresh(policy).vplus_guid).raw["rules"]
    marked = [{**rule, "markedForDeletion": True} if rule["guid"] == second else rule for rule in rules]
    assert marked != rules
    roomy.simulator.control.arm(
        Fault(kind="member", method="GET", path="/policies/vm-backup/{guid}", member="rules", value=marked)
    )
    operation = carried_out(roomy, asked_to_put_back(cast.alice, policy))
    assert (operation.state, operation.error_code) == ("succeeded", "")
    assert not [entry for entry in journal(roomy) if entry.startswith("DELETE /rules")]


def test_a_change_that_meets_one_of_somebody_else_stops(cast: Cast, roomy: Bridge) -> None:
    policy = made(roomy, cast.alice)
    roomy.simulator.control.protection.change("schedules", carriers_of(policy)[0].vplus_guid, hour=5 * 3_600_000)
    schedule = replace(NIGHTLY, id=schedules_of(policy)[0].pk, time_of_day=time(3, 0))
    operation = carried_out(roomy, asked_to_change(cast.alice, policy, schedules=(schedule,)))
    assert (operation.state, operation.error_code) == ("failed", "policy_changed_in_vplus")
    assert operation.wish["draft"]["schedules"][0]["time_of_day"] == "03:00:00"


def test_a_schedule_that_others_use_too_is_split_before_it_is_changed(cast: Cast, roomy: Bridge) -> None:
    policy = made(roomy, cast.alice, schedules=(NIGHTLY,))
    shared = carriers_of(policy)[0]
    control = roomy.simulator.control
    control.protection.change("schedules", shared.vplus_guid, rules=[fresh(policy).rule_guid, "rule-beta"])
    look(roomy)
    with in_tenant(cast.alpha.pk):
        assert shared_carriers(policy) == [shared.vplus_guid]
    assert fresh(policy).drift == []
    schedule = replace(NIGHTLY, id=schedules_of(policy)[0].pk, time_of_day=time(3, 0))
    operation = carried_out(roomy, asked_to_change(cast.alice, policy, schedules=(schedule,)))
    assert (operation.state, operation.error_code) == ("succeeded", "")
    own = carriers_of(policy)[0]
    assert own.vplus_guid != shared.vplus_guid
    world = roomy.simulator.world
    assert world.rules["rule-beta"].schedules == ["schedule-beta", shared.vplus_guid]
    assert world.rules[fresh(policy).rule_guid].schedules == [own.vplus_guid]
    assert world.schedules[shared.vplus_guid].hour == shared.spec["hour_ms"]


def test_machines_that_vplus_took_out_because_they_are_gone_leave_here_too(cast: Cast, roomy: Bridge) -> None:
    other = machine_named("alpha-second")
    policy = made(roomy, cast.alice, virtual_machines=(NEW, other), auto_remove_gone=True)
    roomy.simulator.control.remove_vm(other)
    roomy.simulator.control.sync()
    roomy.sync()
    look(roomy)
    with every_tenant("test"):
        assert list(policy.members.values_list("virtual_machine_guid", flat=True)) == [NEW]
        assert VirtualMachine.objects.get(guid=other).policy_label == ""
    assert fresh(policy).drift == []
    assert carried_out(roomy, asked_to_change(cast.alice, policy, priority=3)).state == "succeeded"
    same_in_both(roomy)


def test_a_policy_that_could_not_be_sent_is_let_go(cast: Cast, mirrored: Bridge) -> None:
    operation = asked_to_create(cast.alice)
    with every_tenant("test"):
        Operation.objects.filter(pk=operation.pk).update(send_until=timezone.now())
        settle.expire_unsent()
    jobs.sweep_policies()
    assert (operation_of(operation.pk).error_code, policy_of(operation).state) == ("policy_not_sent", "not_made")
    assert carried_out(mirrored, asked_to_create(cast.alice)).state == "succeeded"
