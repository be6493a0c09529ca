"""Lists on pages: filters, order, pages of a list; a price that grows neither with the rows nor with the tenants."""

from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.web import virtual_machines
from tenants.models import Tenant
from tenants.scope import every_tenant
from tests.api.conftest import NOW, Rows
from tests.conftest import Cast
from tests.pages import Page
from tests.web.conftest import ACTIVITY, ALPHA, INBOX, LIST, Visitor
from vplus_bridge.models import Backup, Task, VirtualMachine

POINTS, BACKUPS, MACHINE_ACTIVITY, TASKS = (
    f"{LIST}vm-0/restore-points/?view=list",
    f"{LIST}vm-0/backups/",
    f"{LIST}vm-0/activity/",
    f"{ACTIVITY}tasks/",
)
LISTS = (LIST, BACKUPS, ACTIVITY, TASKS)
EVERY_LIST = [LIST, POINTS, BACKUPS, MACHINE_ACTIVITY, ACTIVITY, TASKS, INBOX]


def fill(rows: Rows, cast: Cast, numbers: range) -> None:
    """Make some of everything, for alpha and for nobody."""
    for number in numbers:
        vm = f"vm-{number}"
        rows.machine(vm, cast.alpha, name=f"name {number % 7} {number:03}", policy_name="Gold" if number % 3 else "")
        rows.machine(f"vm-nobody-{number}", None, name=f"lab {number:03}")
        rows.backup(f"b-{number}", "vm-0", cast.alpha, NOW - timedelta(hours=number))
        rows.task(f"t-{number}", vm, cast.alpha)
        rows.operation(vm, cast.alpha, tasks=(f"t-{number}",), virtual_machine_name=f"name {number:03}")
        rows.operation(
            "vm-0", cast.alpha, state="succeeded", virtual_machine_name="name 000", backup_guid=f"b-{number}"
        )


def by_path(cast: Cast, path: str) -> Visitor:
    return Visitor(cast.paula if path == INBOX else cast.oscar)


def walk(visitor: Visitor, page: Page) -> list[Page]:
    """Follow Next to the end, then Previous to the beginning; return the pages in the order they were seen."""
    pages = [page]
    for direction in ("Next", "Previous"):
        while page.has_link(direction):
            page = visitor.get(page.link(direction))
            pages.append(page)
    return pages


