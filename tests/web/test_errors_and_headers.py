"""Our own failures are calm and carry a reference; headers and cookies are strict; health pages say how it stands."""

import json
import re
from typing import Any

import pytest
from django.db import DatabaseError
from django.test import Client

from tests.api.conftest import Rows, Script
from tests.conftest import PASSWORD, Cast
from tests.pages import Page
from tests.web.conftest import ACTIVITY, BACK_UP, INBOX, LIST, Visitor

REFERENCE = r"[23456789ABCDEFGHJKMNPQRSTUVWXYZ]{4}-[23456789ABCDEFGHJKMNPQRSTUVWXYZ]{4}"


def reference(page: Page) -> str:
    shown = re.search(f"Reference ({REFERENCE})", page.text)
    assert shown is not None, page.text
    assert page.response["X-Reference"] == shown[1], "the same on the page, in the header and in the log"
    return shown[1]


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something in the list and in asking fails as nobody foresaw, with a secret in its words."""

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no route to host-7, password hunter2")

    monkeypatch.setattr("portal.web.virtual_machines.counts_of", fail)
    monkeypatch.setattr("portal.web.backup.request_backups", fail)


def test_a_page_that_fails_is_calm_and_carries_a_reference(
    broken: None, cast: Cast, oscar: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    page = oscar.get(LIST)
    assert page.status == 500
    assert page.heading == "This page cannot be shown right now"
    assert "Your virtual machines and backups are not affected." in page.main.text
    assert page.link("Try again") == LIST
    for secret in ("hunter2", "host-7", "RuntimeError", "Traceback", "portal/web"):
        assert secret not in page.html
    assert reference(page) in caplog.text
    assert oscar.get(ACTIVITY).status == 200, "the next page is a page again"


def test_a_write_that_fails_says_where_to_look(broken: None, cast: Cast, rows: Rows, oscar: Visitor) -> None:
    rows.machine("vm-1", cast.alpha)
    rows.destination("bd-main", cast.alpha)
    page = oscar.post(BACK_UP, vm="vm-1")
    assert page.status == 500
    assert page.heading == "We could not finish this"
    assert "If it was recorded, Activity shows it; if not, nothing was sent." in page.main.text
    reference(page)


def test_trouble_of_the_database_is_the_same_calm_page(
    cast: Cast, oscar: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise DatabaseError("deadlock detected in relation tenants_person")

    monkeypatch.setattr("portal.web.virtual_machines.counts_of", fail)
    page = oscar.get(LIST)
    assert page.status == 500
    assert "deadlock" not in page.html


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/no/such/page", 404),
        ("/t/no-such-tenant/virtual-machines/", 404),
        ("/t/beta/virtual-machines/", 404),
        (f"{LIST}no-such-machine/", 404),
        (f"{LIST}%00/", 404),
        (f"{LIST}{'x' * 3000}/", 404),
        ("/t/alpha/no-such-page/", 404),
        (f"{LIST}?cursor=broken", 400),
        (f"{BACK_UP}?vm=nothing", 404),
        ("/console/", 404),
    ],
)
def test_a_no_is_a_page_with_a_reference(path: str, status: int, cast: Cast, oscar: Visitor) -> None:
    page = oscar.get(path)
    assert page.status == status
    assert page.heading
    reference(page)
    assert "Traceback" not in page.html
    assert "DEBUG" not in page.html


def test_a_form_without_its_token_is_refused(cast: Cast, rows: Rows) -> None:
    rows.machine("vm-1", cast.alpha)
    client = Client(enforce_csrf_checks=True)
    client.force_login(cast.oscar.row)
    for path in (BACK_UP, "/account/theme/", "/accounts/logout/"):
        page = Page(client.post(path, {"vm": "vm-1"}))
        assert page.status == 403, path
        assert page.heading


def test_wrong_methods_are_refused(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    rows.machine("vm-1", cast.alpha)
    for path in (LIST, f"{LIST}vm-1/", ACTIVITY, f"{ACTIVITY}tasks/"):
        for method in ("post", "put", "delete", "patch"):
            assert getattr(oscar.client, method)(path).status_code == 405, (method, path)
    assert oscar.client.get("/account/theme/").status_code == 405


def test_every_page_is_strict_about_what_it_loads(cast: Cast, rows: Rows, paula: Visitor) -> None:
    rows.machine("vm-1", cast.alpha)
    oscar, nobody = Visitor(cast.oscar), Visitor()
    pages = [(oscar, LIST), (oscar, f"{LIST}vm-1/"), (oscar, "/no/such"), (nobody, "/accounts/login/"), (paula, INBOX)]
    for visitor, path in pages:
        page = visitor.get(path)
        policy = dict(
            part.strip().partition(" ")[::2]
            for part in page.response["Content-Security-Policy"].split(";")
            if part.strip()
        )
        assert policy["default-src"] == "'self'"
        assert policy["object-src"] == policy["frame-ancestors"] == "'none'"
        assert policy["form-action"] == policy["base-uri"] == "'self'"
        assert "unsafe" not in page.response["Content-Security-Policy"]
        assert set(policy) <= {"default-src", "img-src", "object-src", "base-uri", "form-action", "frame-ancestors"}
        assert page.response["X-Frame-Options"] == "DENY"
        assert page.response["X-Content-Type-Options"] == "nosniff"
        assert page.response["Referrer-Policy"] == "same-origin"
        assert not [one for one in page.walk() if "style" in one.attributes], "style= is blocked"
        assert not [
            one for one in page.all("script") if "src" not in one.attributes and one.attributes.get("type") is None
        ]
        sources = [
            one.attributes.get("src") or one.attributes.get("href", "") for one in page.all("script") + page.all("link")
        ]
        assert all(source.startswith("/static/") or not source for source in sources), sources


def test_pages_of_a_tenant_are_kept_by_no_cache(cast: Cast, rows: Rows, oscar: Visitor, paula: Visitor) -> None:
    """A page behind a sign-in must not come back out of a shared cache, nor an old one out of the browser's."""
    for path in (LIST, ACTIVITY, f"{LIST}no-such/", "/account/", "/tenants/"):
        response = oscar.get(path).response
        assert "Cookie" in response.get("Vary", "")
        assert response["Cache-Control"] == "private, no-cache", path
    assert paula.get(INBOX).response["Cache-Control"] == "private, no-cache"


