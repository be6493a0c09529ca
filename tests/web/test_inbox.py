"""The provider's list of machines that nobody owns."""

import pytest
from django.utils import timezone

from tenants.scope import every_tenant
from tests.api.conftest import Rows
from tests.conftest import Cast
from tests.web.conftest import INBOX, LIST, Visitor, ago
from vplus_bridge.models import Attempt, VirtualMachine


@pytest.fixture
def unowned(cast: Cast, rows: Rows) -> None:
    for number in (1, 2):
        rows.machine(f"vm-{number}", None, name=f"lab-0{number}", project_name="Lab", cluster_name="nova")
        rows.backup(f"b-{number}", f"vm-{number}", None)


def owner_of(guid: str) -> str | None:
    with every_tenant("test"):
        tenant = VirtualMachine.objects.get(guid=guid).tenant
        return tenant.slug if tenant else None


def test_what_is_assigned_becomes_visible_with_its_history(unowned: None, cast: Cast, paula: Visitor) -> None:
    alice = Visitor(cast.alice)
    assert "No virtual machines yet." in alice.get(LIST).main.text
    page = paula.get(INBOX)
    assert page.heading == "2 virtual machines have no owner"
    assert "lab-01 uuid-vm-1 | Lab | nova" in " | ".join(page.rows()[0])
    answer = paula.post(INBOX, vm=["vm-1"], tenant="alpha")
    assert "1 virtual machine is now Alpha’s, with 1 backup." in answer.main.text
    assert answer.heading == "1 virtual machine has no owner"
    assert "lab-01" in alice.get(LIST).main.text
    assert len(alice.get(f"{LIST}vm-1/backups/").rows()) == 1
    assert owner_of("vm-2") is None


@pytest.mark.parametrize(
    "sent",
    [
        {"vm": ["vm-1"]},
        {"vm": ["vm-1"], "tenant": ""},
        {"vm": ["vm-1"], "tenant": "no-such"},
        {"vm": ["vm-1", "no-such"], "tenant": "alpha"},
        {"vm": ["\0"], "tenant": "alpha"},
        {"tenant": "alpha"},
    ],
)
def test_wrong_input_is_told_and_nothing_moves(sent: dict[str, str | list[str]], unowned: None, paula: Visitor) -> None:
    page = paula.post(INBOX, **sent)
    assert page.status == 400
    assert page.one(css_class="error-summary").text
    assert (owner_of("vm-1"), owner_of("vm-2")) == (None, None)


def test_an_auditor_reads_and_changes_nothing(unowned: None, cast: Cast) -> None:
    arthur = Visitor(cast.arthur)
    page = arthur.get(INBOX)
    assert len(page.rows()) == 2
    assert not page.main.all("button", css_class="button-main")
    assert not page.all("input", name="vm")
    assert arthur.post(INBOX, vm="vm-1", tenant="alpha").status == 403
    assert owner_of("vm-1") is None


def test_tenants_people_do_not_see_the_console(unowned: None, cast: Cast) -> None:
    assert Visitor(cast.alice).get(INBOX).status == 404
    assert Visitor(cast.alice).post(INBOX, vm="vm-1", tenant="alpha").status == 404
    assert Visitor().get(INBOX).response.url.startswith("/accounts/login/")


def test_gaps_and_emptiness_are_said(cast: Cast, rows: Rows, paula: Visitor) -> None:
    assert paula.get(INBOX).heading == "Every virtual machine has an owner."
    from tests.web.conftest import ago

    rows.reading("projects", None, failing_since=ago(minutes=1), problem="forbidden")
    assert "Projects cannot be read; nothing is assigned by project." in paula.get(INBOX).main.text


def test_a_machine_that_a_restore_may_have_made_comes_with_the_suggestion(
    cast: Cast, rows: Rows, paula: Visitor
) -> None:
    """A typed name proves nothing, so the provider decides."""
    row = rows.operation(
        "vm-web", cast.alpha, kind="restore", state="succeeded", restored_name="web-02", virtual_machine_name="web-01",
        requested_by_name="Oscar", finished_at=timezone.now(), plan={"code": ""},
    )  # fmt: skip
    with every_tenant("test"):
        Attempt.objects.filter(step__operation=row).update(sent_at=ago(minutes=10))
    rows.machine("vm-new", None, name="web-02", first_seen_at=ago(minutes=5))
    rows.machine("vm-other", None, name="web-02-too", first_seen_at=ago(minutes=5))
    suggested = {one[1].split()[0]: one[-1] for one in paula.get(INBOX).rows()}
    assert suggested == {"web-02": "Alpha: restored from web-01 by Oscar", "web-02-too": ""}