def test_no_row_twice_none_missing_and_previous_leads_back(cast: Cast, rows: Rows) -> None:
    fill(rows, cast, range(60))
    for path in EVERY_LIST:
        visitor = by_path(cast, path)
        pages = walk(visitor, visitor.get(path, size=25))
        counts = [page.one(css_class="count").text for page in pages]
        total = int(counts[0].split(" of ")[1].split(",")[0])
        length = -(-total // 25)
        assert length >= 3, path
        assert len(pages) == 2 * length - 1, f"{path}: forward to the end, and as many back"
        forward, backward = pages[:length], pages[length:]
        assert len([row for page in forward for row in page.rows()]) == total, f"{path}: none is missing"
        assert len({row for page in forward for row in identities(page, path)}) == total, f"{path}: none twice"
        assert counts[length:] == list(reversed(counts[: length - 1])), path
        assert [identities(page, path) for page in backward] == [
            identities(page, path) for page in reversed(forward[:-1])
        ], path


def identities(page: Page, path: str) -> list[str]:
    """Return what tells the rows of a list apart: their ids, or the times in them (which differ here)."""
    rows = page.one("tbody").all("tr")
    if path in (ACTIVITY, MACHINE_ACTIVITY, LIST, INBOX):
        return [row.attributes["id"] for row in rows]
    return [row.all("time")[0].attributes["datetime"] for row in rows]


def test_counts_of_pages(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    for number in range(60):
        rows.machine(f"vm-{number:02}", cast.alpha, name=f"vm-{number:02}")
    page = oscar.get(LIST)
    assert page.one(css_class="count").text == "1–50 of 60, worst first"
    page = oscar.get(page.link("Next"))
    assert page.one(css_class="count").text == "51–60 of 60, worst first"
    assert not page.has_link("Next")
    assert oscar.get(page.link("Previous")).one(css_class="count").text == "1–50 of 60, worst first"


def names(page: Page) -> list[str]:
    return [one.text for one in page.one("tbody").all("a", css_class="name-link")]


@pytest.fixture
def some(cast: Cast, rows: Rows) -> None:
    for guid, name, facts in (
        ("vm-1", "beta", {"attention_rank": 0, "protection_status": "not_protected", "policy_name": "Gold"}),
        ("vm-2", "Alpha", {"attention_rank": 3, "restore_point_count": 2, "last_backup_at": NOW}),
        ("vm-3", "gamma", {"attention_rank": 9, "present": False, "restore_point_count": 1}),
        ("vm-4", "delta 100%_", {"attention_rank": 3, "last_backup_at": NOW - timedelta(days=2)}),
    ):
        rows.machine(guid, cast.alpha, name=name, **facts)


FILTERS: list[tuple[dict[str, str], list[str]]] = [
    ({}, ["beta", "Alpha", "delta 100%_", "gamma"]),
    ({"order": "name"}, ["Alpha", "beta", "delta 100%_", "gamma"]),
    ({"order": "-name"}, ["gamma", "delta 100%_", "beta", "Alpha"]),
    ({"order": "-last_backup_at"}, ["Alpha", "delta 100%_", "beta", "gamma"]),
    ({"order": "last_backup_at"}, ["delta 100%_", "Alpha", "beta", "gamma"]),
    ({"search": "ALPH"}, ["Alpha"]),
    ({"search": "100%_"}, ["delta 100%_"]),
    ({"search": "_"}, ["delta 100%_"]),
    ({"search": "uuid-vm-1"}, ["beta"]),
    ({"status": "not_protected"}, ["beta"]),
    ({"status": "gone"}, ["gamma"]),
    ({"status": "unknown"}, ["Alpha", "delta 100%_"]),
    ({"presence": "no"}, ["gamma"]),
    ({"presence": "yes"}, ["beta", "Alpha", "delta 100%_"]),
    ({"policy": "Gold"}, ["beta"]),
    ({"policy": "none"}, ["Alpha", "delta 100%_", "gamma"]),
    ({"points": "yes"}, ["Alpha", "gamma"]),
    ({"points": "no"}, ["beta", "delta 100%_"]),
    ({"points": "yes", "presence": "yes"}, ["Alpha"]),
]


def test_filters_and_order(some: None, oscar: Visitor) -> None:
    for asked, expected in FILTERS:
        page = oscar.get(LIST, **asked)
        assert names(page) == expected, asked
        kept = page.form(LIST)
        assert {name: kept[name] for name in asked} == {name: [value] for name, value in asked.items()}, (
            "the form still says what was asked"
        )


def test_a_policy_beyond_those_that_the_filter_offers_is_filtered_for_too(
    some: None, oscar: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual_machines, "MOST_POLICIES", 0)
    page = oscar.get(LIST, policy="Gold")
    assert names(page) == ["beta"]
    assert page.form(LIST)["policy"] == ["Gold"]


ODD = [
    {"order": "drop table"},
    {"status": "fine"},
    {"presence": "maybe"},
    {"points": "7"},
    {"policy": "Nobody's"},
    {"size": "1000000"},
    {"size": "-1"},
    {"size": "ten"},
    {"from": "99999999999999999999999"},
    {"from": "-5"},
    {"unknown": "x" * 5000},
    {"search": "\0"},
    {"status": "\0not_protected"},
    {"policy": "\0"},
    {"order": "\0"},
]


def test_odd_parameters_are_as_good_as_none(some: None, oscar: Visitor) -> None:
    plain = names(oscar.get(LIST))
    for asked in ODD:
        page = oscar.get(LIST, **asked)
        assert page.status == 200, asked
        assert names(page) == plain, asked


def test_any_search_is_only_a_search(some: None, oscar: Visitor) -> None:
    for search in ("'; select pg_sleep(9) --", "\\", "😀", "x" * 5000, "%%", "__"):
        page = oscar.get(LIST, search=search)
        assert page.status == 200, search
        assert "Nothing matches." in page.main.text, search


def test_a_broken_cursor_is_told_and_leads_to_the_beginning(cast: Cast, rows: Rows) -> None:
    rows.machine("vm-0", cast.alpha)
    for path in EVERY_LIST:
        for cursor in ("x", "x" * 30_000, "\0", "eyJ.x:y:z"):
            page = by_path(cast, path).get(path, cursor=cursor)
            assert page.status == 400, (path, cursor[:9])
            assert "This cursor is broken. Leave it out to begin with the first page." in page.main.text
            assert "Traceback" not in page.html


def test_a_cursor_of_another_list_is_told(cast: Cast, rows: Rows) -> None:
    """Also where both lists are newest first: a place in one is none in the other."""
    fill(rows, cast, range(60))
    alice = Visitor(cast.alice)
    cursors = {path: dict(parse_qsl(urlsplit(alice.get(path, size=25).link("Next")).query))["cursor"] for path in LISTS}
    for of, cursor in cursors.items():
        for path in {*LISTS, f"{ALPHA}tokens/", f"{ALPHA}policies/"} - {of}:
            page = alice.get(path, cursor=cursor)
            assert page.status == 400, (of, path)
            assert "This cursor belongs to another list" in page.main.text


def test_a_cursor_of_another_order_is_told(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    for number in range(30):
        rows.machine(f"vm-{number:02}", cast.alpha)
    following = oscar.get(LIST, size=25).link("Next")
    assert oscar.get(f"{following}&order=name").status == 400


def test_a_filter_that_a_page_does_not_have_counts_as_not_said(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    """A machine's activity shares its rows with the activity of all, and has no filters."""
    fill(rows, cast, range(5))
    whole = len(oscar.get(MACHINE_ACTIVITY).rows())
    for name in ("kind", "state", "mine", "search", "schedule", "backup", "from_day"):
        for value in ("odd", "backup", "failed", "2020-01-01", "\0"):
            page = oscar.get(MACHINE_ACTIVITY, **{name: value})
            assert (page.status, len(page.rows())) == (200, whole), (name, value)


OTHER_FILTERS: list[tuple[str, dict[str, str], int]] = [
    (ACTIVITY, {"search": "name 00"}, 10),
    (ACTIVITY, {"search": "name 004"}, 1),
    (ACTIVITY, {"state": "running"}, 5),
    (ACTIVITY, {"state": "succeeded"}, 5),
    (ACTIVITY, {"state": "odd"}, 10),
    (ACTIVITY, {"mine": "1"}, 0),
    (TASKS, {"state": "FINISHED"}, 5),
    (TASKS, {"state": "RUNNING"}, 0),
    (TASKS, {"type": "EXPORT"}, 5),
    (TASKS, {"vm": "004"}, 1),
    (INBOX, {"search": "lab 003"}, 1),
]


def test_filters_of_the_other_lists(cast: Cast, rows: Rows) -> None:
    fill(rows, cast, range(5))
    for path, asked, count in OTHER_FILTERS:
        page = by_path(cast, path).get(path, size=100, **asked)
        if count == 0:
            assert "Nothing matches." in page.main.text, (path, asked)
        else:
            assert len(page.rows()) == count, (path, asked)


def statements(visitor: Visitor, path: str, rows: int) -> list[str]:
    """Return the SQL of one page, which has to show so many rows."""
    visitor.get(path)  # what a person's first page of all costs is not of interest
    with CaptureQueriesContext(connection) as captured:
        page = visitor.get(path, size=100)
    assert len(page.rows()) == rows
    return [one["sql"] for one in captured.captured_queries]


def test_a_hundred_rows_cost_as_many_statements_as_ten(cast: Cast, rows: Rows) -> None:
    fill(rows, cast, range(10))
    few = {path: statements(by_path(cast, path), path, rows_of(path, 10)) for path in EVERY_LIST}
    fill(rows, cast, range(10, 100))
    for path, before in few.items():
        after = statements(by_path(cast, path), path, 100)
        assert len(after) == len(before), "\n".join(after)


def rows_of(path: str, numbers: int) -> int:
    """Return how many rows a list shows after so many numbers were filled in: two operations are made for each."""
    return {ACTIVITY: 2 * numbers, MACHINE_ACTIVITY: numbers + 1}.get(path, numbers)


def more_tenants(numbers: range) -> None:
    """Make tenants with a machine, a task and a backup each; Oscar belongs to none of them."""
    with every_tenant("test"):
        made = Tenant.objects.bulk_create(Tenant(slug=f"t-{n}", name=f"Tenant {n}", time_zone="UTC") for n in numbers)
        facts = [(tenant, {"tenant": tenant, "digest": b"0"}) for tenant in made]
        machines = [VirtualMachine(guid=f"vm-{t.slug}", name=t.name, present=True, **known) for t, known in facts]
        VirtualMachine.objects.bulk_create(machines)
        Backup.objects.bulk_create(
            Backup(guid=f"b-{t.slug}", virtual_machine_guid=f"vm-{t.slug}", status="SUCCESS", **known)
            for t, known in facts
        )
        Task.objects.bulk_create(
            Task(guid=f"t-{t.slug}", virtual_machine_guid=f"vm-{t.slug}", type="EXPORT", state="RUNNING", **known)
            for t, known in facts
        )


def test_three_hundred_tenants_cost_as_many_statements_as_ten(cast: Cast, rows: Rows) -> None:
    fill(rows, cast, range(5))
    more_tenants(range(10))

    def counted() -> dict[str, int]:
        return {path: len(statements(by_path(cast, path), path, rows_of(path, 5))) for path in EVERY_LIST}

    few = counted()
    more_tenants(range(10, 300))
    assert counted() == few