def test_what_a_script_is_told_is_kept_by_nobody(cast: Cast) -> None:
    alice = Script(cast.alice.token())
    for answer in (alice.get("me/"), alice.get("policies/"), alice.get("tasks/", page_size=0), Script("x").get("me/")):
        assert answer["Cache-Control"] == "no-store", answer.content


def test_what_never_changes_is_kept_for_long(cast: Cast, oscar: Visitor) -> None:
    (style, *_) = [one for one in oscar.get(LIST).all("link") if one.attributes.get("rel") == "stylesheet"]
    kept = oscar.client.get(style.attributes["href"])
    assert (kept.status_code, kept["Cache-Control"]) == (200, "max-age=315360000, public, immutable")


def test_cookies_are_for_this_site_and_no_script(cast: Cast, settings: Any) -> None:
    client = Client()
    client.get("/accounts/login/")
    client.post("/accounts/login/", {"login": cast.oscar.email, "password": PASSWORD})
    session, token = client.cookies["vplus_portal_session"], client.cookies["csrftoken"]
    for cookie in (session, token):
        assert cookie["httponly"]
        assert cookie["samesite"] == "Lax"
        assert bool(cookie["secure"]) == (not settings.INSECURE_COOKIES)
    assert settings.INSECURE_COOKIES is (not settings.SECURE), "only a plain-http portal on this machine has them"


def test_health_pages_say_how_it_stands(cast: Cast, rows: Rows, no_contact: None) -> None:
    visitor = Visitor()
    assert json.loads(visitor.get("/healthz").response.content) == {"status": "ok"}
    ready = json.loads(visitor.get("/readyz").response.content)
    assert (ready["status"], ready["database"], ready["redis"], ready["vplus_contact"]) == ("ready", True, True, False)
    assert ready["no_contact_since"]
    figures = visitor.get("/metrics").html
    assert 'vplus_portal_reading_failing{reading="contact"} 1.0' in figures
    assert "host-7" not in figures + json.dumps(ready)


def test_without_redis_pages_are_served_and_it_is_told(cast: Cast, rows: Rows, oscar: Visitor, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    ready = json.loads(Visitor().get("/readyz").response.content)
    assert (ready["status"], ready["redis"]) == ("ready", False)
    assert oscar.get(LIST).status == 200
