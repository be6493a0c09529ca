"""Idempotency-Key: one deed and the same answer, kept with the deed or not at all, sealed, for a day, per token."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from tenants import kept_answers
from tenants.models import AuditEvent, KeptAnswer, Token
from tenants.scope import every_tenant
from tests.api.conftest import Rows, Script
from tests.conftest import Cast
from vplus_bridge.jobs import prune
from vplus_bridge.models import Operation

KEY = "5b1c9f0e-6f0e-4a55-9a3e-0d2f3c1b7a11"
WISH = {"kind": "backup", "virtual_machines": ["vm-1"]}


@pytest.fixture
def ready(cast: Cast, rows: Rows) -> None:
    rows.machine("vm-1", cast.alpha)
    rows.machine("vm-2", cast.alpha)
    rows.machine("vm-beta", cast.beta)
    rows.destination("bd-1", cast.alpha)


def kept() -> int:
    with every_tenant("test"):
        return int(KeptAnswer.objects.count())


def started() -> int:
    with every_tenant("test"):
        return int(Operation.objects.count())


def test_the_same_request_again_is_answered_the_same_and_does_nothing(ready: None, oscar: Script) -> None:
    first = oscar.post("operations/", WISH, key=KEY)
    assert first.status_code == 202
    assert "Idempotent-Replay" not in first
    with every_tenant("test"):
        Operation.objects.update(state="failed", finished_at=timezone.now())
    again = oscar.post("operations/", {**dict(reversed(WISH.items()))}, key=KEY)
    assert (again.status_code, again.content) == (202, first.content)
    assert (again["Idempotent-Replay"], again["Content-Type"]) == ("true", first["Content-Type"])
    assert started() == 1
    with every_tenant("test"):
        assert AuditEvent.objects.filter(action__startswith="operation").count() == 1
    assert (
        oscar.post("operations/", WISH, key="another").data["operations"][0]["id"] != first.data["operations"][0]["id"]
    )


def test_a_key_with_another_request_is_422(ready: None, oscar: Script) -> None:
    oscar.post("operations/", WISH, key=KEY)
    for path, body in (("operations/", {**WISH, "virtual_machines": ["vm-2"]}), ("tokens/", WISH)):
        answer = oscar.post(path, body, key=KEY)
        assert (answer.status_code, answer.data["code"]) == (422, "idempotency_key_reused")
        assert answer["Content-Type"] == "application/problem+json"
    assert started() == 1


def test_what_is_refused_leaves_neither_deed_nor_key(ready: None, oscar: Script) -> None:
    for wrong, status in (({**WISH, "priority": 101}, 400), ({**WISH, "virtual_machines": ["vm-beta"]}, 404)):
        assert oscar.post("operations/", wrong, key=KEY).status_code == status
        assert (kept(), started()) == (0, 0)
    assert oscar.post("operations/", WISH, key=KEY).status_code == 202


def test_a_crash_leaves_neither_deed_nor_key(ready: None, oscar: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server falls over at the last moment, with the deed done and the answer kept but not committed."""
    real = kept_answers.Claim.keep

    def keep_and_fall(claim: Any, answer: Any) -> None:
        real(claim, answer)
        raise SystemExit

    with monkeypatch.context() as falling:
        falling.setattr(kept_answers.Claim, "keep", keep_and_fall)
        with pytest.raises(SystemExit):
            oscar.post("operations/", WISH, key=KEY)
    assert (kept(), started()) == (0, 0)
    assert oscar.post("operations/", WISH, key=KEY).status_code == 202


@pytest.mark.parametrize("key", ["", " ", "two words", "x" * 256, "łódź", "tab\there", "\x7f"])
def test_a_key_of_another_form_is_400(ready: None, oscar: Script, key: str) -> None:
    answer = oscar.post("operations/", WISH, key=key)
    assert (answer.status_code, list(answer.data["errors"])) == (400, ["Idempotency-Key"])
    assert started() == 0


@pytest.mark.parametrize("key", ["!", "~" * 255, '"quoted"'])
def test_any_visible_text_is_a_key(ready: None, oscar: Script, key: str) -> None:
    assert oscar.post("operations/", WISH, key=key).status_code == 202
    assert oscar.post("operations/", WISH, key=key)["Idempotent-Replay"] == "true"


