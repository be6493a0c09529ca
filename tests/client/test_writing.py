"""Each outcome of a write, and each phase in which a connection can break."""

from __future__ import annotations

import dataclasses
import json
import socket
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.client.scripted_server import Asked, Behaviour, Line, ScriptedServer, answer, cut, drip, head, raw, silence
from vplus_bridge.client import (
    AuthFailed,
    Expectation,
    Outcome,
    OutcomeKind,
    Unavailable,
    VplusClient,
    WriteRequest,
    cancel_queued_request,
    export_request,
)

EXPORT = export_request(
    vm_guid="vm-1",
    destination_guid="bd-1",
    backup_type="FULL",
    priority=50,
    window_start_ms=1795600801000,
    window_end_ms=1795622401000,
)
CANCEL = cancel_queued_request("t-1")
TASK = {"guid": "t-1", "type": {"name": "EXPORT"}, "state": {"name": "QUEUED"}, "windowStart": 1795600801000}
CREATE = WriteRequest("POST", "/schedules", '{"name":"nightly"}', Expectation.OBJECT, "/schedules")
NEW = "POST /schedules"
POST = "POST /tasks/export"
DELETE = "DELETE /tasks/t-1"

ACCEPTED, REFUSED = OutcomeKind.ACCEPTED, OutcomeKind.REFUSED
NOT_ACCEPTED, UNCERTAIN = OutcomeKind.NOT_ACCEPTED, OutcomeKind.UNCERTAIN


def send(client: VplusClient, request: WriteRequest = EXPORT) -> Outcome:
    with client.open_write() as channel:
        return channel.send(request)


def test_a_request_that_would_begin_too_late_never_begins(client: VplusClient, server: ScriptedServer) -> None:
    """Crash point: the process stood still after the mark; by now others may have taken it for dead."""
    server.on(POST, answer(TASK))
    with client.open_write() as channel:
        late = channel.send(EXPORT, begin_before=time.monotonic() - 0.001)
    assert (late.kind, late.reason) == (NOT_ACCEPTED, "not sent: the worker was held up")
    assert server.asked_for(POST) == []
    with client.open_write() as channel:
        assert channel.send(EXPORT, begin_before=time.monotonic() + 5).kind is ACCEPTED


@pytest.mark.parametrize(
    "body", [TASK, [TASK], {"successful": [{"guid": "vm-1", "name": "web-01"}], "unsuccessful": [], "tasks": [TASK]}]
)
def test_each_shape_that_names_one_task_is_accepted(client: VplusClient, server: ScriptedServer, body: object) -> None:
    server.on(POST, answer(body, 201))
    outcome = send(client)
    assert (outcome.kind, outcome.status) == (ACCEPTED, 201)
    assert [(task.guid, task.window_start_ms) for task in outcome.tasks] == [("t-1", 1795600801000)]


def test_a_task_that_is_only_a_guid_is_accepted(client: VplusClient, server: ScriptedServer) -> None:
    server.on(POST, answer({"guid": "t-1"}))
    outcome = send(client)
    assert outcome.kind is ACCEPTED
    assert (outcome.tasks[0].type, outcome.tasks[0].state) == (None, None)


