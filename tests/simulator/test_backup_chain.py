"""A backup from the POST to the stored record, and everything that can come between."""

from __future__ import annotations

from typing import Any

import pytest

from vplus_simulator.world import Outcome

from .conftest import Start, Vplus

WEB = "vm-alpha-web"


def test_each_state_on_the_way(vplus: Vplus) -> None:
    step = vplus.server.control.step
    begun = vplus.server.clock.now()
    [task] = vplus.export(WEB).json()
    assert task["state"]["name"] == "QUEUED"
    backup = vplus.newest_backup(WEB)
    assert backup["status"]["name"] == "QUEUED"
    assert backup["size"] == 0
    assert backup.keys().isdisjoint({"snapshotTime", "backupTime"})

    step(1)
    assert vplus.tasks() == [("EXPORT", "RUNNING")]
    assert vplus.newest_backup(WEB)["status"]["name"] == "INPROGRESS"
    step(2)
    assert vplus.newest_backup(WEB)["snapshotTime"] == begun + 3000
    step(13)
    assert vplus.read(f"/tasks/{task['guid']}")["progress"] == 50.0

    step(15)
    assert vplus.tasks() == [("EXPORT", "FINISHED")]
    assert vplus.newest_backup(WEB)["status"]["name"] == "INPROGRESS"
    step(2)
    assert vplus.tasks() == [("EXPORT", "FINISHED"), ("STORE", "QUEUED")]
    step(1)
    assert vplus.tasks()[1] == ("STORE", "RUNNING")
    store = vplus.read("/tasks", state="RUNNING")[0]
    assert store["parentTask"]["guid"] == task["guid"]
    assert store["backup"]["guid"] == task["backup"]["guid"] == backup["guid"]
    assert vplus.newest_backup(WEB)["status"]["name"] == "INPROGRESS"

    step(10)
    assert vplus.tasks() == [("EXPORT", "FINISHED"), ("STORE", "FINISHED")]
    done = vplus.newest_backup(WEB)
    assert (done["guid"], done["status"]["name"], done["type"]["name"]) == (backup["guid"], "SUCCESS", "FULL")
    assert done["backupTime"] == vplus.server.clock.now()
    assert done["taskTimeStats"] == {
        "queuedExportTime": 1000,
        "exportTime": 30_000,
        "queuedStoreTime": 1000,
        "storeTime": 10_000,
    }
    assert done["size"] > 0
    vm = vplus.read(f"/virtual-machines/{WEB}")
    assert vm["lastBackup"] == done["backupTime"]
    assert vm["lastSuccessfulBackupSize"] == done["size"]
    assert vm["lastSuccessfulFullBackup"]["guid"] == done["guid"]


def test_one_long_step_ends_where_many_short_ones_do(start: Start) -> None:
    ends = []
    for steps in ([600], [1] * 60 + [540], [7.3] * 50 + [235]):
        vplus = start()
        vplus.export(WEB, "vm-beta-web")
        for seconds in steps:
            vplus.server.control.step(seconds)
        ends.append((vplus.read("/tasks"), vplus.read("/backups")))
    assert ends[0] == ends[1] == ends[2]


def test_one_task_and_one_record_per_vm(vplus: Vplus) -> None:
    tasks = vplus.export(WEB, "vm-beta-web", WEB).json()
    assert [task["protectedEntity"]["guid"] for task in tasks] == [WEB, "vm-beta-web"]
    assert len({task["backup"]["guid"] for task in tasks}) == 2


@pytest.mark.parametrize(
    "body",
    [
        {"backupType": "FULL", "protectedEntities": [WEB], "priority": "70", "retryCount": "2"},
        {"backupType": {"name": "FULL"}, "protectedEntities": [{"guid": WEB, "name": ""}], "priority": 70.0},
        {
            "backupType": {"name": "FULL", "description": "Full"},
            "protectedEntities": [{"guid": WEB, "present": True, "shortName": "x"}],
            "priority": 70,
            "backupDestination": None,
            "async": True,
            "windowEnd": "",
        },
    ],
)
def test_requests_are_read_leniently(vplus: Vplus, body: dict[str, Any]) -> None:
    answer = vplus.post("/tasks/export", body)
    assert answer.status_code == 201
    assert answer.json()[0]["priority"] == 70
    assert answer.json()[0]["backupDestination"]["guid"] == "bd-main"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"protectedEntities": []}, 400),
        ({"protectedEntities": WEB}, 400),
        ({"protectedEntities": [{"name": "web-01"}]}, 400),
        ({"protectedEntities": ["nobody"]}, 404),
        ({"backupType": "DIFFERENTIAL"}, 400),
        ({"backupType": None}, 400),
        ({"priority": 101}, 400),
        ({"priority": -1}, 400),
        ({"priority": "high"}, 400),
        ({"priority": True}, 400),
        ({"retryCount": -1}, 400),
        ({"windowStart": 2000, "windowEnd": 2000}, 400),
        ({"windowStart": "soon"}, 400),
        ({"backupDestination": {"guid": "nowhere"}}, 404),
    ],
)
def test_what_makes_no_sense_is_refused_and_starts_nothing(vplus: Vplus, change: dict[str, Any], status: int) -> None:
    body = {"backupType": {"name": "FULL"}, "protectedEntities": [{"guid": WEB}]} | change
    answer = vplus.post("/tasks/export", body)
    assert answer.status_code == status
    assert answer.json()["message"]
    assert vplus.read("/tasks") == []
    assert vplus.server.control.journal() == []


