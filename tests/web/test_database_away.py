"""The portal's own database goes away: a calm 503 that says what is known of what was asked. Connections are cut for real."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import psycopg
import pytest
import requests
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.handlers.exception import convert_exception_to_response
from django.db import connection, connections
from django.http import HttpResponse
from django.test import RequestFactory

from portal.request_scope import in_tenant
from tenants.scope import every_tenant
from tests.api.conftest import Rows, Script
from tests.api.test_problems import is_problem
from tests.conftest import Cast
from tests.live.listening import cookies_of
from tests.processes import Processes, eventually
from tests.relay import Relay
from tests.web.conftest import ACTIVITY, BACK_UP, LIST, Visitor
from tests.web.test_errors_and_headers import reference
from vplus_bridge.models import Operation

AWAY = "The portal's own database cannot be reached at the moment."


def cut() -> None:
    """End this thread's connection from outside, as an administrator, a restart or a failover does."""
    connection.ensure_connection()
    pid = connection.connection.info.backend_pid
    facts = connections["default"].get_connection_params()
    facts = {name: facts[name] for name in ("dbname", "user", "password", "host", "port") if facts.get(name)}
    with psycopg.connect(**facts, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


@pytest.fixture
def cut_before(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Cut the connection of a request where it is about to call this function."""

    def before(name: str) -> None:
        module, _, attribute = name.rpartition(".")
        real = getattr(__import__(module, fromlist=[attribute]), attribute)

        def cutting(*args: Any, **kwargs: Any) -> Any:
            cut()
            return real(*args, **kwargs)

        monkeypatch.setattr(name, cutting)

    return before


@pytest.fixture
def cut_at_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut the connection when view and rendering are done, a moment before the commit."""

    @contextmanager
    def cutting(tenant_id: Any) -> Iterator[None]:
        with in_tenant(tenant_id):
            yield
        cut()

    monkeypatch.setattr("portal.request_scope.in_tenant", cutting)


@pytest.fixture
def asker(cast: Cast, rows: Rows, oscar: Visitor) -> Visitor:
    """Oscar, with a machine that can be backed up."""
    rows.machine("vm-1", cast.alpha)
    rows.destination("bd-main", cast.alpha)
    return oscar


def operations() -> int:
    with every_tenant("test"):
        return Operation.objects.count()


def test_a_page_whose_connection_is_cut_is_calm_and_the_next_one_is_a_page(
    cast: Cast, oscar: Visitor, cut_before: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cut_before("portal.web.virtual_machines.counts_of")
    page = oscar.get(LIST)
    assert page.status == 503
    assert page.heading == "Not available right now"
    assert f"{AWAY} Your virtual machines and backups are not affected." in page.main.text
    assert page.link("Try again") == LIST
    assert page.response["Retry-After"] == "10"
    assert reference(page) in caplog.text
    for secret in ("AdminShutdown", "terminating", "Traceback"):
        assert secret not in page.html
    monkeypatch.undo()
    assert oscar.get(LIST).status == 200


@pytest.mark.parametrize("place", ["tenants.entrance.member_of", "portal.web.backup.request_backups"])
def test_what_was_asked_and_cut_before_the_commit_is_said_to_be_unsaved_and_is(
    asker: Visitor, cut_before: Any, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    cut_before(place)
    page = asker.post(BACK_UP, vm="vm-1")
    assert page.status == 503
    assert f"{AWAY} Nothing of what you asked for was saved, and nothing was sent;" in page.main.text
    assert page.has_link("To the start")
    monkeypatch.undo()
    assert operations() == 0
    assert asker.post(BACK_UP, vm="vm-1").status == 200
    assert operations() == 1


def test_what_was_cut_in_the_moment_of_the_commit_is_not_known_on_a_page(
    asker: Visitor, cut_at_the_commit: None
) -> None:
    page = asker.post(BACK_UP, vm="vm-1")
    assert page.status == 503
    assert "may have been saved, or not: if it was, it is carried out; if not, nothing was sent." in page.main.text
    assert "Look at Activity before you ask again." in page.main.text


def test_a_script_is_told_the_same_as_a_problem_and_asks_again_with_its_key(
    cast: Cast, asker: Visitor, cut_at_the_commit: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, wish = Script(cast.oscar.token()), {"kind": "backup", "virtual_machines": ["vm-1"]}
    answer = script.post("operations/", wish, key="one")
    is_problem(answer, 503, "database_away")
    assert answer["Retry-After"] == "10"
    assert "may have been saved, or not" in answer.data["detail"]
    assert "Idempotency-Key" in answer.data["detail"]
    monkeypatch.undo()
    assert operations() == 0, "as it happens; PostgreSQL may also have been cut off after it had saved"
    assert script.post("operations/", wish, key="one").status_code == 202
    assert operations() == 1


def test_a_script_that_reads_is_told_so_too(cast: Cast, cut_before: Any) -> None:
    script = Script(cast.oscar.token())
    cut_before("tenants.entrance.bearer_of")
    answer = script.get("virtual-machines/")
    is_problem(answer, 503, "database_away")
    assert answer.data["detail"] == f"{AWAY} Your virtual machines and backups are not affected."


def test_a_session_that_cannot_be_written_is_not_taken_for_one_that_was_ended(cast: Cast, oscar: Visitor) -> None:
    """Django answers 400 where saving a session fails, whatever the reason."""

    def view(request: Any) -> HttpResponse:
        request.session["seen"] = 1
        cut()
        return HttpResponse("seen")

    answer = convert_exception_to_response(SessionMiddleware(view))
    request = RequestFactory().get("/accounts/login/")
    request.COOKIES = {name: morsel.value for name, morsel in oscar.client.cookies.items()}
    response = answer(request)
    assert (response.status_code, response["Retry-After"]) == (503, "10")


@pytest.fixture
def relayed(cast: Cast, tmp_path: Path) -> Iterator[tuple[Processes, Relay]]:
    """A web server of its own, with two pooled connections that can be cut."""
    given = urlsplit(os.environ["DATABASE_URL"])
    folder = parse_qs(given.query).get("host", [""])[0]
    if not folder.startswith("/"):
        pytest.skip("this PostgreSQL has no socket file to stand before")
    relay = Relay(f"{folder}/.s.PGSQL.{given.port or 5432}")
    user = given.netloc.rpartition("@")[0]
    name = connections["default"].settings_dict["NAME"]
    url = urlunsplit(given._replace(netloc=f"{user}@127.0.0.1:{relay.port}", path=f"/{name}", query="sslmode=disable"))
    processes = Processes(tmp_path, DATABASE_URL=url, DATABASE_POOL_SIZE="2")
    processes.start_web()
    yield processes, relay
    processes.end_all()
    relay.close()


def test_a_web_server_without_its_database_says_so_and_serves_again_when_it_is_back(
    relayed: tuple[Processes, Relay], cast: Cast
) -> None:
    web, relay = relayed
    cookies, token = {"Cookie": cookies_of(cast.oscar)}, {"Authorization": f"Bearer {cast.oscar.token()}"}

    def page() -> requests.Response:
        return requests.get(f"{web.url}{ACTIVITY}", headers=cookies, timeout=30)

    assert page().status_code == 200
    relay.cut()
    with ThreadPoolExecutor(3) as people:
        asked = [people.submit(page) for _ in range(2)]
        script = requests.post(f"{web.url}/api/v1/operations/", json={}, headers=token, timeout=30)
        answers = [one.result() for one in asked]
    for answer in answers:
        assert answer.status_code == 503
        assert AWAY in answer.text.replace("&#x27;", "'")
    assert script.json()["code"] == "database_away", "not busy: nobody else holds a connection"
    assert script.headers["Retry-After"] == "10"
    time.sleep(5)
    relay.mend()
    eventually("pages are back soon after the database is", lambda: page().status_code == 200, patience=15)


def test_a_web_server_whose_connections_are_all_held_says_that_it_is_busy(
    relayed: tuple[Processes, Relay], cast: Cast
) -> None:
    web, _ = relayed
    headers = {"Authorization": f"Bearer {cast.oscar.token()}"}

    def ask() -> requests.Response:
        return requests.get(f"{web.url}/api/v1/tasks/", headers=headers, timeout=40)

    assert ask().status_code == 200
    with ThreadPoolExecutor(3) as people:
        with connections["owner"].cursor() as cursor:
            cursor.execute("BEGIN; LOCK TABLE vplus_bridge_task IN ACCESS EXCLUSIVE MODE")
            try:
                held = [people.submit(ask) for _ in range(2)]
                time.sleep(1)
                answer = people.submit(ask).result()
            finally:
                cursor.execute("ROLLBACK")
        assert {one.result().status_code for one in held} == {200}
    assert answer.status_code == 503
    assert answer.json()["code"] == "busy"
    assert answer.headers["Retry-After"] == "5"
