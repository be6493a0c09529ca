"""What a server of the current dialect demands and tells, at its poorest (vplus-api.md 0.1)."""

from typing import Any

import pytest

from tests.simulator.conftest import Start, Vplus

WEB = {"protected-entity": "vm-alpha-web"}
RULE = {
    "name": "Default",
    "schedules": [],
    "active": True,
    "position": 0,
    "ruleBackupDestinations": [
        {
            "backupDestination": {"guid": "bd-alpha"},
            "roleType": {"name": "PRIMARY"},
            "backupRetentionSettings": {"retentionKeepLastNFull": 4},
            "daysToKeepRetentionLock": 0,
            "active": True,
        }
    ],
}
POLICY = {
    "name": "gold",
    "priority": 50,
    "autoRemoveNonPresent": False,
    "autoAssignSettings": {"mode": {"name": "DISABLED"}},
    "active": True,
    "backupRetryCount": 0,
    "vms": ["vm-alpha-new"],
    "rules": [RULE],
}


@pytest.fixture
def current(start: Start) -> Vplus:
    return start(dialect="current", richness="poorest", task_response="array")


def rules_of(vplus: Vplus, policy: str) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = vplus.read(f"/policies/vm-backup/{policy}")["rules"]
    return rules


def export(vplus: Vplus, vm: str, **members: Any) -> Any:
    return vplus.export(vm, **{"protectedEntityType": "VM", **members})


def test_an_export_goes_where_its_rule_says(current: Vplus) -> None:
    made = current.post("/policies/vm-backup", POLICY)
    assert made.status_code == 201, made.text
    answer = export(current, "vm-alpha-new", rules=rules_of(current, made.json()["guid"]), backupDestination="bd-main")
    assert answer.status_code == 201, answer.text
    [backup] = [b for b in current.server.world.backups.values() if b.vm == "vm-alpha-new"]
    assert (backup.destination, backup.rule) == ("bd-alpha", made.json()["rules"][0]["guid"])


@pytest.mark.parametrize(
    ("vm", "rules"),
    [
        ("vm-alpha-web", None),
        ("vm-alpha-web", []),
        ("vm-alpha-web", [None]),
        ("vm-alpha-web", [{"guid": "rule-alpha", "name": "no more than that"}]),
        ("vm-alpha-web", "policy-beta"),
        ("vm-alpha-new", "policy-alpha"),
    ],
)
def test_an_export_without_an_active_rule_of_its_policy_is_refused(current: Vplus, vm: str, rules: Any) -> None:
    given = rules_of(current, rules) if isinstance(rules, str) else rules
    refused = export(current, vm, rules=given)
    assert (refused.status_code, "rules" in refused.json()["message"]) == (400, True)
    assert current.tasks() == []


def test_an_inactive_rule_backs_nothing_up(current: Vplus) -> None:
    rules = rules_of(current, "policy-alpha")
    current.server.world.rules["rule-alpha"].active = False
    assert export(current, "vm-alpha-web", rules=rules).status_code == 400


def test_a_restore_reads_a_copy_and_goes_to_the_project_of_its_headers(current: Vplus) -> None:
    body = {"backup": {"guid": "backup-web-full"}, "hypervisorManager": {"guid": "hvm-openstack"}}
    refused = current.post("/tasks/restore-and-import", body)
    assert (refused.status_code, "backupLocation" in refused.json()["message"]) == (400, True)
    [copy] = current.read("/backup-locations/for-restore", **WEB)
    assert copy["backup"]["guid"] == "backup-web-full"
    current.http.headers["3rd-party-project"] = "beta-uuid"
    for backup in ({"guid": "backup-web-full"}, None):
        assert current.post("/tasks/restore-and-import", body | {"backup": backup, "backupLocation": copy}).ok
    assert [job.project for job in current.server.world.restore_jobs.values()] == ["beta", "beta"]
    other = body | {"backup": "backup-db-full", "backupLocation": copy}
    assert current.post("/tasks/restore-and-import", other).status_code == 400


@pytest.mark.parametrize("lacking", ["rules", "active", "backupRetryCount", "autoAssignSettings", "priority"])
def test_a_policy_without_what_is_required_is_refused(current: Vplus, lacking: str) -> None:
    body = {name: value for name, value in POLICY.items() if name != lacking}
    assert current.post("/policies/vm-backup", body).status_code == 400


@pytest.mark.parametrize("lacking", ["ruleBackupDestinations", "active", "position"])
def test_a_rule_without_what_is_required_is_refused(current: Vplus, lacking: str) -> None:
    rule = {name: value for name, value in RULE.items() if name != lacking}
    assert current.post("/policies/vm-backup", POLICY | {"rules": [rule]}).status_code == 400
    assert current.post("/rules/vm-backup", rule | {"policy": "policy-beta"}).status_code == 400


def test_lists_of_policies_tell_rules_only_where_asked(current: Vplus) -> None:
    assert not any("rules" in policy for policy in current.read("/policies/vm-backup"))
    [first, *_rest] = current.read("/policies/vm-backup", extended="true")
    [entry] = first["rules"][0]["ruleBackupDestinations"]
    assert (first["name"], entry["backupDestination"]["guid"]) == ("uuid_alpha-uuid_alpha gold", "bd-main")
    assert set(entry) == {"backupDestination", "roleType"}


def test_what_its_pages_read_unguarded_is_there(current: Vplus) -> None:
    [backup] = current.read("/backups", **WEB)
    assert set(backup) == {"guid", "status", "backupTime", "backupLocations", "taskTimeStats", "warnings"}
    assert "guid" not in backup["backupLocations"][0]


def test_tasks_are_found_by_the_names_that_it_knows(current: Vplus) -> None:
    export(current, "vm-alpha-web", rules=rules_of(current, "policy-alpha"))
    export(current, "vm-beta-web", rules=rules_of(current, "policy-beta"))
    assert len(current.tasks(**WEB)) == 1
    assert len(current.tasks(protectedEntity="vm-alpha-web")) == 2, "a name of the guide is not looked at"
    assert len(current.tasks(states=["QUEUED", "RUNNING"])) == 2
    assert current.tasks(states=["FINISHED"]) == []
    assert current.get("/tasks", type="INVENTORY_SYNC").status_code == 200
    assert current.get("/tasks", type="INDEX").status_code == 400
    assert current.get("/schedules", type="VM_SNAPSHOT").status_code == 200
    current.control("POST", "/cleanup")
    assert [kind for kind, _state in current.tasks() if kind not in {"EXPORT"}] == ["BACKUP_CLEANUP"]


def test_the_dialect_is_a_switch_of_a_running_server(start: Start) -> None:
    vplus = start()
    assert vplus.get("/backup-locations").status_code == 404
    assert vplus.control("POST", "/settings", {"dialect": "current"}).status_code == 200
    assert vplus.get("/backup-locations").status_code == 200
    assert export(vplus, "vm-alpha-web", backupDestination="bd-main").status_code == 400
