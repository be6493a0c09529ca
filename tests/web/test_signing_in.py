"""Sign-in, sign-out, a forgotten password by mail, closed sign-up, and where / leads."""

import re
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.totp.internal import auth as totp
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.cache import cache
from django.utils import timezone

from tests.conftest import PASSWORD, Cast
from tests.web.conftest import ALPHA, LIST, Visitor
from vplus_bridge.jobs import prune

LOGIN, LOGOUT, RESET = "/accounts/login/", "/accounts/logout/", "/accounts/password/reset/"


def test_signing_in_leads_to_where_one_was_going(cast: Cast) -> None:
    visitor = Visitor()
    sent_away = visitor.get(f"{LIST}?search=web")
    assert sent_away.response.url == f"{LOGIN}?next=/t/alpha/virtual-machines/%3Fsearch%3Dweb"
    page = visitor.get(sent_away.response.url)
    assert page.heading == "Sign in"
    assert "Please sign in to go on where you were." in page.main.text
    there = visitor.post(
        sent_away.response.url, **{**page.form(LOGIN), "login": cast.oscar.email, "password": PASSWORD}
    )
    assert there.heading == "Virtual machines"
    assert there.response.request["QUERY_STRING"] == "search=web"


def test_a_wrong_password_says_no_more_than_that(cast: Cast) -> None:
    for email in (cast.oscar.email, "nobody@nowhere.example"):
        page = Visitor().post(LOGIN, login=email, password="wrong")
        assert page.one(css_class="error-summary").text == "E-mail or password is not right."
        assert PASSWORD not in page.html
        assert page.form(LOGIN)["login"] == [email], "what was typed stays"


def test_too_many_tries_have_to_wait_even_when_redis_is_wiped(cast: Cast) -> None:
    visitor = Visitor()
    for _ in range(5):
        visitor.post(LOGIN, login=cast.oscar.email, password="wrong")
    late = visitor.post(LOGIN, login=cast.oscar.email, password=PASSWORD)
    assert late.heading == "Sign in"
    assert "Too many tries. Wait 5 min, or use a passkey." in late.main.text
    cache.clear()
    assert visitor.post(LOGIN, login=cast.oscar.email, password=PASSWORD).heading == "No virtual machines yet"


def test_signing_out_ends_the_session(cast: Cast, oscar: Visitor) -> None:
    page = oscar.get(LIST)
    assert page.form(LOGOUT).keys() == {"csrfmiddlewaretoken"}
    key = oscar.client.cookies["vplus_portal_session"].value
    assert oscar.post(LOGOUT).heading == "Sign in"
    oscar.client.cookies["vplus_portal_session"] = key
    assert oscar.get(LIST).status == 302, "the old cookie opens nothing"


def test_a_forgotten_password_is_set_anew_by_mail(cast: Cast) -> None:
    visitor = Visitor()
    page = visitor.get(RESET)
    after = visitor.post(RESET, **{**page.form(RESET), "email": cast.oscar.email})
    assert "If this address belongs to an account" in after.main.text
    [message] = mail.outbox
    assert message.to == [cast.oscar.email]
    assert message.subject == "Choose a new password"
    assert message.body.startswith("You, or somebody else, asked for a new password")
    link = re.search(r"http://\S+", message.body)
    assert link is not None
    path = re.sub(r"^http://[^/]+", "", link.group())
    form = visitor.get(path)
    form = form if form.status == 200 else visitor.get(form.response.url)
    assert form.heading == "Choose a password"
    action = form.response.request["PATH_INFO"]
    short = visitor.post(action, password1="short", password2="short")
    assert "at least 12 characters" in short.main.text
    new = "a better horse battery staple"
    assert visitor.post(action, password1=new, password2=new).heading in ("Your password is set", "Virtual machines")
    assert Visitor().post(LOGIN, login=cast.oscar.email, password=PASSWORD).heading == "Sign in"
    assert Visitor().post(LOGIN, login=cast.oscar.email, password=new).heading == "No virtual machines yet"
    assert visitor.get(path).status in (200, 302)
    assert (
        "This link no longer works"
        in Visitor().post(path, password1=new, password2=new).text + Visitor().get(path).text
    )