def test_a_window_in_the_future_waits_and_is_echoed_to_the_millisecond(vplus: Vplus) -> None:
    start = vplus.server.clock.now() + 60_007
    vplus.export(WEB, windowStart=start, windowEnd=start + 60_000)
    vplus.server.control.step(60)
    [task] = vplus.read("/tasks")
    assert (task["state"]["name"], task["windowStart"], task["windowEnd"]) == ("QUEUED", start, start + 60_000)
    vplus.server.control.step(0.007)
    assert vplus.tasks() == [("EXPORT", "RUNNING")]


def test_a_window_without_an_end_is_five_hours_long(vplus: Vplus) -> None:
    [task] = vplus.export(WEB).json()
    assert task["windowStart"] == vplus.server.clock.now()
    assert task["windowEnd"] - task["windowStart"] == 5 * 3_600_000


def test_a_task_that_is_not_started_in_its_window_fails(start: Start) -> None:
    vplus = start(export_threads=1)
    now = vplus.server.clock.now()
    vplus.export(WEB)
    vplus.export("vm-beta-web", windowStart=now, windowEnd=now + 20_000)
    vplus.server.control.step(20)
    assert vplus.tasks() == [("EXPORT", "RUNNING"), ("EXPORT", "QUEUED")]
    vplus.server.control.step(1)
    late = vplus.read("/tasks", protectedEntity="vm-beta-web")[0]
    assert (late["state"]["name"], "startTime" in late) == ("FAILED", False)
    assert "time window" in late["statusInfo"]
    assert vplus.newest_backup("vm-beta-web")["status"]["name"] == "FAILED"


def test_a_running_task_continues_beyond_its_window(vplus: Vplus) -> None:
    now = vplus.server.clock.now()
    vplus.export(WEB, windowStart=now, windowEnd=now + 5000)
    vplus.server.control.step(40)
    assert vplus.tasks()[0] == ("EXPORT", "FINISHED")


def test_a_window_that_has_passed_already_makes_a_task_that_fails(vplus: Vplus) -> None:
    now = vplus.server.clock.now()
    assert vplus.export(WEB, windowStart=now - 9000, windowEnd=now - 1000).status_code == 201
    assert vplus.tasks() == [("EXPORT", "FAILED")]


def test_a_server_may_put_its_own_time_into_window_start(start: Start) -> None:
    vplus = start(window_start="server_time")
    [task] = vplus.export(WEB, windowStart=vplus.server.clock.now() + 30_000).json()
    assert task["windowStart"] == vplus.server.clock.now()
    vplus.server.control.step(29)
    assert vplus.tasks() == [("EXPORT", "QUEUED")]


def test_the_highest_priority_goes_first_then_the_oldest(start: Start) -> None:
    vplus = start(export_threads=1, store_threads=1)
    for vm, priority in ((WEB, 10), ("vm-alpha-db", 50), ("vm-beta-web", 90), ("vm-beta-mail", 50)):
        vplus.export(vm, priority=priority)
    order: list[str] = []
    for _ in range(150):
        vplus.server.control.step(1)
        order += [row["protectedEntity"]["guid"] for row in vplus.read("/tasks", type="EXPORT", state="RUNNING")]
    assert list(dict.fromkeys(order)) == ["vm-beta-web", "vm-alpha-db", "vm-beta-mail", WEB]


