"""The provider's addresses: what is unowned, giving it away, tenants, and how the link to vPlus is."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tenants.models import AuditEvent
from tenants.scope import every_tenant
from tests.api.conftest import NOW, Rows, Script
from tests.conftest import Cast
from tests.policies import in_vplus, kept


def test_unowned_machines_are_given_to_a_tenant_with_their_history(
    cast: Cast, rows: Rows, paula: Script, alice: Script
) -> None:
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


@pytest.fixture
def policies(cast: Cast, rows: Rows) -> None:
    rows.machine("vm-1", cast.alpha, name="web-01")
    rows.machine("vm-beta", cast.beta, name="beta-01")
    in_vplus("p-old", name="customer-x and y", vm_guids=["vm-1", "vm-beta"])
    in_vplus("p-Gold-alpha", name="alpha-policy-gold", tenant=cast.alpha)
    kept(cast.alpha, "Gold")


def test_a_policy_of_vplus_is_attached_to_a_tenant_and_taken_back(
    policies: None, cast: Cast, paula: Script, alice: Script
) -> None:
    assert [(row["guid"], row["called"], row["attached"]) for row in paula.all("operator/policies/", page_size=1)] == [
        ("p-Gold-alpha", "Gold", False),
        ("p-old", None, False),
    ]
    (free,) = paula.all("operator/policies/", owner="nobody")
    assert free == {
        "guid": "p-old",
        "name": "customer-x and y",
        "virtual_machine_count": 2,
        "tenant": None,
        "called": None,
        "attached": False,
    }
    answer = paula.post("operator/policies/p-old/attach/", {"tenant": "alpha", "name": "Nightly"})
    assert answer.status_code == 200
    assert answer.data == free | {"tenant": {"slug": "alpha", "name": "Alpha"}, "called": "Nightly", "attached": True}
    assert paula.all("operator/policies/", owner="nobody") == []
    assert [row["guid"] for row in paula.all("operator/policies/", owner="alpha", search="CUSTOMER")] == ["p-old"]
    (theirs,) = [row for row in alice.all("policies/") if row["name"] == "Nightly"]
    assert theirs["state"] == "read_only"
    assert "customer-x" not in json.dumps(theirs)
    with every_tenant("test"):
        event = AuditEvent.objects.get(action="policy.attach")
    assert (event.tenant_id, event.actor_name, event.via) == (cast.alpha.pk, "Paula", "token test")
    assert paula.post("operator/policies/p-old/detach/", {}).data == free
    assert paula.post("operator/policies/p-old/detach/", {}).status_code == 404
    assert [row["name"] for row in alice.all("policies/")] == ["Gold"]


@pytest.mark.parametrize(
    ("guid", "body", "status", "field"),
    [
        ("p-old", {"tenant": "nowhere"}, 400, "tenant"),
        ("p-old", {}, 400, "tenant"),
        ("p-old", {"tenant": "alpha", "name": "gold"}, 400, "name"),
        ("p-old", {"tenant": "alpha", "name": "x" * 121}, 400, "name"),
        ("p-old", {"tenant": "alpha", "name": "turned \u202e round"}, 400, "name"),
        ("p-old", {"tenant": "alpha", "called": "Nightly"}, 400, "called"),
        ("p-Gold-alpha", {"tenant": "beta"}, 400, "guid"),
        ("p-never", {"tenant": "alpha"}, 404, None),
    ],
)
@pytest.mark.usefixtures("policies")
def test_a_wrong_attachment_is_named_and_none_is_made(
    paula: Script, guid: str, body: dict[str, Any], status: int, field: str | None
) -> None:
    answer = paula.post(f"operator/policies/{guid}/attach/", body)
    assert (answer.status_code, list(answer.data.get("errors", {}))) == (status, [field] if field else [])
    assert [row["guid"] for row in paula.all("operator/policies/", owner="nobody")] == ["p-old"]


def test_what_is_a_tenants_own_is_not_taken_back(policies: None, paula: Script, alice: Script) -> None:
    assert paula.post("operator/policies/p-Gold-alpha/detach/", {}).status_code == 404
    assert [row["name"] for row in alice.all("policies/")] == ["Gold"]


def test_an_auditor_reads_policies_and_attaches_none(
    policies: None, cast: Cast, alice: Script, script_of: Callable[..., Script]
) -> None:
    arthur = script_of(cast.arthur)
    assert len(arthur.all("operator/policies/")) == 2
    for path in ("attach", "detach"):
        assert arthur.post(f"operator/policies/p-old/{path}/", {"tenant": "alpha"}).status_code == 403
    assert alice.get("operator/policies/").status_code == 404


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