def test_asking_for_an_unknown_address_tells_nothing(cast: Cast) -> None:
    visitor = Visitor()
    known = visitor.post(RESET, email=cast.oscar.email)
    unknown = visitor.post(RESET, email="nobody@nowhere.example")
    assert unknown.main.text == known.main.text
    told = next(message for message in mail.outbox if "nobody" in message.to[0])
    assert told.subject == "There is no account with this address"
    assert "sign up" not in told.body, "nobody can"
    assert not [
        message
        for message in mail.outbox
        if "nobody" in message.to[0] and "http" in message.body and "key" in message.body
    ]


def test_nobody_signs_up(cast: Cast) -> None:
    from tenants.models import Person

    visitor = Visitor()
    page = visitor.get("/accounts/signup/")
    assert page.heading == "Accounts are made by invitation"
    visitor.post("/accounts/signup/", email="new@example.com", password1=PASSWORD)
    assert not Person.objects.filter(email="new@example.com").exists()


def test_one_that_was_switched_off_gets_no_further(cast: Cast, oscar: Visitor) -> None:
    from tenants.models import Person

    Person.objects.filter(email=cast.oscar.email).update(is_active=False)
    assert oscar.get(LIST).status == 302
    page = Visitor().post(LOGIN, login=cast.oscar.email, password=PASSWORD)
    assert page.heading in ("This account is switched off", "Sign in")


@pytest.mark.parametrize(
    ("who", "where"),
    [("oscar", ALPHA), ("paula", "/console/virtual-machines/"), ("arthur", "/console/virtual-machines/")],
)
def test_the_start_leads_to_ones_place(who: str, where: str, cast: Cast) -> None:
    assert Visitor(getattr(cast, who)).get("/").response.url == where


def test_who_is_in_several_tenants_chooses_and_is_led_to_the_last(cast: Cast) -> None:
    from tenants.models import Membership
    from tenants.scope import every_tenant

    with every_tenant("test"):
        Membership.objects.create(
            tenant=cast.beta, person=cast.oscar.row, role="viewer", name="Oscar", email="o@x.example"
        )
    oscar = Visitor(cast.oscar)
    assert oscar.get("/").response.url == "/tenants/"
    page = oscar.get("/tenants/")
    assert "Alpha Operator" in page.main.text
    assert "Beta Viewer" in page.main.text
    assert oscar.get(page.all("a", css_class="place")[1].attributes["href"]).status == 200
    assert oscar.get("/").response.url == "/t/beta/"
    switcher = oscar.get(LIST).one("details", css_class="switcher")
    assert {one.attributes["href"] for one in switcher.all("a")} >= {ALPHA, "/t/beta/"}


def test_pages_without_a_sidebar_lead_on_and_out(cast: Cast, oscar: Visitor) -> None:
    assert oscar.get("/account/").link("To the start") == "/"
    for path in ("/account/", "/tenants/"):
        page = oscar.get(path)
        assert any(one.attributes.get("action") == LOGOUT for one in page.all("form")), path
    for path in ("/accounts/sessions/", "/accounts/password/change/", "/accounts/2fa/"):
        page = oscar.get(path)
        assert page.link("Back to your account") == "/account/"
        assert any(one.attributes.get("action") == LOGOUT for one in page.all("form")), path
    assert oscar.get(LOGOUT).link("Stay signed in") == "/"
    asked_again = oscar.get("/accounts/reauthenticate/")
    assert asked_again.link("Back to your account") == "/account/"
    words = oscar.get("/accounts/password/change/").main.text
    assert "New password, once more" in words
    assert "At least 12 characters." in words