@pytest.mark.parametrize(
    ("switch", "expected"), [({"export_threads": 2}, 2), ({"export_threads_per_source": 1}, 2), ({}, 4)]
)
def test_the_node_runs_so_many_at_once(start: Start, switch: dict[str, int], expected: int) -> None:
    vplus = start(**switch)
    vplus.export(WEB, "vm-alpha-db", "vm-beta-web", "vm-gamma-erp")
    vplus.server.control.step(1)
    running = vplus.read("/tasks", state="RUNNING")
    assert len(running) == expected
    if "export_threads_per_source" in switch:
        assert {row["hypervisorManager"]["guid"] for row in running} == {"hvm-openstack", "hvm-vcenter"}
    vplus.server.control.step(200)
    assert vplus.tasks(type="STORE") == [("STORE", "FINISHED")] * 4


def test_store_threads_bound_stores(start: Start) -> None:
    vplus = start(store_threads=1)
    vplus.export(WEB, "vm-beta-web")
    vplus.server.control.step(34)
    assert sorted(vplus.tasks(type="STORE")) == [("STORE", "QUEUED"), ("STORE", "RUNNING")]


def test_an_incremental_builds_on_the_last_backup(vplus: Vplus) -> None:
    vplus.export("vm-alpha-db", kind="INCREMENTAL")
    vplus.server.control.step(60)
    backup = vplus.newest_backup("vm-alpha-db")
    assert (backup["type"]["name"], backup["parentBackup"]["guid"]) == ("INCREMENTAL", "backup-db-inc")
    assert backup["guid"] in vplus.names("/backups", **{"root-backup": "backup-db-full"})


@pytest.mark.parametrize("vm", ["vm-beta-web", "vm-alpha-new", "vm-gamma-erp"])
def test_an_incremental_without_a_base_becomes_a_full_silently(vplus: Vplus, vm: str) -> None:
    [task] = vplus.export(vm, kind="INCREMENTAL").json()
    vplus.server.control.step(60)
    assert vplus.read(f"/tasks/{task['guid']}")["backupType"]["name"] == "INCREMENTAL"
    backup = vplus.newest_backup(vm)
    assert (backup["status"]["name"], backup["type"]["name"]) == ("SUCCESS", "FULL")
    assert "parentBackup" not in backup


def test_a_platform_without_change_tracking_falls_back_to_full(vplus: Vplus) -> None:
    vplus.server.world.vms["vm-alpha-db"].incremental = False
    vplus.export("vm-alpha-db", kind="INCREMENTAL")
    vplus.server.control.step(60)
    assert vplus.newest_backup("vm-alpha-db")["type"]["name"] == "FULL"


def test_an_export_ordered_to_fail_leaves_no_store_and_a_failed_backup(vplus: Vplus) -> None:
    vplus.server.control.next_outcome(Outcome(outcome="fail", vm=WEB, progress=40, reason="Disk is on fire"))
    vplus.export("vm-beta-web")
    vplus.export(WEB)
    vplus.server.control.step(60)
    [task] = vplus.read("/tasks", protectedEntity=WEB)
    assert (task["state"]["name"], task["statusInfo"], task["progress"]) == ("FAILED", "Disk is on fire", 40.0)
    backup = vplus.newest_backup(WEB)
    assert (backup["status"]["name"], backup["statusInfo"]) == ("FAILED", "Disk is on fire")
    assert "backupTime" not in backup
    assert vplus.newest_backup("vm-beta-web")["status"]["name"] == "SUCCESS"


def test_a_store_that_fails_fails_the_backup(vplus: Vplus) -> None:
    vplus.server.control.next_outcome(Outcome(outcome="fail", type="STORE"))
    before = vplus.read(f"/virtual-machines/{WEB}")["lastBackup"]
    vplus.export(WEB)
    vplus.server.control.step(60)
    assert vplus.tasks() == [("EXPORT", "FINISHED"), ("STORE", "FAILED")]
    assert vplus.newest_backup(WEB)["status"]["name"] == "FAILED"
    assert vplus.read(f"/virtual-machines/{WEB}")["lastBackup"] == before


def test_a_partial_success_has_a_warning(vplus: Vplus) -> None:
    vplus.server.control.next_outcome(Outcome(outcome="partial", type="STORE"))
    vplus.export(WEB)
    vplus.server.control.step(60)
    backup = vplus.newest_backup(WEB)
    assert (backup["status"]["name"], len(backup["warnings"])) == ("PARTIAL_SUCCESS", 1)


def test_a_held_task_stands_still_until_it_is_released(vplus: Vplus) -> None:
    control = vplus.server.control
    control.next_outcome(Outcome(outcome="hold", progress=60))
    [task] = vplus.export(WEB).json()
    control.step(3600)
    shown = vplus.read(f"/tasks/{task['guid']}")
    assert (shown["state"]["name"], shown["progress"]) == ("RUNNING", 60.0)
    control.release(task["guid"])
    control.step(11)
    assert vplus.read(f"/tasks/{task['guid']}")["state"]["name"] == "RUNNING"
    control.step(1)
    assert vplus.read(f"/tasks/{task['guid']}")["state"]["name"] == "FINISHED"


