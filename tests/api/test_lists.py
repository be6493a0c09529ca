"""Lists: orders, cursors, filters, and a price that does not grow with the rows."""

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tenants.scope import in_tenant
from tests.api.conftest import NOW, Rows, Script
from tests.conftest import Cast
from vplus_bridge.mirror import listing
from vplus_bridge.mirror.models import VirtualMachine


@pytest.fixture
def seven(cast: Cast, rows: Rows) -> None:
    """Seven machines with ties and with values that are not known."""
    for guid, rank, point, size, name in (
        ("vm-1", 0, None, None, "beta"),
        ("vm-2", 0, None, 5, "Alpha"),
        ("vm-3", 1, 3, 5, "beta"),
        ("vm-4", 1, 3, 7, "ärger"),
        ("vm-5", 1, None, None, "zeta"),
        ("vm-6", 4, 1, 1, "alpha"),
        ("vm-7", 9, 2, 0, "Beta"),
    ):
        at = NOW - timedelta(days=point) if point else None
        rows.machine(
            guid,
            cast.alpha,
            name=name,
            attention_rank=rank,
            newest_point_at=at,
            last_backup_at=at,
            last_backup_size=size,
        )


def guids(found: list[dict[str, Any]]) -> list[str]:
    return [row["guid"] for row in found]


@pytest.mark.parametrize("page_size", [1, 2, 3, 50])
@pytest.mark.parametrize(
    ("ordering", "expected"),
    [
        ("attention", ["vm-1", "vm-2", "vm-3", "vm-4", "vm-5", "vm-6", "vm-7"]),
        ("last_backup_at", ["vm-3", "vm-4", "vm-7", "vm-6", "vm-1", "vm-2", "vm-5"]),
        ("-last_backup_at", ["vm-6", "vm-7", "vm-3", "vm-4", "vm-1", "vm-2", "vm-5"]),
        ("last_backup_size", ["vm-7", "vm-6", "vm-2", "vm-3", "vm-4", "vm-1", "vm-5"]),
        ("-last_backup_size", ["vm-4", "vm-2", "vm-3", "vm-6", "vm-7", "vm-1", "vm-5"]),
    ],
)
def test_every_order_gives_each_row_once(
    seven: None, alice: Script, ordering: str, expected: list[str], page_size: int
) -> None:
    found = alice.all("virtual-machines/", ordering=ordering, page_size=page_size)
    assert guids(found) == expected


@pytest.mark.parametrize("ordering", list(listing.ORDERINGS))
def test_pages_can_be_walked_back(seven: None, cast: Cast, ordering: str) -> None:
    with in_tenant(cast.alpha):
        rows = VirtualMachine.objects.all()
        forward, cursor = [], ""
        while True:
            page = listing.page_of(rows, ordering, cursor, 2)
            forward.append([row.guid for row in page.rows])
            assert len(forward) < 10, "the pages never end"
            assert (page.previous_cursor is None) == (len(forward) == 1)
            if page.next_cursor is None:
                break
            cursor = page.next_cursor
        backward = [forward[-1]]
        while page.previous_cursor is not None:
            page = listing.page_of(rows, ordering, page.previous_cursor, 2)
            backward.append([row.guid for row in page.rows])
            assert len(backward) < 10, "the pages never end"
            assert page.next_cursor is not None
    assert backward == forward[::-1]
    assert sorted(guid for page_guids in forward for guid in page_guids) == [f"vm-{n}" for n in range(1, 8)]


def test_names_are_ordered_whatever_their_case(seven: None, alice: Script) -> None:
    names = [row["name"].lower() for row in alice.all("virtual-machines/", ordering="name", page_size=2)]
    assert names[:5] == ["alpha", "alpha", "beta", "beta", "beta"]
    turned = [row["name"].lower() for row in alice.all("virtual-machines/", ordering="-name", page_size=2)]
    assert turned == names[::-1]


