"""The main jobs on a server of the current dialect at its poorest (vplus-api.md 0.1), and what exists only there.

What is the same in both is the very test of the guide, collected once more here: this module's servers speak the other
dialect, and the portal with them.
"""

from typing import Any

import pytest
from django.core.management import call_command

from tenants.refusals import Invalid
from tenants.scope import every_tenant, in_tenant
from tests.bridge.policy_scenes import (
    DRAFT,
    NEW,
    asked_to_change,
    asked_to_create,
    asked_to_delete,
    carried_out,
    draft,
    made,
    same_in_both,
    upstream,
)
from tests.bridge.scenes import ask, ask_restore, attempts, exports_sent, machine, operation, restores_sent, tasks
from tests.bridge.test_backup_operation import (  # noqa: F401  # collected here
    test_an_answer_that_never_came_is_found_again,
    test_export_finished_is_not_backed_up,
)
from tests.bridge.test_cancelling import (  # noqa: F401  # collected here
    test_a_running_backup_is_asked_once_and_told_as_cancelled_when_vplus_says_so,
    test_a_task_that_was_removed_before_it_was_ever_read_is_seen_to_have_gone,
)
from tests.bridge.test_policy_drift import (  # noqa: F401  # collected here
    test_a_change_in_vplus_is_shown_and_can_be_put_back,
    test_what_was_deleted_in_vplus_is_put_back,
)
from tests.bridge.test_policy_life import (  # noqa: F401  # collected here
    test_a_machine_moves_from_a_to_b,
    test_only_what_differs_is_written,
    test_schedules_are_written_anew_for_a_clock_change,
)
from tests.bridge.test_restore import (  # noqa: F401  # collected here
    test_a_machine_that_is_gone_is_restored_like_any_other,
    test_a_point_removed_after_the_press_is_never_restored,
    test_restore_finished_is_not_restored,
)
from tests.bridge.test_settling import (  # noqa: F401  # collected here
    test_a_write_that_never_arrived_is_sent_again_with_another_stamp,
    test_on_the_poorest_vplus_a_write_that_never_arrived_is_for_a_person,
)
from tests.conftest import Bridge, Cast, StartSimulator, assign_everything
from vplus_bridge import connection
from vplus_bridge.mirror.policies import read_policies
from vplus_bridge.models import VirtualMachine, VplusPolicy
from vplus_bridge.operations.request import NoneStarted
from vplus_bridge.ownership.allowances import allow_destination, allow_restore_target
from vplus_bridge.protection.attached import attach_policy
from vplus_simulator.faults import Fault
from vplus_simulator.world import Outcome

WEB, GOLD = "vm-alpha-web", "policy-alpha"


@pytest.fixture
def dialect() -> str:
    return "current"


def served(start: StartSimulator, cast: Cast, **switches: Any) -> Bridge:
    bridge = Bridge(start(**switches))
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    return bridge


def allow(cast: Cast, guid: str = "bd-alpha", label: str = "Vault B") -> None:
    with every_tenant("test"):
        allow_destination(tenant_id=cast.alpha.pk, guid=guid, label=label)


def in_vplus(bridge: Bridge, kind: str, guid: str, *, read: bool = True, **members: Any) -> None:
    """Somebody changes an object in vPlus itself, and the portal reads it, or does not yet."""
    bridge.simulator.control.protection.change(kind, guid, **members)
    if read:
        read_policies(bridge.client)


def refused(cast: Cast, *machines: str, **wish: Any) -> tuple[str, str]:
    with pytest.raises(NoneStarted) as caught:
        ask(cast.oscar, *machines, **wish)
    [one] = caught.value.refused
    return one.code, one.message


# Backups


@pytest.mark.parametrize("richness", ["poorest", "generous"])
def test_a_backup_goes_by_the_rule_of_its_policy(richness: str, cast: Cast, start_simulator: StartSimulator) -> None:
    bridge = served(start_simulator, cast, richness=richness)
    points = machine().restore_point_count
    asked = ask(cast.oscar)
    bridge.send()
    bridge.run()
    assert (operation(asked).state, operation(asked).error_code) == ("succeeded", "")
    assert machine().restore_point_count == points + 1
    [sent] = exports_sent(bridge.simulator)
    [rule] = sent.asked["rules"]
    assert (rule["guid"], rule["ruleBackupDestinations"][0]["backupDestination"]["guid"]) == ("rule-alpha", "bd-main")
    assert sent.asked["protectedEntityType"] == "VM"
    assert not {"backupDestination", "tenantId"} & set(sent.asked)
    assert bridge.simulator.world.backups[sent.backups[0]].rule == "rule-alpha"


