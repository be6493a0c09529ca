"""What the API gives: exactly the members that it promises, in UTC, with the words of the tables."""

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.conftest import NOW, Rows, Script
from tests.conftest import Cast
from tests.policies import kept

MACHINE = """guid uuid name present absent_since protection policy last_backup_at last_backup_type last_backup_size
    last_full_backup_at last_full_backup_size restore_point_count newest_restore_point active_operation next_run_at
    allowed_actions as_of"""
BACKUP = """guid virtual_machine status type type_asked taken_at taken_at_source size destination times parent restorable
    restorable_reason origin warnings as_of"""
TASK = """guid type state progress virtual_machine backup schedule operation window_start window_end started_at
    finished_at priority reason as_of"""
OPERATION = """id kind state stage progress estimate subject virtual_machine restore_point tasks warnings result
    requested_by requested_at send_until last_news_at cancel finished_at error"""


def iso(moment: Any) -> str:
    return str(moment.isoformat()).replace("+00:00", "Z")


def test_a_virtual_machine(cast: Cast, rows: Rows, alice: Script) -> None:
    rows.reading("inventory", NOW - timedelta(seconds=12))
    rows.machine(
        "vm-1",
        cast.alpha,
        name="web-01",
        protection_status="not_protected",
        protection_reason="never_backed_up",
        policy_name="Gold daily",
        restore_point_count=2,
        newest_point_guid="b-1",
        newest_point_at=NOW - timedelta(days=1),
        last_backup_type="INCREMENTAL",
    )
    kept(cast.beta, "Gold daily", vplus_guid="p-beta")
    policy = kept(cast.alpha, "Gold daily", vplus_guid="p-alpha")
    operation = rows.operation("vm-1", cast.alpha, stage="store", progress=63.5)
    shape = alice.get("virtual-machines/vm-1/").data
    assert list(shape) == MACHINE.split()
    assert shape["protection"] == {
        "status": "not_protected",
        "reason": "No backup was ever made of this virtual machine.",
        "next_step": "Back up now, or add it to a policy.",
        "promise_seconds": None,
    }
    assert shape["as_of"] == iso(NOW - timedelta(seconds=12))
    assert shape["policy"] == {"id": str(policy.pk), "guid": None, "name": "Gold daily"}
    assert shape["newest_restore_point"] == {"guid": "b-1", "taken_at": iso(NOW - timedelta(days=1))}
    assert shape["active_operation"] == {
        "id": str(operation.pk),
        "kind": "backup",
        "state": "running",
        "stage": {"name": "store", "index": 2, "count": 2},
        "progress": 63.5,
    }
    assert shape["allowed_actions"] == ["restore"]
    listed = alice.get("virtual-machines/").data
    assert list(listed) == ["results", "next", "as_of"]
    assert (listed["results"], listed["as_of"]) == ([shape], shape["as_of"])


def test_a_machine_that_is_gone_says_since_when_and_offers_no_backup(cast: Cast, rows: Rows, alice: Script) -> None:
    rows.machine("vm-there", cast.alpha, not_present_since=NOW - timedelta(days=9))
    rows.machine("vm-left", cast.alpha, present=False, not_present_since=NOW - timedelta(days=1))
    rows.machine("vm-lost", cast.alpha, absent_since=NOW - timedelta(days=2))
    shapes = {shape["guid"]: shape for shape in alice.all("virtual-machines/")}
    assert [shapes[guid]["present"] for guid in ("vm-there", "vm-left", "vm-lost")] == [True, False, True]
    assert shapes["vm-there"]["absent_since"] is None
    assert shapes["vm-left"]["absent_since"] == iso(NOW - timedelta(days=1))
    assert shapes["vm-lost"]["absent_since"] == iso(NOW - timedelta(days=2))
    assert [shapes[guid]["allowed_actions"] for guid in ("vm-there", "vm-left", "vm-lost")] == [["back_up"], [], []]
    assert [shapes[guid]["protection"]["next_step"] is None for guid in ("vm-there", "vm-left", "vm-lost")] == [
        False,
        True,
        True,
    ], "nobody is told to back up what is gone"


