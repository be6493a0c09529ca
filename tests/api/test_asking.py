"""Asking for backups: what is taken, what is refused and how, and that nothing starts where anything is wrong."""

from datetime import timedelta
from typing import Any

import pytest

from tests.api.conftest import NOW, Rows, Script
from tests.conftest import Cast


@pytest.fixture
def ready(cast: Cast, rows: Rows) -> None:
    rows.machine("vm-1", cast.alpha, name="web-01")
    rows.machine("vm-2", cast.alpha, name="erp-db")
    rows.machine("vm-gone", cast.alpha, name="old-db", present=False)
    rows.machine("vm-beta", cast.beta)
    rows.destination("bd-1", cast.alpha, label="Vault A")


def started() -> int:
    from tenants.scope import every_tenant
    from vplus_bridge.models import Operation

    with every_tenant("test"):
        return int(Operation.objects.count())


def wish(*machines: str, **members: Any) -> dict[str, Any]:
    return {"kind": "backup", "virtual_machines": list(machines), **members}


def test_a_backup_is_asked_for(ready: None, oscar: Script) -> None:
    answer = oscar.post("operations/", wish("vm-1", "vm-2", backup_type="INCREMENTAL", priority=70))
    assert answer.status_code == 202
    assert [(one["subject"], one["state"], one["already_active"]) for one in answer.data["operations"]] == [
        ("vm-1", "requested", False),
        ("vm-2", "requested", False),
    ]
    assert answer.data["refused"] == []
    one = answer.data["operations"][0]
    assert one["requested_by"] == {"name": "Oscar", "via": "token test"}
    assert oscar.get(f"operations/{one['id']}/").data["id"] == one["id"]
    machine = oscar.get("virtual-machines/vm-1/").data
    assert (machine["active_operation"]["id"], machine["allowed_actions"]) == (one["id"], [])


def test_the_same_wish_again_is_answered_with_the_same_operation(ready: None, oscar: Script, alice: Script) -> None:
    first = oscar.post("operations/", wish("vm-1")).data["operations"][0]
    again = alice.post("operations/", wish("vm-1"))
    assert again.status_code == 202
    assert [(one["id"], one["already_active"]) for one in again.data["operations"]] == [(first["id"], True)]
    assert started() == 1


def test_another_wish_is_refused_one_by_one_and_409_where_none_starts(ready: None, oscar: Script) -> None:
    oscar.post("operations/", wish("vm-1"))
    mixed = oscar.post("operations/", wish("vm-1", "vm-2", priority=90))
    assert mixed.status_code == 202
    assert [one["subject"] for one in mixed.data["operations"]] == ["vm-2"]
    assert [(one["virtual_machine"], one["code"]) for one in mixed.data["refused"]] == [("vm-1", "operation_active")]
    alone = oscar.post("operations/", wish("vm-1", priority=91))
    assert (alone.status_code, alone.data["code"]) == (409, "operation_active")
    assert "Oscar asked for another backup of web-01 first" in alone.data["detail"]
    assert started() == 2


