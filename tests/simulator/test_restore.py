"""Restore with import: RESTORE, a moment without a task, IMPORT; and a new VM that only the next sync shows."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from vplus_simulator.control import TaskChoice
from vplus_simulator.world import Outcome

from .conftest import Start, Vplus

WEB, DB, GONE = "vm-alpha-web", "vm-alpha-db", "vm-alpha-gone"
PATH = "/tasks/restore-and-import"
LONG = 120
CANCEL = {"state": {"name": "CANCELLED"}, "statusInfo": "Canceled by user"}


def restore(vplus: Vplus, **members: Any) -> requests.Response:
    body = {"backup": "backup-web-full", "hypervisorManager": {"guid": "hvm-openstack"}, "restoredPeName": "web-02"}
    return vplus.post(PATH, body | members)


def failed_with(vplus: Vplus, kind: str) -> str:
    """Let time pass; the newest task must be of this type, and have failed; return its reason."""
    vplus.server.control.step(LONG)
    task = vplus.read("/tasks")[-1]
    assert (task["type"]["name"], task["state"]["name"]) == (kind, "FAILED")
    return str(task["statusInfo"])


def new_vms(vplus: Vplus) -> list[dict[str, Any]]:
    """The VMs that a sync adds to the inventory."""
    return [vplus.read(f"/virtual-machines/{guid}") for guid in vplus.server.control.sync().added]


def test_a_restore_makes_a_new_vm_that_the_next_sync_shows(start: Start) -> None:
    vplus = start(inventory_sync_seconds=0, restore_seconds=(5, 5), import_seconds=(10, 10))
    answer = restore(vplus, backup={"guid": "backup-web-full"}, restoreProject="alpha", restoreClusterId="")
    assert answer.status_code == 201
    task = answer.json()
    assert (task["type"]["name"], task["dstProtectedEntity"]["guid"]) == ("RESTORE", WEB)
    assert task["dstProtectedEntity"]["name"] == "web-01"
    vplus.server.control.step(7)
    assert vplus.tasks() == [("RESTORE", "FINISHED")]
    vplus.server.control.step(1.5)
    assert vplus.tasks() == [("RESTORE", "FINISHED"), ("IMPORT", "QUEUED")]
    assert vplus.server.control.summary().platform == 7
    vplus.server.control.step(12)
    rows = vplus.read("/tasks", protectedEntity=WEB)
    assert [row["state"]["name"] for row in rows] == ["FINISHED", "FINISHED"]
    assert rows[1]["parentTask"]["guid"] == rows[0]["guid"]
    assert rows[1]["dstProtectedEntity"]["guid"] == WEB
    assert vplus.names("/tasks", backup="backup-web-full") == [row["guid"] for row in rows]
    assert len(vplus.names("/virtual-machines")) == 8
    [new] = new_vms(vplus)
    assert (new["name"], new["project"]["name"], new["present"]) == ("web-02", "alpha", True)
    assert new["guid"] not in (WEB, new["uuid"])
    assert "lastBackup" not in new
    [entry] = vplus.server.control.journal()
    assert (entry.call, entry.tasks, entry.backups) == (f"POST {PATH}", [rows[0]["guid"]], ["backup-web-full"])


def test_the_restore_job_outlives_the_tasks(start: Start) -> None:
    vplus = start(restore_seconds=(5, 5), import_seconds=(10, 10))
    began = vplus.server.clock.now()
    restore(vplus)
    [job] = vplus.read("/restore-jobs", **{"protected-entity": WEB})
    assert (job["status"]["name"], job["restoreTime"], job["restoreType"]["name"]) == (
        "QUEUED",
        began,
        "RESTORE_AND_IMPORT",
    )
    vplus.server.control.step(LONG)
    vplus.server.control.forget_tasks(TaskChoice())
    assert vplus.read("/tasks") == []
    job = vplus.read(f"/restore-jobs/{job['guid']}")
    assert job["status"]["name"] == "SUCCESS"
    assert job["statusInfo"] == "Backups of VM: web-01 (size: 20.00 GB) imported in: 0m 15s."
    assert (job["taskTimeStats"]["restoreTime"], job["taskTimeStats"]["importTime"]) == (5000, 10000)
    assert job["backup"]["guid"] == "backup-web-full"
    for parameters in ({"protected-entity": DB}, {"from": began + 1}, {"to": began - 1}):
        assert vplus.read("/restore-jobs", **parameters) == []
    assert len(vplus.read("/restore-jobs", **{"from": began, "to": began})) == 1
    assert vplus.get("/restore-jobs/nobody").status_code == 404


@pytest.mark.parametrize(("richness", "status"), [("poorest", 404), ("plain", 200), ("generous", 200)])
def test_what_each_richness_tells(start: Start, richness: str, status: int) -> None:
    vplus = start(richness=richness, inventory_sync_seconds=0)
    answer = restore(vplus)
    assert answer.status_code == 201
    assert (answer.content == b"") == (richness == "poorest")
    vplus.server.control.step(LONG)
    tasks = vplus.get("/tasks")
    assert vplus.get("/restore-jobs").status_code == status
    job = vplus.server.world.restore_jobs[next(iter(vplus.server.world.restore_jobs))]
    assert job.new_uuid is not None
    new = vplus.server.world.guid_of("vm", job.new_uuid)
    for text in (tasks.text, vplus.get("/restore-jobs").text):
        assert new not in text
        assert job.new_uuid not in text
    wanted = {"guid", "state", "type", "protectedEntity"} | ({"dstProtectedEntity"} if richness == "plain" else set())
    if richness != "generous":
        assert all(set(row) == wanted for row in tasks.json())
    if richness == "plain":
        assert [set(row) for row in vplus.read("/restore-jobs")] == [{"guid"}]


def test_a_server_may_name_the_new_vm_on_the_import(start: Start) -> None:
    vplus = start(import_names="restored", inventory_sync_seconds=0)
    restore(vplus)
    vplus.server.control.step(LONG)
    first, second = vplus.read("/tasks")
    assert first["dstProtectedEntity"]["guid"] == WEB
    [new] = new_vms(vplus)
    assert second["dstProtectedEntity"]["guid"] == new["guid"]


def test_a_deleted_vm_can_be_restored_under_its_own_name(vplus: Vplus) -> None:
    assert restore(vplus, backup="backup-gone-full", restoredPeName=None).status_code == 201
    vplus.server.control.step(LONG)
    [new] = [vm for vm in vplus.read("/virtual-machines") if vm["name"] == "files-01" and vm["present"]]
    assert new["guid"] != GONE


def test_the_target_can_be_a_hypervisor_and_a_cluster(vplus: Vplus) -> None:
    edge = next(c for c in vplus.server.world.clusters.values() if c.name == "edge")
    restore(vplus, restoreClusterId=edge.uuid)
    hosts = vplus.server.world.hypervisors
    host = next(h.guid for h in hosts.values() if h.manager == "hvm-vcenter")
    restore(vplus, backup="backup-erp-full", hypervisor={"guid": host}, hypervisorManager=None, restoredPeName="erp-2")
    vplus.server.control.step(LONG)
    by_name = {vm["name"]: vm for vm in vplus.read("/virtual-machines")}
    assert by_name["web-02"]["hvCluster"]["guid"] == edge.guid
    assert by_name["erp-2"]["hypervisor"]["guid"] == host
    assert "project" not in by_name["erp-2"]


@pytest.mark.parametrize(
    ("members", "status"),
    [
        ({"backup": None}, 400),
        ({"backup": "nobody"}, 404),
        ({"backup": None, "backupLocation": {"guid": "location-backup-web-full"}}, 201),
        ({"hypervisorManager": ""}, 400),
        ({"hypervisorManager": None}, 400),
        ({"hypervisorManager": {"guid": "nobody"}}, 404),
        ({"hypervisor": {"guid": "hv-hvm-openstack-nova-1"}}, 400),
        ({"hypervisor": "nobody", "hypervisorManager": ""}, 404),
        ({"restoredPeName": 7}, 400),
        ({"priority": 101}, 400),
        ({"overwrite": "yes"}, 400),
        ({"restoreProject": {"name": "alpha", "uuid": "alpha-uuid"}}, 201),
    ],
)
def test_what_is_refused_at_once(vplus: Vplus, members: dict[str, Any], status: int) -> None:
    answer = restore(vplus, **members)
    assert answer.status_code == status, answer.text
    assert len(vplus.tasks()) == (status == 201)


def test_a_restore_to_a_node_is_not_offered(vplus: Vplus) -> None:
    assert vplus.post("/tasks/restore", {"backup": "backup-web-full"}).status_code == 405


@pytest.mark.parametrize("backup", ["backup-db-removed", "backup-db-failed"])
def test_a_backup_that_is_not_there_fails_as_a_task(vplus: Vplus, backup: str) -> None:
    assert restore(vplus, backup=backup).status_code == 201
    assert "not available" in failed_with(vplus, "RESTORE")
    assert vplus.read("/restore-jobs")[0]["status"]["name"] == "FAILED"


def test_an_incremental_needs_what_it_builds_on(vplus: Vplus) -> None:
    restore(vplus, backup="backup-db-inc")
    vplus.server.control.step(LONG)
    assert vplus.tasks() == [("RESTORE", "FINISHED"), ("IMPORT", "FINISHED")]
    vplus.server.world.backups["backup-db-full"].status = "SUCCESS_REMOVED"
    restore(vplus, backup="backup-db-inc", restoredPeName="db-03")
    assert "SUCCESS_REMOVED" in failed_with(vplus, "RESTORE")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"restoredPeName": "web-01"}, "already exists"),
        ({"restoredPeName": ""}, "already exists"),
        ({"restoredPeName": "a/b"}, "not allowed"),
        ({"restoredPeName": "web\u202e02"}, "not allowed"),
        ({"restoredPeName": "web\n02"}, "not allowed"),
        ({"restoredPeName": " web-02"}, "not allowed"),
        ({"restoredPeName": "x" * 256}, "longer than 255"),
        ({"restoreStorageId": "storage-hvm-openstack-bulk"}, "Storage"),
        ({"restoreClusterId": "cluster-hvm-openstack-nova"}, "Cluster"),
        ({"restoreProject": "alpha-uuid"}, "Project alpha-uuid"),
        ({"restoreProject": "nobody"}, "Project nobody"),
        ({"hypervisorManager": "hvm-vcenter"}, "cannot be imported"),
    ],
)
def test_the_platform_refuses(vplus: Vplus, members: dict[str, Any], words: str) -> None:
    assert restore(vplus, **members).status_code == 201
    assert words in failed_with(vplus, "IMPORT")
    assert vplus.server.control.summary().platform == 7
    [job] = vplus.read("/restore-jobs")
    assert job["status"]["name"] == "FAILED"
    assert words in job["statusInfo"]


def test_a_name_is_taken_within_one_project_only(vplus: Vplus) -> None:
    restore(vplus, restoredPeName="mail-01")
    vplus.server.control.step(LONG)
    assert vplus.tasks()[-1] == ("IMPORT", "FINISHED")
    restore(vplus, restoredPeName="mail-01", restoreProject="beta")
    assert "already exists" in failed_with(vplus, "IMPORT")
    vplus.server.control.change(taken_name="allowed", restore_project="uuid")
    restore(vplus, restoredPeName="mail-01", restoreProject="beta-uuid")
    vplus.server.control.step(LONG)
    assert vplus.tasks()[-1] == ("IMPORT", "FINISHED")


def test_of_two_restores_with_one_name_the_second_fails(vplus: Vplus) -> None:
    restore(vplus)
    restore(vplus)
    vplus.server.control.step(LONG)
    states = [state for kind, state in vplus.tasks() if kind == "IMPORT"]
    assert sorted(states) == ["FAILED", "FINISHED"]


def test_overwrite_removes_every_vm_of_that_name_in_the_project(vplus: Vplus) -> None:
    restore(vplus, restoredPeName="web-01", overwrite=True)
    vplus.server.control.step(LONG)
    present = [vm for vm in vplus.read("/virtual-machines") if vm["name"] == "web-01" and vm["present"]]
    assert {vm["project"]["name"] for vm in present} == {"alpha", "beta"}
    assert WEB not in [vm["guid"] for vm in present]


def test_room_is_what_the_storage_has_and_not_what_statistics_say(vplus: Vplus) -> None:
    bulk = next(s for s in vplus.server.world.storages.values() if s.guid == "storage-hvm-openstack-bulk")
    shown = bulk.used
    vplus.server.control.change(inventory_sync_seconds=0)
    answer = vplus.control("POST", "/platform/storage", {"storage": bulk.uuid, "free": 2**30})
    assert answer.status_code == 200
    rows = {row["uuid"]: row for row in vplus.read("/hypervisor-storages")}
    assert rows[bulk.uuid]["totalUsedSpace"] == shown
    restore(vplus, restoreStorageId=bulk.uuid)
    assert "Not enough space" in failed_with(vplus, "IMPORT")
    vplus.server.control.sync()
    rows = {row["uuid"]: row for row in vplus.read("/hypervisor-storages")}
    assert rows[bulk.uuid]["totalAvailableSpace"] - rows[bulk.uuid]["totalUsedSpace"] == 2**30
    assert vplus.control("POST", "/platform/storage", {"storage": "nobody", "free": 1}).status_code == 404
    assert vplus.control("POST", "/platform/storage", {"storage": bulk.guid, "free": -1}).status_code == 400


def test_a_restored_vm_takes_room(vplus: Vplus) -> None:
    vplus.server.control.change(inventory_sync_seconds=0)
    bulk = vplus.server.world.storages["storage-hvm-openstack-bulk"]
    before = bulk.free
    restore(vplus, restoreStorageId=bulk.uuid)
    vplus.server.control.step(LONG)
    assert before - bulk.free == vplus.server.world.vms[WEB].size


@pytest.mark.parametrize(("kind", "at"), [("RESTORE", 3), ("IMPORT", 12)])
def test_both_phases_can_be_cancelled(start: Start, kind: str, at: int) -> None:
    vplus = start(restore_seconds=(5, 5), import_seconds=(10, 10), cancel_seconds=4)
    restore(vplus)
    vplus.server.control.step(at)
    [running] = [row for row in vplus.read("/tasks") if row["state"]["name"] == "RUNNING"]
    assert running["type"]["name"] == kind
    assert vplus.put(f"/tasks/{running['guid']}/state", CANCEL).status_code == 200
    assert vplus.read("/restore-jobs")[0]["status"]["name"] == "INPROGRESS"
    vplus.server.control.step(LONG)
    assert vplus.tasks()[-1] == (kind, "CANCELLED")
    assert vplus.read("/restore-jobs")[0]["status"]["name"] == "FAILED"
    assert vplus.server.control.summary().platform == 7


def test_a_queued_import_can_be_cancelled(start: Start) -> None:
    vplus = start(import_threads=0)
    restore(vplus)
    vplus.server.control.step(LONG)
    [_, waiting] = vplus.read("/tasks")
    assert waiting["state"]["name"] == "QUEUED"
    assert vplus.delete(f"/tasks/{waiting['guid']}").status_code == 204
    assert vplus.read("/restore-jobs")[0]["status"]["name"] == "FAILED"


@pytest.mark.parametrize("kind", ["RESTORE", "IMPORT"])
def test_either_phase_fails_or_stands_still_on_order(vplus: Vplus, kind: str) -> None:
    control = vplus.server.control
    control.next_outcome(Outcome(outcome="fail", type=kind, progress=40, reason="no luck"))
    control.next_outcome(Outcome(outcome="hold", type=kind, progress=60))
    restore(vplus)
    assert failed_with(vplus, kind) == "no luck"
    restore(vplus)
    control.step(LONG)
    held = vplus.read("/tasks")[-1]
    assert (held["type"]["name"], held["state"]["name"], held["progress"]) == (kind, "RUNNING", 60.0)
    control.release(held["guid"])
    control.step(LONG)
    assert vplus.tasks()[-1] == ("IMPORT", "FINISHED")


def test_tidying_up_and_a_restart_between_the_phases_lose_nothing(start: Start) -> None:
    vplus = start(import_gap_seconds=20, restore_seconds=(5, 5))
    restore(vplus)
    vplus.server.control.step(10)
    [done] = vplus.names("/tasks")
    assert vplus.delete(f"/tasks/{done}").status_code == 204
    assert vplus.tasks() == [("IMPORT", "QUEUED")]
    restore(vplus, restoredPeName="web-03")
    vplus.server.control.step(7)
    world = vplus.server.world
    world.restore(world.snapshot())
    vplus.server.engine.resume(vplus.server.clock.now())
    vplus.server.control.step(LONG)
    assert [job["status"]["name"] for job in vplus.read("/restore-jobs")] == ["SUCCESS", "SUCCESS"]
    assert vplus.tasks().count(("IMPORT", "FINISHED")) == 2


@pytest.mark.parametrize("shape", ["one", "array", "batch", "empty"])
def test_the_answer_comes_in_each_shape(start: Start, shape: str) -> None:
    vplus = start(task_response=shape)
    answer = restore(vplus)
    [guid] = vplus.names("/tasks")
    assert answer.status_code == 201
    found: Any = answer.json() if shape != "empty" else None
    if shape == "one":
        assert found["guid"] == guid
    elif shape == "array":
        assert found[0]["guid"] == guid
    elif shape == "batch":
        assert found["tasks"][0]["guid"] == guid
    else:
        assert answer.content == b""


def test_managers_that_a_backup_can_go_to(vplus: Vplus) -> None:
    assert vplus.names("/hypervisor-managers/", **{"backup-to-be-restored": "backup-gone-full"}) == ["hvm-openstack"]
    assert vplus.names("/hypervisor-managers", **{"backup-to-be-restored": "backup-erp-full"}) == ["hvm-vcenter"]