def test_a_suspended_tenant_may_start_nothing(cast: Cast, rows: Rows, alice: Script) -> None:
    from tenants.models import Tenant
    from tenants.scope import every_tenant

    rows.machine("vm-1", cast.alpha)
    with every_tenant("test"):
        Tenant.objects.filter(slug="alpha").update(suspended_at=NOW)
    assert alice.get("virtual-machines/vm-1/").data["allowed_actions"] == []
    answer = alice.post("operations/", {"kind": "backup", "virtual_machines": ["vm-1"]})
    assert (answer.status_code, answer.data["code"]) == (403, "tenant_suspended")


def test_a_backup_and_what_was_asked_for(cast: Cast, rows: Rows, alice: Script) -> None:
    rows.machine("vm-1", cast.alpha, name="web-01", history_read_at=NOW - timedelta(minutes=3))
    rows.destination("bd-1", cast.alpha, label="Vault A")
    operation = rows.operation(
        "vm-1", cast.alpha, state="succeeded", backup_guid="b-1", plan={"backup_type": "INCREMENTAL"}
    )
    rows.backup(
        "b-1",
        "vm-1",
        cast.alpha,
        NOW - timedelta(hours=1),
        size=10**12,
        destination_guid="bd-1",
        export_seconds=61.5,
        warnings=["host esx-7 is slow"],
        warnings_present=True,
    )
    shape = alice.get("virtual-machines/vm-1/backups/").data["results"][0]
    assert list(shape) == BACKUP.split()
    assert shape["virtual_machine"] == {"guid": "vm-1", "name": "web-01"}
    assert (shape["type"], shape["type_asked"], shape["size"]) == ("FULL", "INCREMENTAL", 10**12)
    assert shape["destination"] == {"guid": "bd-1", "name": "Vault A"}
    assert shape["times"] == {"queued_export": None, "export": 61.5, "queued_store": None, "store": None}
    assert shape["origin"] == {
        "kind": "operation", "operation": str(operation.pk), "requested_by": "Alice", "schedule": None
    }  # fmt: skip
    assert [warning["code"] for warning in shape["warnings"]] == ["full_instead_of_incremental", "vplus_warnings"]
    assert "esx-7" not in str(shape)
    assert (shape["restorable"], shape["restorable_reason"]) == (True, None)
    assert shape["as_of"] == iso(NOW - timedelta(minutes=3))


@pytest.mark.parametrize(
    "case",
    [
        ({}, {"destination": "bd-1"}, {"guid": "bd-1", "name": "Vault A"}),
        ({"status": "FAILED"}, {"destination": "bd-1"}, None),
        ({}, {"destination": "bd-1", "by_policy": True}, None),
        ({"destination_guid": "bd-2"}, {"destination": "bd-1"}, {"guid": "bd-2", "name": ""}),
    ],
    ids=["sent there", "never stored", "chosen by a rule", "vPlus says otherwise"],
)
def test_where_vplus_does_not_tell_a_backup_is_kept_where_it_was_sent(
    cast: Cast, rows: Rows, alice: Script, case: tuple[dict[str, Any], dict[str, Any], dict[str, str] | None]
) -> None:
    facts, plan, expected = case
    rows.machine("vm-1", cast.alpha)
    rows.destination("bd-1", cast.alpha, label="Vault A")
    rows.operation("vm-1", cast.alpha, state="succeeded", backup_guid="b-1", plan={"backup_type": "FULL", **plan})
    rows.backup("b-1", "vm-1", cast.alpha, NOW, **facts)
    assert alice.get("virtual-machines/vm-1/backups/").data["results"][0]["destination"] == expected