def test_the_request_is_sent_exactly_as_it_is_stored(client: VplusClient, server: ScriptedServer) -> None:
    server.on(POST, answer(TASK))
    send(client)
    asked = server.asked_for(POST)
    assert [one.body.decode() for one in asked] == [EXPORT.body]
    headers = asked[0].headers
    assert headers["content-type"] == "application/json"
    assert set(headers["cookie"].split("; ")) == {"JSESSIONID=s3cr3t-cookie", "node=n1"}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, REFUSED),
        (302, REFUSED),
        (307, REFUSED),
        (400, REFUSED),
        (403, REFUSED),
        (404, REFUSED),
        (405, REFUSED),
        (409, REFUSED),
        (422, REFUSED),
        (401, NOT_ACCEPTED),
        (429, NOT_ACCEPTED),
        (408, UNCERTAIN),
        (500, UNCERTAIN),
        (502, UNCERTAIN),
        (503, UNCERTAIN),
        (504, UNCERTAIN),
        (700, UNCERTAIN),
    ],
)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "cut"])
@pytest.mark.parametrize("request_", [EXPORT, CANCEL], ids=["export", "cancel"])
def test_the_status_decides(
    client: VplusClient, server: ScriptedServer, *, status: int, kind: OutcomeKind, whole: bool, request_: WriteRequest
) -> None:
    said = answer({"message": "vendor says"}, status, headers=[("Location", f"{server.url}/elsewhere")])
    server.on(POST, said if whole else cut(head(100, status) + b'{"mess'))
    server.on(DELETE, said if whole else cut(head(100, status) + b'{"mess'))
    outcome = send(client, request_)
    assert (outcome.kind, outcome.status) == (kind, status)
    assert outcome.vendor_text == ("vendor says" if whole else None)
    assert outcome.needs_sign_in is (status == 401)
    assert not server.asked_for("POST /elsewhere")
    assert not server.asked_for("GET /elsewhere")
    assert len(server.asked_for(POST)) + len(server.asked_for(DELETE)) == 1, "sent once"


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (answer(None, 200), "without naming a task"),
        (answer(None, 204), "without naming a task"),
        (answer(b"  "), "without naming a task"),
        (answer([]), "without naming a task"),
        (answer({}), "without naming a task"),
        (answer({"successful": [{"guid": "vm-1"}], "tasks": []}), "without naming a task"),
        (answer([TASK, TASK | {"guid": "t-2"}]), "several tasks"),
        (answer(b"<html>ok</html>", content_type="text/html"), "web page"),
        (answer(b"<!doctype html>"), "web page"),
        (answer(b'{"guid":'), "cannot be read"),
        (answer(b"null"), "cannot be read"),
        (answer([{"name": "no guid"}]), "not readable"),
        (answer([TASK, 5]), "not readable"),
        (cut(head(100) + b'{"guid":"t-1"'), "broke off"),
        (cut(head(100) + b'{"guid":"t-1"', reset=True), "broke"),  # a reset may overtake the head as well
    ],
)
def test_a_2xx_that_does_not_name_one_task_is_uncertain(
    client: VplusClient, server: ScriptedServer, behaviour: Behaviour, reason: str
) -> None:
    server.on(POST, behaviour)
    outcome = send(client)
    assert outcome.kind is UNCERTAIN
    assert reason in outcome.reason
    assert len(server.asked_for(POST)) == 1


def test_what_an_uncertain_answer_names_is_handed_over(client: VplusClient, server: ScriptedServer) -> None:
    server.on(POST, answer({"successful": [{"guid": "vm-1", "name": "web-01"}], "tasks": [TASK, {"guid": "t-2"}]}))
    outcome = send(client)
    assert [task.guid for task in outcome.tasks] == ["t-1", "t-2"]
    assert outcome.named == (("vm-1", "web-01"),)


@pytest.mark.parametrize("behaviour", [answer(None, 204), answer(None, 200), answer(TASK), answer(b"done")])
def test_any_2xx_accepts_what_creates_no_task(
    client: VplusClient, server: ScriptedServer, behaviour: Behaviour
) -> None:
    server.on(DELETE, behaviour)
    assert send(client, CANCEL).kind is ACCEPTED


def test_a_web_page_accepts_nothing(client: VplusClient, server: ScriptedServer) -> None:
    for what, request in ((DELETE, CANCEL), (NEW, CREATE)):
        server.on(what, answer(b"<html>welcome</html>", content_type="text/html"))
        assert send(client, request).kind is UNCERTAIN


@pytest.mark.parametrize(
    ("behaviour", "named"),
    [
        (answer({"guid": "s-1", "name": "nightly", "hour": 0}, 201), (("s-1", "nightly"),)),
        (answer({"guid": "s-1"}), (("s-1", None),)),
        (answer(None, 204), ()),
        (answer(None, 201), ()),
        (answer({"name": "nightly"}), ()),
        (answer([]), ()),
        (answer(b"created"), ()),
        (cut(head(100) + b'{"guid":"s-1"'), ()),
    ],
    ids=["detail", "guid only", "204", "empty", "no guid", "array", "no JSON", "cut"],
)
def test_a_created_object_is_accepted_and_named_where_the_answer_names_it(
    client: VplusClient, server: ScriptedServer, behaviour: Behaviour, named: tuple[tuple[str, str | None], ...]
) -> None:
    server.on(NEW, behaviour)
    outcome = send(client, CREATE)
    assert (outcome.kind, outcome.named, outcome.tasks) == (ACCEPTED, named, ())


def test_headers_of_a_request_are_added_and_replace_none(client: VplusClient, server: ScriptedServer) -> None:
    server.on(DELETE, answer(None, 204))
    headers = (("3rd-party", "HORIZON"), ("Cookie", "JSESSIONID=forged"))
    send(client, dataclasses.replace(CANCEL, headers=headers))
    sent = server.asked_for(DELETE)[0].headers
    assert sent["3rd-party"] == "HORIZON"
    assert "forged" not in sent["cookie"]
    assert "s3cr3t" in sent["cookie"]