def test_the_account_page_keeps_what_was_typed(cast: Cast, oscar: Visitor) -> None:
    page = oscar.get("/account/")
    assert cast.oscar.email in page.main.text
    wrong = oscar.post("/account/", **{**page.form("/account/"), "time_zone": "Mars/Olympus"})
    assert wrong.status == 400
    assert "There is no such time zone; use one such as Europe/Warsaw." in wrong.main.text
    assert wrong.form("/account/")["time_zone"] == ["Mars/Olympus"]
    sent = {**page.form("/account/"), "time_zone": "America/New_York", "theme": "dark", "name": "Oscar the second"}
    assert "Your profile is changed." in oscar.post("/account/", **sent).main.text
    listed = oscar.get(LIST)
    assert listed.one("html").attributes["data-theme"] == "dark"
    assert "America/New_York" in listed.one("aside").text


@pytest.mark.parametrize(
    "after", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", "/\\evil.example"]
)
def test_no_page_sends_people_elsewhere(after: str, cast: Cast, oscar: Visitor) -> None:
    answer: Any = oscar.client.post("/account/theme/", {"theme": "dark", "next": after})
    assert answer.url == "/"
    answer = Visitor().client.post(LOGIN, {"login": cast.vera.email, "password": PASSWORD, "next": after})
    assert answer.url == "/"


def test_the_pages_of_the_second_step_speak_as_the_portal_does(cast: Cast) -> None:
    visitor = Visitor()
    assert "Remember" not in visitor.get(LOGIN).main.text, "a session ends with the browser; nothing is asked"
    visitor.post(LOGIN, login=cast.oscar.email, password=PASSWORD)
    visitor.post("/accounts/reauthenticate/", password=PASSWORD)  # before what matters one is asked once more
    for path, heading in (
        ("", "Second step and passkeys"),
        ("totp/activate/", "Set up an authenticator app"),
        ("webauthn/", "Passkeys and security keys"),
        ("webauthn/add/", "Add a passkey or security key"),
    ):
        page = visitor.get(f"/accounts/2fa/{path}")
        assert (path, page.status, page.response.headers.get("Location")) == (path, 200, None)
        assert page.heading == heading
        assert not any(word in page.html for word in ("Two-Factor", "Passwordless", "Authenticator code", "Master key"))
    secret = visitor.get("/accounts/2fa/totp/activate/").one(id="authenticator_secret").attributes["value"]
    wrong = visitor.post("/accounts/2fa/totp/activate/", code="wrong").one(css_class="error-summary").text
    assert "Code that the app shows" in wrong
    assert "This code is not right." in wrong
    code = totp.format_hotp_value(totp.hotp_value(secret, next(totp.yield_hotp_counters_from_time())))
    page = visitor.post("/accounts/2fa/totp/activate/", code=code)
    assert page.heading == "Recovery codes"
    assert "10 codes of 10 are left." in page.main.text
    assert len(page.all("li", css_class="mono")) == 10
    assert visitor.get("/accounts/2fa/recovery-codes/generate/").heading == "Make recovery codes"
    assert visitor.get("/accounts/2fa/totp/deactivate/").heading == "Remove the authenticator app?"
    assert "An app" in visitor.get("/account/").main.text


def test_sessions_that_are_over_do_not_count_and_are_not_kept(cast: Cast) -> None:
    """A session that ends with its browser is never signed out: its row, with address and browser, has to go by itself."""
    here, elsewhere = Visitor(), Visitor()
    for visitor in (here, elsewhere):
        visitor.post(LOGIN, login=cast.oscar.email, password=PASSWORD)
    assert "Signed in at 2 places" in here.get("/account/").main.text
    key = elsewhere.client.session.session_key
    Session.objects.filter(session_key=key).update(expire_date=timezone.now() - timedelta(seconds=1))
    assert "Signed in at 1 place" in here.get("/account/").main.text
    prune()
    assert not Session.objects.filter(session_key=key).exists()
    assert not UserSession.objects.filter(session_key=key).exists()
    assert "Signed in at 1 place" in here.get("/account/").main.text
