"""A no that a page says beside what was typed leaves the trace that a no of the API leaves."""

import pytest

from tenants.models import AuditEvent
from tenants.scope import every_tenant
from tests.api.conftest import Rows
from tests.conftest import Cast
from tests.policies import kept
from tests.web.conftest import BACK_UP, INBOX, LIST, Visitor, ago
from vplus_bridge.models import Operation


def refused() -> list[tuple[str, str, str]]:
    """Return what was refused: what was tried, by whom, and the code."""
    with every_tenant("test"):
        rows = AuditEvent.objects.filter(result="refused").order_by("at")
        return list(rows.values_list("action", "actor_name", "code"))


@pytest.fixture
def busy(cast: Cast, rows: Rows) -> Operation:
    rows.destination("bd-main", cast.alpha, "Vault A")
    rows.machine("vm-busy", cast.alpha, name="busy-01")
    rows.backup("b-1", "vm-busy", cast.alpha, ago(days=1))
    return rows.operation("vm-busy", cast.alpha, virtual_machine_name="busy-01", state="running")


def test_a_backup(busy: Operation, cast: Cast) -> None:
    oscar = Visitor(cast.oscar)
    assert oscar.post(BACK_UP, vm="vm-busy", backup_type="FULL", destination="nowhere").status == 400
    assert refused() == [("post.tenant:backup_new", "Oscar", "invalid")]


def test_a_restore(busy: Operation, cast: Cast, rows: Rows) -> None:
    rows.target(cast.alpha, "Production, Warsaw 1")
    path, oscar = f"{LIST}vm-busy/restore/", Visitor(cast.oscar)
    shown = oscar.get(path).form(path)
    assert "Something changed while you read" in oscar.post(path, **{**shown, "restored_name": ["other"]}).main.text
    [(action, who, _code)] = refused()
    assert (action, who) == ("post.tenant:restore_new", "Oscar")


def test_a_cancel(busy: Operation, cast: Cast) -> None:
    with every_tenant("test"):
        Operation.objects.filter(pk=busy.pk).update(state="succeeded")
    page = Visitor(cast.oscar).post(f"/t/alpha/operations/{busy.pk}/cancel/")
    assert "It has ended already" in page.main.text
    [(action, who, _code)] = refused()
    assert (action, who) == ("post.tenant:operation_cancel", "Oscar")


def test_a_policy(cast: Cast) -> None:
    policy = kept(cast.alpha, "Gold", version=3)
    Visitor(cast.alice).post(f"/t/alpha/policies/{policy.pk}/delete/", version=2)
    [(action, who, _code)] = refused()
    assert (action, who) == ("post.tenant:policy_delete", "Alice")
    with every_tenant("test"):
        assert AuditEvent.objects.get(result="refused").object_id == str(policy.pk)


def test_the_providers_own(cast: Cast, rows: Rows) -> None:
    rows.machine("vm-1", None, name="lost-01")
    page = Visitor(cast.paula).post(INBOX, vm=["vm-1", "no-such"], tenant="alpha")
    assert page.status == 400
    [(action, who, code)] = refused()
    assert (action, who, code) == ("post.console:inbox", "Paula", "invalid")
