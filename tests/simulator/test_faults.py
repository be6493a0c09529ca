"""What can go wrong around a call: before it is processed, after it, and while it is answered."""

from __future__ import annotations

import time

import pytest
import requests

from vplus_simulator.faults import Fault
from vplus_simulator.messages import Refusal

from .conftest import Start, Vplus

EXPORT = "/tasks/export"


def exports(vplus: Vplus) -> int:
    return len(vplus.server.control.objects("tasks"))


def test_before_nothing_was_done(vplus: Vplus) -> None:
    vplus.server.control.arm(Fault(kind="status", path=EXPORT, status=502, count=1))
    answer = vplus.export("vm-lab")
    assert (answer.status_code, answer.json()["message"]) == (502, "The server is not available")
    assert exports(vplus) == 0
    assert vplus.export("vm-lab").status_code == 201


def test_after_it_was_done_and_the_answer_is_lost(vplus: Vplus) -> None:
    vplus.server.control.arm(Fault(kind="html", phase="after", path=EXPORT, count=1))
    answer = vplus.export("vm-lab")
    assert (answer.status_code, answer.headers["Content-Type"]) == (503, "text/html")
    assert exports(vplus) == 1
    assert len(vplus.server.control.journal()) == 1


@pytest.mark.parametrize(("phase", "done"), [("before", 0), ("after", 1)])
def test_the_connection_is_cut(vplus: Vplus, phase: str, done: int) -> None:
    vplus.control("POST", "/faults", {"kind": "cut", "phase": phase, "path": EXPORT, "count": 1})
    with pytest.raises(requests.exceptions.ConnectionError):
        vplus.export("vm-lab")
    assert exports(vplus) == done


def test_the_answer_is_cut_in_the_middle(vplus: Vplus) -> None:
    vplus.server.control.arm(Fault(kind="cut", phase="answering", path=EXPORT, count=1, bytes=250))
    with pytest.raises(requests.exceptions.RequestException):
        vplus.export("vm-lab")
    assert exports(vplus) == 1
    assert vplus.read("/tasks")


def test_a_fault_hits_only_the_calls_it_names(vplus: Vplus) -> None:
    control = vplus.server.control
    control.arm(Fault(kind="status", method="GET", path="/tasks/{guid}", count=1))
    assert vplus.get("/tasks").status_code == 200
    assert vplus.delete("/tasks/nobody").status_code == 404
    assert [fault.count for fault in control.faults()] == [1]
    assert vplus.get("/tasks/nobody").status_code == 503
    assert control.faults() == []
    assert vplus.get("/tasks/nobody").status_code == 404


def test_a_fault_can_end_by_time_or_by_hand(vplus: Vplus) -> None:
    control = vplus.server.control
    control.arm(Fault(kind="status", for_seconds=0.2))
    assert vplus.get("/session").status_code == 503
    time.sleep(0.25)
    assert vplus.get("/session").status_code == 204
    control.arm(Fault(kind="status"))
    assert vplus.get("/session").status_code == 503
    control.disarm()
    assert vplus.get("/session").status_code == 204


def test_latency_makes_a_client_give_up_on_work_that_is_done(vplus: Vplus) -> None:
    vplus.server.control.arm(Fault(kind="latency", phase="after", path=EXPORT, count=1, seconds=5))
    body = {"backupType": "FULL", "protectedEntities": ["vm-lab"]}
    with pytest.raises(requests.exceptions.ReadTimeout):
        vplus.http.post(vplus.server.url + EXPORT, json=body, timeout=0.2)
    assert exports(vplus) == 1


def test_latency_from_the_start_delays_every_call(start: Start) -> None:
    vplus = start(latency_seconds=0.3, sign_in=False)
    with pytest.raises(requests.exceptions.ReadTimeout):
        vplus.http.get(vplus.server.url + "/session", timeout=0.1)
    assert vplus.get("/session").status_code == 401


def test_while_answering_only_a_cut_can_happen(vplus: Vplus) -> None:
    with pytest.raises(Refusal, match="while answering"):
        vplus.server.control.arm(Fault(kind="html", phase="answering"))
    assert vplus.control("POST", "/faults", {"kind": "meteor"}).status_code == 400


def test_an_outage_refuses_connections_and_ends_on_the_same_port(vplus: Vplus) -> None:
    url = vplus.server.url
    assert vplus.control("POST", "/outage", {"seconds": 1.0}).status_code == 204
    refused = False
    deadline = time.monotonic() + 0.9
    while not refused and time.monotonic() < deadline:
        try:
            vplus.get("/session")
        except requests.exceptions.ConnectionError:
            refused = True
        time.sleep(0.02)
    assert refused
    deadline = time.monotonic() + 10
    while True:
        try:
            assert vplus.get("/session").status_code == 204
            break
        except requests.exceptions.ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert vplus.server.url == url