def test_of_several_rules_one_that_leads_to_the_wished_destination_is_named(cast: Cast, mirrored: Bridge) -> None:
    allow(cast)
    world = mirrored.simulator.world
    second = mirrored.simulator.control.protection.add("rules", name="second", policy=GOLD, destinations=["bd-alpha"])
    read_policies(mirrored.client)
    ask(cast.oscar, "vm-alpha-db")
    ask(cast.oscar, WEB, destination="bd-alpha")
    mirrored.send()
    sent = {entry.asked["protectedEntities"][0]["guid"]: entry for entry in exports_sent(mirrored.simulator)}
    rules = {guid: [rule["guid"] for rule in entry.asked["rules"]] for guid, entry in sent.items()}
    assert rules == {"vm-alpha-db": ["rule-alpha"], WEB: [second.guid]}, "the last place used, and the wished one"
    assert world.backups[sent[WEB].backups[0]].destination == "bd-alpha"


def test_without_a_policy_nothing_is_asked_for_and_the_way_out_is_named(cast: Cast, mirrored: Bridge) -> None:
    code, message = refused(cast, NEW)
    assert (code, "Put it in a policy first." in message) == ("no_policy", True)
    both = ask(cast.oscar, WEB, NEW)
    assert [one.virtual_machine_guid for one in both.operations] == [WEB]
    assert [(one.virtual_machine, one.code) for one in both.refused] == [(NEW, "no_policy")]


def test_without_an_active_rule_nothing_is_asked_for(cast: Cast, start_simulator: StartSimulator) -> None:
    bridge = served(start_simulator, cast, show=["rule.active"])
    asked = ask(cast.oscar)
    in_vplus(bridge, "rules", "rule-alpha", active=False)
    bridge.send()
    assert (operation(asked).state, operation(asked).error_code) == ("failed", "no_active_rule")
    assert refused(cast)[0] == "no_active_rule"
    bridge.simulator.control.protection.remove("rules", "rule-alpha")
    read_policies(bridge.client)
    assert (refused(cast)[0], exports_sent(bridge.simulator)) == ("no_active_rule", [])


def test_a_rule_whose_state_is_not_told_is_for_vplus_to_refuse(cast: Cast, mirrored: Bridge) -> None:
    in_vplus(mirrored, "rules", "rule-alpha", active=False)
    asked = ask(cast.oscar)
    mirrored.send()
    assert (operation(asked).state, operation(asked).error_code) == ("failed", "refused_by_vplus")


def test_only_where_the_policy_leads_is_offered(cast: Cast, mirrored: Bridge) -> None:
    allow(cast)
    with pytest.raises(Invalid) as caught:
        ask(cast.oscar, destination="bd-alpha")
    assert caught.value.errors == {
        "destination": ["No backup goes there: the policy would have to name it. Choose one of Vault A (bd-main)."]
    }
    in_vplus(mirrored, "rules", "rule-alpha", destinations=["bd-off"])
    code, message = refused(cast)
    assert (code, "keeps its backups where Alpha may not" in message) == ("destination_not_in_policy", True)


@pytest.mark.parametrize(
    ("kind", "members", "code"),
    [
        ("policies", {"vms": ["vm-alpha-db"]}, "no_policy"),
        ("rules", {"destinations": ["bd-alpha"]}, "destination_not_in_policy"),
    ],
)
def test_what_changed_after_the_press_ends_it_before_anything_is_sent(
    kind: str, members: dict[str, Any], code: str, cast: Cast, mirrored: Bridge
) -> None:
    asked = ask(cast.oscar)
    in_vplus(mirrored, kind, GOLD if kind == "policies" else "rule-alpha", read=False, **members)
    for _ in range(3):
        mirrored.send()
    assert (operation(asked).state, operation(asked).error_code) == ("failed", code)
    assert (exports_sent(mirrored.simulator), len(attempts(asked))) == ([], 1)