@pytest.mark.parametrize(
    "behaviour",
    [
        cut(),
        cut(reset=True),
        cut(b"HTTP/1.1 2"),
        cut(b"HTTP/1.1 200 OK\r\nContent-"),
        raw(b"garbage\r\n\r\n"),
        raw(b"HTTP/1.1 abc OK\r\n\r\n"),
    ],
)
def test_cut_after_the_first_byte_is_uncertain(
    client: VplusClient, server: ScriptedServer, behaviour: Behaviour
) -> None:
    server.on(POST, behaviour)
    outcome = send(client)
    assert outcome.kind is UNCERTAIN
    assert len(server.asked_for(POST)) == 1


@pytest.mark.parametrize(
    "behaviour",
    [silence(), drip(b"HTTP/1.1 200 OK\r\nX: "), drip(head(5000) + b"["), drip(b"HTTP/1.1 100 Continue\r\n\r\n")],
    ids=["silent", "header", "body", "continue"],
)
def test_too_slow_after_the_first_byte_is_uncertain_at_the_deadline(
    make_client: Callable[..., VplusClient], server: ScriptedServer, behaviour: Behaviour
) -> None:
    server.on(POST, behaviour)
    client = make_client(write_total_seconds=0.5)
    client.ensure_session()
    started = time.monotonic()
    assert send(client).kind is UNCERTAIN
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("reset", [False, True])
def test_closed_between_connecting_and_sending_is_not_accepted(
    client: VplusClient, server: ScriptedServer, reset: bool
) -> None:
    client.ensure_session()
    closed = threading.Event()

    def close(line: Line) -> bool:
        if reset:
            line.reset()
        else:
            line.tls.close()
        closed.set()
        return False

    server.on_connect = close
    with client.open_write() as channel:
        assert closed.wait(2)
        time.sleep(0.05)  # the news travels over the loopback
        outcome = channel.send(EXPORT)
    assert outcome.kind is NOT_ACCEPTED
    assert not server.asked_for(POST)


def test_a_server_that_speaks_before_it_is_asked_is_not_sent_anything(
    client: VplusClient, server: ScriptedServer
) -> None:
    client.ensure_session()

    def blurt(line: Line) -> bool:
        line.tls.sendall(head(2) + b"[]")
        return True

    server.on_connect = blurt
    with client.open_write() as channel:
        time.sleep(0.1)
        assert channel.send(EXPORT).kind is NOT_ACCEPTED
    assert not server.asked_for(POST)


def test_an_open_channel_that_waited_a_while_is_still_good(client: VplusClient, server: ScriptedServer) -> None:
    server.on(POST, answer(TASK))
    with client.open_write() as channel:
        time.sleep(0.5)
        assert channel.send(EXPORT).kind is ACCEPTED


def test_no_time_at_all_sends_nothing(make_client: Callable[..., VplusClient], server: ScriptedServer) -> None:
    server.on(POST, answer(TASK))
    assert send(make_client(write_total_seconds=0)).kind is NOT_ACCEPTED
    assert not server.asked_for(POST)


def test_gone_while_the_request_is_going_out_is_uncertain(client: VplusClient, server: ScriptedServer) -> None:
    client.ensure_session()

    def read_a_little(line: Line) -> bool:
        line.tls.recv(16)
        line.reset()
        return False

    server.on_connect = read_a_little
    big = WriteRequest("POST", "/tasks/export", json.dumps({"x": "y" * 20_000_000}), Expectation.TASK)
    assert send(client, big).kind is UNCERTAIN


def test_an_answer_before_the_whole_request_went_out_counts(client: VplusClient, server: ScriptedServer) -> None:
    client.ensure_session()

    def refuse_early(line: Line) -> bool:
        line.tls.recv(16)
        line.tls.sendall(head(2, 413) + b"{}")
        line.tls.unwrap()
        return False

    server.on_connect = refuse_early
    big = WriteRequest("POST", "/tasks/export", json.dumps({"x": "y" * 200_000}), Expectation.TASK)
    outcome = send(client, big)
    # What is right depends on who was quicker: the answer, or the reset that the unread rest provokes.
    assert (outcome.kind, outcome.status) in {(REFUSED, 413), (UNCERTAIN, None)}


