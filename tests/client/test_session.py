from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.client.conftest import PASSWORD
from tests.client.scripted_server import Asked, Line, ScriptedServer, answer, cut, sign_in
from vplus_bridge.client import AuthFailed, BadAnswer, Forbidden, Unavailable, VplusClient

VM = {"guid": "vm-1", "uuid": "u-1", "name": "web-01", "present": True}


def sessions(server: ScriptedServer) -> Callable[[Line, Asked], bool]:
    """Sign-in that gives a new cookie each time; `server.valid` holds the one that counts."""
    lock = threading.Lock()
    count = 0

    def behave(line: Line, asked: Asked) -> bool:
        nonlocal count
        with lock:
            count += 1
            server.valid = f"sid=s{count}"  # type: ignore[attr-defined]
            cookie = server.valid  # type: ignore[attr-defined]
        time.sleep(0.1)
        return answer({}, headers=[("Set-Cookie", f"{cookie}; Path=/api")])(line, asked)

    return behave


def guarded(server: ScriptedServer) -> Callable[[Line, Asked], bool]:
    def behave(line: Line, asked: Asked) -> bool:
        good = asked.headers.get("cookie") == getattr(server, "valid", None)
        return answer(VM if good else b"<html>login</html>", 200 if good else 401)(line, asked)

    return behave


def test_all_cookies_of_the_sign_in_come_back(client: VplusClient, server: ScriptedServer) -> None:
    server.on("GET /virtual-machines/vm-1", answer(VM))
    client.virtual_machine("vm-1")
    sent = server.asked_for("GET /virtual-machines/vm-1")[0].headers["cookie"]
    assert set(sent.split("; ")) == {"JSESSIONID=s3cr3t-cookie", "node=n1"}


def test_sign_in_tells_what_the_account_may_do(client: VplusClient) -> None:
    assert client.sign_in().privileges == ("NODE_READ",)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"privileges":7}'])
def test_sign_in_with_a_sparse_body_is_good(client: VplusClient, server: ScriptedServer, body: bytes) -> None:
    server.on("POST /session/login", sign_in(body))
    assert client.sign_in().privileges is None


def test_sign_in_answered_by_a_web_page_is_a_bad_answer(client: VplusClient, server: ScriptedServer) -> None:
    server.on("POST /session/login", answer(b"<html>hello</html>", content_type="text/html"))
    with pytest.raises(BadAnswer):
        client.sign_in()


def test_sign_in_without_a_cookie_is_a_bad_answer(client: VplusClient, server: ScriptedServer) -> None:
    server.on("POST /session/login", answer({}))
    with pytest.raises(BadAnswer):
        client.sign_in()


def test_an_expired_session_is_renewed_once_and_the_read_repeated(client: VplusClient, server: ScriptedServer) -> None:
    server.on("POST /session/login", sessions(server))
    server.on("GET /virtual-machines/vm-1", guarded(server))
    client.virtual_machine("vm-1")
    server.valid = "nothing"  # type: ignore[attr-defined]
    assert client.virtual_machine("vm-1").name == "web-01"
    assert len(server.asked_for("POST /session/login")) == 2


def test_threads_that_meet_a_401_together_share_one_sign_in(client: VplusClient, server: ScriptedServer) -> None:
    server.on("POST /session/login", sessions(server))
    server.on("GET /virtual-machines/vm-1", guarded(server))
    client.ensure_session()
    server.valid = "nothing"  # type: ignore[attr-defined]
    with ThreadPoolExecutor(16) as pool:
        names = [vm.name for vm in pool.map(client.virtual_machine, ["vm-1"] * 32)]
    assert names == ["web-01"] * 32
    assert len(server.asked_for("POST /session/login")) == 2


def test_a_second_401_after_a_fresh_sign_in_is_an_error(client: VplusClient, server: ScriptedServer) -> None:
    server.on("GET /virtual-machines/vm-1", answer({}, 401))
    with pytest.raises(AuthFailed) as caught:
        client.virtual_machine("vm-1")
    assert caught.value.status == 401
    assert len(server.asked_for("POST /session/login")) == 2
    assert len(server.asked_for("GET /virtual-machines/vm-1")) == 2