def test_where_vplus_does_not_tell_a_backup_is_of_the_schedule_whose_run_made_it(
    cast: Cast, rows: Rows, alice: Script
) -> None:
    rows.machine("vm-1", cast.alpha)
    rows.backup("b-1", "vm-1", cast.alpha, NOW)
    rows.backup("b-2", "vm-1", cast.alpha, NOW - timedelta(days=1))
    rows.task("t-1", "vm-1", cast.alpha, schedule_guid="s-1", run_backup_guid="b-1", run_ended=True)
    rows.task("t-2", "vm-1", cast.alpha, run_backup_guid="b-2", run_ended=True)
    origins = [one["origin"] for one in alice.get("virtual-machines/vm-1/backups/").data["results"]]
    assert [(one["kind"], one["schedule"]) for one in origins] == [("schedule", "s-1"), ("unknown", None)]


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"status": "FAILED"}, "failed"),
        ({"status": "INPROGRESS"}, "not finished"),
        ({"status": "QUEUED"}, "not begun"),
        ({"status": "SUCCESS_REMOVED"}, "removed"),
        ({"status": "SOMETHING_NEW"}, "does not say"),
        ({"status": "SUCCESS", "gone_at": NOW}, "no longer"),
    ],
)
def test_a_backup_that_cannot_be_restored_says_why(
    cast: Cast, rows: Rows, alice: Script, facts: dict[str, Any], reason: str
) -> None:
    rows.machine("vm-1", cast.alpha)
    rows.backup("b-1", "vm-1", cast.alpha, NOW, status_info="node7:/staging is full", **facts)
    shape = alice.get("virtual-machines/vm-1/backups/").data["results"][0]
    assert shape["restorable"] is False
    assert reason in shape["restorable_reason"]
    assert "node7" not in str(shape)
    assert alice.all("virtual-machines/vm-1/restore-points/") == []


@pytest.mark.parametrize(
    ("origin_type", "expected"),
    [
        ("", ("unknown", None)),
        ("SCHEDULE", ("schedule", "s-1")),
        ("USER", ("vplus_user", None)),
        ("SYSTEM_SCHEDULE", ("system", None)),
    ],
)
def test_a_backup_that_nobody_asked_for_here(
    cast: Cast, rows: Rows, alice: Script, origin_type: str, expected: tuple[str, str | None]
) -> None:
    rows.machine("vm-1", cast.alpha)
    rows.backup("b-1", "vm-1", cast.alpha, origin_type=origin_type, origin_guid="s-1")
    shape = alice.get("virtual-machines/vm-1/backups/").data["results"][0]
    assert (shape["origin"]["kind"], shape["origin"]["schedule"]) == expected
    assert (shape["origin"]["operation"], shape["origin"]["requested_by"]) == (None, None)
    assert (shape["type_asked"], shape["taken_at"], shape["destination"]) == (None, None, None)
    assert [warning["code"] for warning in shape["warnings"]] == ["time_not_given"]


def test_a_task(cast: Cast, rows: Rows, alice: Script) -> None:
    rows.reading("tasks", NOW - timedelta(seconds=3))
    rows.machine("vm-1", cast.alpha, name="web-01")
    rows.task("t-1", "vm-1", cast.alpha, state="FAILED", status_info="esx-7: no route", window_start=NOW, priority=50)
    operation = rows.operation("vm-1", cast.alpha, tasks=("t-1",), backup_guid="b-1")
    answer = alice.get("tasks/").data
    shape = answer["results"][0]
    assert list(shape) == TASK.split()
    assert shape["virtual_machine"] == {"guid": "vm-1", "name": "web-01"}
    assert (shape["operation"], shape["backup"], shape["schedule"]) == (str(operation.pk), "b-1", None)
    assert shape["reason"] == "The virtual machine could not be read."
    assert "esx-7" not in str(shape)
    assert (shape["window_start"], shape["priority"]) == (iso(NOW), 50)
    assert shape["as_of"] == answer["as_of"] == iso(NOW - timedelta(seconds=3))


