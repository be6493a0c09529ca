"""Lists of tasks, their filters, cancelling, retention, and the shapes of the answer that creates them."""

from __future__ import annotations

import pytest

from .conftest import Start, Vplus

WEB, MAIL, ERP = "vm-alpha-web", "vm-beta-mail", "vm-gamma-erp"
CANCEL = {"state": {"name": "CANCELLED"}, "statusInfo": "Canceled by user"}


def two_chains_and_a_wait(start: Start) -> Vplus:
    """WEB is stored, MAIL is being exported, ERP waits for tomorrow."""
    vplus = start()
    vplus.export(WEB)
    vplus.server.control.step(60)
    vplus.export(MAIL)
    vplus.export(ERP, windowStart=vplus.server.clock.now() + 86_400_000)
    vplus.server.control.step(5)
    return vplus


def test_every_filter_narrows_and_they_combine(start: Start) -> None:
    vplus = two_chains_and_a_wait(start)
    everything = vplus.read("/tasks")
    export, store, running, waiting = (row["guid"] for row in everything)
    backup = everything[0]["backup"]["guid"]
    for parameters, expected in (
        ({"protectedEntity": WEB}, [export, store]),
        ({"protectedEntity": "nobody"}, []),
        ({"backup": backup}, [export, store]),
        ({"state": "RUNNING"}, [running]),
        ({"state": "FINISHED"}, [export, store]),
        ({"state": "QUEUED"}, [waiting]),
        ({"type": "STORE"}, [store]),
        ({"type": "EXPORT", "state": "FINISHED"}, [export]),
        ({"type": "EXPORT", "protectedEntity": MAIL, "state": "QUEUED"}, []),
        ({"tenantId": "beta-uuid"}, [running]),
        ({"tenantid": "beta-uuid"}, [export, store, running, waiting]),
        ({"protected-entity": WEB}, [export, store, running, waiting]),
        ({"filter": "mail"}, [running]),
        ({"schedule": "schedule-beta"}, []),
        ({"state": "", "type": "undefined", "backup": "null"}, [export, store, running, waiting]),
    ):
        assert vplus.names("/tasks", **parameters) == expected, parameters


def test_the_schedule_filter_finds_what_the_schedule_started(start: Start) -> None:
    vplus = start(seed="demo")
    task = next(t for t in vplus.read("/tasks") if t["originEntity"]["type"]["name"] == "SCHEDULE")
    schedule = task["originEntity"]["guid"]
    found = vplus.read("/tasks", schedule=schedule)
    assert task["guid"] in [row["guid"] for row in found]
    assert {row["originEntity"]["guid"] for row in found} == {schedule}
    assert len(found) < len(vplus.read("/tasks"))


@pytest.mark.parametrize("parameters", [{"state": "CANCELED"}, {"type": "BACKUP"}])
def test_an_unknown_state_or_type_is_refused(vplus: Vplus, parameters: dict[str, str]) -> None:
    assert vplus.get("/tasks", **parameters).status_code == 400


def test_a_server_may_ignore_the_state(start: Start) -> None:
    vplus = start(state_filter="ignored")
    vplus.export(WEB)
    assert vplus.tasks(state="FINISHED") == [("EXPORT", "QUEUED")]


def test_tasks_page_and_sort(start: Start) -> None:
    vplus = two_chains_and_a_wait(start)
    answer = vplus.get("/tasks", page=1, size=3)
    assert (len(answer.json()), answer.headers["X-Total-Count"]) == (1, "4")
    states = [row["state"]["name"] for row in vplus.read("/tasks", orderBy="state", page=0, size=9)]
    assert states == ["FINISHED", "FINISHED", "QUEUED", "RUNNING"]


def test_one_task_or_404(vplus: Vplus) -> None:
    [task] = vplus.export(WEB).json()
    assert vplus.read(f"/tasks/{task['guid']}")["guid"] == task["guid"]
    assert vplus.get("/tasks/nobody").status_code == 404


def test_ended_tasks_vanish_after_retention_and_their_backups_do_not(start: Start) -> None:
    vplus = start(task_retention_seconds=100)
    [task] = vplus.export(WEB).json()
    vplus.server.control.step(60)
    assert len(vplus.tasks()) == 2
    vplus.server.control.step(100)
    assert vplus.tasks() == []
    assert vplus.get(f"/tasks/{task['guid']}").status_code == 404
    assert vplus.newest_backup(WEB)["status"]["name"] == "SUCCESS"


def test_cancel_of_a_running_task_is_true_at_once_in_name_and_later_in_deed(start: Start) -> None:
    vplus = start(export_threads=1, cancel_seconds=6)
    [task] = vplus.export(WEB).json()
    vplus.export(MAIL)
    vplus.server.control.step(10)
    answer = vplus.put(f"/tasks/{task['guid']}/state", CANCEL)
    assert answer.status_code == 200
    assert (answer.json()["state"]["name"], answer.json()["statusInfo"]) == ("CANCELLED", "Canceled by user")
    assert vplus.newest_backup(WEB)["status"]["name"] == "INPROGRESS"
    assert vplus.tasks() == [("EXPORT", "CANCELLED"), ("EXPORT", "QUEUED")]
    vplus.server.control.step(6)
    assert vplus.newest_backup(WEB)["status"]["name"] == "FAILED"
    assert vplus.tasks() == [("EXPORT", "CANCELLED"), ("EXPORT", "RUNNING")]
    assert vplus.tasks(type="STORE") == []


