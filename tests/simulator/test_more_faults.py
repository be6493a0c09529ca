"""Faults of the wire, of the content, of sessions and of lists; late work; and the list of what hit."""

from __future__ import annotations

import socket
import ssl
import time
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.x509.oid import NameOID

from vplus_simulator.faults import Fault, FaultPlan, chaos_mix
from vplus_simulator.messages import Refusal

from .conftest import PASSWORD, Start, Vplus

EXPORT = "/tasks/export"
EXPORT_BODY = {"backupType": "FULL", "protectedEntities": ["vm-lab"]}


def exports(vplus: Vplus) -> int:
    return len(vplus.server.control.objects("tasks"))


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


ASK = b"GET /api/tasks HTTP/1.1\r\nHost: localhost\r\n\r\n"


def end_of_tcp(vplus: Vplus) -> str:
    """Ask for the tasks over TLS in memory, and tell how the TCP connection below ended."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=str(vplus.server.ca_path))
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", vplus.server.port), timeout=10) as tcp:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                tcp.sendall(outgoing.read())
                incoming.write(tcp.recv(65536))
        tls.write(ASK)
        tcp.sendall(outgoing.read())
        try:
            while tcp.recv(65536):
                pass
        except ConnectionResetError:
            return "reset"
        return "end"


# The connection.


@pytest.mark.parametrize("kind", ["cut", "reset"])
@pytest.mark.parametrize(
    ("phase", "done"), [("before", 0), ("reading", 0), ("processing", 1), ("after", 1), ("answering", 1)]
)
def test_the_connection_ends_in_each_phase(vplus: Vplus, kind: Any, phase: Any, done: int) -> None:
    vplus.server.control.arm(Fault(kind=kind, phase=phase, path=EXPORT, count=1, bytes=10))
    with pytest.raises(requests.exceptions.ConnectionError):
        vplus.export("vm-lab")
    wait_for(lambda: exports(vplus) == done)
    [entry] = vplus.server.control.fault_journal()
    assert (entry.status, entry.journal) == ((201, 1) if done else (None, None))
    assert vplus.export("vm-lab").status_code == 201
    assert exports(vplus) == done + 1


def test_a_reset_is_a_reset_and_a_cut_is_not(vplus: Vplus) -> None:
    for kind, end in (("reset", "reset"), ("cut", "end")):
        vplus.control(
            "POST", "/faults", {"kind": kind, "phase": "answering", "path": "/tasks", "count": 1, "bytes": 20}
        )
        assert end_of_tcp(vplus) == end


def test_tls_breaks_in_the_middle_of_an_answer(vplus: Vplus) -> None:
    vplus.server.control.arm(Fault(kind="tls", path="/tasks", count=1, bytes=20))
    context = ssl.create_default_context(cafile=str(vplus.server.ca_path))
    with (
        socket.create_connection(("127.0.0.1", vplus.server.port)) as tcp,
        context.wrap_socket(tcp, server_hostname="localhost") as connection,
    ):
        connection.sendall(ASK)
        assert len(connection.recv(100)) == 20
        with pytest.raises(ssl.SSLError, match=r"(?i)mac|decrypt"):
            connection.recv(100)
    assert vplus.read("/tasks") == []


def test_work_is_done_after_the_client_was_cut_off(vplus: Vplus) -> None:
    vplus.server.control.arm(Fault(kind="cut", phase="processing", path=EXPORT, count=1, seconds=0.4))
    with pytest.raises(requests.exceptions.ConnectionError):
        vplus.export("vm-lab")
    assert exports(vplus) == 0
    wait_for(lambda: exports(vplus) == 1)


def test_an_answer_drips(vplus: Vplus) -> None:
    vplus.server.control.arm(Fault(kind="drip", path="/virtual-machines", count=1, bytes=600, seconds=0.05))
    parts = []
    with vplus.http.get(vplus.server.url + "/virtual-machines", stream=True, timeout=10) as answer:
        while part := answer.raw.read1(100_000):
            parts.append(len(part))
    assert len(parts) > 3
    assert max(parts) <= 600
    vplus.server.control.arm(Fault(kind="drip", path="/virtual-machines", count=1, bytes=1, seconds=60))
    with pytest.raises(requests.exceptions.Timeout):
        vplus.http.get(vplus.server.url + "/virtual-machines", timeout=0.2)


def test_a_drip_can_end_in_a_cut(vplus: Vplus) -> None:
    path = "/virtual-machines"
    vplus.server.control.arm(Fault(kind="drip", path=path, count=1, bytes=100, seconds=0.01))
    vplus.server.control.arm(Fault(kind="cut", phase="answering", path=path, count=1, bytes=1000))
    with pytest.raises(requests.exceptions.RequestException):
        vplus.get(path)


def test_one_call_can_bring_the_whole_server_down_for_a_while(vplus: Vplus) -> None:
    vplus.server.control.arm(Fault(kind="outage", path="/tasks", count=1, seconds=0.5))
    with pytest.raises(requests.exceptions.ConnectionError):
        vplus.get("/tasks")

    def away() -> bool:
        try:
            vplus.get("/session")
        except requests.exceptions.ConnectionError:
            return True
        return False

    wait_for(away)
    wait_for(lambda: not away())
    assert vplus.read("/tasks") == []


# The content.


def test_the_content_is_spoiled(vplus: Vplus) -> None:
    control = vplus.server.control

    def next_read(fault: Fault) -> requests.Response:
        control.arm(fault)
        return vplus.get("/virtual-machines")

    right = vplus.get("/virtual-machines").content
    cut_off = next_read(Fault(kind="truncated", count=1, bytes=100))
    assert (cut_off.status_code, cut_off.content) == (200, right[:100])
    broken = next_read(Fault(kind="malformed", count=1))
    assert broken.headers["Content-Type"] == "application/json"
    with pytest.raises(requests.exceptions.JSONDecodeError):
        broken.json()
    mislabelled = next_read(Fault(kind="content_type", count=1, content_type="text/html"))
    assert (mislabelled.headers["Content-Type"], mislabelled.content) == ("text/html", right)
    page = next_read(Fault(kind="html", count=1, status=200))
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html")
    nothing = next_read(Fault(kind="empty", count=1, status=200))
    assert (nothing.status_code, nothing.content, "Content-Type" in nothing.headers) == (200, b"", False)
    any_text = next_read(Fault(kind="body", count=1, status=200, body='{"members":[]}'))
    assert any_text.json() == {"members": []}
    moved = next_read(Fault(kind="status", count=1, status=429, headers={"Retry-After": "7"}))
    assert (moved.status_code, moved.headers["Retry-After"]) == (429, "7")
    assert vplus.get("/virtual-machines").content == right


def test_one_member_of_some_records_is_wrong(vplus: Vplus) -> None:
    vplus.export("vm-lab", "vm-alpha-web", "vm-beta-web")
    control = vplus.server.control
    control.arm(Fault(kind="member", path="/tasks", count=1, member="state.name", value=7, rows=2))
    assert [row["state"]["name"] for row in vplus.read("/tasks")] == [7, 7, "QUEUED"]
    control.arm(Fault(kind="member", path="/tasks", count=1, member="guid", rows=0))
    assert not any("guid" in row for row in vplus.read("/tasks"))
    answer = vplus.control("POST", "/faults", {"kind": "member", "member": "guid", "value": None, "count": 1})
    assert answer.json()[0]["value"] is None
    assert vplus.read("/tasks")[0]["guid"] is None


# Sessions.


def test_a_storm_of_401_while_the_session_lives(vplus: Vplus) -> None:
    vplus.server.control.arm(Fault(kind="unauthorized", count=2))
    assert [vplus.get("/tasks").status_code for _ in range(3)] == [401, 401, 200]
    vplus.server.control.arm(Fault(kind="unauthorized"))
    assert vplus.sign_in().status_code == 200
    vplus.server.control.arm(Fault(kind="unauthorized", path="/session/login", count=1))
    assert vplus.sign_in().status_code == 401


def test_a_session_ends_under_a_call(vplus: Vplus) -> None:
    vplus.server.control.arm(Fault(kind="expired", path=EXPORT, count=1))
    assert vplus.export("vm-lab").status_code == 401
    assert vplus.get("/tasks").status_code == 401
    vplus.sign_in()
    assert vplus.export("vm-lab").status_code == 201


# Lists.


def pages(vplus: Vplus) -> tuple[list[str], list[int]]:
    """The guids of all VMs page by page, and the announced totals."""
    guids, totals = [], []
    for page in range(3):
        answer = vplus.get("/virtual-machines", page=page, size=3)
        guids += [row["guid"] for row in answer.json()]
        totals.append(int(answer.headers["X-Total-Count"]))
    return guids, totals


def test_lists_are_short_repeat_rows_or_announce_others(vplus: Vplus) -> None:
    control = vplus.server.control
    whole, totals = pages(vplus)
    assert (len(set(whole)), totals) == (8, [8, 8, 8])
    control.arm(Fault(kind="larger_total", path="/virtual-machines", rows=2))
    assert pages(vplus) == (whole, [10, 10, 10])
    control.disarm()
    control.arm(Fault(kind="changing_total", path="/virtual-machines", rows=1))
    assert pages(vplus) == (whole, [9, 10, 11])
    control.disarm()
    control.arm(Fault(kind="missing_rows", path="/virtual-machines", skip=1, count=1))
    assert pages(vplus) == (whole[:5] + whole[6:], [8, 8, 8])
    assert control.faults() == []
    control.arm(Fault(kind="duplicate_rows", path="/virtual-machines", skip=1, count=1))
    assert pages(vplus) == (whole[:3] + whole[2:5] + whole[6:], [8, 8, 8])
    control.arm(Fault(kind="duplicate_rows", path="/virtual-machines", count=1))
    assert vplus.names("/virtual-machines") == [*whole, whole[0]]
    control.arm(Fault(kind="missing_rows", path="/virtual-machines", count=1, rows=20))
    assert vplus.names("/virtual-machines") == []


# Lateness.


@pytest.mark.parametrize(("answer", "status"), [("empty", 201), ("status", 504), ("cut", None)])
def test_a_late_server_works_after_its_answer(vplus: Vplus, answer: Any, status: int | None) -> None:
    fault = Fault(kind="late", path=EXPORT, count=1, seconds=300, late_answer=answer, status=504)
    vplus.server.control.arm(fault)
    if status is None:
        with pytest.raises(requests.exceptions.ConnectionError):
            vplus.export("vm-lab")
    else:
        got = vplus.export("vm-lab")
        assert (got.status_code, got.content) == (status, b"")
    began = vplus.server.clock.now()
    vplus.server.control.step(299)
    assert vplus.tasks() == []
    assert vplus.server.control.fault_journal()[0].status is None
    vplus.server.control.step(500)
    assert vplus.tasks() == [("EXPORT", "FINISHED"), ("STORE", "FINISHED")]
    [entry] = vplus.server.control.journal()
    assert (entry.at, entry.session) == (began + 300_000, 1)
    [hit] = vplus.server.control.fault_journal()
    assert (hit.status, hit.journal) == (201, entry.number)


def test_late_work_survives_a_restart_and_may_be_refused(vplus: Vplus) -> None:
    vplus.server.control.arm(Fault(kind="late", path=EXPORT, count=2, seconds=60, late_answer="empty"))
    vplus.export("vm-lab")
    vplus.export("nobody")
    world = vplus.server.world
    world.restore(world.snapshot())
    vplus.server.engine.resume(vplus.server.clock.now())
    vplus.server.control.step(61)
    assert len(vplus.tasks()) == 1
    assert [hit.status for hit in vplus.server.control.fault_journal()] == [201, 404]


def test_reading_and_strangers_are_never_late(vplus: Vplus) -> None:
    vplus.server.control.arm(Fault(kind="late", seconds=60))
    assert vplus.read("/tasks") == []
    vplus.http.cookies.clear()
    assert vplus.export("vm-lab").status_code == 401


# Chance.


def drawn(vplus: Vplus, plan: FaultPlan, calls: int = 60) -> list[tuple[str, str, int]]:
    """Which faults a plan injects into a mixture of calls."""
    control = vplus.server.control
    control.disarm()
    before = len(control.fault_journal())
    control.arm_plan(plan)
    for number in range(calls):
        try:
            if number % 3:
                vplus.http.get(vplus.server.url + "/tasks", timeout=5)
            else:
                vplus.http.post(vplus.server.url + EXPORT, json=EXPORT_BODY, timeout=5)
        except requests.exceptions.RequestException:
            vplus.http.close()
    control.disarm()
    return [(hit.call, hit.fault.kind, hit.fault.bytes) for hit in control.fault_journal(before)]


def test_a_plan_repeats_itself_by_its_seed(start: Start) -> None:
    faults = [
        Fault(kind="status", calls="write", probability=0.3),
        Fault(kind="truncated", calls="read", probability=0.3, bytes_most=50),
        Fault(kind="html", calls="any", probability=0.2),
    ]
    plan = FaultPlan(seed=7, faults=faults)
    first = drawn(start(), plan)
    assert 10 < len(first) < 50
    assert {kind for _, kind, _ in first} == {"status", "truncated", "html"}
    assert drawn(start(), plan) == first
    assert drawn(start(), FaultPlan(seed=8, faults=faults)) != first


def test_at_most_one_fault_of_a_plan_hits_a_call(vplus: Vplus) -> None:
    faults = [Fault(kind="status", status=status) for status in (500, 502)]
    assert vplus.control("POST", "/faults/plan", {"faults": [{"kind": "status"}, {"kind": "html"}]}).status_code == 200
    assert vplus.get("/tasks").status_code == 503
    assert [hit.fault.kind for hit in vplus.server.control.fault_journal()] == ["status"]
    vplus.server.control.disarm()
    for fault in faults:
        vplus.server.control.arm(fault)
    assert vplus.get("/tasks").status_code == 502
    assert len(vplus.server.control.fault_journal()) == 3


def test_the_mixture_is_possible_and_every_hit_is_written_down(start: Start) -> None:
    for fault in chaos_mix(1.0):
        fault.check()
    vplus = start(task_response="array")
    vplus.server.control.arm_plan(FaultPlan(seed=3, rate=1.0))
    told = 0
    for _ in range(40):
        try:
            answer = vplus.http.post(
                vplus.server.url + EXPORT, json=EXPORT_BODY, headers={"X-Request-Id": "r"}, timeout=5
            )
            told += answer.status_code == 201 and answer.content.startswith(b"[{")
        except requests.exceptions.RequestException:
            vplus.http.close()
    vplus.server.control.disarm()
    vplus.server.control.step(30)
    hits = vplus.server.control.fault_journal()
    assert all(hit.planned and hit.request_id == "r" for hit in hits)
    untouched = 40 - len(hits)
    wait_for(lambda: exports(vplus) == untouched + sum(hit.status == 201 for hit in hits))
    assert {entry.number for entry in vplus.server.control.journal()} >= {hit.journal for hit in hits if hit.journal}
    assert told >= untouched


def test_a_single_fault_can_be_a_matter_of_chance(vplus: Vplus) -> None:
    vplus.server.control.arm(Fault(kind="status", path="/session", probability=0.5))
    codes = [vplus.get("/session").status_code for _ in range(40)]
    assert 5 < codes.count(503) < 35
    vplus.server.control.disarm()
    vplus.server.control.arm(Fault(kind="status", path="/session", probability=0.5))
    assert [vplus.get("/session").status_code for _ in range(40)] == codes


def test_one_fault_can_be_armed_again(vplus: Vplus) -> None:
    once = Fault(kind="status", count=1)
    for _ in range(2):
        vplus.server.control.arm(once)
        assert [vplus.get("/session").status_code for _ in range(2)] == [503, 204]


def test_calls_are_told_apart(vplus: Vplus) -> None:
    control = vplus.server.control
    control.arm(Fault(kind="status", calls="write"))
    assert (vplus.export("vm-lab").status_code, vplus.get("/tasks").status_code) == (503, 200)
    assert vplus.post("/backup-destinations/usable-for-vms", ["vm-lab"]).status_code == 200
    assert vplus.sign_in().status_code == 200
    control.disarm()
    control.arm(Fault(kind="status", calls="sign_in"))
    assert (vplus.sign_in().status_code, vplus.get("/session").status_code) == (503, 204)


# Arming.


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (Fault(kind="drip"), "drip needs"),
        (Fault(kind="tls", phase="after"), "tls cannot happen after"),
        (Fault(kind="status", probability=2), "probability"),
        (Fault(kind="status", status=99), "status must"),
        (Fault(kind="latency", seconds=-1), "negative"),
        (Fault(kind="member"), "member needs"),
    ],
)
def test_what_cannot_happen_is_refused(vplus: Vplus, fault: Fault, sentence: str) -> None:
    with pytest.raises(Refusal, match=sentence):
        vplus.server.control.arm(fault)
    with pytest.raises(Refusal, match=sentence):
        vplus.server.control.arm_plan(FaultPlan(faults=[Fault(kind="status"), fault]))
    assert vplus.server.control.faults() == []


def test_faults_from_the_start_come_back_with_a_reset(start: Start) -> None:
    fault = Fault(kind="status", path="/session", count=1)
    vplus = start(faults=(fault,), fault_plan=FaultPlan(faults=[Fault(kind="html", path="/tasks", status=500)]))
    assert vplus.get("/session").status_code == 503
    assert vplus.get("/tasks").status_code == 500
    assert len(vplus.control("GET", "/faults/journal").json()) == 2
    assert len(vplus.control("GET", "/faults/journal?after=1").json()) == 1
    vplus.server.control.reset()
    assert vplus.server.control.fault_journal() == []
    assert vplus.get("/session").status_code == 503


def test_tasks_vanish_on_order(vplus: Vplus) -> None:
    vplus.export("vm-lab", "vm-alpha-web")
    vplus.server.control.step(100)
    vplus.export("vm-beta-web")
    [running] = vplus.names("/tasks", state="QUEUED")
    assert vplus.control("POST", "/tasks/forget", {"task": running}).status_code == 409
    assert vplus.control("POST", "/tasks/forget", {"task": "nobody"}).status_code == 404
    assert len(vplus.control("POST", "/tasks/forget", {"vm": "vm-lab", "type": "STORE"}).json()["forgotten"]) == 1
    assert len(vplus.control("POST", "/tasks/forget", {}).json()["forgotten"]) == 3
    assert vplus.names("/tasks") == [running]


def test_a_certificate_like_vplus_makes_its_own(start: Start) -> None:
    vplus = start(certificate="vplus", tls_dir=None, sign_in=False)
    certificate = x509.load_pem_x509_certificate(vplus.server.ca_path.read_bytes())
    [name] = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert (name.value, certificate.issuer) == ("localhost.localdomain", certificate.subject)
    assert [extension.oid for extension in certificate.extensions] == []
    with pytest.raises(requests.exceptions.SSLError):
        vplus.get("/session")
    context = ssl.create_default_context(cafile=str(vplus.server.ca_path))
    context.check_hostname = False
    with (
        socket.create_connection(("127.0.0.1", vplus.server.port)) as plain,
        context.wrap_socket(plain) as encrypted,
    ):
        assert encrypted.getpeercert(binary_form=True)
    assert vplus.server.options.password == PASSWORD


def test_the_certificate_can_change_while_it_runs(start: Start) -> None:
    vplus = start()
    trusted = vplus.server.ca_path
    answer = vplus.control("POST", "/certificate", {"certificate": "vplus"})
    assert answer.json() == {"trust": str(vplus.server.ca_path)}
    assert vplus.server.ca_path != trusted
    assert vplus.get("/session").status_code == 204, "a connection that is open has seen the other one"
    vplus.http.close()
    with pytest.raises(requests.exceptions.SSLError):
        vplus.get("/session")
    vplus.server.control.show_certificate("ca")
    assert vplus.get("/session").status_code == 204
    assert vplus.control("POST", "/certificate", {"certificate": "none"}).status_code == 400


@pytest.mark.parametrize("shown", ["exact", "server_time", "minute"])
def test_a_window_start_may_come_back_changed(start: Start, shown: str) -> None:
    vplus = start(window_start=shown)
    now = vplus.server.clock.now()
    wished = now - now % 60_000 + 60_000 + 3_456
    vplus.export("vm-lab", windowStart=wished)
    [task] = vplus.read("/tasks")
    expected = {"exact": wished, "server_time": now, "minute": wished - 3_456}
    assert task["windowStart"] == expected[shown]
