"""Rights are looked at under the tenant row's lock: what is taken away while somebody waits for it is not used any more."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from tenants.scope import every_tenant
from tests.api.conftest import NOW, Rows, Script
from tests.conftest import Cast
from tests.policies import kept

BACKUP = {"kind": "backup", "virtual_machines": ["vm-1"]}
POLICY = {
    "name": "Silver",
    "virtual_machines": ["vm-1"],
    "schedules": [
        {"backup_type": "FULL", "execution_type": "TIME", "zone": "UTC", "days_of_week": ["SUNDAY"], "time_of_day": "02:00"}
    ],
}  # fmt: skip
LONGEST_WAIT = 60
Ask = Callable[[Script], Any]


@pytest.fixture(autouse=True)
def machines(cast: Cast, rows: Rows) -> None:
    rows.machine("vm-1", cast.alpha)
    rows.backup("b-1", "vm-1", cast.alpha, NOW)
    rows.task("t-1", "vm-1", cast.alpha, state="RUNNING", live=True)
    rows.destination("bd-main", cast.alpha)
    rows.target(cast.alpha)


def waits_for_us() -> bool:
    """Tell whether somebody waits for a lock that this connection holds."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
        )
        return bool(cursor.fetchone()[0])


def asked_while(script: Script, ask: Ask, take_away: Callable[[], object]) -> Any:
    """Ask, let the asking come as far as the tenant row's lock, take something away, and return the answer."""
    from tenants.models import Tenant

    script.get("me/")  # its use is noted, so that the next request writes no row that we want to write
    answers: list[Any] = []

    def run() -> None:
        try:
            answers.append(ask(script))
        finally:
            connection.close()

    thread = threading.Thread(target=run, daemon=True)
    with transaction.atomic():
        with every_tenant("test"):
            Tenant.objects.select_for_update(no_key=True).get(slug="alpha")
        thread.start()
        until = time.monotonic() + LONGEST_WAIT
        while not waits_for_us():
            assert not answers, f"it did not wait: {answers[0].content}"
            assert time.monotonic() < until, "it never came to the lock"
            time.sleep(0.02)
        with every_tenant("test"):
            take_away()
    thread.join(LONGEST_WAIT)
    return answers[0]


def operations() -> int:
    from vplus_bridge.models import Operation

    with every_tenant("test"):
        return Operation.objects.count()


def membership(cast: Cast) -> Any:
    from tenants.models import Membership

    return Membership.objects.filter(email=cast.alice.email)


def token_of(cast: Cast) -> Any:
    from tenants.models import Token

    return Token.objects.filter(owner_name=cast.alice.email)


def close_account(cast: Cast) -> None:
    cast.alice.row.__class__.objects.filter(email=cast.alice.email).update(is_active=False)


def suspend(cast: Cast) -> None:
    from tenants.models import Tenant

    Tenant.objects.filter(slug="alpha").update(suspended_at=timezone.now())


TAKEN: dict[str, tuple[Callable[[Cast], object], int, str]] = {
    "the role": (lambda cast: membership(cast).update(role="viewer"), 403, "role_too_low"),
    "the membership": (lambda cast: membership(cast).delete(), 401, "not_authenticated"),
    "the account": (close_account, 401, "not_authenticated"),
    "the token": (lambda cast: token_of(cast).update(revoked_at=timezone.now()), 401, "not_authenticated"),
    "the token's time": (lambda cast: token_of(cast).update(expires_at=timezone.now()), 401, "not_authenticated"),
    "the token's scope": (lambda cast: token_of(cast).update(scopes=["read"]), 403, "scope_missing"),
    "the tenant's leave": (suspend, 403, "tenant_suspended"),
}


@pytest.mark.parametrize("what", TAKEN)
def test_whatever_is_taken_away_while_one_waits_is_not_used(what: str, cast: Cast, alice: Script) -> None:
    take, status, code = TAKEN[what]
    answer = asked_while(alice, lambda script: script.post("operations/", BACKUP), lambda: take(cast))
    assert (answer.status_code, answer.data["code"]) == (status, code)
    assert operations() == 0


def test_who_may_still_is_answered_after_the_wait(alice: Script) -> None:
    answer = asked_while(alice, lambda script: script.post("operations/", BACKUP), lambda: None)
    assert answer.status_code == 202, answer.content
    assert operations() == 1