def test_rows_that_come_in_between_move_nothing(seven: None, cast: Cast, rows: Rows, alice: Script) -> None:
    first = alice.get("virtual-machines/", ordering="attention", page_size=3).data
    rows.machine("vm-0", cast.alpha, attention_rank=0)
    cursor = parse_qs(urlsplit(first["next"]).query)["cursor"][0]
    second = alice.get("virtual-machines/", ordering="attention", page_size=3, cursor=cursor).data
    assert guids(second["results"]) == ["vm-4", "vm-5", "vm-6"]


def test_next_keeps_what_was_asked_for(seven: None, alice: Script) -> None:
    answer = alice.get("virtual-machines/", search="eta", ordering="name", page_size=2).data
    query = parse_qs(urlsplit(answer["next"]).query)
    assert (query["search"], query["ordering"], query["page_size"]) == (["eta"], ["name"], ["2"])
    assert answer["next"].startswith("http://testserver/api/v1/virtual-machines/?")


@pytest.mark.parametrize(
    ("parameters", "field", "says"),
    [
        ({"status": "fine"}, "status", "protected"),
        ({"ordering": "colour"}, "ordering", "attention"),
        ({"present": "maybe"}, "present", "true, false"),
        ({"has_restore_point": "2"}, "has_restore_point", "true, false"),
        ({"page_size": "0"}, "page_size", "1 to 200"),
        ({"page_size": "201"}, "page_size", "1 to 200"),
        ({"page_size": "many"}, "page_size", "1 to 200"),
        ({"cursor": "made-up"}, "cursor", "broken"),
        ({"cursor": "x" * 30000}, "cursor", "20000"),
        ({"search": "x" * 300}, "search", "200"),
        ({"search": "a\0b"}, "search", "Null"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_works(
    seven: None, alice: Script, parameters: dict[str, str], field: str, says: str
) -> None:
    answer = alice.get("virtual-machines/", **parameters)
    assert answer.status_code == 400, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert list(answer.data["errors"]) == [field]
    assert says in answer.data["errors"][field][0]


def test_a_cursor_of_another_list_or_with_one_letter_changed_is_refused(seven: None, alice: Script) -> None:
    first = alice.get("virtual-machines/", ordering="name", page_size=2).data
    cursor = parse_qs(urlsplit(first["next"]).query)["cursor"][0]
    assert alice.get("virtual-machines/", ordering="name", page_size=2, cursor=cursor).status_code == 200
    for path, parameters in (
        ("virtual-machines/", {"ordering": "-name", "cursor": cursor}),
        ("tasks/", {"cursor": cursor}),
        ("policies/", {"cursor": cursor}),  # by name too, but of other things
        ("virtual-machines/", {"ordering": "name", "cursor": ("A" if cursor[0] != "A" else "B") + cursor[1:]}),
    ):
        answer = alice.get(path, **parameters)
        assert (answer.status_code, list(answer.data["errors"])) == (400, ["cursor"])


def test_what_is_not_known_as_a_parameter_is_ignored(seven: None, alice: Script) -> None:
    assert len(alice.all("virtual-machines/", colour="red", format="xml")) == 7


def test_each_filter_of_virtual_machines(cast: Cast, rows: Rows, alice: Script) -> None:
    rows.machine("vm-web", cast.alpha, name="web-01 Größe", protection_status="not_protected", policy_name="Gold daily")
    rows.machine("vm-db", cast.alpha, name="db_1%", restore_point_count=3, policy_guid="p-1", policy_name="Silver")
    rows.machine("vm-old", cast.alpha, present=False, not_present_since=NOW, protection_status="not_protected")
    rows.machine("vm-lost", cast.alpha, absent_since=NOW, restore_point_count=1)
    everything = {"vm-web", "vm-db", "vm-old", "vm-lost"}
    for parameters, expected in (
        ({}, everything),
        ({"search": "GRÖSS"}, set()),
        ({"search": "größe"}, {"vm-web"}),
        ({"search": " WEB-01 "}, {"vm-web"}),
        ({"search": "_1%"}, {"vm-db"}),
        ({"search": "%"}, {"vm-db"}),
        ({"search": "vm-old"}, {"vm-old"}),
        ({"search": "uuid-vm-old"}, {"vm-old"}),
        ({"status": "not_protected"}, {"vm-web"}),
        ({"status": "unknown"}, {"vm-db"}),
        ({"status": "gone"}, {"vm-old", "vm-lost"}),
        ({"status": ""}, everything),
        ({"present": "true"}, {"vm-web", "vm-db", "vm-lost"}),
        ({"present": "false"}, {"vm-old"}),
        ({"policy": "gold DAILY"}, {"vm-web"}),
        ({"policy": "p-1"}, {"vm-db"}),
        ({"policy": "none"}, {"vm-old", "vm-lost"}),
        ({"has_restore_point": "true"}, {"vm-db", "vm-lost"}),
        ({"has_restore_point": "false", "status": "gone"}, {"vm-old"}),
    ):
        assert set(guids(alice.all("virtual-machines/", **parameters))) == expected, parameters
    with in_tenant(cast.alpha), CaptureQueriesContext(connection) as queries:
        counts = listing.status_counts(VirtualMachine.objects.all())
    assert counts == {"all": 4, "not_protected": 1, "at_risk": 0, "unknown": 1, "protected": 0, "gone": 2}
    assert len(queries) == 1


def test_each_filter_of_tasks(cast: Cast, rows: Rows, alice: Script) -> None:
    rows.machine("vm-1", cast.alpha, name="web")
    rows.task("t-1", "vm-1", cast.alpha, state="FAILED", schedule_guid="s-1")
    rows.task("t-2", "vm-1", cast.alpha, type="STORE", state="RUNNING", live=True, backup_guid="b-2")
    rows.task("t-3", "vm-2", cast.alpha)
    rows.operation("vm-1", cast.alpha, tasks=("t-1",), backup_guid="b-1")
    for parameters, expected in (
        ({}, ["t-3", "t-2", "t-1"]),
        ({"virtual_machine": "vm-1"}, ["t-2", "t-1"]),
        ({"virtual_machine": "elsewhere"}, []),
        ({"state": "FAILED"}, ["t-1"]),
        ({"type": "STORE"}, ["t-2"]),
        ({"schedule": "s-1"}, ["t-1"]),
        ({"backup": "b-2"}, ["t-2"]),
        ({"backup": "b-1"}, ["t-1"]),  # the task names no backup: the operation that it belongs to does
    ):
        assert guids(alice.all("tasks/", **parameters)) == expected, parameters
    assert guids(alice.all("virtual-machines/vm-1/tasks/")) == ["t-2", "t-1"]
    for parameters, field in (({"state": "running"}, "state"), ({"type": "export; drop"}, "type")):
        answer = alice.get("tasks/", **parameters)
        assert (answer.status_code, list(answer.data["errors"])) == (400, [field])


def test_a_task_that_vplus_forgot_neither_waits_nor_runs(cast: Cast, rows: Rows, alice: Script) -> None:
    rows.machine("vm-1", cast.alpha)
    rows.task("waits", "vm-1", cast.alpha, state="QUEUED", live=True)
    for state in ("QUEUED", "RUNNING", "FINISHED"):
        rows.task(f"gone-{state}", "vm-1", cast.alpha, state=state, vanished_at=NOW)
    rows.operation("vm-1", cast.alpha, tasks=("gone-RUNNING",))
    for state, expected in (
        ("QUEUED", ["waits"]),
        ("RUNNING", []),
        ("FINISHED", ["gone-FINISHED"]),
        ("UNKNOWN", ["gone-RUNNING", "gone-QUEUED"]),
    ):
        found = alice.all("tasks/", state=state)
        assert guids(found) == expected, state
        assert {row["state"] for row in found} <= {state}
    [told] = alice.all("operations/")[0]["tasks"]
    assert told["state"] == "UNKNOWN"


def test_backups_without_a_time_come_last_and_only_good_ones_are_restore_points(
    cast: Cast, rows: Rows, alice: Script
) -> None:
    rows.machine("vm-1", cast.alpha, history_read_at=NOW)
    for number in range(3):
        rows.backup(f"b-{number}", "vm-1", cast.alpha, NOW - timedelta(days=number))
    rows.backup("b-8", "vm-1", cast.alpha)
    rows.backup("b-9", "vm-1", cast.alpha)
    rows.backup("b-bad", "vm-1", cast.alpha, NOW - timedelta(hours=1), status="FAILED")
    rows.backup("b-gone", "vm-1", cast.alpha, NOW - timedelta(hours=2), gone_at=NOW)
    whole = ["b-0", "b-bad", "b-gone", "b-1", "b-2", "b-8", "b-9"]
    for size in (1, 2, 5):
        assert guids(alice.all("virtual-machines/vm-1/backups/", page_size=size)) == whole
    points = alice.all("virtual-machines/vm-1/restore-points/", page_size=2)
    assert guids(points) == ["b-0", "b-1", "b-2", "b-8", "b-9"]
    assert all(point["restorable"] for point in points)


def test_operations_newest_first_and_filtered(cast: Cast, rows: Rows, alice: Script) -> None:
    old = rows.operation("vm-1", cast.alpha, state="failed", error_code="could_not_read")
    new = rows.operation("vm-1", cast.alpha)
    other = rows.operation("vm-2", cast.alpha)
    for parameters, expected in (
        ({}, [other, new, old]),
        ({"virtual_machine": "vm-1"}, [new, old]),
        ({"state": "failed"}, [old]),
        ({"kind": "backup", "page_size": 1}, [other, new, old]),
    ):
        assert [row["id"] for row in alice.all("operations/", **parameters)] == [str(row.pk) for row in expected]
    assert list(alice.get("operations/", state="lost").data["errors"]) == ["state"]


@pytest.mark.parametrize(
    "path",
    ["virtual-machines/", "operations/", "tasks/", "virtual-machines/vm-0/backups/",
     "virtual-machines/vm-0/restore-points/", "virtual-machines/vm-0/tasks/", "backup-destinations/"],
)  # fmt: skip
def test_a_list_costs_the_same_for_10_and_for_100_rows(cast: Cast, rows: Rows, alice: Script, path: str) -> None:
    def grow(numbers: range) -> None:
        for number in numbers:
            guid = f"vm-{number}"
            rows.machine(guid, cast.alpha)
            rows.backup(
                f"b-{number}", "vm-0", cast.alpha, NOW - timedelta(hours=number), destination_guid=f"bd-{number}"
            )
            rows.task(f"t-{number}", guid, cast.alpha, backup_guid=f"b-{number}")
            rows.task(f"t0-{number}", "vm-0", cast.alpha)
            rows.destination(f"bd-{number}", cast.alpha, label=f"Vault {number:03}")
            rows.operation(guid, cast.alpha, tasks=(f"t-{number}",), backup_guid=f"b-{number}")

    grow(range(10))
    few = _statements(alice, path, at_least=10)
    grow(range(10, 100))
    assert _statements(alice, path, at_least=100) == few


@pytest.mark.parametrize("path", ["operator/virtual-machines/", "operator/tenants/"])
def test_the_providers_lists_cost_the_same_too(cast: Cast, rows: Rows, paula: Script, path: str) -> None:
    from tenants.models import Tenant
    from tenants.scope import every_tenant

    def grow(numbers: range) -> None:
        for number in numbers:
            with every_tenant("test"):
                tenant = Tenant.objects.create(slug=f"t-{number}", name=f"Tenant {number}")
            rows.machine(f"vm-{number}", tenant)

    grow(range(10))
    few = _statements(paula, path, at_least=10)
    grow(range(10, 100))
    assert _statements(paula, path, at_least=100) == few


def _statements(script: Script, path: str, *, at_least: int) -> int:
    script.get(path)  # notes when the token was last used, once in five minutes
    with CaptureQueriesContext(connection) as queries:
        answer = script.get(path, page_size=200)
    assert len(answer.data["results"]) >= at_least
    return len(queries)
