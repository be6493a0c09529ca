"""The read door: deadlines, caps, repetitions, and what each status becomes."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.client.scripted_server import Asked, Line, ScriptedServer, answer, cut, drip, head, raw, silence
from vplus_bridge.client import (
    BadAnswer,
    Conflict,
    Endpoint,
    Forbidden,
    Invalid,
    NotFound,
    TlsFailed,
    Unavailable,
    VplusClient,
    VplusError,
)

VM = {"guid": "vm-1", "uuid": "u-1", "name": "web-01", "present": True}
PATH = "GET /virtual-machines/vm-1"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (302, BadAnswer),
        (304, BadAnswer),
        (400, Invalid),
        (403, Forbidden),
        (404, NotFound),
        (405, Invalid),
        (408, Unavailable),
        (409, Conflict),
        (422, Invalid),
        (429, Unavailable),
        (500, Unavailable),
        (503, Unavailable),
        (204, BadAnswer),
        (200, BadAnswer),
        (299, BadAnswer),
        (700, BadAnswer),
    ],
)
def test_each_status_becomes_its_error(
    client: VplusClient, server: ScriptedServer, status: int, error: type[VplusError]
) -> None:
    server.on(PATH, answer(None, status))
    with pytest.raises(error) as caught:
        client.virtual_machine("vm-1")
    assert type(caught.value) is error
    assert caught.value.status == status


def test_a_404_that_is_a_web_page_says_so(client: VplusClient, server: ScriptedServer) -> None:
    server.on(PATH, answer(b"<html>nginx</html>", 404, content_type="text/html"), answer({"message": "gone"}, 404))
    with pytest.raises(NotFound) as page:
        client.virtual_machine("vm-1")
    with pytest.raises(NotFound) as word:
        client.virtual_machine("vm-1")
    assert (page.value.html, word.value.html) == (True, False)


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>", b'{"guid":"vm', b"[]", b"null", b"\xff\xfe", b"  "])
def test_what_cannot_be_read_is_a_bad_answer(client: VplusClient, server: ScriptedServer, content: bytes) -> None:
    server.on(PATH, answer(content))
    with pytest.raises(BadAnswer):
        client.virtual_machine("vm-1")
    assert len(server.asked_for(PATH)) == 1


def test_a_redirect_is_not_followed(client: VplusClient, server: ScriptedServer) -> None:
    server.on(PATH, answer(None, 302, headers=[("Location", f"{server.url}/elsewhere")]))
    with pytest.raises(BadAnswer):
        client.virtual_machine("vm-1")
    assert not server.asked_for("GET /elsewhere")


def test_proxies_of_the_environment_are_not_used(
    client: VplusClient, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    server.on(PATH, answer(VM))
    assert client.virtual_machine("vm-1").guid == "vm-1"


@pytest.mark.parametrize(
    "slow",
    [
        silence(),
        drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a"),
        drip(b"HTTP/1.1 200 OK\r\n", b"X-Line: 1\r\n"),
        drip(head(100_000) + b"["),
        drip(head(None, headers=[("Transfer-Encoding", "chunked")]), b"1\r\n \r\n"),
        drip(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["silent", "header", "headers", "body", "chunks", "continue"],
)
def test_the_deadline_is_a_total_also_for_a_server_that_drips(
    make_client: Callable[..., VplusClient], server: ScriptedServer, slow: Callable[[Line, Asked], bool]
) -> None:
    server.on(PATH, slow)
    client = make_client(read_total_seconds=0.5)
    started = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        client.virtual_machine("vm-1")
    assert time.monotonic() - started < 2, "cut at the deadline, long before the server ends"
    assert "in time" in str(caught.value)
    assert len(server.asked_for(PATH)) == 1


def test_a_handshake_that_never_ends_is_cut(make_client: Callable[..., VplusClient]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        client = make_client(url=f"https://localhost:{mute.getsockname()[1]}/api", connect_seconds=0.3)
        started = time.monotonic()
        with pytest.raises(Unavailable):
            client.sign_in()
        assert time.monotonic() - started < 2


def test_a_handshake_that_is_cut_is_an_outage_and_no_question_of_trust(make_client: Callable[..., VplusClient]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as rude:

        def hang_up() -> None:
            taken, _ = rude.accept()
            taken.recv(16)
            taken.close()

        threading.Thread(target=hang_up, daemon=True).start()
        with pytest.raises(Unavailable):
            make_client(url=f"https://localhost:{rude.getsockname()[1]}/api").sign_in()


def test_a_server_without_tls_is_not_trusted(make_client: Callable[..., VplusClient]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def answer_plainly() -> None:
            taken, _ = plain.accept()
            taken.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            taken.recv(1000)
            taken.close()

        threading.Thread(target=answer_plainly, daemon=True).start()
        with pytest.raises(TlsFailed):
            make_client(url=f"https://localhost:{plain.getsockname()[1]}/api").sign_in()


def test_a_resolver_that_hangs_is_left(
    make_client: Callable[..., VplusClient], server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(connect_seconds=0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: time.sleep(3))
    started = time.monotonic()
    with pytest.raises(Unavailable):
        client.sign_in()
    assert time.monotonic() - started < 2


def test_nobody_listening_is_unavailable(make_client: Callable[..., VplusClient], waits: list[float]) -> None:
    with pytest.raises(Unavailable):
        make_client(url="https://localhost:1/api").virtual_machine("vm-1")


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_an_answer_over_the_cap_is_not_read_to_its_end(
    make_client: Callable[..., VplusClient], server: ScriptedServer, packed: bool
) -> None:
    content = b"[" + b" " * 50_000_000 + b"]"
    server.on(
        PATH, answer(gzip.compress(content), headers=[("Content-Encoding", "gzip")]) if packed else answer(content)
    )
    with pytest.raises(BadAnswer) as caught:
        make_client(size_cap_bytes=100_000).virtual_machine("vm-1")
    assert "more data" in str(caught.value)


def test_a_compressed_answer_is_read(client: VplusClient, server: ScriptedServer) -> None:
    server.on(PATH, answer(gzip.compress(json.dumps(VM).encode()), headers=[("Content-Encoding", "gzip")]))
    assert client.virtual_machine("vm-1").name == "web-01"


@pytest.mark.parametrize(
    "trouble",
    [cut(), cut(reset=True), cut(head(1000) + b'{"guid"'), cut(head(1000) + b'{"guid"', reset=True), answer({}, 502)],
    ids=["gone", "reset", "half", "half, reset", "502"],
)
def test_passing_trouble_is_repeated(
    client: VplusClient, server: ScriptedServer, waits: list[float], trouble: Callable[[Line, Asked], bool]
) -> None:
    server.on(PATH, trouble, trouble, answer(VM))
    assert client.virtual_machine("vm-1").name == "web-01"
    assert len(waits) == 2
    assert 0.1 <= waits[0] <= 0.2 <= waits[1] <= 0.4


def test_trouble_that_stays_is_given_up(client: VplusClient, server: ScriptedServer, waits: list[float]) -> None:
    server.on(PATH, answer({}, 500))
    with pytest.raises(Unavailable):
        client.virtual_machine("vm-1")
    assert (len(server.asked_for(PATH)), len(waits)) == (3, 2)


@pytest.mark.parametrize(
    ("status", "asked", "waited"),
    [
        (503, "1", [1.0, 1.0]),
        (429, "1", [1.0, 1.0]),
        (503, "9999", []),
        (429, None, []),
        (400, "1", []),
        (404, "1", []),
    ],
)
def test_retry_after_is_obeyed_up_to_a_cap(
    client: VplusClient,
    server: ScriptedServer,
    waits: list[float],
    *,
    status: int,
    asked: str | None,
    waited: list[float],
) -> None:
    server.on(PATH, answer({}, status, headers=[("Retry-After", asked)] if asked else None))
    with pytest.raises(VplusError):
        client.virtual_machine("vm-1")
    assert waits == waited


def test_all_tries_share_one_deadline(
    make_client: Callable[..., VplusClient], server: ScriptedServer, waits: list[float]
) -> None:
    server.on(PATH, answer({}, 503, headers=[("Retry-After", "2")]))
    with pytest.raises(Unavailable):
        make_client(read_total_seconds=1).virtual_machine("vm-1")
    assert waits == [], "a wait beyond the deadline is not begun"


def test_connections_are_used_again(client: VplusClient, server: ScriptedServer) -> None:
    server.on(PATH, answer(VM))
    for _ in range(5):
        client.virtual_machine("vm-1")
    assert server.connections == 1


@pytest.mark.parametrize("guid", ["", ".", ".."])
def test_a_guid_cannot_leave_its_place_in_the_path(client: VplusClient, server: ScriptedServer, guid: str) -> None:
    with pytest.raises(Invalid):
        client.virtual_machine(guid)


def test_a_guid_is_escaped(client: VplusClient, server: ScriptedServer) -> None:
    with pytest.raises(NotFound):
        client.virtual_machine("a/../b?c#d")
    assert server.asked[-1].path == "/api/virtual-machines/a%2F..%2Fb%3Fc%23d"


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=60).map(lambda b: b"HTTP/1.1 200 OK\r\n" + b),
        st.binary(max_size=60).map(lambda b: b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: " + b + b"\r\n\r\nhello"),
        st.sampled_from(
            [
                b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}",
                b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n{}",
                b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nnot gzip",
                b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n{}",
                b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n{}",
                b"HTTP/1.1 999999 Odd\r\n\r\n{}",
                b"HTTP/1.1 200 OK\r\nContent-Type: \xff\xfe\r\nSet-Cookie: \xff=\x01\r\nDate: \xff\r\n\r\n{}",
            ]
        ),
    )
)
def test_no_bytes_make_the_client_crash(client: VplusClient, server: ScriptedServer, content: bytes) -> None:
    server.on(PATH, raw(content))
    with pytest.raises(VplusError):
        client.virtual_machine("vm-1")


def test_after_trouble_the_client_recovers_by_itself(client: VplusClient, server: ScriptedServer) -> None:
    server.on(PATH, answer(b"<html>", content_type="text/html"), answer({}, 400), answer(VM))
    for error in (BadAnswer, Invalid):
        with pytest.raises(error):
            client.virtual_machine("vm-1")
    assert client.virtual_machine("vm-1").name == "web-01"


def test_tls_that_breaks_in_the_middle_is_not_repeated(
    client: VplusClient, server: ScriptedServer, waits: list[float]
) -> None:
    def break_tls(line: Line, _asked: Asked) -> bool:
        line.tls.sendall(head(1000) + b'{"guid"')
        plain = socket.socket(fileno=line.tls.detach())
        plain.sendall(b"\x17\x03\x03\x00\x20" + b"garbage-garbage-garbage-garbage-")
        plain.close()
        return False

    server.on(PATH, break_tls)
    with pytest.raises(TlsFailed):
        client.virtual_machine("vm-1")
    assert waits == []


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "http://host/api"},
        {"url": "https:///api"},
        {"url": "https://u:p@host/api"},
        {"url": "https://host:99999/api"},
        {"url": "host"},
        {"cert_sha256": "abc"},
    ],
)
def test_an_impossible_endpoint_is_refused(endpoint: Callable[..., Endpoint], changes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"vPlus|[Pp]ort"):
        endpoint(**changes)
