"""The audit by the API: for admins, their own tenant's, by filters, newest first."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tenants.models import AuditEvent
from tenants.scope import every_tenant
from tests.api.conftest import Rows, Script
from tests.conftest import Cast
from vplus_bridge import jobs


@pytest.fixture
def events(cast: Cast, rows: Rows, oscar: Script, vera: Script, mallory: Script) -> str:
    """Two tokens of Oscar's, a refusal to Vera, and a token in Beta; the id of Oscar's second."""
    oscar.post("tokens/", {"name": "first"})
    second = str(oscar.post("tokens/", {"name": "second"}).data["id"])
    rows.machine("vm-1", cast.alpha)
    vera.post("operations/", {"kind": "backup", "virtual_machines": ["vm-1"]})
    mallory.post("tokens/", {"name": "beta's"})
    return second


def test_admins_read_what_was_done_and_refused_newest_first(events: str, alice: Script) -> None:
    rows = alice.all("audit-events/", page_size=2)
    assert [(row["result"], row["actor"]["name"]) for row in rows] == [
        ("refused", "Vera"), ("done", "Oscar"), ("done", "Oscar")
    ]  # fmt: skip
    assert [row["object"]["name"] for row in rows[1:]] == ["second", "first"]
    assert (rows[0]["code"], rows[0]["actor"]["role"]) == ("role_too_low", "viewer")
    assert rows[0]["reference"]


def test_filters_narrow_it(events: str, alice: Script) -> None:
    def names(**filters: str) -> list[str]:
        return [row["object"]["name"] for row in alice.all("audit-events/", **filters)]

    assert names(object=events) == ["second"]
    assert names(action="token.create") == ["second", "first"]
    assert names(actor="Vera") == [""]
    assert names(result="refused") == [""]
    assert names(action="no.such") == []
    now = timezone.now()
    assert names(since=(now + timedelta(minutes=1)).isoformat()) == []
    assert names(until=(now - timedelta(minutes=1)).isoformat()) == []
    assert len(names(since=(now - timedelta(minutes=1)).isoformat(), until=now.isoformat())) == 3
    answer = alice.get("audit-events/", since="yesterday")
    assert (answer.status_code, list(answer.data["errors"])) == (400, ["since"])


def test_others_are_told_that_admins_read_it(events: str, oscar: Script, vera: Script) -> None:
    for script in (oscar, vera):
        answer = script.get("audit-events/")
        assert (answer.status_code, answer.data["code"]) == (403, "role_too_low")


def test_events_go_once_they_have_been_kept_long_enough(events: str, alice: Script, settings: Any) -> None:
    settings.AUDIT_KEEP_DAYS = 400
    jobs.prune()
    assert len(alice.all("audit-events/")) == 3
    with every_tenant("test"):
        moment = timezone.now() - timedelta(days=400, minutes=1)
        AuditEvent.objects.filter(object_id=events).delete()
        AuditEvent.objects.create(
            tenant_id=AuditEvent.objects.exclude(tenant=None).values_list("tenant", flat=True).first(),
            at=moment, actor_name="Alice", via="page", action="token.create", result="done",
        )  # fmt: skip
        AuditEvent.objects.create(at=moment, actor_name="Paula", via="page", action="x", result="done")
    jobs.prune()
    with every_tenant("test"):
        assert not AuditEvent.objects.filter(at__lte=moment).exists()
    assert len(alice.all("audit-events/")) == 2
