"""The page [Back up now]: one machine or several, what it promises, and what it says to wrong input."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tenants.scope import every_tenant
from tests.api.conftest import Rows
from tests.conftest import Cast
from tests.pages import Page
from tests.web.conftest import BACK_UP, Visitor, ago
from vplus_bridge.models import Operation, VirtualMachine


@pytest.fixture
def machines(cast: Cast, rows: Rows) -> None:
    """Two that can be backed up, one that is gone, one that is busy; one destination."""
    rows.destination("bd-main", cast.alpha, "Vault A")
    for guid, name in (("vm-web", "web-01"), ("vm-db", "db-01"), ("vm-busy", "busy-01")):
        rows.machine(guid, cast.alpha, name=name)
    rows.machine("vm-gone", cast.alpha, name="files-01", present=False)
    rows.operation("vm-busy", cast.alpha, virtual_machine_name="busy-01", requested_at=ago(minutes=2, seconds=20))


def asked() -> list[Operation]:
    """Return what was asked for in this test."""
    with every_tenant("test"):
        return list(Operation.objects.exclude(virtual_machine_guid="vm-busy").order_by("virtual_machine_name"))


def press(visitor: Visitor, page: Page, **changes: Any) -> Page:
    return visitor.post(BACK_UP, **{**page.form(BACK_UP), **changes})


def test_one_press_asks_and_leads_to_the_operation(machines: None, oscar: Visitor) -> None:
    page = oscar.get(BACK_UP, vm="vm-web")
    assert page.heading == "Back up web-01"
    assert "Vault A" in page.main.text
    assert "not known yet: no backup of it to go by" in page.main.text
    assert page.one("button", css_class="button-large").text == "Back up now"
    answer = press(oscar, page)
    [operation] = asked()
    assert answer.response.request["PATH_INFO"] == f"/t/alpha/operations/{operation.pk}/"
    assert (operation.plan["backup_type"], operation.requested_by_name) == ("FULL", "Oscar")
    assert "Waiting to be sent" in answer.main.text


def test_the_plan_goes_by_the_last_backups(machines: None, cast: Cast, rows: Rows, oscar: Visitor) -> None:
    for days in (1, 2):
        facts = {"size": 38 * 2**30, "export_seconds": 600.0, "store_seconds": 120.0}
        rows.backup(f"b-{days}", "vm-web", cast.alpha, ago(days=days), **facts)
    text = oscar.get(BACK_UP, vm="vm-web").main.text.replace("\N{NO-BREAK SPACE}", " ")
    assert "about 38 GiB (last 2)" in text
    assert "about 12 min (last 2)" in text


def test_several_at_once_with_one_gone_and_one_busy(machines: None, oscar: Visitor) -> None:
    page = oscar.get(BACK_UP, vm=["vm-web", "vm-db", "vm-gone", "vm-busy"])
    assert page.heading == "Back up 4 virtual machines"
    text = page.main.text
    assert "files-01 cannot: gone" in text
    assert "busy-01 already running Watch busy-01" in text
    assert page.one("button", css_class="button-large").text == "Back up 2 VMs"
    answer = press(oscar, page)
    assert [operation.virtual_machine_name for operation in asked()] == ["db-01", "web-01"]
    assert answer.response.request["PATH_INFO"] == "/t/alpha/activity/"
    assert "2 backups asked for." in answer.main.text


def test_those_that_can_still_go_when_others_went_bad_meanwhile(machines: None, oscar: Visitor) -> None:
    """The page was read, then one machine went and another became busy; it is sent as it stood."""
    page = oscar.get(BACK_UP, vm=["vm-web", "vm-db"])
    sent = {**page.form(BACK_UP), "vm": ["vm-web", "vm-gone", "vm-busy"], "priority": ["80"]}
    answer = oscar.post(BACK_UP, **sent)
    assert answer.status == 200
    assert [operation.virtual_machine_guid for operation in asked()] == ["vm-web"]
    assert "busy-01" in answer.text


def test_who_asks_second_sees_the_same_backup(machines: None, cast: Cast, oscar: Visitor) -> None:
    page = oscar.get(BACK_UP, vm="vm-web")
    alice = Visitor(cast.alice)
    press(alice, alice.get(BACK_UP, vm="vm-web"))
    answer = press(oscar, page)
    assert len(asked()) == 1
    assert "Alice asked for this already; you see the same backup." in answer.main.text
    again = oscar.get(BACK_UP, vm="vm-busy")
    assert "Alice started this 2 min ago; you see the same backup." in again.main.text
    assert "/operations/" in again.link("Watch it")
    assert not again.all("button", css_class="button-large")


def local(**later: float) -> str:
    return (timezone.localtime() + timedelta(**later)).strftime("%Y-%m-%dT%H:%M")


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"priority": "101"}, "priority", "0 to 100"),
        ({"priority": "-1"}, "priority", "0 to 100"),
        ({"priority": "high"}, "priority", "whole number"),
        ({"priority": "9" * 30}, "priority", "0 to 100"),
        ({"backup_type": "SYNTHETIC"}, "backup_type", "choice"),
        ({"destination": "bd-of-somebody"}, "destination", "not allowed"),
        ({"window_end": local(days=-2)}, "window_end", "past"),
        ({"window_start": local(days=-2)}, "window_start", "past"),
        ({"window_end": "yesterday"}, "window_end", "valid"),
        ({"window_end": local(days=90)}, "window_end", "days"),
    ],
)
def test_wrong_input_is_kept_named_and_explained(
    changes: dict[str, str], field: str, words: str, machines: None, oscar: Visitor
) -> None:
    page = press(oscar, oscar.get(BACK_UP, vm="vm-web"), **changes)
    assert page.status == 400
    assert not asked()
    summary = page.one(css_class="error-summary")
    assert words in summary.text.lower() or words in page.main.text.lower(), summary.text
    kept = page.form(BACK_UP)
    if field not in ("backup_type", "destination"):
        assert kept[field] == [changes[field]], "what was typed stays"
        [control] = [one for one in page.all("input", name=field) if one.attributes.get("type") != "hidden"]
        assert control.attributes["aria-invalid"] == "true"
        told = [page.one(id=name) for name in control.attributes["aria-describedby"].split() if name.endswith("error")]
        assert told, "the field points to what is wrong"
        assert page.one("a", href=f"#{control.attributes['id']}").text, "the summary leads to the field"
        assert page.one("details", css_class="more").attributes.get("open") is not None
    assert kept["vm"] == ["vm-web"]


def test_a_machine_that_went_meanwhile_is_told(machines: None, oscar: Visitor) -> None:
    page = oscar.post(BACK_UP, vm="vm-gone", backup_type="FULL", destination="bd-main")
    assert page.status == 400
    assert "no longer on the platform" in page.main.text
    assert not asked()


def test_without_a_destination_it_says_whom_to_ask(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    rows.machine("vm-web", cast.alpha, name="web-01")
    page = oscar.get(BACK_UP, vm="vm-web")
    assert "No backup destination is allowed for Alpha. Ask your provider." in page.main.text
    assert not page.all("button", css_class="button-large")


def test_with_two_destinations_it_asks_which(machines: None, cast: Cast, rows: Rows, oscar: Visitor) -> None:
    rows.destination("bd-two", cast.alpha, "Vault B")
    page = oscar.get(BACK_UP, vm="vm-web")
    assert [one.attributes["value"] for one in page.all("input", name="destination", type_="radio")] == [
        "bd-main",
        "bd-two",
    ]
    press(oscar, page, destination="bd-two")
    assert asked()[0].plan["destination"] == "bd-two"


@pytest.fixture
def by_rule(machines: None, cast: Cast, rows: Rows, settings: Any) -> None:
    """A server that backs up by a policy's rule, and two destinations; web-01 is in a policy that leads to the second."""
    settings.VPLUS_DIALECT = "current"
    rows.destination("bd-two", cast.alpha, "Vault B")
    with every_tenant("test"):
        VirtualMachine.objects.filter(guid="vm-web").update(policy_guid="p", policy_rules=1, policy_leads_to=["bd-two"])