def test_an_operation_under_way(cast: Cast, rows: Rows, alice: Script) -> None:
    rows.machine("vm-1", cast.alpha)
    rows.task("t-1", "vm-1", cast.alpha, state="RUNNING", progress=40.0)
    operation = rows.operation(
        "vm-1",
        cast.alpha,
        tasks=("t-1",),
        stage="export",
        progress=25.0,
        estimate_seconds=4000.0,
        estimate_basis="last_3",
        started_at=NOW - timedelta(seconds=900),
        warnings=["identified_by_absence_of_others"],
    )
    shape = alice.get(f"operations/{operation.pk}/").data
    assert list(shape) == OPERATION.split()
    assert shape["stage"] == {"name": "export", "index": 1, "count": 2}
    assert shape["estimate"] == {"seconds": 3000.0, "basis": "last_3"}
    assert shape["tasks"] == [{"guid": "t-1", "type": "EXPORT", "state": "RUNNING", "progress": 40.0}]
    assert shape["virtual_machine"] == {"guid": "vm-1", "name": "vm-1"}
    assert [warning["code"] for warning in shape["warnings"]] == ["identified_by_absence_of_others"]
    assert shape["requested_by"] == {"name": "Alice", "via": "page"}
    assert shape["cancel"] == {"asked_at": None, "asked_by": None, "possible": True}
    assert (shape["result"], shape["error"], shape["finished_at"]) == (None, None, None)


def test_an_operation_that_waits_has_no_estimate_and_no_stage(cast: Cast, rows: Rows, alice: Script) -> None:
    operation = rows.operation("vm-1", cast.alpha, state="requested", estimate_seconds=60.0, estimate_basis="last_1")
    shape = alice.get(f"operations/{operation.pk}/").data
    assert (shape["stage"], shape["progress"], shape["estimate"]["seconds"]) == (None, None, None)


def test_an_operation_that_has_ended(cast: Cast, rows: Rows, alice: Script) -> None:
    rows.backup("b-1", "vm-1", cast.alpha, NOW, size=5)
    good = rows.operation("vm-1", cast.alpha, state="succeeded", backup_guid="b-1", finished_at=NOW)
    bad = rows.operation(
        "vm-1", cast.alpha, state="failed", error_code="could_not_store", vendor_text="S3 key AKIA rejected"
    )
    shape = alice.get(f"operations/{good.pk}/").data
    assert shape["result"] == {
        "restore_point": "b-1",
        "type": "FULL",
        "taken_at": iso(NOW),
        "size": 5,
        "virtual_machine": None,
        "name": None,
    }
    assert (shape["estimate"], shape["error"], shape["finished_at"]) == (None, None, iso(NOW))
    answer = alice.get(f"operations/{bad.pk}/")
    assert answer.data["error"] == {
        "code": "could_not_store",
        "message": "The backup destination is full or away. Older restore points are untouched.",
        "actor": "provider",
        "next_step": "Ask your provider, and name the reference.",
        "reference": "7F3K-29QD",
    }
    assert answer.data["result"] is None
    assert b"AKIA" not in answer.content


def test_times_are_utc_whatever_zone_the_person_has(cast: Cast, rows: Rows, alice: Script) -> None:
    rows.machine("vm-1", cast.alpha, last_backup_at=NOW)
    assert alice.get("me/").data["person"]["time_zone"] == "Europe/Warsaw"
    assert alice.get("virtual-machines/vm-1/").data["last_backup_at"] == iso(NOW)


def test_what_was_never_read_has_no_age(cast: Cast, rows: Rows, alice: Script) -> None:
    rows.machine("vm-1", cast.alpha)
    assert alice.get("virtual-machines/").data["as_of"] is None
    assert alice.get("virtual-machines/vm-1/backups/").data["as_of"] is None


@pytest.mark.parametrize("path", ["virtual-machines/a%00b/", "virtual-machines/a%0Ab/", f"virtual-machines/{'x' * 601}/",
                                  "operations/not-a-uuid/", "nothing-here/"])  # fmt: skip
def test_an_address_that_cannot_be_is_404_as_a_problem(alice: Script, path: str) -> None:
    answer = alice.get(path)
    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.data["code"] == "not_found"


@pytest.mark.parametrize("guid", ["g" * 180, "ü {1} #%+", "a:b@c,d"])
def test_a_machine_is_found_by_its_guid_whatever_that_looks_like(
    guid: str, cast: Cast, rows: Rows, alice: Script
) -> None:
    rows.machine(guid, cast.alpha, history_read_at=NOW)
    assert alice.get(f"virtual-machines/{quote(guid, safe='')}/").data["guid"] == guid
    assert alice.get(f"virtual-machines/{quote(guid, safe='')}/backups/").status_code == 200