def test_a_grant_that_ends_while_one_waits_is_not_used(cast: Cast, rows: Rows, vera: Script) -> None:
    from tenants.models import Grant

    rows.grant(cast.vera, "vm-1")
    answer = asked_while(
        vera, lambda script: script.post("operations/", BACKUP), lambda: Grant.objects.update(ended_at=timezone.now())
    )
    assert answer.status_code == 404
    assert operations() == 0


def test_a_person_at_a_page_is_looked_at_again_too(cast: Cast) -> None:
    """The services know no page from a script: here with an actor as the page's request found it."""
    from tenants.refusals import NotVisible
    from tenants.scope import in_tenant
    from vplus_bridge.operations.request import BackupWish, request_backups

    actor = cast.alice.actor
    with every_tenant("test"):
        membership(cast).delete()
    with in_tenant(actor.tenant_id), pytest.raises(NotVisible):
        request_backups(actor, BackupWish(["vm-1"]), now=timezone.now())


@pytest.mark.parametrize(
    "wish", [{"kind": "restore", "restore_point": "b-1"}, {"kind": "cancel_task", "task": "t-1"}], ids=lambda w: w["kind"]
)  # fmt: skip
def test_restores_and_ends_of_tasks_are_looked_at_again(wish: dict[str, Any], cast: Cast, alice: Script) -> None:
    answer = asked_while(
        alice, lambda script: script.post("operations/", wish), lambda: membership(cast).update(role="viewer")
    )
    assert (answer.status_code, answer.data["code"]) == (403, "role_too_low")
    assert operations() == 0


def test_a_cancel_is_looked_at_again(cast: Cast, rows: Rows, alice: Script) -> None:
    row = rows.operation("vm-1", cast.alpha, state="requested")
    answer = asked_while(
        alice,
        lambda script: script.post(f"operations/{row.pk}/cancel/", {}),
        lambda: membership(cast).update(role="viewer"),
    )
    assert (answer.status_code, answer.data["code"]) == (403, "role_too_low")
    with every_tenant("test"):
        row.refresh_from_db()
    assert (row.state, row.cancel_asked_at) == ("requested", None)


@pytest.mark.parametrize("deed", ["create", "change", "delete", "accept-drift", "put-back"])
def test_changes_of_policies_are_looked_at_again(deed: str, cast: Cast, alice: Script) -> None:
    policy = kept(cast.alpha, "Gold", "vm-1", differs_since=NOW if "-" in deed else None)
    path, digest = f"policies/{policy.pk}/", {"digest": "0" * 20}
    ask: dict[str, Ask] = {
        "create": lambda script: script.post("policies/", POLICY),
        "change": lambda script: script.put(path, {**POLICY, "version": 1}),
        "delete": lambda script: script.delete(f"{path}?version=1"),
        "accept-drift": lambda script: script.post(f"{path}accept-drift/", digest),
        "put-back": lambda script: script.post(f"{path}put-back/", digest),
    }
    answer = asked_while(alice, ask[deed], lambda: membership(cast).update(role="operator"))
    assert (answer.status_code, answer.data["code"]) == (403, "role_too_low")
    assert operations() == 0


@pytest.mark.parametrize("way_out", ["link-task", "send-again", "abandon"])
@pytest.mark.parametrize("role", ["auditor", ""], ids=["less", "nothing"])
def test_the_providers_exits_are_looked_at_again(
    way_out: str, role: str, cast: Cast, rows: Rows, paula: Script
) -> None:
    row = rows.operation("vm-1", cast.alpha, state="needs_attention", error_code="arrival_unknown")
    given = {"reason": "seen", **{"link-task": {"task": "t-1"}, "send-again": {"digest": "x"}}.get(way_out, {})}
    people = cast.paula.row.__class__.objects.filter(email=cast.paula.email)
    answer = asked_while(
        paula,
        lambda script: script.post(f"operator/operations/{row.pk}/{way_out}/", given),
        lambda: people.update(provider_role=role),
    )
    assert answer.status_code == (403 if role else 401), answer.content
    with every_tenant("test"):
        row.refresh_from_db()
    assert row.state == "needs_attention"


def test_whoever_takes_a_right_away_waits_for_those_who_are_just_asking(cast: Cast, alice: Script) -> None:
    """The other way round: what is being asked has the lock, and the token's end comes after it."""
    token = cast.alice.token()
    with every_tenant("test"):
        newest = token_of(cast).order_by("-created_at").first()
    answer = asked_while(alice, lambda script: script.delete(f"tokens/{newest.pk}/"), lambda: None)
    assert answer.status_code in {200, 204}, answer.content
    assert Script(token).get("me/").status_code == 401
