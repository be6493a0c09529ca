"""VM backup policies and their rules over HTTPS (vplus-api.md 2.8, 3.8)."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Start, Vplus

GOLD: dict[str, Any] = {
    "name": "t-7f3a-gold",
    "priority": 70,
    "autoRemoveNonPresent": False,
    "autoAssignSettings": {"mode": {"name": "DISABLED"}},
    "vms": [{"guid": "vm-alpha-new"}],
    "tenantId": "alpha-uuid",
}
POLICIES, RULES = "/policies/vm-backup", "/rules/vm-backup"
CURRENT_RULE: dict[str, Any] = {
    "name": "Default",
    "schedules": [{"guid": "schedule-beta"}],
    "ruleBackupDestinations": [
        {
            "backupDestination": {"guid": "bd-main"},
            "roleType": "PRIMARY",
            "backupRetentionSettings": {"retentionKeepLastNFull": "9", "retentionKeepLastNIncremental": 30},
            "daysToKeepRetentionLock": 0,
            "active": True,
        },
        {"roleType": {"name": "SECONDARY"}, "backupDestination": {}},
    ],
    "active": True,
    "position": 0,
}


def made(vplus: Vplus, **members: Any) -> dict[str, Any]:
    answer = vplus.post(POLICIES, GOLD | members)
    assert answer.status_code == 201, answer.text
    policy: dict[str, Any] = answer.json()
    return policy


def rule_of(vplus: Vplus, policy: str, **members: Any) -> dict[str, Any]:
    answer = vplus.post(RULES, {"name": "Default", "policy": policy, "schedules": []} | members)
    assert answer.status_code == 201, answer.text
    rule: dict[str, Any] = answer.json()
    return rule


def members_of(vplus: Vplus, policy: str) -> list[str]:
    return [vm["guid"] for vm in vplus.read(f"{POLICIES}/{policy}")["vms"]]


def test_a_policy_is_made_in_two_steps_replaced_and_removed(vplus: Vplus) -> None:
    policy = made(vplus)
    path = f"{POLICIES}/{policy['guid']}"
    assert vplus.read(path) == policy
    assert (policy["priority"], policy["rules"], policy["tenantId"]) == (70, [], "alpha-uuid")
    rule = rule_of(vplus, policy["guid"], schedules=["schedule-beta"], backupDestinations=["bd-main"])
    assert vplus.read(path)["rules"] == [rule]
    [listed] = [row for row in vplus.read(POLICIES) if row["guid"] == policy["guid"]]
    assert (listed["rules"], listed["vmCount"], "vms" in listed) == ([rule], 1, False)
    answer = vplus.put(path, GOLD | {"name": "t-7f3a-silver", "vms": ["vm-alpha-new", "vm-lab"], "rules": []})
    assert answer.status_code == 200
    assert answer.json() == vplus.read(path)
    assert members_of(vplus, policy["guid"]) == ["vm-alpha-new", "vm-lab"]
    assert answer.json()["rules"] == [rule | {"policy": rule["policy"] | {"name": "t-7f3a-silver"}, "vmCount": 2}]
    assert vplus.delete(path).status_code == 204
    assert vplus.get(path).status_code == vplus.delete(path).status_code == vplus.put(path, GOLD).status_code == 404
    assert vplus.get(f"{RULES}/{rule['guid']}").status_code == 404, "its rule goes with it"
    assert vplus.server.world.vms["vm-lab"].policy is None
    assert vplus.get("/schedules/schedule-beta").status_code == 200, "its schedules stay"


def test_a_put_replaces_everything_that_it_does_not_say(vplus: Vplus) -> None:
    made(vplus)
    guid = made(vplus, name="second", autoRemoveNonPresent=True, backupRetryCount=3)["guid"]
    vplus.put(f"{POLICIES}/{guid}", {"name": "second"})
    policy = vplus.read(f"{POLICIES}/{guid}")
    assert (policy["vms"], policy["priority"], policy["autoRemoveNonPresent"]) == ([], 50, False)
    assert "backupRetryCount" not in policy


@pytest.mark.parametrize(("switch", "label"), [("keeps", "alpha-uuid"), ("clears", None)])
def test_a_put_without_a_tenant(start: Start, switch: str, label: str | None) -> None:
    vplus = start(put_without_tenant=switch)
    guid = made(vplus)["guid"]
    assert vplus.put(f"{POLICIES}/{guid}", {"name": "x"}).json().get("tenantId") == label


def test_a_vm_has_one_policy_and_leaves_the_one_it_had(vplus: Vplus) -> None:
    policy = made(vplus, vms=["vm-beta-web", {"guid": "vm-alpha-db", "name": "db-01", "present": True}])
    assert members_of(vplus, policy["guid"]) == ["vm-beta-web", "vm-alpha-db"]
    assert members_of(vplus, "policy-beta") == ["vm-beta-mail"]
    assert members_of(vplus, "policy-alpha") == ["vm-alpha-web", "vm-alpha-gone"]
    vplus.put(f"{POLICIES}/policy-beta", {"name": "beta silver", "vms": ["vm-beta-mail", "vm-beta-web"]})
    assert members_of(vplus, policy["guid"]) == ["vm-alpha-db"]
    assert vplus.read("/virtual-machines/vm-beta-web")["vmBackupPolicy"]["guid"] == "policy-beta"
    assert vplus.names(POLICIES, **{"virtual-machine": "vm-beta-web"}) == ["policy-beta"]


def test_the_poorest_policy_says_little(start: Start) -> None:
    vplus = start(richness="poorest")
    policy = made(vplus)
    rule_of(vplus, policy["guid"])
    assert set(vplus.read(f"{POLICIES}/{policy['guid']}")) == {"guid", "name", "rules", "vms"}
    assert [set(row) for row in vplus.read(POLICIES)] == [{"guid", "name", "rules"}] * 3
    assert all("vmBackupPolicy" not in vm for vm in vplus.read("/virtual-machines"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": None},
        {"name": "x" * 256},
        {"priority": 101},
        {"priority": -1},
        {"priority": "high"},
        {"vms": ["nobody"]},
        {"vms": "vm-lab"},
        {"vms": [{}]},
        {"autoRemoveNonPresent": 3},
        {"autoAssignSettings": {"mode": "ALWAYS"}},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(vplus: Vplus, wrong: dict[str, Any]) -> None:
    guid = made(vplus)["guid"]
    before = vplus.read(POLICIES), vplus.read("/virtual-machines")
    for answer in (
        vplus.post(POLICIES, GOLD | {"name": "another", "vms": ["vm-lab"]} | wrong),
        vplus.put(f"{POLICIES}/{guid}", GOLD | {"vms": ["vm-lab"]} | wrong),
    ):
        assert (answer.status_code, bool(answer.json()["message"])) == (400, True)
    assert (vplus.read(POLICIES), vplus.read("/virtual-machines")) == before


@pytest.mark.parametrize(
    "members",
    [
        {"vms": ["vm-alpha-new"], "autoAssignSettings": {"mode": "DISABLED"}, "priority": "70"},
        {"priority": 70.0, "autoRemoveNonPresent": None, "autoAssignSettings": None, "mailingList": None},
        {"autoRemoveNonPresent": "false", "colour": "red", "vmCount": 9, "rules": [{"guid": "nobody"}]},
    ],
)
def test_bodies_of_every_client_mean_the_same(vplus: Vplus, members: dict[str, Any]) -> None:
    plain = made(vplus)
    other = vplus.put(f"{POLICIES}/{plain['guid']}", GOLD | members).json()
    assert other == plain


@pytest.mark.parametrize("status", [409, 400, 500])
def test_a_name_is_unique_over_everybody(start: Start, status: int) -> None:
    vplus = start(duplicate_name=status)
    assert vplus.post(POLICIES, GOLD | {"name": "beta silver"}).status_code == status
    assert vplus.server.world.vms["vm-alpha-new"].policy is None
    guid = made(vplus)["guid"]
    assert vplus.put(f"{POLICIES}/{guid}", GOLD | {"name": "beta silver"}).status_code == status


def test_auto_assignment_is_stored_as_it_was_asked(vplus: Vplus) -> None:
    guid = made(vplus, autoAssignSettings={"mode": {"name": "ASSIGN_ONLY"}})["guid"]
    assert vplus.read(f"{POLICIES}/{guid}")["autoAssignSettings"]["mode"]["name"] == "ASSIGN_ONLY"


def test_policies_of_entities_are_those_with_rules(vplus: Vplus) -> None:
    policy = made(vplus)
    path = f"{POLICIES}/list-by-entities"
    assert vplus.post(path, {"protectedEntities": ["vm-alpha-new", "vm-lab", "nobody"]}).json() == []
    rule_of(vplus, policy["guid"])
    found = vplus.post(path, {"protectedEntities": ["vm-alpha-new", {"guid": "vm-beta-web"}]}).json()
    assert [row["guid"] for row in found] == [policy["guid"], "policy-beta"]
    assert vplus.post(path, {"protectedEntities": "vm-lab"}).status_code == 400


# Rules


def test_a_rule_is_replaced_and_removed(vplus: Vplus) -> None:
    policy = made(vplus)["guid"]
    rule = rule_of(vplus, policy, schedules=["schedule-alpha-full"], backupDestinations=["bd-main"])
    path = f"{RULES}/{rule['guid']}"
    body = {"name": "Other", "policy": {"guid": policy}, "schedules": [{"guid": "schedule-beta"}]}
    replaced = vplus.put(path, body).json()
    assert (replaced["name"], [row["guid"] for row in replaced["schedules"]]) == ("Other", ["schedule-beta"])
    assert replaced["ruleBackupDestinations"] == [], "what the body does not say is gone"
    assert rule["guid"] in [row["guid"] for row in vplus.read("/schedules/schedule-beta")["rules"]]
    assert rule["guid"] not in [row["guid"] for row in vplus.read("/schedules/schedule-alpha-full")["rules"]]
    assert vplus.delete(path).status_code == 204
    assert vplus.delete(path).status_code == vplus.get(path).status_code == vplus.put(path, body).status_code == 404
    assert vplus.read(f"{POLICIES}/{policy}")["rules"] == []
    assert members_of(vplus, policy) == ["vm-alpha-new"], "nothing fires, yet the VMs stay"


def test_only_policy_narrows_the_rules_and_a_wrong_name_gives_everybodys(vplus: Vplus) -> None:
    assert vplus.names(RULES, policy="policy-beta") == ["rule-beta"]
    assert vplus.names(RULES, rule="policy-beta") == ["rule-alpha", "rule-beta"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": None},
        {"policy": None},
        {"policy": "nobody"},
        {"schedules": ["nobody"]},
        {"schedules": "schedule-beta"},
        {"schedules": ["schedule-app"]},
        {"schedules": ["schedule-alpha-full"], "policy": "policy-alpha"},
        {"backupDestinations": ["nobody"]},
        {"ruleBackupDestinations": [{"backupDestination": {"guid": "nobody"}, "roleType": "PRIMARY"}]},
        {"ruleBackupDestinations": [{"backupDestination": {"guid": "bd-main"}, "roleType": "BEST"}]},
        {"ruleBackupDestinations": ["bd-main"]},
        {
            "ruleBackupDestinations": [
                {"backupDestination": {"guid": guid}, "roleType": "PRIMARY"} for guid in ("bd-main", "bd-alpha")
            ]
        },
    ],
    ids=str,
)
def test_a_wrong_rule_is_refused(vplus: Vplus, wrong: dict[str, Any]) -> None:
    vplus.server.control.protection.add(
        "schedules", name="app", backup_type="FULL", type="APP_BACKUP", days=["MONDAY"], hour=0
    )
    app = list(vplus.server.world.schedules)[-1]
    if wrong.get("schedules") == ["schedule-app"]:
        wrong = {"schedules": [app]}
    before = vplus.read(RULES)
    body = {"name": "Default", "policy": {"guid": "policy-beta"}, "schedules": []} | wrong
    assert vplus.post(RULES, body).status_code == 400
    assert vplus.read(RULES) == before


def test_a_second_rule_may_be_refused(start: Start) -> None:
    vplus = start()
    rule_of(vplus, "policy-beta")
    vplus.server.control.change(second_rule="refused")
    assert vplus.post(RULES, {"name": "x", "policy": "policy-beta"}).status_code == 400


def test_destinations_of_the_current_dialect_come_back_as_they_were_written(vplus: Vplus) -> None:
    rule = rule_of(vplus, made(vplus)["guid"], **CURRENT_RULE)
    [entry] = rule["ruleBackupDestinations"]
    assert (entry["backupDestination"]["guid"], entry["roleType"]["name"]) == ("bd-main", "PRIMARY")
    assert entry["backupRetentionSettings"]["retentionKeepLastNFull"] == "9"
    assert vplus.server.world.rules[rule["guid"]].keep_fulls == 9


def test_destinations_that_are_switched_off_are_told_where_asked_for(vplus: Vplus) -> None:
    off = [{"backupDestination": {"guid": "bd-main"}, "roleType": "PRIMARY", "active": False}]
    rule = rule_of(vplus, made(vplus)["guid"], ruleBackupDestinations=off)
    path = f"{RULES}/{rule['guid']}"
    assert vplus.read(path)["ruleBackupDestinations"] == []
    assert len(vplus.read(path, **{"only-active-destinations": "false"})["ruleBackupDestinations"]) == 1


def test_a_server_that_wants_rules_with_the_policy(start: Start) -> None:
    vplus = start(policy_rules="required")
    for rules in (None, []):
        refused = vplus.post(POLICIES, GOLD | {"rules": rules})
        assert (refused.status_code, "rules" in refused.json()["message"]) == (400, True)
    assert vplus.server.world.vms["vm-alpha-new"].policy is None
    policy = made(vplus, rules=[CURRENT_RULE])
    [rule] = policy["rules"]
    assert [row["guid"] for row in rule["schedules"]] == ["schedule-beta"]
    path = f"{POLICIES}/{policy['guid']}"
    kept = vplus.put(path, GOLD | {"rules": [rule | {"name": "renamed"}]}).json()["rules"]
    assert [(row["guid"], row["name"]) for row in kept] == [(rule["guid"], "renamed")]
    replaced = vplus.put(path, GOLD | {"rules": [CURRENT_RULE | {"schedules": []}]}).json()["rules"]
    assert [row["guid"] for row in replaced] != [rule["guid"]]
    assert len(replaced) == 1
    assert vplus.put(path, GOLD | {"rules": [rule]}).status_code == 400, "that rule is gone"


def test_the_journal_tells_what_was_made(vplus: Vplus) -> None:
    policy = made(vplus)["guid"]
    rule = rule_of(vplus, policy)["guid"]
    vplus.delete(f"{POLICIES}/{policy}")
    entries = [(entry.call, entry.guid, entry.status) for entry in vplus.server.control.journal()]
    assert entries == [
        ("POST /policies/vm-backup", policy, 201),
        ("POST /rules/vm-backup", rule, 201),
        ("DELETE /policies/vm-backup/{guid}", policy, 204),
    ]


def test_a_restart_keeps_all_of_it(start: Start, tmp_path: Any) -> None:
    first = start(state_file=tmp_path / "world")
    policy = made(first, backupRetryCount=2)
    rule_of(first, policy["guid"], **CURRENT_RULE)
    told = [first.read(path) for path in (POLICIES, RULES, "/schedules", f"{POLICIES}/{policy['guid']}")]
    first.server.stop()
    second = start(state_file=tmp_path / "world")
    assert [second.read(path) for path in (POLICIES, RULES, "/schedules", f"{POLICIES}/{policy['guid']}")] == told


# Somebody in vPlus itself


def test_somebody_in_vplus_changes_what_is_there(vplus: Vplus) -> None:
    def act(path: str, body: dict[str, Any], status: int = 200) -> Any:
        answer = vplus.control("POST", f"/protection/{path}", body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    act("change", {"kind": "schedules", "guid": "schedule-beta", "members": {"hour": 7, "days": ["FRIDAY"]}})
    assert vplus.read("/schedules/schedule-beta")["hour"] == 7
    act("change", {"kind": "policies", "guid": "policy-beta", "members": {"name": "renamed", "vms": ["vm-lab"]}})
    assert vplus.read(f"{POLICIES}/policy-beta")["name"] == "renamed"
    assert members_of(vplus, "policy-beta") == ["vm-lab"]
    schedule = act(
        "add", {"kind": "schedules", "members": {"name": "theirs", "backup_type": "FULL", "days": ["MONDAY"]}}
    )
    act("change", {"kind": "rules", "guid": "rule-beta", "members": {"schedules": [schedule["guid"]]}})
    assert [row["guid"] for row in vplus.read(f"{RULES}/rule-beta")["schedules"]] == [schedule["guid"]]
    act("change", {"kind": "schedules", "guid": schedule["guid"], "members": {"rules": []}})
    assert vplus.read(f"{RULES}/rule-beta")["schedules"] == []
    act("remove", {"kind": "rules", "guid": "rule-beta"}, 204)
    act("remove", {"kind": "policies", "guid": "policy-alpha"}, 204)
    act("remove", {"kind": "schedules", "guid": "schedule-beta"}, 204)
    assert vplus.names(RULES) == []
    assert vplus.server.control.journal() == [], "the portal did none of it"
    for body, status in (
        ({"kind": "secrets", "guid": "x", "members": {}}, 404),
        ({"kind": "policies", "guid": "nobody", "members": {}}, 404),
        ({"kind": "policies", "guid": "policy-beta", "members": {"colour": 1}}, 400),
        ({"kind": "policies", "guid": "policy-beta", "members": {"priority": "x"}}, 400),
        ({"kind": "policies", "guid": "policy-beta", "members": {"vms": ["nobody"]}}, 400),
    ):
        act("change", body, status)


def test_the_list_of_vms_forgets_how_a_policy_was_called(vplus: Vplus) -> None:
    def shown() -> list[Any]:
        return [row.get("vmBackupPolicy", {}).get("name") for row in vplus.read("/virtual-machines")]

    vplus.server.control.change(hide=["vm.backupUpToDate"])
    assert "beta silver" in shown()
    vplus.put(f"{POLICIES}/policy-beta", {"name": "beta bronze", "vms": ["vm-beta-web"]})
    assert "beta silver" not in shown()
    assert shown().count("beta bronze") == 1


def test_the_policy_of_one_vm_can_be_set(vplus: Vplus) -> None:
    path = "/virtual-machines/vm-lab/settings"
    assert vplus.put(path, {"guid": "vm-lab", "vmBackupPolicy": {"guid": "policy-beta"}}).status_code == 200
    assert members_of(vplus, "policy-beta")[-1] == "vm-lab"
    assert vplus.put(path, {"vmBackupPolicy": "nobody"}).status_code == 400
    assert vplus.put(path, {"guid": "vm-lab", "vmBackupPolicy": None}).status_code == 200
    assert vplus.server.world.vms["vm-lab"].policy is None
    assert vplus.put("/virtual-machines/nobody/settings", {}).status_code == 404