def test_one_that_is_gone_is_refused_and_the_others_start(ready: None, oscar: Script) -> None:
    mixed = oscar.post("operations/", wish("vm-1", "vm-gone"))
    assert mixed.status_code == 202
    assert [one["subject"] for one in mixed.data["operations"]] == ["vm-1"]
    assert [(one["virtual_machine"], one["code"]) for one in mixed.data["refused"]] == [("vm-gone", "vm_gone")]
    alone = oscar.post("operations/", wish("vm-gone"))
    assert (alone.status_code, alone.data["code"]) == (409, "vm_gone")
    assert "old-db is no longer on the platform" in alone.data["detail"]
    assert started() == 1


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({}, "kind", "required"),
        ({"kind": "backup"}, "virtual_machines", "required"),
        ({"kind": "policy", "name": "Gold"}, "kind", "What works is: backup"),
        ({"kind": ["backup"], "virtual_machines": ["vm-1"]}, "kind", "What works is: backup"),
        (wish(), "virtual_machines", "at least one"),
        ({**wish(), "virtual_machines": "vm-1"}, "virtual_machines", "list"),
        ({**wish(), "virtual_machines": [7]}, "virtual_machines.0", "string"),
        ({**wish(), "virtual_machines": ["vm-1", None]}, "virtual_machines.1", "null"),
        ({**wish(), "virtual_machines": [f"vm-{n}" for n in range(201)]}, "virtual_machines", "the most is 200"),
        (wish("vm-1", backup_type="full"), "backup_type", "FULL, INCREMENTAL"),
        (wish("vm-1", backup_type=None), "backup_type", "null"),
        (wish("vm-1", destination="bd-9"), "destination", "Vault A (bd-1)"),
        (wish("vm-1", destination=1), "destination", "string"),
        (wish("vm-1", priority=101), "priority", "0 to 100"),
        (wish("vm-1", priority=-1), "priority", "0 to 100"),
        (wish("vm-1", priority="50"), "priority", "whole number"),
        (wish("vm-1", priority=True), "priority", "whole number"),
        (wish("vm-1", priority=50.0), "priority", "whole number"),
        (wish("vm-1", window_start="2020-01-01T00:00:00Z"), "window_start", "past"),
        (wish("vm-1", window_end="2020-01-01T00:00:00Z"), "window_end", "past"),
        (wish("vm-1", window_end="2999-01-01T00:00:00Z"), "window_end", "too long"),
        (wish("vm-1", window_start="2026-12-01T02:00:00"), "window_start", "offset"),
        (wish("vm-1", window_start="tomorrow"), "window_start", "offset"),
        (wish("vm-1", window_start=1764554400000), "window_start", "offset"),
        (wish("vm-1", window_start="2026-02-30T02:00:00Z"), "window_start", "offset"),
        (wish("vm-1", window_start="9999-12-31T23:59:59-23:00"), "window_start", "offset"),
        (wish("vm-1", colour="red"), "colour", "Known are kind, virtual_machines"),
        (wish("vm-1", restored_name="x"), "restored_name", "no such member"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_starts(
    ready: None, oscar: Script, body: dict[str, Any], field: str, says: str
) -> None:
    answer = oscar.post("operations/", body)
    assert answer.status_code == 400, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert list(answer.data["errors"]) == [field]
    assert says in answer.data["errors"][field][0]
    assert started() == 0


def test_every_unknown_member_is_named(ready: None, oscar: Script) -> None:
    answer = oscar.post("operations/", wish("vm-1", colour="red", size=3))
    assert set(answer.data["errors"]) == {"colour", "size"}


def test_one_that_cannot_be_seen_stops_all(ready: None, oscar: Script) -> None:
    answer = oscar.post("operations/", wish("vm-1", "vm-beta", "vm-nobody"))
    assert answer.status_code == 404
    assert answer.data["errors"] == {"virtual_machines": ["vm-beta: not found.", "vm-nobody: not found."]}
    assert started() == 0


def test_what_cannot_be_seen_comes_before_what_is_wrong(ready: None, oscar: Script) -> None:
    assert oscar.post("operations/", wish("vm-beta", priority=101)).status_code == 404


def test_a_viewer_may_not(ready: None, vera: Script) -> None:
    answer = vera.post("operations/", wish("vm-1"))
    assert (answer.status_code, answer.data["code"]) == (403, "role_too_low")
    assert answer.data["detail"] == "Your role here is viewer. Operators and admins can start backups."
    assert started() == 0


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ("{", "application/json", 400),
        ("", "application/json", 400),
        ("[]", "application/json", 400),
        ('"backup"', "application/json", 400),
        ("null", "application/json", 400),
        ('{"priority": NaN}', "application/json", 400),
        ("[" * 100_000, "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        ('{"kind": "' + "x" * 1_100_000 + '"}', "application/json", 413),
        ("kind=backup", "application/x-www-form-urlencoded", 415),
        ("<kind/>", "text/xml", 415),
    ],
)
def test_a_body_that_is_no_wish_is_a_problem_and_not_trouble(
    ready: None, oscar: Script, body: str | bytes, content_type: str, status: int
) -> None:
    answer = oscar.post("operations/", body, content_type=content_type)
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.data["reference"]
    assert started() == 0