def test_keys_are_the_tokens_own(
    ready: None, cast: Cast, oscar: Script, mallory: Script, script_of: Callable[..., Script]
) -> None:
    first = oscar.post("tokens/", {"name": "x"}, key=KEY)
    for other in (mallory, script_of(cast.oscar)):
        answer = other.post("tokens/", {"name": "x"}, key=KEY)
        assert answer.status_code == 201
        assert answer.data["id"] != first.data["id"]
    assert kept() == 3


def test_a_secret_is_answered_again_and_kept_nowhere(oscar: Script) -> None:
    first = oscar.post("tokens/", {"name": "nightly"}, key=KEY)
    again = oscar.post("tokens/", {"name": "nightly"}, key=KEY)
    assert (again.status_code, again.content) == (201, first.content)
    assert again["Cache-Control"] == "no-store"
    with every_tenant("test"):
        [row] = KeptAnswer.objects.all()
        assert first.data["token"].encode() not in bytes(row.body)
        assert b"nightly" not in bytes(row.body)
        assert Token.objects.filter(name="nightly").count() == 1


def test_the_providers_posts_have_keys_too(cast: Cast, rows: Rows, paula: Script) -> None:
    rows.machine("vm-1")
    wish = {"tenant": "alpha", "virtual_machines": ["vm-1"]}
    first = paula.post("operator/virtual-machines/", wish, key=KEY)
    again = paula.post("operator/virtual-machines/", wish, key=KEY)
    assert first.data["changed"] == ["vm-1"]
    assert (again.content, again["Idempotent-Replay"]) == (first.content, "true")


def test_an_answer_is_kept_for_a_day(ready: None, oscar: Script) -> None:
    first = oscar.post("tokens/", {"name": "x"}, key=KEY)
    with every_tenant("test"):
        KeptAnswer.objects.update(created_at=timezone.now() - timedelta(hours=23, minutes=59))
    prune()
    assert oscar.post("tokens/", {"name": "x"}, key=KEY).content == first.content
    with every_tenant("test"):
        KeptAnswer.objects.update(created_at=timezone.now() - timedelta(hours=24, seconds=1))
    assert oscar.post("tokens/", {"name": "x"}, key=KEY).content != first.content
    with every_tenant("test"):
        KeptAnswer.objects.update(created_at=timezone.now() - timedelta(hours=24, seconds=1))
    prune()
    assert kept() == 0


@pytest.mark.parametrize("turn", range(4))
def test_of_many_at_once_one_acts_and_all_are_answered_alike(ready: None, cast: Cast, turn: int) -> None:
    text, together = cast.oscar.token(), Barrier(6)

    def ask(_: int) -> tuple[int, bytes]:
        try:
            together.wait(30)
            answer = Script(text).post("tokens/", {"name": "once"}, key=KEY)
            return answer.status_code, answer.content
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as threads:
        answers = set(threads.map(ask, range(6)))
    [(status, _)] = answers
    assert status == 201
    with every_tenant("test"):
        assert Token.objects.filter(name="once").count() == 1


def test_who_waits_too_long_is_told_when_to_ask_again(
    ready: None, cast: Cast, oscar: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first request is still open, here as a transaction of another connection."""
    monkeypatch.setattr(kept_answers, "WAIT_SECONDS", 1)
    oscar.get("me/")  # notes the last use, so that only the key is waited for
    with every_tenant("test"):
        token = Token.objects.get(owner_name=cast.oscar.email)

    def ask() -> Any:
        try:
            return oscar.post("operations/", WISH, key=KEY)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as thread, transaction.atomic():
        with every_tenant("test"):
            KeptAnswer.objects.create(tenant=cast.alpha, token=token, key=KEY, fingerprint="x")
            answer = thread.submit(ask).result(30)
        transaction.set_rollback(True)
    assert (answer.status_code, answer.data["code"]) == (409, "idempotency_key_in_use")
    assert int(answer["Retry-After"]) >= 1
    assert connection.needs_rollback is False
    assert oscar.post("operations/", WISH, key=KEY).status_code == 202


def test_a_get_needs_no_key_and_takes_no_notice(ready: None, oscar: Script) -> None:
    oscar.headers["Idempotency-Key"] = KEY
    assert oscar.get("me/").status_code == 200
    assert kept() == 0
