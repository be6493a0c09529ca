"""The exact wire of the current dialect, where it differs from the guide's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.client.scripted_server import ScriptedServer, answer
from vplus_bridge.client import AtTime, Expectation, Invalid, OutcomeKind, RuleDraft, VplusClient, WriteRequest
from vplus_bridge.client.dialect import DIALECTS, Dialect

CURRENT: Dialect = DIALECTS["current"]
PROJECT = "0f5c2f7e-1111-4222-8333-944445555666"
ON_BEHALF = (("3rd-party", "HORIZON"), ("3rd-party-project", PROJECT))
RULE = {"guid": "ru-1", "name": "Default", "ruleBackupDestinations": [{"guid": "rd-1"}], "colour": "blue"}
DRAFT = RuleDraft("Default", ("s-1",), ("bd-1", "bd-2"))
EXPORT: dict[str, Any] = {
    "vm_guid": "vm-1",
    "destination_guid": "bd-1",
    "backup_type": "FULL",
    "priority": 50,
    "window_start_ms": 1795600801000,
    "window_end_ms": 1795622401000,
    "tenant_label": "label",
}


def body(request: WriteRequest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.body)
    return found


def test_an_export_names_rules_and_no_destination() -> None:
    request = CURRENT.export_request(**EXPORT, rules=[RULE], project_uuid=PROJECT)
    assert (request.path, request.headers) == (f"/tasks/export?project-uuid={PROJECT}", ON_BEHALF)
    assert (request.expects, request.template) == (Expectation.TASK, "/tasks/export")
    assert body(request) == {
        "windowStart": 1795600801000,
        "windowEnd": 1795622401000,
        "priority": 50,
        "backupType": {"name": "FULL"},
        "rules": [RULE],
        "protectedEntities": [{"guid": "vm-1"}],
        "protectedEntityType": "VM",
        "retryCount": 0,
    }


@pytest.mark.parametrize("rules", [None, []])
def test_an_export_without_a_rule_is_not_made(rules: list[Any] | None) -> None:
    with pytest.raises(Invalid, match="rule"):
        CURRENT.export_request(**EXPORT, rules=rules)


def test_a_restore_reads_one_copy_and_takes_its_project_from_the_headers() -> None:
    request = CURRENT.restore_and_import_request(
        backup_guid="b-1",
        hypervisor_manager_guid="hvm-1",
        location_guid="loc-1",
        project_name="alpha",
        project_uuid=PROJECT,
        tenant_label="label",
    )
    assert (request.path, request.headers) == (f"/tasks/restore-and-import?project-uuid={PROJECT}", ON_BEHALF)
    assert body(request) == {
        "backup": {"guid": "b-1"},
        "backupLocation": {"guid": "loc-1"},
        "hypervisorManager": {"guid": "hvm-1"},
        "overwrite": False,
    }


def test_a_restore_without_a_known_copy_names_the_backup() -> None:
    request = CURRENT.restore_and_import_request(backup_guid="b-1", hypervisor_guid="hv-1", cluster_uuid="c")
    assert (request.path, request.headers) == ("/tasks/restore-and-import", ())
    assert body(request) == {
        "backup": {"guid": "b-1"},
        "hypervisor": {"guid": "hv-1"},
        "restoreClusterId": "c",
        "overwrite": False,
    }


def test_a_restore_into_a_project_without_its_id_is_not_made() -> None:
    with pytest.raises(Invalid, match="project"):
        CURRENT.restore_and_import_request(backup_guid="b-1", hypervisor_guid="hv-1", project_name="alpha")


@pytest.mark.parametrize("project", ["", "a b", "a\r\nX: y", "a&all=1", "../x", "p" * 101])
def test_what_is_no_project_id_never_gets_into_a_header(project: str) -> None:
    with pytest.raises(Invalid):
        CURRENT.delete_policy_request("p-1", project_uuid=project)


def entry(guid: str, role: str) -> dict[str, Any]:
    return {
        "backupDestination": {"guid": guid},
        "roleType": {"name": role},
        "backupRetentionSettings": {
            "retentionKeepLastNFull": 4,
            "retentionKeepFullNewerThan": 2592000000,
            "retentionKeepLastNIncremental": 30,
            "retentionKeepIncrementalNewerThan": 2592000000,
            "keepLastBackupWhenSourceStillExists": False,
        },
        "daysToKeepRetentionLock": 0,
        "active": True,
    }


EMBEDDED = {
    "name": "Default",
    "schedules": [{"guid": "s-1"}],
    "ruleBackupDestinations": [entry("bd-1", "PRIMARY"), entry("bd-2", "SECONDARY")],
    "active": True,
    "position": 0,
}


def test_a_policy_comes_with_its_rule_and_every_required_member() -> None:
    request = CURRENT.create_policy_request(
        name="t-gold", vm_guids=["vm-1"], priority=70, rule=DRAFT, tenant_label="label", project_uuid=PROJECT
    )
    assert (request.path, request.headers) == (f"/policies/vm-backup?project-uuid={PROJECT}", ON_BEHALF)
    settings = ("includeTags", "excludeTags", "includeRegExps", "excludeRegExps", "hvClusters", "projects")
    assert body(request) == {
        "name": "t-gold",
        "priority": 70,
        "autoRemoveNonPresent": False,
        "vms": [{"guid": "vm-1"}],
        "autoAssignSettings": {"mode": {"name": "DISABLED"}, **{name: [] for name in settings}},
        "rules": [EMBEDDED],
        "active": True,
        "backupRetryCount": 0,
        "dailyReportEnabled": False,
        "visibleForAllProjects": False,
        "executeAutoAssignmentAfterSavingPolicy": False,
        "disableCleanOldBackups": False,
        "quiesceBeforeSnapshot": False,
        "projectUuid": PROJECT,
    }
    assert CURRENT.RULE_IS_EMBEDDED
    with pytest.raises(Invalid, match="rule"):
        CURRENT.create_policy_request(name="t-gold", vm_guids=["vm-1"])


def test_a_rule_by_itself_and_its_limit_of_two_destinations() -> None:
    request = CURRENT.create_rule_request(DRAFT, policy_guid="p-1", project_uuid=PROJECT)
    assert (request.path, request.headers) == (f"/rules/vm-backup?project-uuid={PROJECT}", ON_BEHALF)
    assert body(request) == EMBEDDED | {"policy": {"guid": "p-1"}}
    with pytest.raises(Invalid, match="two"):
        CURRENT.create_rule_request(RuleDraft("Default", (), ("a", "b", "c")), policy_guid="p-1")


def test_a_schedule_carries_no_label() -> None:
    request = CURRENT.create_schedule_request(
        name="nightly",
        backup_type="FULL",
        timing=AtTime(hour_ms=0, start_window_ms=60_000),
        days_of_week=["MONDAY"],
        tenant_label="label",
        project_uuid=PROJECT,
    )
    assert (request.path, request.headers) == (f"/schedules?project-uuid={PROJECT}", ON_BEHALF)
    assert "tenantId" not in body(request)
    assert body(request)["type"] == {"name": "VM_BACKUP"}


def test_every_write_on_behalf_of_a_project_says_so_and_none_does_without() -> None:
    def requests(project: str | None) -> list[WriteRequest]:
        return [
            CURRENT.delete_schedule_request("s", project_uuid=project),
            CURRENT.delete_policy_request("p", project_uuid=project),
            CURRENT.delete_rule_request("r", project_uuid=project),
            CURRENT.create_rule_request(DRAFT, policy_guid="p", project_uuid=project),
            CURRENT.export_request(**EXPORT, rules=[RULE], project_uuid=project),
        ]

    assert all(one.headers == ON_BEHALF and one.path.endswith(f"?project-uuid={PROJECT}") for one in requests(PROJECT))
    assert all(one.headers == () and "?" not in one.path for one in requests(None))


def test_what_is_made_is_what_arrives(make_client: Any, server: ScriptedServer) -> None:
    server.on("POST /policies/vm-backup", answer({"guid": "p-1", "name": f"uuid_{PROJECT}_t-gold"}, 201))
    client: VplusClient = make_client(dialect="current")
    request = client.dialect.create_policy_request(name="t-gold", vm_guids=[], rule=DRAFT, project_uuid=PROJECT)
    with client.open_write() as channel:
        outcome = channel.send(request)
    assert (outcome.kind, outcome.named) == (OutcomeKind.ACCEPTED, (("p-1", f"uuid_{PROJECT}_t-gold"),))
    (asked,) = server.asked_for("POST /policies/vm-backup")
    assert asked.query == [("project-uuid", PROJECT)]
    assert (asked.headers["3rd-party"], asked.headers["3rd-party-project"]) == ("HORIZON", PROJECT)
    assert asked.body.decode() == request.body


def test_the_types_that_the_two_generations_spell_differently() -> None:
    guide = DIALECTS["guide"]
    assert {"INDEX", "OLD_BACKUPS_REMOVAL"} <= guide.TASK_TYPES - CURRENT.TASK_TYPES
    assert {"INVENTORY_SYNC", "BACKUP_CLEANUP"} <= CURRENT.TASK_TYPES - guide.TASK_TYPES
    assert {"EXPORT", "STORE", "RESTORE", "IMPORT"} <= guide.TASK_TYPES & CURRENT.TASK_TYPES
    assert ("SNAPSHOT" in guide.SCHEDULE_TYPES, "VM_SNAPSHOT" in CURRENT.SCHEDULE_TYPES) == (True, True)