def test_where_the_policy_leads_is_all_that_is_offered(by_rule: None, oscar: Visitor) -> None:
    page = oscar.get(BACK_UP, vm="vm-web")
    assert not page.all("input", type_="radio", name="destination")
    assert "Vault B" in page.main.text
    assert "Vault A" not in page.main.text
    press(oscar, page)
    assert asked()[0].plan["destination"] == "bd-two"


def test_without_a_policy_the_page_says_what_to_do_first(by_rule: None, oscar: Visitor) -> None:
    page = oscar.get(BACK_UP, vm="vm-db")
    assert "db-01 is in no policy" in page.main.text
    assert "Put it in a policy first." in page.main.text
    assert not page.all("button", css_class="button-large")
    both = oscar.get(BACK_UP, vm=["vm-web", "vm-db"])
    assert "cannot: in no policy" in both.main.text
    press(oscar, both)
    assert [row.virtual_machine_guid for row in asked()] == ["vm-web"]
    assert oscar.post(BACK_UP, vm="vm-db").status == 400


def test_where_a_policy_leads_is_not_guessed(by_rule: None, oscar: Visitor) -> None:
    with every_tenant("test"):
        VirtualMachine.objects.filter(guid="vm-web").update(policy_leads_to=None)
    page = oscar.get(BACK_UP, vm="vm-web")
    assert not page.all("input", name="destination")
    assert "where its policy stores; the backup system does not tell where" in page.main.text
    press(oscar, page)
    assert asked()[0].warnings == ["destination_not_told"]


def test_a_viewer_is_told_who_may(machines: None, cast: Cast, vera: Visitor) -> None:
    page = vera.get(BACK_UP, vm="vm-web")
    assert page.status == 403
    assert "Your role here is viewer. Operators and admins can start backups. Ask an admin of Alpha." in page.main.text
    assert vera.post(BACK_UP, vm="vm-web").status == 403
    assert not asked()


@pytest.mark.parametrize(
    "vm", [[], ["no-such"], ["vm-web", "no-such"], ["vm-web\0"], ["x" * 5000], ["vm-web"] + ["y"] * 3]
)
def test_what_is_not_visible_is_not_there(vm: list[str], machines: None, oscar: Visitor) -> None:
    assert oscar.get(BACK_UP, vm=vm).status == 404
    assert oscar.post(BACK_UP, vm=vm).status == 404
    assert not asked()


def test_another_tenants_machine_cannot_be_asked_for(machines: None, cast: Cast, rows: Rows) -> None:
    rows.destination("bd-main", cast.beta, "Vault A")
    mallory = Visitor(cast.mallory)
    for slug in ("alpha", "beta"):
        assert mallory.get(f"/t/{slug}/back-up/", vm="vm-web").status == 404
        assert mallory.post(f"/t/{slug}/back-up/", vm="vm-web").status == 404
    assert not asked()
