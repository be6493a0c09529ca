"""A policy's life against the poorest vPlus: changes of every kind, moves, clock changes, and what others do to it there."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from tenants.models import AuditEvent
from tenants.refusals import Invalid, WrongState
from tenants.scope import every_tenant, in_tenant
from tests.bridge.policy_scenes import (
    NEW,
    NIGHTLY,
    asked_to_change,
    asked_to_create,
    asked_to_delete,
    asked_to_put_back,
    carried_out,
    draft,
    journal,
    made,
    operation_of,
    policy_of,
    same_in_both,
    upstream,
)
from tests.bridge.test_policy_faults import MOMENTS, ONCE, Deaths, Died
from tests.conftest import Bridge, Cast, Member
from vplus_bridge import jobs
from vplus_bridge.mirror import policies as mirror
from vplus_bridge.models import Carrier, Operation, Policy, ReadState, Schedule, VirtualMachine, VplusSchedule
from vplus_bridge.operations import settle
from vplus_bridge.ownership.assignment import assign, attribute
from vplus_bridge.ownership.models import AllowedDestination, Assignment
from vplus_bridge.protection import orphans, own_members, visible
from vplus_bridge.protection.accept import accept_drift
from vplus_bridge.protection.attached import attached_promises
from vplus_bridge.protection.drift import shared_carriers, written_since_read
from vplus_bridge.protection.request_policy import request_put_back
from vplus_bridge.protection.shown_drift import DriftChanged, digest_of, shown_drift
from vplus_simulator.faults import Fault


@pytest.fixture
def roomy(cast: Cast, mirrored: Bridge) -> Bridge:
    """Alpha has three machines that no policy of vPlus has, and the mirror holds vPlus's policies."""
    control = mirrored.simulator.control
    for name in ("alpha-second", "alpha-third"):
        control.add_vm(name, project="project-alpha")
    control.sync()
    mirrored.sync()
    with every_tenant("test"):
        from vplus_bridge.ownership.assignment import assign

        new = list(VirtualMachine.objects.filter(tenant=None, name__startswith="alpha-").values_list("guid", flat=True))
        assign(tenant_id=cast.alpha.pk, vm_guids=new, by="test")
    look(mirrored)
    return mirrored


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


# Machines that change hands


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


# What others do in vPlus


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
        promises = attached_promises(policy)
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