@pytest.mark.parametrize(("status", "code"), [(404, "no_policy"), (403, "rules_not_told")])
def test_a_policy_that_cannot_be_read_at_sending_ends_it(status: int, code: str, cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    path = "/policies/vm-backup/{guid}"
    mirrored.simulator.control.arm(Fault(kind="status", method="GET", path=path, status=status, count=1))
    mirrored.send()
    assert (operation(asked).state, operation(asked).error_code) == ("failed", code)
    assert exports_sent(mirrored.simulator) == []


def test_a_server_that_never_tells_where_rules_lead_backs_up_and_that_is_said(
    cast: Cast, start_simulator: StartSimulator
) -> None:
    bridge = served(start_simulator, cast, hide=["rule.ruleBackupDestinations"])
    allow(cast)
    assert (machine().policy_rules, machine().policy_leads_to) == (1, None)
    asked = ask(cast.oscar)
    assert operation(asked).warnings == ["destination_not_told"]
    bridge.send()
    bridge.run()
    assert operation(asked).state == "succeeded"


def test_one_copy_of_two_that_failed_is_a_success_with_a_warning(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    mirrored.send()
    mirrored.simulator.control.next_outcome(Outcome(type="STORE", outcome="partial"))
    mirrored.run()
    assert (operation(asked).state, "stored_in_part" in operation(asked).warnings) == ("succeeded", True)


def test_a_label_that_is_no_project_ends_it_with_a_reason_and_no_loop(cast: Cast, mirrored: Bridge) -> None:
    with every_tenant("test"):
        cast.alpha.vplus_tenant_id = "alpha & co"
        cast.alpha.save()
    asked = ask(cast.oscar)
    for _ in range(3):
        mirrored.send()
    assert (operation(asked).state, operation(asked).error_code) == ("failed", "cannot_be_worded")
    assert (exports_sent(mirrored.simulator), len(attempts(asked))) == ([], 1)


# Restores


@pytest.mark.parametrize("richness", ["poorest", "generous"])
def test_a_restore_names_its_copy_and_its_project(richness: str, cast: Cast, start_simulator: StartSimulator) -> None:
    bridge = served(start_simulator, cast, richness=richness)
    asked = ask_restore(cast.oscar)
    bridge.send()
    bridge.run(steps=20)
    assert (operation(asked).state, operation(asked).error_code) == ("succeeded", "")
    [sent] = restores_sent(bridge.simulator)
    assert sent.asked["backupLocation"] == {"guid": "location-backup-web-full"}
    assert not {"restoreProject", "tenantId"} & set(sent.asked)
    bridge.simulator.control.sync()
    bridge.sync()
    new = machine(operation(asked).restored_vm_guid)
    assert (new.tenant_id, new.name) == (cast.alpha.pk, operation(asked).restored_name)
    assert bridge.simulator.world.vms[new.guid].project == "project-alpha"
    assert {row.tenant_id for row in tasks().values() if row.type in ("RESTORE", "IMPORT")} == {cast.alpha.pk}


@pytest.mark.parametrize(
    ("projects", "name", "state"),
    [("forbidden", "alpha", "succeeded"), ("listed", "alpha", "succeeded"), ("listed", "elsewhere", "failed")],
)
def test_a_target_that_names_a_project_goes_by_its_id(
    projects: str, name: str, state: str, cast: Cast, start_simulator: StartSimulator
) -> None:
    bridge = served(start_simulator, cast, projects=projects)
    with every_tenant("test"):
        target = allow_restore_target(tenant_id=cast.alpha.pk, label="P", manager_guid="hvm-openstack", project=name)
    asked = ask_restore(cast.oscar, target=str(target.pk))
    bridge.send()
    bridge.run(steps=20)
    assert operation(asked).state == state
    if state == "failed":
        assert (operation(asked).error_code, restores_sent(bridge.simulator)) == ("project_not_known", [])


# Policies


def test_a_policy_is_made_with_its_rule_in_one_call_changed_and_deleted(cast: Cast, mirrored: Bridge) -> None:
    policy = made(mirrored, cast.alice)
    same_in_both(mirrored)
    calls = [entry.call for entry in mirrored.simulator.control.journal()]
    assert (calls.count("POST /policies/vm-backup"), "POST /rules/vm-backup" in calls) == (1, False)
    control = mirrored.simulator.control
    [held] = [p for p in control.objects("policies") if p.name == policy.wire_name]
    assert held.tenant_id == "alpha-uuid"
    operation = carried_out(mirrored, asked_to_change(cast.alice, policy, priority=71, schedules=DRAFT.schedules[:1]))
    assert (operation.state, operation.error_code, operation.warnings) == ("succeeded", "", [])
    same_in_both(mirrored)
    operation = carried_out(mirrored, asked_to_delete(cast.alice, policy))
    assert (operation.state, operation.warnings, upstream(mirrored)) == ("succeeded", [], {})


@pytest.mark.parametrize(("path", "created"), [("/schedules", "empty"), ("/policies/vm-backup", "body")])
def test_a_lost_answer_makes_nothing_twice(
    path: str, created: str, cast: Cast, start_simulator: StartSimulator
) -> None:
    bridge = served(start_simulator, cast, created_object=created)
    bridge.simulator.control.arm(Fault(kind="cut", phase="after", method="POST", path=path, count=1))
    made(bridge, cast.alice)
    same_in_both(bridge)


def test_a_refused_policy_leaves_nothing_behind(cast: Cast, mirrored: Bridge) -> None:
    fault = Fault(kind="status", method="POST", path="/policies/vm-backup", status=400, count=1)
    mirrored.simulator.control.arm(fault)
    operation = carried_out(mirrored, asked_to_create(cast.alice, draft()))
    assert (operation.state, operation.error_code, upstream(mirrored)) == ("failed", "policy_refused", {})


def test_a_machine_is_backed_up_as_soon_as_its_policy_was_read(cast: Cast, mirrored: Bridge) -> None:
    assert refused(cast, NEW)[0] == "no_policy"
    made(mirrored, cast.alice)
    read_policies(mirrored.client)
    asked = ask(cast.oscar, NEW)
    mirrored.send()
    mirrored.run()
    assert (operation(asked).state, operation(asked).error_code) == ("succeeded", "")


def test_where_a_policy_leads_is_seen_by_its_machines_tenant_alone(cast: Cast, mirrored: Bridge) -> None:
    assert (machine().policy_rules, machine().policy_leads_to) == (1, ["bd-main"])
    with in_tenant(cast.beta):
        assert not VirtualMachine.objects.filter(guid=WEB).exists()
    in_vplus(mirrored, "policies", GOLD, vms=["vm-alpha-db"])
    assert (machine().policy_rules, machine().policy_leads_to) == (None, None)


@pytest.mark.parametrize(
    ("set_to", "richness"), [("guide", "poorest"), ("current", "generous"), ("current", "poorest")]
)
def test_the_check_notices_the_wrong_dialect(
    set_to: str, richness: str, mirrored: Bridge, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each against a server of the other; where nothing tells them apart, nothing is said."""
    other = "guide" if set_to == "current" else "current"
    mirrored.simulator.control.change(
        dialect=other, richness=richness, hide=["rule.ruleBackupDestinations"] * (other == "guide")
    )
    for spoken in (other, set_to):
        settings.VPLUS_DIALECT = spoken
        connection.client.cache_clear()
        call_command("vplus_check")
        out = capsys.readouterr().out
        assert f"Dialect      {spoken}" in out
        seen = f"set VPLUS_DIALECT={other} unless you know better" in out
        assert seen == (spoken == set_to and (other, richness) != ("guide", "poorest")), out


def test_a_policy_that_is_attached_is_called_without_its_project(cast: Cast, mirrored: Bridge) -> None:
    with every_tenant("test"):
        assert VplusPolicy.objects.get(guid=GOLD).name == "uuid_alpha-uuid_alpha gold"
        assert attach_policy(tenant_id=cast.alpha.pk, guid=GOLD).name == "alpha gold"
