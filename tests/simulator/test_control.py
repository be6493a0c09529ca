"""The control API: what tests and the demo do to the server."""

from __future__ import annotations

import re
from typing import Any

import pytest

from vplus_simulator.control_api import ENDPOINTS, answer_control
from vplus_simulator.entities import SeedTenant
from vplus_simulator.messages import Request
from vplus_simulator.seed.plan import SeedPlan

from .conftest import Start, Vplus


def ok(vplus: Vplus, method: str, path: str, body: Any = None) -> Any:
    answer = vplus.control(method, path, body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_no_session_is_needed_and_unknown_calls_are_refused(start: Start) -> None:
    vplus = start(sign_in=False)
    assert ok(vplus, "GET", "/state")["vms"] == 8
    assert vplus.control("GET", "/nothing").status_code == 404
    assert vplus.control("PUT", "/state").status_code == 404


def test_another_machine_is_refused(vplus: Vplus) -> None:
    for client, status in (("10.0.0.7", 403), ("::1", 200), ("127.0.0.5", 200)):
        request = Request("GET", "/control/state", {}, {}, b"", client)
        assert answer_control(vplus.server.control, request).status == status


def test_the_journal_has_every_accepted_change_in_order_and_nothing_else(vplus: Vplus) -> None:
    vplus.read("/virtual-machines")
    vplus.export("nobody")
    body = {"backupType": "FULL", "protectedEntities": ["vm-lab", "vm-alpha-web"], "tenantId": "x"}
    created = vplus.http.post(
        vplus.server.url + "/tasks/export",
        json=body,
        headers={"X-Request-Id": "r-1", "User-Agent": "test/1"},
        timeout=10,
    ).json()
    guid = created[0]["guid"]
    vplus.delete(f"/tasks/{guid}")
    first, second = ok(vplus, "GET", "/journal")
    assert (first["number"], first["call"], first["asked"], first["status"]) == (1, "POST /tasks/export", body, 201)
    assert first["tasks"] == [task["guid"] for task in created]
    assert first["backups"] == [task["backup"]["guid"] for task in created]
    assert (first["session"], first["request_id"], first["user_agent"]) == (1, "r-1", "test/1")
    assert (second["call"], second["guid"], second["tasks"]) == ("DELETE /tasks/{guid}", guid, [guid])
    assert [entry["number"] for entry in ok(vplus, "GET", "/journal?after=1")] == [2]


def test_counters_count_by_method_and_template(vplus: Vplus) -> None:
    assert vplus.control("DELETE", "/counters").status_code == 204
    for guid in ("vm-lab", "vm-alpha-web", "nobody"):
        vplus.get(f"/virtual-machines/{guid}")
    vplus.get("/virtual-machines/")
    vplus.get("/nothing")
    vplus.post("/session/logout", {})
    vplus.get("/tasks")
    vplus.sign_in()
    counters = ok(vplus, "GET", "/counters")
    assert counters == {
        "total": 8,
        "calls": {
            "GET /virtual-machines/{guid}": 3,
            "GET /virtual-machines": 1,
            "POST /session/logout": 1,
            "GET /tasks": 1,
            "POST /session/login": 1,
        },
        "unknown": {"GET /nothing": 1},
        "unauthorized": {"GET /tasks": 1},
        "sign_ins": 1,
    }


def test_step_moves_a_stepped_clock_only(start: Start) -> None:
    vplus = start()
    before = ok(vplus, "GET", "/state")["now"]
    assert ok(vplus, "POST", "/step", {"seconds": 1.5})["now"] == before + 1500
    assert vplus.control("POST", "/step", {"seconds": -1}).status_code == 400
    assert vplus.control("POST", "/step", {"minutes": 1}).status_code == 400
    assert start(stepped=False).control("POST", "/step", {"seconds": 1}).status_code == 409


def test_switches_change_all_or_none(vplus: Vplus) -> None:
    settings = ok(vplus, "POST", "/settings", {"richness": "poorest", "paging": True})
    assert (settings["richness"], settings["paging"]) == ("poorest", True)
    assert vplus.control("POST", "/settings", {"richness": "plain", "colour": "red"}).status_code == 400
    assert vplus.control("POST", "/settings", {"richness": "plain", "paging": "perhaps"}).status_code == 400
    assert ok(vplus, "GET", "/settings")["richness"] == "poorest"
    assert vplus.get("/virtual-machines", page=0, size=1).headers["X-Total-Count"] == "8"


def test_a_changed_retention_reaches_tasks_that_ended_before(vplus: Vplus) -> None:
    vplus.export("vm-lab")
    vplus.server.control.step(60)
    ok(vplus, "POST", "/settings", {"task_retention_seconds": 90})
    assert len(vplus.tasks()) == 2
    vplus.server.control.step(90)
    assert vplus.tasks() == []


def test_platform_changes_and_sync(vplus: Vplus) -> None:
    machine = ok(vplus, "POST", "/platform/add", {"name": "new-01", "project": "project-beta", "size": 2**30})
    assert ok(vplus, "POST", "/platform/change", {"vm": machine["uuid"], "name": "newer-01"})["name"] == "newer-01"
    ok(vplus, "POST", "/platform/remove", {"vm": "vm-beta-mail"})
    changes = ok(vplus, "POST", "/sync")
    assert changes["vanished"] == ["vm-beta-mail"]
    assert vplus.read(f"/virtual-machines/{changes['added'][0]}")["name"] == "newer-01"
    ok(vplus, "POST", "/platform/change", {"vm": machine["uuid"], "project": None})
    assert ok(vplus, "POST", "/sync")["changed"] == changes["added"]
    assert "project" not in vplus.read(f"/virtual-machines/{changes['added'][0]}")
    for body in ({"vm": "nobody", "name": "x"}, {"vm": "vm-lab", "project": "nobody"}):
        assert vplus.control("POST", "/platform/change", body).status_code == 404
    assert vplus.control("POST", "/platform/change", {"vm": "vm-lab"}).status_code == 400
    assert vplus.control("POST", "/platform/add", {"name": "x", "project": "nobody"}).status_code == 404
    assert vplus.control("POST", "/platform/add", {"name": "x", "uuid": "uuid-lab"}).status_code == 409
    assert vplus.control("POST", "/platform/remove", {"vm": "vm-beta-mail"}).status_code == 404


def test_outcomes_by_control(vplus: Vplus) -> None:
    assert len(ok(vplus, "POST", "/outcomes", {"outcome": "hold", "vm": "vm-lab", "progress": 25})) == 1
    assert vplus.control("POST", "/outcomes", {"outcome": "explode"}).status_code == 400
    assert vplus.control("POST", "/outcomes", {"outcome": "fail", "type": "MOUNT"}).status_code == 400
    [task] = vplus.export("vm-lab").json()
    vplus.server.control.step(100)
    assert ok(vplus, "GET", "/outcomes") == []
    assert ok(vplus, "POST", "/tasks/release", {"task": task["guid"], "fail_reason": "enough"})["state"] == "FAILED"
    assert vplus.control("POST", "/tasks/release", {"task": task["guid"]}).status_code == 409
    assert vplus.control("POST", "/tasks/release", {"task": "nobody"}).status_code == 404
    ok(vplus, "POST", "/outcomes", {"outcome": "fail"})
    assert vplus.control("DELETE", "/outcomes").status_code == 204
    assert ok(vplus, "GET", "/outcomes") == []


def test_sessions_can_be_ended(vplus: Vplus) -> None:
    assert ok(vplus, "DELETE", "/sessions") == {"ended": 1}
    assert vplus.get("/session").status_code == 401


def test_objects_show_what_the_api_hides(start: Start) -> None:
    vplus = start(richness="poorest")
    vplus.export("vm-lab", windowStart=vplus.server.clock.now() + 7)
    [task] = ok(vplus, "GET", "/objects/tasks")
    assert task["window_start"] == vplus.server.clock.now() + 7
    assert len(ok(vplus, "GET", "/objects/vms")) == 8
    assert vplus.control("GET", "/objects/secrets").status_code == 404


def test_tenants_and_unowned_tell_a_loader_whose_is_what(vplus: Vplus) -> None:
    alpha, beta, gamma = ok(vplus, "GET", "/tenants")
    assert (alpha["slug"], alpha["project_uuid"], alpha["project_guid"]) == ("alpha", "alpha-uuid", "project-alpha")
    assert beta["vm_guids"] == ["vm-beta-web", "vm-beta-mail"]
    assert (gamma["project_guid"], gamma["vm_guids"]) == (None, ["vm-gamma-erp"])
    assert set(alpha) == set(SeedTenant.__struct_fields__)
    assert ok(vplus, "GET", "/unowned") == ["vm-lab"]


def test_cleanup_by_control(vplus: Vplus) -> None:
    vplus.server.world.rules["rule-beta"].keep_fulls = 0
    assert ok(vplus, "POST", "/cleanup") == {"removed": ["backup-beta-full"]}


def test_reset_goes_back_to_the_start(vplus: Vplus) -> None:
    vplus.export("vm-lab")
    ok(vplus, "POST", "/settings", {"richness": "poorest"})
    ok(vplus, "POST", "/faults", {"kind": "status"})
    state = ok(vplus, "POST", "/reset")
    assert (state["tasks"]["QUEUED"], state["journal"], state["sessions"]) == (0, 0, 0)
    assert ok(vplus, "GET", "/settings")["richness"] == "generous"
    assert ok(vplus, "GET", "/faults") == []
    assert vplus.get("/session").status_code == 401
    vplus.sign_in()
    vplus.export("vm-lab")
    vplus.server.control.step(60)
    assert vplus.newest_backup("vm-lab")["status"]["name"] == "SUCCESS"


def test_another_seed_can_be_planted(vplus: Vplus) -> None:
    assert ok(vplus, "POST", "/seed", {"name": "empty"})["vms"] == 0
    vplus.sign_in()
    assert vplus.read("/virtual-machines") == []
    assert ok(vplus, "POST", "/seed", {"name": "scale", "vms": 50, "tenants": 5, "backups_per_vm": 2})["vms"] == 50
    assert vplus.control("POST", "/seed", {"name": "nothing"}).status_code == 400
    vplus.server.control.seed(SeedPlan(name="small"))
    assert ok(vplus, "GET", "/state")["vms"] == 8


def test_bodies_that_are_not_json_are_refused(vplus: Vplus) -> None:
    for method, path in ENDPOINTS:
        if method == "POST" and re.fullmatch(
            r"/(seed|step|settings|platform/\w+|protection/\w+|outcomes|tasks/release|faults|outage)", path
        ):
            answer = vplus.http.post(vplus.server.control_url + path, data=b"[", timeout=10)
            assert answer.status_code == 400, path


@pytest.mark.parametrize(("method", "path"), list(ENDPOINTS))
def test_every_control_call_answers(vplus: Vplus, method: str, path: str) -> None:
    assert vplus.control(method, path, {} if method == "POST" else None).status_code < 500
