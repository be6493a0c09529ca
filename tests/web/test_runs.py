"""Activity: what people asked for and what ran by itself as one list, with its filters; tasks with theirs."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tenants.scope import every_tenant
from tests.api.conftest import NOW, Rows
from tests.conftest import Cast
from tests.policies import kept
from tests.web.conftest import ACTIVITY, LIST, Visitor, ago, local_day
from vplus_bridge.models import Carrier

TASKS = f"{ACTIVITY}tasks/"
SCHEDULE, BACKUP = "5cf9a1d2-schedule", "b-night"


@pytest.fixture
def day(cast: Cast, rows: Rows) -> None:
    """An operation that runs, one that failed, a restore; a night's export by a schedule, and vPlus's own cleaning."""
    for guid, name in (("vm-1", "web-01"), ("vm-2", "erp-db")):
        rows.machine(guid, cast.alpha, name=name)
    mine = cast.oscar.actor.membership_id
    asked: dict[str, Any] = {"virtual_machine_name": "web-01", "requested_by_id": mine, "requested_by_name": "Oscar"}
    rows.operation("vm-1", cast.alpha, tasks=("t-ours",), **asked)
    rows.task("t-ours", "vm-1", cast.alpha, state="RUNNING", live=True)
    rows.operation(
        "vm-2", cast.alpha, state="failed", error_code="could_not_store", virtual_machine_name="erp-db",
        backup_guid="b-failed", requested_at=ago(days=3),
    )  # fmt: skip
    rows.operation("vm-2", cast.alpha, kind="restore", state="succeeded", virtual_machine_name="erp-db")
    night = {"schedule_guid": SCHEDULE, "backup_guid": BACKUP, "backup_type": "INCREMENTAL"}
    rows.task("t-export", "vm-2", cast.alpha, first_seen_at=ago(hours=8), **night, run_state="running", run_ended=False)
    store = {"type": "STORE", "state": "RUNNING", "live": True, "progress": 40.0, "run_guid": "t-export"}
    rows.task("t-store", "vm-2", cast.alpha, **store, **night)
    cleaned = {"type": "OLD_BACKUPS_REMOVAL", "run_state": "finished"}
    rows.task("t-clean", "vm-1", cast.alpha, first_seen_at=ago(days=5), **cleaned)
    rows.backup(BACKUP, "vm-2", cast.alpha, ago(hours=8).replace(year=2025, month=11, day=22, hour=1, minute=12))


def who(visitor: Visitor, path: str = ACTIVITY, **asked: str) -> list[str]:
    page = visitor.get(path, **asked)
    if "Nothing matches." in page.main.text:
        return []
    return [row.attributes.get("id", "").removeprefix("operation-") for row in page.one("tbody").all("tr")]


def test_what_ran_by_itself_stands_among_what_people_asked_for(day: None, vera: Visitor) -> None:
    page = vera.get(ACTIVITY)
    rows = [" | ".join(row).replace("\N{NO-BREAK SPACE}", " ") for row in page.rows()]
    assert len(rows) == 5, "each task of an operation is in its operation's row, both of a schedule's backup in one"
    assert "Backup, incremental | erp-db" in "".join(rows[:2]), "what runs comes first"
    assert [
        row
        for row in rows
        if "Backup, incremental | erp-db | Storing, 2 of 2 76 % time left not known | Schedule" in row
    ]
    assert [row for row in rows if "Removal of old backups | web-01 | Finished | vPlus" in row]
    schedule = {one.attributes["href"] for one in page.all("a") if one.text == "Schedule"}
    assert schedule == {f"{ACTIVITY}?schedule={SCHEDULE}"}


def test_the_tasks_of_an_operation_are_by_who_asked_for_it(day: None, vera: Visitor) -> None:
    """The activity says Oscar; the tasks say no other name for the same work."""
    page = vera.get(TASKS)
    by = {row.attributes["id"]: row.all("td")[3].text for row in page.one("tbody").all("tr")}
    assert (by["task-t-ours"], by["task-t-export"], by["task-t-clean"]) == ("Oscar", "Schedule", "vPlus")
    assert vera.get(page.link("Oscar")).heading == "Backup of web-01"


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({"search": "erp"}, 3),
        ({"kind": "backup"}, 3),
        ({"kind": "restore"}, 1),
        ({"kind": "policy"}, 0),
        ({"state": "running"}, 2),
        ({"state": "failed"}, 1),
        ({"state": "succeeded"}, 2),
        ({"state": "needs_attention"}, 0),
        ({"mine": "1"}, 1),
        ({"schedule": SCHEDULE}, 1),
        ({"schedule": "of-nobody"}, 0),
        ({"backup": BACKUP}, 1),
        ({"backup": "b-failed"}, 1),
        ({"search": "erp", "kind": "backup", "state": "failed"}, 1),
        ({"schedule": "\0"}, 5),
        ({"backup": "\0"}, 5),
        ({"from_day": "yesterday", "to_day": "9999-12-31"}, 5),
    ],
)
def test_filters_of_operations(asked: dict[str, str], count: int, day: None, oscar: Visitor) -> None:
    assert len(who(oscar, **asked)) == count


def test_dates_are_whole_days_here(day: None, oscar: Visitor) -> None:
    assert len(who(oscar, to_day=local_day(days=2))) == 2
    assert len(who(oscar, from_day=local_day(days=4))) == 4
    assert len(who(oscar, TASKS, to_day=local_day(days=2))) == 1


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({}, 4),
        ({"vm": "erp"}, 2),
        ({"schedule": SCHEDULE}, 2),
        ({"backup": BACKUP}, 2),
        ({"state": "RUNNING"}, 2),
        ({"type": "STORE"}, 1),
        ({"mine": "1"}, 1),
        ({"type": "STORE", "schedule": SCHEDULE, "state": "FINISHED"}, 0),
    ],
)
def test_filters_of_tasks(asked: dict[str, str], count: int, day: None, oscar: Visitor) -> None:
    assert len(who(oscar, TASKS, **asked)) == count


def test_a_filter_that_a_link_set_can_be_taken_away_again(day: None, oscar: Visitor) -> None:
    page = oscar.get(ACTIVITY, schedule=SCHEDULE, backup=BACKUP, state="running")
    chips = {one.text: one.attributes["href"] for one in page.all("a", css_class="chip")}
    assert list(chips) == [
        "State: Running remove this filter",
        "Schedule: 5cf9a1d2 remove this filter",
        "Backup: Full of Sat 22 Nov 2025, 02:12 remove this filter",
    ]
    assert "schedule" not in chips["Schedule: 5cf9a1d2 remove this filter"]
    assert page.form(ACTIVITY)["schedule"] == [SCHEDULE], "another filter keeps it"


def test_another_tenants_backup_gives_no_words(day: None, rows: Rows, cast: Cast, oscar: Visitor) -> None:
    rows.machine("vm-beta", cast.beta, name="secret")
    rows.backup("b-beta-secret", "vm-beta", cast.beta, NOW)
    page = oscar.get(ACTIVITY, backup="b-beta-secret")
    assert "Nothing matches." in page.main.text
    assert "Backup: b-beta-s" in page.main.text


def test_pages_of_the_merged_list_have_each_row_once_and_lead_back(cast: Cast, rows: Rows, vera: Visitor) -> None:
    rows.machine("vm-1", cast.alpha)
    for number in range(30):
        moment = ago(hours=number // 3)  # many of one moment, in both tables
        rows.operation("vm-1", cast.alpha, state="succeeded", requested_at=moment)
        rows.task(f"t-{number}", "vm-1", cast.alpha, first_seen_at=moment)
        rows.task(f"T-{number}", "vm-1", cast.alpha, first_seen_at=moment, live=number == 7, state="RUNNING")
    for path in (ACTIVITY, f"{LIST}vm-1/activity/"):
        page = vera.get(path, size=25)
        pages = [page]
        while page.has_link("Next"):
            page = vera.get(page.link("Next"))
            pages.append(page)
        seen = [[row.attributes["id"] for row in one.one("tbody").all("tr")] for one in pages]
        assert [len(one) for one in seen] == [25, 25, 25, 15]
        assert len({row for one in seen for row in one}) == 90
        assert seen[0][0] == "run-T-7", "what runs comes first"
        back = []
        while page.has_link("Previous"):
            page = vera.get(page.link("Previous"))
            back.append([row.attributes["id"] for row in page.one("tbody").all("tr")])
        assert back == list(reversed(seen[:-1]))


def test_backups_are_filtered_by_every_status_type_and_the_time_shown(cast: Cast, rows: Rows, vera: Visitor) -> None:
    rows.machine("vm-1", cast.alpha)
    rows.backup("b-1", "vm-1", cast.alpha, ago(days=3), status="PARTIAL_SUCCESS")
    rows.backup("b-2", "vm-1", cast.alpha, ago(days=1), type="SYNTHETIC")
    rows.backup("b-3", "vm-1", cast.alpha, None, status="FAILED", first_seen_at=ago(days=2))
    path = f"{LIST}vm-1/backups/"
    for asked, count in (
        ({"status": "PARTIAL_SUCCESS"}, 1),
        ({"type": "SYNTHETIC"}, 1),
        ({"status": "FAILED", "to_day": local_day(days=2)}, 1),
        ({"from_day": local_day(days=2)}, 2),
        ({"from_day": "0001-01-01", "to_day": "9999-12-31"}, 3),
    ):
        assert len(vera.get(path, **asked).rows()) == count, asked


def test_a_schedules_backup_stands_in_its_machines_row_and_on_its_page(day: None, rows: Rows, cast: Cast) -> None:
    rows.task("t-cleans", "vm-2", cast.alpha, type="OLD_BACKUPS_REMOVAL", state="RUNNING", live=True)
    rows.machine("vm-3", cast.alpha, name="files-01")
    rows.task("t-index", "vm-3", cast.alpha, type="INDEX", state="RUNNING", live=True)
    operator, viewer = Visitor(cast.oscar), Visitor(cast.vera)
    for visitor in (operator, viewer):
        listed = visitor.get(LIST).rows()
        [erp] = [row for row in listed if "erp-db" in " ".join(row)]
        words = " ".join(erp).replace("\N{NO-BREAK SPACE}", " ")
        assert "Storing, 2 of 2 76 % Incremental · Schedule · time left not known" in words
        [files] = [row for row in listed if "files-01" in " ".join(row)]
        assert "Never" in " ".join(files), "house-keeping is no backup"
        page = visitor.get(f"{LIST}vm-2/")
        [bar] = page.all("progress")
        assert bar.attributes["aria-label"] == "Backup of erp-db"
        assert page.has_link("Ask to cancel") == (visitor is operator)
        assert not visitor.get(f"{LIST}vm-3/").all("progress")
    assert operator.get(LIST).has_link("Back up erp-db"), "an own backup can still be asked for"
    assert "/tasks/t-store/cancel/" in operator.get(f"{LIST}vm-2/").link("Ask to cancel")


def test_an_operation_goes_before_what_runs_by_itself(day: None, rows: Rows, cast: Cast, vera: Visitor) -> None:
    rows.task("t-theirs", "vm-1", cast.alpha, state="RUNNING", live=True, progress=7.0, schedule_guid=SCHEDULE)
    [bar] = vera.get(f"{LIST}vm-1/").all("progress")
    assert bar.attributes["aria-label"] == "Backup of web-01"


@pytest.mark.parametrize(
    ("state", "badge", "found_by"),
    [
        ("queued", "Queued", "submitted"),
        ("done", "Done", "succeeded"),
        ("in_part", "Done with warnings", "succeeded"),
        ("finished", "Finished", "succeeded"),
        ("failed", "Failed The copy could not be stored. Older restore points are untouched.", "failed"),
        ("cancelled", "Cancelled", "cancelled"),
        ("unknown", "Not known", ""),
    ],
)
def test_a_run_is_shown_and_found_by_what_became_of_all_of_it(
    state: str, badge: str, found_by: str, rows: Rows, vera: Visitor
) -> None:
    rows.machine("vm-1", rows.cast.alpha, name="web-01")
    over = state != "queued"
    rows.task("t-export", "vm-1", rows.cast.alpha, run_state=state, run_ended=over, backup_type="FULL", live=not over)
    rows.task("t-store", "vm-1", rows.cast.alpha, type="STORE", run_guid="t-export", live=not over)
    [row] = vera.get(ACTIVITY).rows()
    assert row[1:3] == ["Backup, full", "web-01"]
    assert row[3].startswith(badge)
    for asked in ("submitted", "running", "succeeded", "failed", "cancelled", "needs_attention"):
        assert len(who(vera, state=asked)) == (asked == found_by), asked
    heading = vera.get(ACTIVITY).heading
    assert heading == ("Nothing is running" if over else "1 waiting")


def test_an_incremental_that_became_a_full_backup_says_so(cast: Cast, rows: Rows, vera: Visitor) -> None:
    rows.machine("vm-1", cast.alpha)
    rows.backup("b-1", "vm-1", cast.alpha, NOW, type="FULL")
    rows.task("t-1", "vm-1", cast.alpha, backup_type="INCREMENTAL", run_state="done", run_backup_guid="b-1")
    [row] = vera.get(ACTIVITY).rows()
    assert row[1] == "Backup, full"


def test_a_restore_that_somebody_started_in_vplus_is_one_row(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    rows.machine("vm-1", cast.alpha, name="web-01")
    rows.task("t-restore", "vm-1", cast.alpha, type="RESTORE", run_state="running", run_ended=False)
    second = {"type": "IMPORT", "state": "RUNNING", "live": True, "progress": 50.0, "run_guid": "t-restore"}
    rows.task("t-import", "vm-1", cast.alpha, **second)
    page = oscar.get(ACTIVITY)
    [row] = page.rows()
    assert row[1:3] == ["Restore", "web-01"]
    assert row[3].replace("\N{NO-BREAK SPACE}", " ").startswith("Creating the VM, 2 of 2 70 %")
    assert "/tasks/t-import/cancel/" in page.link("Ask to cancel Restore web-01")
    assert page.heading == "1 running"
    assert len(who(oscar, kind="restore")) == 1
    assert who(oscar, kind="backup") == []


def test_a_run_is_by_the_policy_whose_schedule_it_was_where_one_sees_that(
    cast: Cast, rows: Rows, vera: Visitor
) -> None:
    rows.machine("vm-1", cast.alpha, name="web-01")
    rows.machine("vm-2", cast.alpha, name="db-01")
    for tenant, guid in ((cast.alpha, "s-gold"), (cast.beta, "s-beta")):
        policy = kept(tenant, f"Gold of {tenant.slug}", "vm-1")
        with every_tenant("test"):
            facts = {"wire_name": guid, "spec": {}, "valid_from": NOW, "valid_until": NOW}
            Carrier.objects.create(tenant=tenant, schedule=policy.schedules.get(), position=1, vplus_guid=guid, **facts)
        rows.task(f"t-{guid}", "vm-1", cast.alpha, schedule_guid=guid)
    page = vera.get(ACTIVITY)
    assert sorted(row[4] for row in page.rows()) == ["Gold of alpha", "Schedule"]
    assert page.link("Gold of alpha") == f"{ACTIVITY}?schedule=s-gold"
    tasks = [" | ".join(row) for row in vera.get(f"{ACTIVITY}tasks/").rows()]
    assert sorted(("Gold of alpha" in row, "Schedule" in row) for row in tasks) == [(False, True), (True, False)]
    assert not any("beta" in row for row in tasks)
    rows.grant(cast.vera, "vm-2", role="viewer")
    rows.task("t-db", "vm-2", cast.alpha, schedule_guid="s-gold")
    assert [row[4] for row in vera.get(ACTIVITY).rows()] == ["Schedule"], "the policy is of machines not granted"


def test_the_rows_of_a_page_take_the_same_number_of_statements_however_many(
    cast: Cast, rows: Rows, vera: Visitor
) -> None:
    counts = []
    vera.get(ACTIVITY)  # the first page looks up more
    for number in (2, 20):
        for n in range(number):
            rows.machine(f"vm-{number}-{n}", cast.alpha)
            night = {"schedule_guid": "s-1", "backup_guid": f"b-{number}-{n}"}
            rows.task(f"e-{number}-{n}", f"vm-{number}-{n}", cast.alpha, **night)
            rows.task(f"s-{number}-{n}", f"vm-{number}-{n}", cast.alpha, type="STORE", run_guid=f"e-{number}-{n}")
        with CaptureQueriesContext(connection) as asked:
            page = vera.get(ACTIVITY)
        counts.append(len(asked))
    assert len(page.rows()) == 22
    assert counts[0] == counts[1]
