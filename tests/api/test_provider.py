"""The provider's addresses: what is unowned, giving it away, tenants, and how the link to vPlus is."""

from datetime import timedelta
from typing import Any

import pytest

from tests.api.conftest import NOW, Rows, Script
from tests.conftest import Cast


def test_unowned_machines_are_given_to_a_tenant_with_their_history(
    cast: Cast, rows: Rows, paula: Script, alice: Script
) -> None:
    from tenants.models import AuditEvent
    from tenants.scope import every_tenant

    rows.machine("vm-1", name="web-01", project_guid="pr-1", project_name="alpha")
    rows.backup("b-1", "vm-1", None, NOW)
    rows.task("t-1", "vm-1", None)
    unowned = paula.all("operator/virtual-machines/", owner="nobody")
    assert [(row["guid"], row["tenant"], row["project"]) for row in unowned] == [
        ("vm-1", None, {"guid": "pr-1", "name": "alpha"})
    ]
    answer = paula.post("operator/virtual-machines/", {"tenant": "alpha", "virtual_machines": ["vm-1"]})
    assert answer.status_code == 200
    assert answer.data == {"tenant": {"slug": "alpha", "name": "Alpha"}, "changed": ["vm-1"]}
    assert paula.all("operator/virtual-machines/", owner="nobody") == []
    assert [row["guid"] for row in paula.all("operator/virtual-machines/", owner="alpha")] == ["vm-1"]
    assert [row["guid"] for row in alice.all("virtual-machines/")] == ["vm-1"]
    assert [row["guid"] for row in alice.all("virtual-machines/vm-1/backups/")] == ["b-1"]
    assert [row["guid"] for row in alice.all("tasks/")] == ["t-1"]
    with every_tenant("test"):
        event = AuditEvent.objects.get()
    assert (event.action, event.tenant_id, event.actor_name) == ("virtual_machine.assign", cast.alpha.pk, "Paula")
    assert (event.object_id, event.via) == ("vm-1", "token test")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"tenant": "nowhere", "virtual_machines": ["vm-1"]}, "tenant"),
        ({"tenant": "alpha", "virtual_machines": ["vm-1", "vm-9"]}, "virtual_machines"),
        ({"tenant": "alpha", "virtual_machines": []}, "virtual_machines"),
        ({"tenant": "alpha"}, "virtual_machines"),
        ({"virtual_machines": ["vm-1"]}, "tenant"),
        ({"tenant": "alpha", "virtual_machines": ["vm-1"], "hand_over": "yes"}, "hand_over"),
        ({"tenant": "alpha", "virtual_machines": ["vm-1"], "handover": True}, "handover"),
    ],
)
def test_a_wrong_assignment_is_named_and_none_is_made(
    cast: Cast, rows: Rows, paula: Script, body: dict[str, Any], field: str
) -> None:
    rows.machine("vm-1")
    answer = paula.post("operator/virtual-machines/", body)
    assert (answer.status_code, list(answer.data["errors"])) == (400, [field])
    assert [row["guid"] for row in paula.all("operator/virtual-machines/", owner="nobody")] == ["vm-1"]


def test_every_tenants_machines_by_name(cast: Cast, rows: Rows, paula: Script) -> None:
    rows.machine("vm-1", cast.beta, name="Zeta", project_name="shop")
    rows.machine("vm-2", cast.alpha, name="alpha", present=False)
    rows.machine("vm-3", name="Beta")
    listed = paula.all("operator/virtual-machines/", page_size=1)
    assert [(row["guid"], (row["tenant"] or {}).get("slug")) for row in listed] == [
        ("vm-2", "alpha"), ("vm-3", None), ("vm-1", "beta")
    ]  # fmt: skip
    assert [row["guid"] for row in paula.all("operator/virtual-machines/", search="SHOP")] == ["vm-1"]
    assert [row["guid"] for row in paula.all("operator/virtual-machines/", present="false")] == ["vm-2"]
    assert list(paula.get("operator/virtual-machines/", owner="nowhere").data["errors"]) == ["owner"]


def test_tenants_with_the_number_of_their_machines(cast: Cast, rows: Rows, paula: Script) -> None:
    rows.machine("vm-1", cast.beta)
    rows.machine("vm-2", cast.beta)
    rows.machine("vm-3")
    listed = paula.all("operator/tenants/", page_size=1)
    assert [(row["slug"], row["virtual_machine_count"]) for row in listed] == [("alpha", 0), ("beta", 2), ("gamma", 0)]
    assert [row["vplus_tenant_id"] for row in listed] == ["alpha-uuid", "beta-uuid", None]


def test_the_link_to_vplus(cast: Cast, rows: Rows, paula: Script) -> None:
    assert paula.get("operator/status/").data["contact"]["ok"] is None
    rows.reading("contact", NOW - timedelta(minutes=18), failing_since=NOW, problem="certificate_not_trusted")
    rows.reading("inventory", NOW, counts={"listed": 148, "complete": True})
    rows.reading(
        "projects", None, failing_since=NOW, problem="forbidden", problem_text="The account may not read them."
    )
    status = paula.get("operator/status/").data
    assert status["contact"]["ok"] is False
    assert status["contact"]["problem"] == "certificate_not_trusted"
    assert [reading["name"] for reading in status["readings"]] == ["inventory", "projects"]
    assert status["readings"][0]["counts"] == {"listed": 148, "complete": True}
    assert [(gap["name"], gap["problem"]) for gap in status["gaps"]] == [("projects", "forbidden")]