def test_a_second_cancel_removes_the_task_by_force(vplus: Vplus) -> None:
    [task] = vplus.export(WEB).json()
    vplus.server.control.step(10)
    assert vplus.put(f"/tasks/{task['guid']}/state", CANCEL).status_code == 200
    assert vplus.put(f"/tasks/{task['guid']}/state", CANCEL).status_code == 200
    assert vplus.get(f"/tasks/{task['guid']}").status_code == 404
    assert vplus.newest_backup(WEB)["status"]["name"] == "FAILED"


def test_cancel_of_a_queued_task_is_final(vplus: Vplus) -> None:
    [task] = vplus.export(WEB).json()
    assert vplus.put(f"/tasks/{task['guid']}/state", {"state": "CANCELLED"}).json()["state"]["name"] == "CANCELLED"
    assert vplus.newest_backup(WEB)["status"]["name"] == "FAILED"
    vplus.server.control.step(100)
    assert vplus.tasks() == [("EXPORT", "CANCELLED")]


def test_an_ended_task_cannot_be_cancelled(vplus: Vplus) -> None:
    [task] = vplus.export(WEB).json()
    vplus.server.control.step(60)
    assert vplus.put(f"/tasks/{task['guid']}/state", CANCEL).status_code == 409
    assert vplus.read(f"/tasks/{task['guid']}")["state"]["name"] == "FINISHED"


@pytest.mark.parametrize("body", [{"state": {"name": "RUNNING"}}, {"state": "CANCELED"}, {}])
def test_only_cancelled_can_be_set(vplus: Vplus, body: dict[str, object]) -> None:
    [task] = vplus.export(WEB).json()
    assert vplus.put(f"/tasks/{task['guid']}/state", body).status_code == 400


def test_delete_removes_a_queued_task(vplus: Vplus) -> None:
    [task] = vplus.export(WEB).json()
    answer = vplus.delete(f"/tasks/{task['guid']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert vplus.read("/tasks") == []
    assert vplus.newest_backup(WEB)["status"]["name"] == "FAILED"


def test_delete_cancels_a_running_task_first_and_then_removes_it(start: Start) -> None:
    vplus = start(export_threads=1)
    [task] = vplus.export(WEB).json()
    vplus.export(MAIL)
    vplus.server.control.step(10)
    assert vplus.delete(f"/tasks/{task['guid']}").status_code == 204
    assert vplus.tasks()[0] == ("EXPORT", "CANCELLED")
    assert vplus.delete(f"/tasks/{task['guid']}").status_code == 204
    assert vplus.tasks() == [("EXPORT", "RUNNING")]
    assert vplus.delete(f"/tasks/{task['guid']}").status_code == 404


def test_removing_a_finished_export_does_not_stop_its_store(vplus: Vplus) -> None:
    [task] = vplus.export(WEB).json()
    vplus.server.control.step(31)
    assert vplus.delete(f"/tasks/{task['guid']}").status_code == 204
    vplus.server.control.step(30)
    assert vplus.tasks() == [("STORE", "FINISHED")]
    assert vplus.newest_backup(WEB)["status"]["name"] == "SUCCESS"


def test_a_server_that_cannot_cancel_says_405_and_goes_on(start: Start) -> None:
    vplus = start(cancel="missing")
    [task] = vplus.export(WEB).json()
    vplus.server.control.step(10)
    assert vplus.put(f"/tasks/{task['guid']}/state", CANCEL).status_code == 405
    assert vplus.delete(f"/tasks/{task['guid']}").status_code == 405
    vplus.server.control.step(60)
    assert vplus.newest_backup(WEB)["status"]["name"] == "SUCCESS"


def test_a_put_may_answer_with_nothing(start: Start) -> None:
    vplus = start(put_response="empty")
    [task] = vplus.export(WEB).json()
    answer = vplus.put(f"/tasks/{task['guid']}/state", CANCEL)
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("shape", ["default", "one", "array", "batch", "empty"])
def test_the_answer_to_an_export_comes_in_each_shape(start: Start, shape: str) -> None:
    vplus = start(task_response=shape)
    answer = vplus.export(WEB)
    assert answer.status_code == 201
    [guid] = vplus.names("/tasks")
    if shape == "empty":
        assert answer.content == b""
        assert "Content-Type" not in answer.headers
    elif shape == "one":
        assert answer.json()["guid"] == guid
    elif shape == "batch":
        assert answer.json()["successful"] == [{"guid": WEB, "name": "web-01"}]
        assert answer.json()["tasks"][0]["guid"] == guid
    else:
        assert [task["guid"] for task in answer.json()] == [guid]
