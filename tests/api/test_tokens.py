"""Tokens by the API: made once and shown once, never wider than what asks, listed, revoked; and when they were used."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from tenants.models import AuditEvent, Token
from tenants.rights import TENANT_RIGHTS
from tenants.scope import every_tenant
from tenants.tokens import MOST_TOKENS, digest_of
from tests.api.conftest import Rows, Script
from tests.conftest import Cast


def in_days(days: float) -> str:
    return (timezone.now() + timedelta(days=days)).isoformat()


def stored(**facts: Any) -> Token:
    with every_tenant("test"):
        row: Token = Token.objects.get(**facts)
        return row


def test_a_token_is_shown_once_and_works(oscar: Script) -> None:
    made = oscar.post("tokens/", {"name": "nightly", "scopes": ["read", "backup"]})
    assert made.status_code == 201
    assert made["Cache-Control"] == "no-store"
    text = made.data["token"]
    assert Script(text).get("me/").data["token"] == {
        "name": "nightly",
        "scopes": ["backup", "read"],
        "expires_at": made.data["expires_at"],
    }
    [row] = [row for row in oscar.all("tokens/") if row["name"] == "nightly"]
    assert row == {**{name: made.data[name] for name in row}, "last_used_at": row["last_used_at"]}
    assert (row["owner"], row["tail"], row["works"]) == ("Oscar", text[-4:], True)
    assert oscar.get(f"tokens/{row['id']}/").data == row
    assert text not in str(oscar.get("tokens/").content)
    assert stored(name="nightly").digest == digest_of(text)


@pytest.mark.parametrize("scopes", [["--scope", "read", "backup"], ["--scope", "read", "--scope", "backup"]])
def test_the_command_takes_scopes_after_one_word_or_each_after_its_own(
    scopes: list[str], cast: Cast, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("create_token", "oscar@alpha.example", "--tenant", "alpha", *scopes, "--name", "two")
    assert Script(capsys.readouterr().out.strip()).get("me/").data["token"]["scopes"] == ["backup", "read"]


def test_without_an_end_it_ends_in_ninety_days_and_never_after_a_year(oscar: Script) -> None:
    made = oscar.post("tokens/", {"name": "usual"}).data
    left = datetime.fromisoformat(made["expires_at"]) - timezone.now()
    assert timedelta(days=89) < left <= timedelta(days=90)
    assert made["scopes"] == []
    assert oscar.post("tokens/", {"name": "a year", "expires_at": in_days(364.9)}).status_code == 201
    for wrong in (in_days(366), in_days(-1)):
        answer = oscar.post("tokens/", {"name": "wrong", "expires_at": wrong})
        assert (answer.status_code, list(answer.data["errors"])) == (400, ["expires_at"])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": " "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"name": "turned \u202e round"}, "name"),
        ({"name": 7}, "name"),
        ({"name": "x", "scopes": ["everything"]}, "scopes.0"),
        ({"name": "x", "scopes": "read"}, "scopes"),
        ({"name": "x", "expires_at": "tomorrow"}, "expires_at"),
        ({"name": "x", "expires_at": "2030-01-01T00:00:00"}, "expires_at"),
        ({"name": "x", "days": 4}, "days"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_made(oscar: Script, body: dict[str, Any], field: str) -> None:
    answer = oscar.post("tokens/", body)
    assert (answer.status_code, list(answer.data["errors"])) == (400, [field])
    assert len(oscar.all("tokens/")) == 1, "the one that asks"


def test_nobody_gives_what_they_do_not_have(vera: Script, alice: Script) -> None:
    for scope in ("backup", "audit", "all_tokens", "provider_change"):
        answer = vera.post("tokens/", {"name": "more", "scopes": ["read", scope]})
        assert (answer.status_code, list(answer.data["errors"])) == (400, ["scopes"])
        assert "read, tokens" in answer.data["errors"]["scopes"][0]
    for right in TENANT_RIGHTS["admin"]:
        assert alice.post("tokens/", {"name": right, "scopes": [right]}).status_code == 201


def test_a_grant_can_be_given_to_a_token(cast: Cast, rows: Rows, script_of: Callable[..., Script]) -> None:
    rows.machine("vm-1", cast.alpha)
    rows.machine("vm-2", cast.alpha)
    rows.destination("bd-1", cast.alpha)
    rows.grant(cast.vera, "vm-1", role="operator")
    made = script_of(cast.vera).post("tokens/", {"name": "one machine", "scopes": ["read", "backup"]})
    assert made.status_code == 201
    narrowed = Script(made.data["token"])
    assert narrowed.post("operations/", {"kind": "backup", "virtual_machines": ["vm-1"]}).status_code == 202
    assert narrowed.post("operations/", {"kind": "backup", "virtual_machines": ["vm-2"]}).status_code == 404


def test_a_token_makes_none_that_is_wider_or_lives_longer(cast: Cast, script_of: Callable[..., Script]) -> None:
    narrow = script_of(cast.alice, "tokens", "read")
    for scopes in ([], ["read", "backup"], ["all_tokens"]):
        answer = narrow.post("tokens/", {"name": "wider", "scopes": scopes})
        assert (answer.status_code, list(answer.data["errors"])) == (400, ["scopes"])
    made = narrow.post("tokens/", {"name": "as wide", "scopes": ["read"]})
    assert made.status_code == 201
    assert Script(made.data["token"]).post("tokens/", {"name": "none"}).status_code == 403
    end = timezone.now() + timedelta(days=2)
    with every_tenant("test"):
        Token.objects.filter(name="test").update(expires_at=end)
    answer = narrow.post("tokens/", {"name": "longer", "scopes": ["read"], "expires_at": in_days(3)})
    assert (answer.status_code, list(answer.data["errors"])) == (400, ["expires_at"])
    made = narrow.post("tokens/", {"name": "as long", "scopes": ["read"]})
    assert datetime.fromisoformat(made.data["expires_at"]) == end


def test_a_token_loses_what_its_person_loses(cast: Cast, alice: Script) -> None:
    from tenants.models import Membership

    text = alice.post("tokens/", {"name": "wide", "scopes": ["read", "audit"]}).data["token"]
    assert Script(text).get("audit-events/").status_code == 200
    with every_tenant("test"):
        Membership.objects.filter(email=cast.alice.email).update(role="viewer")
    answer = Script(text).get("audit-events/")
    assert (answer.status_code, answer.data["code"]) == (403, "role_too_low")


def test_people_see_their_own_and_admins_all(cast: Cast, oscar: Script, vera: Script, alice: Script) -> None:
    owners = {name: [row["owner"] for row in who.all("tokens/")] for name, who in (("o", oscar), ("v", vera))}
    assert owners == {"o": ["oscar@alpha.example"], "v": ["vera@alpha.example"]}
    assert sorted(row["owner"] for row in alice.all("tokens/")) == [
        "alice@alpha.example", "oscar@alpha.example", "vera@alpha.example"
    ]  # fmt: skip
    [theirs] = oscar.all("tokens/")
    for ask in (vera.get, vera.delete):
        assert ask(f"tokens/{theirs['id']}/").status_code == 404
    assert oscar.get("me/").status_code == 200


def test_a_revoked_token_is_answered_with_401_at_once(oscar: Script, alice: Script) -> None:
    made = oscar.post("tokens/", {"name": "lost"}).data
    lost = Script(made["token"])
    assert lost.get("me/").status_code == 200
    assert alice.delete(f"tokens/{made['id']}/").status_code == 204
    assert lost.get("me/").status_code == 401
    row = alice.get(f"tokens/{made['id']}/").data
    assert row["works"] is False
    assert alice.delete(f"tokens/{made['id']}/").status_code == 204
    assert alice.get(f"tokens/{made['id']}/").data == row, "the second time changes nothing"
    assert [one["name"] for one in alice.all("tokens/", works="false")] == ["lost"]
    assert "lost" not in [one["name"] for one in alice.all("tokens/", works="true")]


def test_a_token_can_revoke_itself(oscar: Script) -> None:
    [own] = oscar.all("tokens/")
    assert oscar.delete(f"tokens/{own['id']}/").status_code == 204
    assert oscar.get("me/").status_code == 401


def test_there_is_a_most_and_only_those_that_work_count(cast: Cast, oscar: Script, alice: Script) -> None:
    with every_tenant("test"):
        own = Token.objects.get(owner_name=cast.oscar.email)
        for number in range(MOST_TOKENS - 1):
            Token.objects.create(
                tenant_id=own.tenant_id, person_id=own.person_id, owner_name="Oscar", name="x", digest=f"{number}"
            )
    answer = oscar.post("tokens/", {"name": "one more"})
    assert (answer.status_code, answer.data["code"]) == (409, "too_many_tokens")
    assert alice.post("tokens/", {"name": "mine"}).status_code == 201
    with every_tenant("test"):
        Token.objects.filter(digest="7").update(revoked_at=timezone.now())
    assert oscar.post("tokens/", {"name": "one more"}).status_code == 201


def test_the_last_use_is_written_at_most_once_a_minute(oscar: Script) -> None:
    def last_use() -> Any:
        return stored(owner_name="oscar@alpha.example").last_used_at

    oscar.get("me/")
    first = last_use()
    assert first is not None
    oscar.get("me/")
    assert last_use() == first
    with every_tenant("test"):
        Token.objects.update(last_used_at=first - timedelta(seconds=61))
    oscar.get("me/")
    assert last_use() > first


def test_making_and_revoking_are_audited_without_the_secret(oscar: Script, alice: Script) -> None:
    made = oscar.post("tokens/", {"name": "nightly", "scopes": ["read"]}).data
    alice.delete(f"tokens/{made['id']}/")
    events = {event["action"]: event for event in alice.all("audit-events/", object=made["id"])}
    assert set(events) == {"token.create", "token.revoke"}
    assert events["token.create"]["detail"]["scopes"] == ["read"]
    assert events["token.create"]["actor"]["name"] == "Oscar"
    assert (events["token.revoke"]["actor"]["name"], events["token.revoke"]["actor"]["via"]) == ("Alice", "token test")
    with every_tenant("test"):
        assert made["token"] not in str(list(AuditEvent.objects.values()))
