"""What the server shows at each richness, by the table of vplus-api.md 4.31, and the switches on top of it."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Start, Vplus

TASK = {"guid", "state", "type", "protectedEntity"}
SCHEDULE = {"guid", "name", "active", "type", "executionType", "backupType", "daysOfWeek", "rules"} | {
    "hour",
    "startWindowLength",
    "months",
    "dayOfWeekOccurrences",
}
LEAST: dict[str, set[str]] = {
    "/virtual-machines/vm-alpha-db": {"guid", "uuid", "name", "present", "lastSuccessfulBackupSize"},
    "/backups/backup-db-inc": {"guid", "status", "backupTime"},
    "/backups/backup-db-failed": {"guid", "status"},
    "/schedules/schedule-beta": SCHEDULE,
    "/policies/vm-backup/policy-beta": {"guid", "name", "rules", "vms"},
    "/rules/vm-backup/rule-beta": {"guid", "name"},
    "/hypervisors/hv-hvm-openstack-nova-1": {"guid", "host"},
}
PLAIN: dict[str, set[str]] = {"/virtual-machines/vm-alpha-db": {"project"}, "/backups/backup-db-inc": {"snapshotTime"}}


def members(value: dict[str, Any]) -> set[str]:
    return set(value)


def one_chain(vplus: Vplus) -> list[dict[str, Any]]:
    vplus.export("vm-alpha-web")
    vplus.server.control.step(60)
    tasks: list[dict[str, Any]] = vplus.read("/tasks")
    return tasks


@pytest.mark.parametrize("path", sorted(LEAST))
def test_the_poorest_server_shows_what_a_real_client_reads_unguarded_and_no_more(start: Start, path: str) -> None:
    assert members(start(richness="poorest").read(path)) == LEAST[path]


@pytest.mark.parametrize("path", sorted(LEAST))
def test_the_plain_server_adds_project_and_snapshot_time_only(start: Start, path: str) -> None:
    assert members(start(richness="plain").read(path)) == LEAST[path] | PLAIN.get(path, set())


@pytest.mark.parametrize("richness", ["poorest", "plain"])
def test_tasks_say_no_more_than_which_vm_type_and_state(start: Start, richness: str) -> None:
    for task in one_chain(start(richness=richness)):
        assert members(task) == TASK
        assert members(task["protectedEntity"]) == {"guid", "name"}


def test_a_generous_task_says_everything(start: Start) -> None:
    export, store = one_chain(start(richness="generous"))
    assert members(export) >= TASK | {"progress", "priority", "windowStart", "originEntity", "backup", "finishTime"}
    assert store["parentTask"]["guid"] == export["guid"]
    assert "parentTask" not in export


def test_poorest_behaviour(start: Start) -> None:
    vplus = start(richness="poorest", sign_in=False)
    login = vplus.sign_in()
    assert (login.status_code, login.content) == (200, b"")
    assert "Content-Type" not in login.headers
    page = vplus.get("/virtual-machines", page=0, size=2, tenantid="beta-uuid")
    assert len(page.json()) == 8
    assert "X-Total-Count" not in page.headers
    assert vplus.get("/projects").status_code == 403
    created = vplus.export("vm-alpha-web")
    assert (created.status_code, created.content) == (201, b"")
    assert "Content-Type" not in created.headers


def test_plain_behaviour(start: Start) -> None:
    vplus = start(richness="plain", sign_in=False)
    assert "privileges" not in vplus.sign_in().json()
    page = vplus.get("/virtual-machines", page=0, size=2, tenantid="beta-uuid")
    assert (len(page.json()), page.headers["X-Total-Count"]) == (2, "8")
    assert vplus.get("/projects").status_code == 200
    assert members(vplus.export("vm-alpha-web").json()[0]) == TASK


def test_generous_behaviour(start: Start) -> None:
    vplus = start(richness="generous", sign_in=False)
    assert vplus.sign_in().json()["uiTimeZone"] == "UTC"
    assert vplus.get("/virtual-machines", page=0, size=2, tenantid="beta-uuid").headers["X-Total-Count"] == "2"


def test_single_members_can_be_shown_and_hidden(start: Start) -> None:
    vplus = start(
        richness="poorest", show=["task.progress", "task.windowStart", "vm.project"], hide=["task.protectedEntity"]
    )
    assert members(one_chain(vplus)[0]) == {"guid", "state", "type", "progress", "windowStart"}
    assert vplus.read("/virtual-machines")[0]["project"]["guid"] == "project-alpha"


@pytest.mark.parametrize("richness", ["poorest", "plain", "generous"])
def test_a_backup_can_be_followed_on_every_server(start: Start, richness: str) -> None:
    vplus = start(richness=richness)
    known = set(vplus.names("/backups", **{"protected-entity": "vm-alpha-web"}))
    assert [task["state"]["name"] for task in one_chain(vplus)] == ["FINISHED", "FINISHED"]
    new = [row for row in vplus.read("/backups", **{"protected-entity": "vm-alpha-web"}) if row["guid"] not in known]
    assert [row["status"]["name"] for row in new] == ["SUCCESS"]
