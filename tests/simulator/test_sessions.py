"""Sign-in, its end, and what happens without it."""

from __future__ import annotations

import pytest
import requests

from .conftest import Start, Vplus


def test_every_call_needs_a_session_and_says_so_in_json(start: Start) -> None:
    vplus = start(sign_in=False)
    for path in ("/session", "/session/user", "/virtual-machines", "/tasks", "/backups"):
        answer = vplus.get(path)
        assert (answer.status_code, answer.headers["Content-Type"]) == (401, "application/json")
        assert answer.json()["message"]


def test_a_wrong_password_is_401_and_opens_nothing(start: Start) -> None:
    vplus = start(sign_in=False)
    assert vplus.sign_in("wrong").status_code == 401
    assert not vplus.http.cookies
    assert vplus.get("/session").status_code == 401


def test_the_cookie_carries_every_later_call_until_sign_out(vplus: Vplus) -> None:
    assert vplus.get("/session").status_code == 204
    assert vplus.read("/session/user")["privileges"][0]["name"]
    assert vplus.post("/session/logout", {}).status_code == 204
    assert vplus.get("/session").status_code == 401


def test_sessions_of_one_account_live_side_by_side(vplus: Vplus) -> None:
    other = Vplus(vplus.server)
    assert other.sign_in().status_code == 200
    assert other.post("/session/logout", {}).status_code == 204
    assert vplus.get("/session").status_code == 204
    other.http.close()


def test_an_idle_session_ends_and_a_used_one_does_not(start: Start) -> None:
    vplus = start(session_idle_seconds=100)
    for _ in range(3):
        vplus.server.control.step(90)
        assert vplus.get("/session").status_code == 204
    vplus.server.control.step(101)
    assert vplus.get("/session").status_code == 401


def test_forgotten_sessions_do_not_pile_up(start: Start) -> None:
    vplus = start(session_idle_seconds=100, sign_in=False)
    for _ in range(5):
        vplus.sign_in()
        vplus.server.control.step(60)
    assert vplus.server.control.summary().sessions == 2


def test_a_client_that_keeps_one_of_two_cookies_is_not_signed_in(start: Start) -> None:
    vplus = start(second_cookie=True)
    assert len(vplus.http.cookies) == 2
    assert vplus.get("/session").status_code == 204
    vplus.http.cookies.clear("localhost.local", "/api", "JREPLICA")
    assert vplus.get("/session").status_code == 401


def test_a_401_can_be_a_page(start: Start) -> None:
    answer = start(sign_in=False, unauthorized_body="html").get("/tasks")
    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "text/html"
    assert b"<html>" in answer.content


def test_a_body_that_is_no_login_is_refused(start: Start) -> None:
    vplus = start(sign_in=False)
    assert vplus.post("/session/login", {"login": "portal"}).status_code == 401
    assert vplus.post("/session/login", ["portal"]).status_code == 400
    assert vplus.http.post(vplus.server.url + "/session/login", data=b"{", timeout=10).status_code == 400


def test_a_client_with_another_ca_is_not_served(start: Start) -> None:
    vplus = start(sign_in=False)
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(vplus.server.url + "/session", timeout=10, verify=True)
    assert vplus.get("/session").status_code == 401