def test_a_wrong_password_is_not_tried_again_until_it_has_cooled(
    make_client: Callable[..., VplusClient], server: ScriptedServer
) -> None:
    server.on("POST /session/login", answer({"message": "no"}, 401))
    client = make_client(sign_in_cooling_seconds=0.5)
    for _ in range(3):
        with pytest.raises(AuthFailed):
            client.virtual_machine("vm-1")
        with pytest.raises(AuthFailed):
            client.sign_in()
    assert len(server.asked_for("POST /session/login")) == 1
    time.sleep(0.6)
    with pytest.raises(AuthFailed):
        client.ensure_session()
    assert len(server.asked_for("POST /session/login")) == 2


def test_threads_that_wait_for_a_failing_sign_in_share_its_failure(client: VplusClient, server: ScriptedServer) -> None:
    def slow_failure(line: Line, asked: Asked) -> bool:
        time.sleep(0.5)
        return answer({}, 503)(line, asked)

    server.on("POST /session/login", slow_failure)

    def one(_: int) -> str:
        try:
            client.ensure_session()
        except Unavailable:
            return "unavailable"
        return "signed in"

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(8))) == {"unavailable"}
    assert len(server.asked_for("POST /session/login")) == 1


def test_after_an_outage_signing_in_works_again(client: VplusClient, server: ScriptedServer) -> None:
    server.on("POST /session/login", cut(), sign_in())
    with pytest.raises(Unavailable):
        client.ensure_session()
    client.ensure_session()


def test_signing_out_ends_the_session_and_the_next_read_signs_in(client: VplusClient, server: ScriptedServer) -> None:
    server.on("GET /virtual-machines/vm-1", answer(VM))
    server.on("POST /session/logout", answer(None, 204))
    client.ensure_session()
    client.sign_out()
    assert "s3cr3t-cookie" in server.asked_for("POST /session/logout")[0].headers["cookie"]
    client.virtual_machine("vm-1")
    assert len(server.asked_for("POST /session/login")) == 2


def test_signing_out_of_a_dead_server_is_quiet(client: VplusClient, server: ScriptedServer) -> None:
    server.on("POST /session/logout", cut())
    client.ensure_session()
    client.sign_out()


def test_no_secret_is_in_any_text(
    client: VplusClient, server: ScriptedServer, endpoint: Callable[..., object], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.on("GET /virtual-machines/vm-1", answer({"message": "body-text"}, 403))
    with pytest.raises(Forbidden) as caught:
        client.virtual_machine("vm-1")
    with client.open_write() as channel:
        texts = [repr(client), repr(endpoint()), repr(channel), str(client), str(caught.value), repr(caught.value)]
    texts += [repr(vars(client)), caplog.text, *(repr(vars(record)) for record in caplog.records)]
    for text in texts:
        assert PASSWORD not in text
        assert "s3cr3t-cookie" not in text
        assert "body-text" not in text
    assert "localhost" not in str(caught.value)


def test_a_call_is_logged_by_method_template_status_and_duration(
    client: VplusClient, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="vplus")
    server.on("GET /virtual-machines/vm-1", answer(VM))
    client.virtual_machine("vm-1")
    facts = [(r.method, r.path, r.status) for r in caplog.records if r.name == "vplus"]  # type: ignore[attr-defined]
    assert facts == [("POST", "/session/login", 200), ("GET", "/virtual-machines/{guid}", 200)]
    assert all(r.duration_ms >= 0 for r in caplog.records if r.name == "vplus")  # type: ignore[attr-defined]


def test_the_clock_offset_is_vplus_minus_ours(client: VplusClient, server: ScriptedServer) -> None:
    assert client.clock_offset_ms is None
    ahead = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 3600))
    dated = answer(VM, headers=[("Date", ahead)])
    server.on("GET /virtual-machines/vm-1", answer(VM, headers=[("Date", "yesterday")]), dated)
    client.virtual_machine("vm-1")
    assert client.clock_offset_ms is None
    client.virtual_machine("vm-1")
    assert client.clock_offset_ms == pytest.approx(3_600_000, abs=1500)