def test_a_server_that_takes_nothing_more_is_left_at_the_deadline(
    make_client: Callable[..., VplusClient], server: ScriptedServer
) -> None:
    client = make_client(write_total_seconds=0.5)
    client.ensure_session()

    def stall(line: Line) -> bool:
        line.tls.recv(16)
        time.sleep(4)
        return False

    server.on_connect = stall
    big = WriteRequest("POST", "/tasks/export", json.dumps({"x": "y" * 50_000_000}), Expectation.TASK)
    started = time.monotonic()
    assert send(client, big).kind is UNCERTAIN
    assert time.monotonic() - started < 3


def test_an_answer_over_the_cap_is_uncertain(make_client: Callable[..., VplusClient], server: ScriptedServer) -> None:
    server.on(POST, answer(b"[" + b" " * 100_000 + b"]"))
    assert send(make_client(write_size_cap_bytes=1000)).kind is UNCERTAIN


def test_tls_broken_in_the_middle_of_the_answer_is_uncertain(client: VplusClient, server: ScriptedServer) -> None:
    def break_tls(line: Line, _asked: Asked) -> bool:
        line.tls.sendall(head(1000) + b'{"guid"')
        plain = socket.socket(fileno=line.tls.detach())
        plain.sendall(b"\x17\x03\x03\x00\x20" + b"garbage-garbage-garbage-garbage-")
        plain.close()
        return False

    server.on(POST, break_tls)
    assert send(client).kind is UNCERTAIN


def test_a_write_never_uses_a_pooled_connection(client: VplusClient, server: ScriptedServer) -> None:
    server.on(POST, answer(TASK))
    client.ensure_session()
    before = server.connections
    send(client)
    send(client)
    assert server.connections == before + 2


def test_a_channel_carries_one_request(client: VplusClient, server: ScriptedServer) -> None:
    server.on(POST, answer(TASK))
    with client.open_write() as channel:
        channel.send(EXPORT)
        with pytest.raises(RuntimeError):
            channel.send(EXPORT)
    closed = client.open_write()
    closed.close()
    with pytest.raises(RuntimeError):
        closed.send(EXPORT)
    assert len(server.asked_for(POST)) == 1


def test_a_rejected_session_is_renewed_for_the_next_write(client: VplusClient, server: ScriptedServer) -> None:
    server.on(POST, answer({}, 401), answer(TASK))
    assert send(client).needs_sign_in
    assert len(server.asked_for("POST /session/login")) == 1, "a write does not sign in by itself"
    assert send(client).kind is ACCEPTED
    assert len(server.asked_for("POST /session/login")) == 2


def test_opening_needs_a_session_and_a_server(
    make_client: Callable[..., VplusClient], client: VplusClient, server: ScriptedServer
) -> None:
    server.on("POST /session/login", answer({}, 401))
    with pytest.raises(AuthFailed):
        client.open_write()
    with pytest.raises(Unavailable):
        make_client(url="https://localhost:1/api").open_write()


def test_opening_with_the_server_gone_after_sign_in_is_unavailable(client: VplusClient, server: ScriptedServer) -> None:
    client.ensure_session()
    server.close()
    with pytest.raises(Unavailable):
        client.open_write()


def test_retry_after_is_told(client: VplusClient, server: ScriptedServer) -> None:
    server.on(POST, answer({}, 429, headers=[("Retry-After", "7")]))
    assert send(client).retry_after_seconds == 7


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"message": "quota of project\nexceeded"}, "quota of project exceeded"),
        ({"error": {"message": "old form"}}, "old form"),
        (b"<html><body><h1>Bad</h1> gateway</body></html>", "Bad gateway"),
        (b"", None),
        (b"\xff\x00plain", "\ufffd\ufffdplain"),
        ({"message": "x" * 5000}, "x" * 2000),
        ({"message": 5}, '{"message": 5}'),
    ],
)
def test_the_vendors_own_words(client: VplusClient, server: ScriptedServer, body: object, text: str | None) -> None:
    server.on(POST, answer(body, 400))
    outcome = send(client)
    assert outcome.vendor_text == text
    assert "quota" not in repr(outcome), "the vendor's words can name hosts: not in logs"


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=60).map(lambda b: b"HTTP/1.1 200 OK\r\n" + b),
        st.binary(max_size=60).map(lambda b: head(len(b)) + b),
        st.binary(max_size=60).map(lambda b: b"HTTP/1.1 201 Created\r\nX: " + b + b"\r\n\r\n[]"),
    )
)
def test_no_bytes_make_a_write_crash_or_seem_accepted(
    client: VplusClient, server: ScriptedServer, content: bytes
) -> None:
    server.on(POST, raw(content))
    assert send(client).kind is UNCERTAIN