def test_a_method_that_there_is_not(oscar: Script) -> None:
    answer = oscar._with_json(oscar.client.delete("/api/v1/operations/", headers=oscar.headers))
    assert (answer.status_code, answer.data["code"]) == (405, "method_not_allowed")


def test_times_may_have_any_offset(ready: None, oscar: Script) -> None:
    start = NOW + timedelta(hours=1)
    answer = oscar.post("operations/", wish("vm-1", window_start=start.isoformat().replace("+00:00", "Z"),
                                            window_end=(start + timedelta(hours=2)).isoformat()))  # fmt: skip
    assert answer.status_code == 202
    assert answer.data["operations"][0]["send_until"] == (start + timedelta(hours=2)).isoformat().replace("+00:00", "Z")


def test_without_an_allowed_destination_nothing_can_be_asked_for(cast: Cast, rows: Rows, mallory: Script) -> None:
    rows.machine("vm-beta", cast.beta)
    answer = mallory.post("operations/", wish("vm-beta"))
    assert answer.status_code == 400
    assert "No backup destination is allowed for Beta" in answer.data["errors"]["destination"][0]


def test_with_several_destinations_one_has_to_be_chosen(ready: None, cast: Cast, rows: Rows, oscar: Script) -> None:
    rows.destination("bd-2", cast.alpha, label="Vault B")
    answer = oscar.post("operations/", wish("vm-1"))
    assert answer.data["errors"] == {"destination": ["Choose one of Vault A (bd-1), Vault B (bd-2)."]}
    assert started() == 0
    assert oscar.post("operations/", wish("vm-1", destination="bd-2")).status_code == 202


def test_a_server_that_backs_up_by_rules_is_asked_for_what_it_can_do(
    ready: None, cast: Cast, rows: Rows, oscar: Script, settings: Any
) -> None:
    settings.VPLUS_DIALECT = "current"
    rows.destination("bd-2", cast.alpha, label="Vault B")
    rows.machine("vm-3", cast.alpha, name="ruled", policy_guid="p", policy_rules=1, policy_leads_to=["bd-2", "bd-9"])
    listed = oscar.get("backup-destinations/?virtual_machine=vm-3")
    assert [row["guid"] for row in listed.data["results"]] == ["bd-2"]
    assert oscar.get("backup-destinations/?virtual_machine=vm-1").data["results"] == []
    assert oscar.get("backup-destinations/?virtual_machine=vm-beta").status_code == 404
    allowed = {guid: oscar.get(f"virtual-machines/{guid}/").data["allowed_actions"] for guid in ("vm-1", "vm-3")}
    assert allowed == {"vm-1": [], "vm-3": ["back_up"]}
    none = oscar.post("operations/", wish("vm-1"))
    assert (none.status_code, none.data["code"]) == (409, "no_policy")
    assert "Put it in a policy first." in none.data["errors"]["virtual_machines.vm-1"][0]
    wrong = oscar.post("operations/", wish("vm-3", destination="bd-1"))
    assert (wrong.status_code, list(wrong.data["errors"])) == (400, ["destination"])
    mixed = oscar.post("operations/", wish("vm-3", "vm-1"))
    assert [one["subject"] for one in mixed.data["operations"]] == ["vm-3"]
    assert [(one["virtual_machine"], one["code"]) for one in mixed.data["refused"]] == [("vm-1", "no_policy")]