def test_a_held_task_can_be_failed_where_it_stands(vplus: Vplus) -> None:
    control = vplus.server.control
    control.next_outcome(Outcome(outcome="hold", progress=60))
    [task] = vplus.export(WEB).json()
    control.step(100)
    control.release(task["guid"], fail_reason="Pulled the plug")
    shown = vplus.read(f"/tasks/{task['guid']}")
    assert (shown["state"]["name"], shown["progress"], shown["statusInfo"]) == ("FAILED", 60.0, "Pulled the plug")


def test_chance_fails_as_often_as_told_and_the_same_ones_each_time(start: Start) -> None:
    def failed(rate: float) -> list[str]:
        vplus = start(seed="demo", export_failure_rate=rate, export_threads=100, store_threads=100)
        known = {row["guid"] for row in vplus.read("/tasks")}
        vms = [row["guid"] for row in vplus.read("/virtual-machines") if row["present"]][:60]
        vplus.export(*vms)
        vplus.server.control.step(120)
        return [
            row["protectedEntity"]["guid"] for row in vplus.read("/tasks", state="FAILED") if row["guid"] not in known
        ]

    half = failed(0.5)
    assert 15 < len(half) < 45
    assert failed(0.5) == half
    assert failed(0.0) == []


@pytest.mark.parametrize(
    ("vm", "destination", "words"),
    [
        ("vm-alpha-gone", "bd-main", "not present"),
        (WEB, "bd-off", "not assigned to the node"),
        ("vm-beta-web", "bd-alpha", "not available for the project"),
    ],
)
def test_what_cannot_run_is_a_task_that_fails(vplus: Vplus, vm: str, destination: str, words: str) -> None:
    answer = vplus.export(vm, backupDestination={"guid": destination})
    assert answer.status_code == 201
    vplus.server.control.step(1)
    [task] = vplus.read("/tasks")
    assert task["state"]["name"] == "FAILED"
    assert words in task["statusInfo"]
    assert vplus.newest_backup(vm)["status"]["name"] == "FAILED"


def test_a_vm_deleted_on_the_platform_fails_before_and_during_the_export(vplus: Vplus) -> None:
    control = vplus.server.control
    vplus.export("vm-beta-web")
    control.step(10)
    control.remove_vm("vm-beta-web")
    control.remove_vm(WEB)
    vplus.export(WEB)
    control.step(40)
    assert vplus.tasks() == [("EXPORT", "FAILED"), ("EXPORT", "FAILED")]
    reasons = [row["statusInfo"] for row in vplus.read("/tasks")]
    assert ["disappeared" in reasons[0], "was not found" in reasons[1]] == [True, True]


def test_the_rule_names_the_destination_when_the_post_does_not(vplus: Vplus) -> None:
    vplus.server.world.rules["rule-alpha"].destinations = ["bd-alpha"]
    assert vplus.export(WEB).json()[0]["backupDestination"]["guid"] == "bd-alpha"
    assert vplus.export("vm-lab").json()[0]["backupDestination"]["guid"] == "bd-main"


def test_retention_removes_old_chains_by_a_task_without_a_vm(vplus: Vplus) -> None:
    control = vplus.server.control
    vplus.server.world.rules["rule-alpha"].keep_fulls = 1
    vplus.export("vm-alpha-db")
    control.step(60)
    assert set(control.clean_up()) == {"backup-db-full", "backup-db-inc"}
    statuses = {
        row["guid"]: row["status"]["name"] for row in vplus.read("/backups", **{"protected-entity": "vm-alpha-db"})
    }
    assert statuses["backup-db-inc"] == "SUCCESS_REMOVED"
    assert list(statuses.values())[-1] == "SUCCESS"
    removal = vplus.read("/tasks", type="OLD_BACKUPS_REMOVAL")[0]
    assert "protectedEntity" not in removal
    assert removal["originEntity"]["type"]["name"] == "SYSTEM_SCHEDULE"


def test_the_cleanup_runs_every_night(start: Start) -> None:
    vplus = start()
    vplus.server.control.step(15 * 3600)
    assert vplus.tasks() == [("OLD_BACKUPS_REMOVAL", "FINISHED")]
    vplus.server.control.step(24 * 3600)
    assert len(vplus.tasks()) == 2
