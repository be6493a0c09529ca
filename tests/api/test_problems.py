"""Every no of the API is a problem document with a code and a reference, wherever it comes from."""

from typing import Any

import pytest
from django.test import Client

from tests.api.conftest import Rows, Script
from tests.conftest import Cast

MEMBERS = {"type", "title", "status", "detail", "code", "reference", "errors"}


def is_problem(answer: Any, status: int, code: str) -> None:
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    said = answer.json()
    assert set(said) == MEMBERS
    assert (said["status"], said["code"]) == (status, code)
    assert said["reference"] == answer["X-Reference"]
    assert said["type"].endswith(code)
    assert said["detail"]


@pytest.mark.parametrize(
    "path", ["v1/nothing/", "v1/virtual-machines/vm-1/nothing/", "v2/me/", "nothing/", "v1/tokens/x/"]
)
def test_an_address_that_is_not_there(cast: Cast, alice: Script, path: str) -> None:
    is_problem(alice.get(f"/api/{path}"), 404, "not_found")
    is_problem(Client().get(f"/api/{path}"), 404, "not_found")


def test_a_method_that_is_not_there(alice: Script) -> None:
    answer = alice.post("me/", {})
    is_problem(answer, 405, "method_not_allowed")
    assert answer["Allow"] == "GET, HEAD"
    is_problem(alice.client.put("/api/v1/operations/", headers=alice.headers), 405, "method_not_allowed")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_a_body_of_another_type(oscar: Script, kind: str) -> None:
    is_problem(oscar.post("operations/", "kind=backup", content_type=kind), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "body", ["", "{", "[1", "NaN", '{"kind": NaN}', b"\xff\xfe", "[" * 100_000, '"\\ud800', "{'kind': 'backup'}"]
)
def test_a_body_that_is_no_json(oscar: Script, body: Any) -> None:
    answer = oscar.post("operations/", body)
    assert answer.status_code == 400
    assert set(answer.json()) == MEMBERS
    assert oscar.post("operations/", body, key="one").status_code == 400


@pytest.mark.parametrize("body", ['{"\\ud800": 1}', '{"name": {"\\udfff\\ud800": []}}', '{"name": ["\\ud83d"]}'])
@pytest.mark.parametrize("path", ["policies/", "schedules/preview/", "tokens/", "operations/"])
def test_half_a_character_is_no_text(alice: Script, path: str, body: str) -> None:
    answer = alice.post(path, body)
    is_problem(answer, 400, "parse_error")
    assert "half a character" in answer.data["detail"]
    is_problem(alice.post(path, body, key="one"), 400, "parse_error")


def test_a_whole_character_told_in_two_halves_is_text(alice: Script) -> None:
    answer = alice.post("tokens/", '{"name": "night \\ud83c\\udf19"}')
    assert (answer.status_code, answer.data["name"]) == (201, "night \N{CRESCENT MOON}")


@pytest.mark.parametrize("body", ['{"name": "a", "name": "b"}', '{"schedules": [{"active": true, "active": false}]}'])
def test_a_member_that_is_named_twice_could_mean_either(alice: Script, body: str) -> None:
    answer = alice.post("policies/", body)
    is_problem(answer, 400, "parse_error")
    assert "twice" in answer.data["detail"]


def test_a_body_that_is_too_large(oscar: Script) -> None:
    is_problem(oscar.post("operations/", "[" + " " * 1_000_001), 413, "too_large")


@pytest.mark.parametrize("body", ["null", "7", '"text"', "[]", '["kind"]', "true"])
def test_json_that_is_no_object(oscar: Script, body: str) -> None:
    for path in ("operations/", "tokens/"):
        answer = oscar.post(path, body)
        is_problem(answer, 400, "invalid")
        is_problem(oscar.post(path, body, key="one"), 400, "invalid")


def test_trouble_of_our_own(cast: Cast, rows: Rows, oscar: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken from inside: the sentence is calm, the reference is in the log, and nothing of the trouble is told."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("host-7 is at fault")

    monkeypatch.setattr("tenants.tokens.make_token", broken)
    answer = oscar.post("tokens/", {"name": "x"}, key="one")
    is_problem(answer, 500, "unknown_trouble")
    assert "host-7" not in answer.content.decode()
    monkeypatch.undo()
    assert oscar.post("tokens/", {"name": "x"}, key="one").status_code == 201


def test_too_busy(oscar: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    from psycopg_pool import PoolTimeout

    def busy(*_: object, **__: object) -> None:
        raise PoolTimeout

    monkeypatch.setattr("tenants.tokens.visible_tokens", busy)
    answer = oscar.get("tokens/")
    is_problem(answer, 503, "busy")
    assert answer["Retry-After"] == "5"
