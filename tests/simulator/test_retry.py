"""Retry by copy: a failed export or store is tried again under a new guid, for the same backup record."""

from __future__ import annotations

from typing import Any

import pytest

from vplus_simulator.world import Outcome

from .conftest import Start, Vplus

LAB = "vm-lab"


def fail_next(vplus: Vplus, kind: str, times: int = 1) -> None:
    for _ in range(times):
        vplus.server.control.next_outcome(Outcome(outcome="fail", type=kind, reason="no luck"))


def chain(vplus: Vplus) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = vplus.read("/tasks", protectedEntity=LAB)
    return rows


def test_a_failed_export_is_copied_with_one_try_less(vplus: Vplus) -> None:
    fail_next(vplus, "EXPORT")
    vplus.export(LAB, retryCount=2)
    vplus.server.control.step(17)
    assert vplus.tasks() == [("EXPORT", "FAILED"), ("EXPORT", "QUEUED")]
    first, copy = chain(vplus)
    assert (first["retryCount"], copy["retryCount"]) == (2, 1)
    assert (first["windowStart"], first["backup"]) == (copy["windowStart"], copy["backup"])
    assert vplus.newest_backup(LAB)["status"]["name"] == "QUEUED"
    vplus.server.control.step(60)
    assert vplus.tasks() == [("EXPORT", "FAILED"), ("EXPORT", "FINISHED"), ("STORE", "FINISHED")]
    assert vplus.newest_backup(LAB)["status"]["name"] == "SUCCESS"


def test_a_failed_store_repeats_only_the_store(vplus: Vplus) -> None:
    fail_next(vplus, "STORE")
    vplus.export(LAB, retryCount="1")
    vplus.server.control.step(60)
    export, store, copy = chain(vplus)
    assert [task["type"]["name"] for task in (export, store, copy)] == ["EXPORT", "STORE", "STORE"]
    assert store["parentTask"]["guid"] == copy["parentTask"]["guid"] == export["guid"]
    assert (store["state"]["name"], copy["retryCount"]) == ("FAILED", 0)
    vplus.server.control.step(20)
    assert vplus.newest_backup(LAB)["status"]["name"] == "SUCCESS"


def test_tries_run_out(vplus: Vplus) -> None:
    fail_next(vplus, "EXPORT", times=2)
    vplus.export(LAB, retryCount=1)
    vplus.server.control.step(100)
    assert vplus.tasks() == [("EXPORT", "FAILED"), ("EXPORT", "FAILED")]
    assert vplus.newest_backup(LAB)["status"]["name"] == "FAILED"


@pytest.mark.parametrize(("body", "tasks"), [({}, 2), ({"retryCount": 0}, 1)])
def test_a_server_may_retry_by_itself(start: Start, body: dict[str, Any], tasks: int) -> None:
    vplus = start(auto_retry=1)
    fail_next(vplus, "EXPORT")
    vplus.export(LAB, **body)
    vplus.server.control.step(20)
    assert len(vplus.tasks()) == tasks


def test_a_cancel_and_a_window_that_passed_are_not_retried(vplus: Vplus) -> None:
    [task] = vplus.export(LAB, retryCount=3).json()
    vplus.server.control.step(10)
    vplus.put(f"/tasks/{task['guid']}/state", {"state": "CANCELLED"})
    vplus.server.control.step(10)
    assert vplus.tasks() == [("EXPORT", "CANCELLED")]
    assert vplus.newest_backup(LAB)["status"]["name"] == "FAILED"
    now = vplus.server.clock.now()
    vplus.server.control.change(export_threads=0)
    vplus.export(LAB, retryCount=3, windowStart=now, windowEnd=now + 5000)
    vplus.server.control.step(60)
    assert vplus.tasks()[1:] == [("EXPORT", "FAILED")]
    assert vplus.newest_backup(LAB)["status"]["name"] == "FAILED"


def test_a_failed_task_that_is_tidied_away_is_still_retried(start: Start) -> None:
    vplus = start(retry_gap_seconds=30)
    fail_next(vplus, "EXPORT")
    [task] = vplus.export(LAB, retryCount=1).json()
    vplus.server.control.step(20)
    assert vplus.tasks() == [("EXPORT", "FAILED")]
    assert vplus.delete(f"/tasks/{task['guid']}").status_code == 204
    assert vplus.tasks() == [("EXPORT", "QUEUED")]
    vplus.server.control.step(60)
    assert vplus.newest_backup(LAB)["status"]["name"] == "SUCCESS"


def test_a_restart_between_failure_and_copy_loses_neither(start: Start) -> None:
    vplus = start(retry_gap_seconds=30)
    fail_next(vplus, "EXPORT")
    vplus.export(LAB, retryCount=1)
    vplus.server.control.step(20)
    vplus.server.engine.resume(vplus.server.clock.now())
    vplus.server.control.step(90)
    assert vplus.tasks() == [("EXPORT", "FAILED"), ("EXPORT", "FINISHED"), ("STORE", "FINISHED")]
