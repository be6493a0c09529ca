"""API tokens on pages: made and shown once, listed for whom they concern, revoked after one question."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from tenants.models import Token
from tenants.scope import every_tenant
from tests.conftest import Cast, Member
from tests.web.conftest import ALPHA, Visitor

TOKENS = f"{ALPHA}tokens/"
NEW = f"{TOKENS}new/"


@pytest.fixture
def alice(cast: Cast, visit: Callable[[Member | None], Visitor]) -> Visitor:
    return visit(cast.alice)


def shown_token(html: str) -> str:
    [text] = set(re.findall(r"vpp_[\w-]{43}", html))
    return text


def test_a_new_token_is_shown_this_once_and_works(oscar: Visitor) -> None:
    form = oscar.get(NEW)
    assert [one.attributes["value"] for one in form.all("input", name="scopes") if "checked" in one.attributes] == [
        "read"
    ]
    made = oscar.post(NEW, name="nightly report", scopes=["read", "backup"], days="90")
    assert made.status == 201
    assert "Copy it now. It is not shown again." in made.main.text
    assert made.response["Cache-Control"] == "no-store"
    text = shown_token(made.html)
    me = Client(headers={"Authorization": f"Bearer {text}"}).get("/api/v1/me/").json()
    assert (me["person"]["name"], me["token"]["name"], me["token"]["scopes"]) == (
        "Oscar", "nightly report", ["backup", "read"]
    )  # fmt: skip
    page = oscar.get(made.link("I have copied it"))
    assert text not in page.html
    [row] = page.rows()
    assert row[0] == f"nightly report ends in {text[-4:]}"
    assert row[1] == "Read, Back up"
    assert row[3] != "Never", "it was used just now"


def test_everything_is_chosen_by_name_and_never_by_leaving_out(oscar: Visitor) -> None:
    refused = oscar.post(NEW, name="x", scopes=[], days="30")
    assert refused.status == 400
    assert "Choose what it may do." in refused.main.text
    assert refused.one("input", name="name").attributes["value"] == "x", "what was typed is kept"
    assert oscar.post(NEW, name="x", scopes=["read", "all"], days="30").status == 201
    assert oscar.get(TOKENS).rows()[0][1] == "Everything that its owner may"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": ""}, "This field is required."),
        ({"name": "x" * 101}, "at most 100 characters"),
        ({"name": "turned \u202e round"}, "Use characters that can be seen."),
        ({"days": "400"}, "not one of the available choices"),
        ({"scopes": ["audit"]}, "not one of the available choices"),
    ],
)
def test_what_is_wrong_stands_at_its_field(oscar: Visitor, fields: dict[str, str], words: str) -> None:
    page = oscar.post(NEW, **{"name": "x", "scopes": ["read"], "days": "30", **fields})
    assert page.status == 400
    assert words in page.main.text
    assert oscar.get(TOKENS).main.text.count("No tokens yet.") == 1


def test_one_sees_ones_own_and_an_admin_all(cast: Cast, oscar: Visitor, vera: Visitor, alice: Visitor) -> None:
    cast.oscar.token()
    cast.alice.token()
    assert "No tokens yet." in vera.get(TOKENS).main.text
    assert len(oscar.get(TOKENS).rows()) == 1
    page = alice.get(TOKENS)
    assert {row[1] for row in page.rows()} == {cast.oscar.email, cast.alice.email}
    assert "2 tokens work, of which yours: 1." in page.main.text
    assert [row[1] for row in alice.get(TOKENS, mine="1").rows()] == [cast.alice.email]
    assert "API tokens" in page.one("aside").text


def test_revoking_asks_once_and_ends_it(cast: Cast, oscar: Visitor, alice: Visitor) -> None:
    script = Client(headers={"Authorization": f"Bearer {cast.oscar.token()}"})
    page = alice.get(TOKENS)
    question = alice.get(page.link("Revoke test"))
    assert "It is oscar@alpha.example’s." in question.main.text
    assert script.get("/api/v1/me/").status_code == 200
    done = alice.post(str(question.response.request["PATH_INFO"]))
    assert "The token test is revoked." in done.html
    assert script.get("/api/v1/me/").status_code == 401
    assert "No tokens yet." in oscar.get(TOKENS).main.text
    [row] = oscar.get(TOKENS, ended="1").rows()
    assert "Revoked" in row[0]
    assert "Nothing matches." in oscar.get(TOKENS, search="another").main.text


def test_what_has_expired_is_told_from_what_works(cast: Cast, oscar: Visitor) -> None:
    cast.oscar.token()
    with every_tenant("test"):
        Token.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert "No tokens yet." in oscar.get(TOKENS).main.text
    [row] = oscar.get(TOKENS, ended="1").rows()
    assert "Expired" in row[0]
    assert row[-1] == ""
