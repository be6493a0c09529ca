"""Restore points by day: the right day in the reader's zone, every mark in words, the nearest to a moment."""

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.web.point_calendar import asked_of, weeks_of
from tenants.scope import every_tenant
from tests.api.conftest import Rows
from tests.conftest import Cast
from tests.pages import Page
from tests.web.conftest import LIST, Visitor
from vplus_bridge.models import Backup

WARSAW = ZoneInfo("Europe/Warsaw")
POINTS = f"{LIST}vm-1/restore-points/"
EVERYTHING = {"day": "2025-11-22"}


def link(**changes: Any) -> str:
    return "?" + "&".join(f"{name}={value}" for name, value in changes.items() if value)


def point(kind: str = "FULL", status: str = "SUCCESS") -> Backup:
    return Backup(guid="b", status=status, type=kind)


def test_a_month_begins_on_monday_and_has_each_of_its_days_once() -> None:
    weeks = weeks_of(date(2026, 2, 1), {}, None, link, today=date(2026, 2, 28))
    assert [len(week) for week in weeks] == [7] * 5
    assert [day.date.day for week in weeks for day in week if day] == list(range(1, 29))
    first = weeks[0]
    assert first[:6] == [None] * 6, "1 February 2026 is a Sunday"


def test_a_day_says_in_words_what_its_marks_show() -> None:
    on = date(2026, 11, 22)
    days = {on: [point("INCREMENTAL"), point("FULL"), point(status="FAILED"), point("INCREMENTAL")]}
    weeks = weeks_of(date(2026, 11, 1), days, on, link, today=date(2026, 11, 23))
    cells = {day.date.day: day for week in weeks for day in week if day}
    assert cells[22].marks == ("full", "incremental", "incremental"), "three at most, the best first"
    assert cells[22].words == "22 November, 3 restore points, 1 failed"
    assert cells[22].current
    assert cells[22].url == "?day=2026-11-22"
    assert (cells[21].state, cells[21].words) == ("none", "21 November, nothing")
    assert cells[21].url, "a day with nothing leads to what is nearest"
    assert (cells[24].state, cells[24].url) == ("ahead", "")


@pytest.mark.parametrize(
    ("address", "moment"),
    [
        ("2026-11-20T02:00", datetime(2026, 11, 20, 1, 0, tzinfo=UTC)),
        ("2026-11-20 02:00", datetime(2026, 11, 20, 1, 0, tzinfo=UTC)),
        ("2026-07-01T02:00", datetime(2026, 7, 1, 0, 0, tzinfo=UTC)),
        ("2026-11-20T02:00Z", datetime(2026, 11, 20, 2, 0, tzinfo=UTC)),
        # The night without a 02:30, and the one with two.
        ("2026-03-29T02:30", datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),
        ("2026-10-25T02:30", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        ("2026-11-20", datetime(2026, 11, 20, 22, 59, 59, 999_999, tzinfo=UTC)),
    ],
)
def test_a_moment_is_the_readers_wall_time(address: str, moment: datetime) -> None:
    asked = asked_of({"find": address}, WARSAW)
    assert asked.moment == moment
    assert not asked.moment_error


@pytest.mark.parametrize(
    "text", ["yesterday", "2026-13-01T00:00", "0001-01-01T00:00", "9999-12-31T23:59", "\0", "x" * 900]
)
def test_a_moment_that_is_none_is_told_with_the_remedy(text: str) -> None:
    asked = asked_of({"find": text}, WARSAW)
    assert asked.moment is None
    assert "such as 2026-11-20 02:00" in asked.moment_error


@pytest.mark.parametrize("text", ["", "x", "2026-00", "0001-01", "9999-12", "2026-11-31", "\0"])
def test_a_month_or_day_that_is_none_counts_as_not_said(text: str) -> None:
    asked = asked_of({"month": text, "day": text}, WARSAW)
    assert (asked.month, asked.day) == (None, None)


def at(*parts: int) -> datetime:
    """Return a wall time in Warsaw."""
    return datetime(*parts, tzinfo=WARSAW)  # type: ignore[misc,arg-type]  # year, month, day, hour, minute


@pytest.fixture
def history(cast: Cast, rows: Rows) -> None:
    """November 2025, in Warsaw: a chain, a failure, one without a time, midnights on both sides of the clock's change."""
    rows.destination("bd-main", cast.alpha, "Vault A")
    rows.machine("vm-1", cast.alpha, name="erp-db", restore_point_count=5, newest_point_guid="b-22")
    full = {"destination_guid": "bd-main", "size": 412 * 2**30}
    rows.backup("b-15", "vm-1", cast.alpha, at(2025, 11, 15, 2, 10), **full)
    rows.backup("b-19", "vm-1", cast.alpha, at(2025, 11, 19, 2, 11), type="INCREMENTAL", parent_guid="b-15")
    rows.backup("b-21", "vm-1", cast.alpha, at(2025, 11, 21, 2, 10), type="INCREMENTAL", parent_guid="b-19")
    rows.backup("b-22", "vm-1", cast.alpha, at(2025, 11, 22, 0, 20), **full)
    rows.backup("b-22b", "vm-1", cast.alpha, at(2025, 11, 22, 23, 50), type="INCREMENTAL", parent_guid="b-22")
    rows.backup("b-fail", "vm-1", cast.alpha, at(2025, 11, 12, 2, 0), status="FAILED", status_info="/mnt/host-7 full")
    rows.backup("b-gone", "vm-1", cast.alpha, at(2025, 11, 10, 2, 0), status="SUCCESS_REMOVED")
    rows.backup("b-lost", "vm-1", cast.alpha, at(2025, 11, 9, 2, 0), gone_at=at(2025, 11, 30, 0, 0))
    rows.backup("b-unsaid", "vm-1", cast.alpha, None, type="")
    rows.backup("b-october", "vm-1", cast.alpha, at(2025, 10, 1, 0, 5))
    rows.machine("vm-2", cast.alpha, name="web-01")
    rows.backup("b-other", "vm-2", cast.alpha, at(2025, 11, 5, 2, 0))


def marked(page: Page) -> dict[str, str]:
    """Return, by day, what is said of each that has something on it."""
    days = [one for one in page.all("a", css_class="day") if "nothing" not in one.text]
    return {one.attributes["id"].removeprefix("day-"): one.all(css_class="unseen")[0].text for one in days}


def plain(page: Page) -> str:
    return page.main.text.replace("\N{NO-BREAK SPACE}", " ").replace(" .", ".")


def test_a_month_shows_what_can_be_restored_and_what_failed(history: None, vera: Visitor) -> None:
    page = vera.get(POINTS, month="2025-11")
    assert marked(page) == {
        "2025-11-12": "12 November, 1 failed",
        "2025-11-15": "15 November, 1 restore point",
        "2025-11-19": "19 November, 1 restore point",
        "2025-11-21": "21 November, 1 restore point",
        "2025-11-22": "22 November, 2 restore points",
    }, "midnight is the reader's, and nothing that cannot be restored is a point"
    assert [one.text for one in page.all(aria_current="date")] == ["22 22 November, 2 restore points"]


def test_the_newest_day_is_shown_at_first(history: None, vera: Visitor) -> None:
    text = plain(vera.get(POINTS))
    assert "Saturday 22 November 2025" in text
    assert "23:50 Incremental 22:50 UTC" in text
    assert "needs Full of 22 Nov 2025, 00:20" in text
    assert "00:20 Full Last good 23:20 UTC" in text
    assert "412 GiB" in text
    assert "Kept on Vault A" in text
    assert text.index("23:50 Incremental") < text.index("00:20 Full"), "newest first"
    assert "Time not given" in text
    assert "first seen" in text


def test_a_chain_names_the_full_backup_at_its_beginning(history: None, vera: Visitor) -> None:
    assert "needs Full of 15 Nov 2025, 02:10" in plain(vera.get(POINTS, day="2025-11-21"))


def test_a_failed_day_says_so_and_names_no_host(history: None, vera: Visitor) -> None:
    page = vera.get(POINTS, day="2025-11-12")
    assert "02:00, Full: failed. Nothing of it can be restored." in plain(page)
    assert "Nothing on Wed 12 Nov 2025. Nearest before: Wed 1 Oct 2025, 00:05." in plain(page)
    assert "host-7" not in page.html


def test_months_go_back_to_the_oldest_point_and_on_to_today(history: None, vera: Visitor) -> None:
    page = vera.get(POINTS, month="2025-11")
    assert page.one(id="month-before").attributes["aria-label"] == "October 2025"
    assert page.one(id="month-after").attributes["aria-label"] == "December 2025"
    before = vera.get(page.one(id="month-before").attributes["href"])
    assert marked(before) == {"2025-10-01": "1 October, 1 restore point"}
    assert "Wednesday 1 October 2025" in before.main.text
    assert not before.all(id="month-before")
    empty = vera.get(POINTS, month="2025-12")
    assert "No restore point in this month." in empty.main.text
    assert not vera.get(POINTS, month="2199-01").all(id="month-after")


def test_a_moment_between_points_leads_to_both(history: None, vera: Visitor) -> None:
    page = vera.get(POINTS, find="2025-11-20T02:00")
    assert (
        "Nothing on Thu 20 Nov 2025. Nearest before: Wed 19 Nov 2025, 02:11. Nearest after: Fri 21 Nov 2025, 02:10."
        in plain(page)
    )
    there = vera.get(page.link("Wed 19 Nov 2025, 02:11"))
    assert "Wednesday 19 November 2025" in there.main.text
    assert len(there.all(css_class="point-chosen")) == 1


def test_a_moment_on_a_day_with_points_shows_that_day(history: None, vera: Visitor) -> None:
    text = plain(vera.get(POINTS, find="2025-11-22T12:00"))
    assert "Saturday 22 November 2025" in text
    assert "Nothing on" not in text
    assert "Nearest before: Sat 22 Nov 2025, 00:20. Nearest after: Sat 22 Nov 2025, 23:50." in text


def test_a_moment_outside_all_of_them(history: None, vera: Visitor) -> None:
    assert "No restore point is older. Nearest after: Wed 1 Oct" in plain(vera.get(POINTS, find="2024-01-01T00:00"))
    assert "Nearest before: Sat 22 Nov 2025, 23:50. No restore point is newer." in plain(
        vera.get(POINTS, find="2026-01-01T00:00")
    )


def test_a_moment_that_is_none_keeps_what_was_typed(history: None, vera: Visitor) -> None:
    page = vera.get(POINTS, find="last week")
    assert page.status == 200
    field = page.one(id="calendar-moment").attributes
    assert (field["value"], field["aria-invalid"]) == ("last week", "true")
    assert "Write a day and a time, such as 2026-11-20 02:00." in page.main.text


def test_with_no_point_at_all_a_backup_is_offered(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    rows.machine("vm-1", cast.alpha)
    page = oscar.get(POINTS)
    assert "No restore point yet." in page.main.text
    assert page.link("Back up now") == "/t/alpha/back-up/?vm=vm-1"
    assert not page.all(css_class="month")


def test_points_without_any_time_are_listed_all_the_same(cast: Cast, rows: Rows, vera: Visitor) -> None:
    rows.machine("vm-1", cast.alpha)
    rows.backup("b-1", "vm-1", cast.alpha, None)
    page = vera.get(POINTS)
    assert len(page.all(css_class="point")) == 1
    assert "Time not given" in page.main.text


def test_the_calendar_costs_the_same_however_many_points_there_are(cast: Cast, rows: Rows, vera: Visitor) -> None:
    rows.machine("vm-1", cast.alpha)
    rows.backup("b-0", "vm-1", cast.alpha, at(2025, 11, 1, 2, 0))
    rows.backup("b-1", "vm-1", cast.alpha, at(2025, 11, 22, 2, 0))
    for asked in (EVERYTHING, {"find": "2025-11-20T02:00"}, {"month": "2025-11"}):
        vera.get(POINTS, **asked)
        with CaptureQueriesContext(connection) as few:
            vera.get(POINTS, **asked)
        made = [
            Backup(guid=f"{asked}{n}", virtual_machine_guid="vm-1", tenant=cast.alpha, status="SUCCESS", digest=b"0",
                   type="INCREMENTAL", parent_guid="b-0", taken_at=at(2025, 11, 1 + n % 28, n % 24, 0))
            for n in range(300)
        ]  # fmt: skip
        with every_tenant("test"):
            Backup.objects.bulk_create(made)
        with CaptureQueriesContext(connection) as many:
            vera.get(POINTS, **asked)
        assert len(many) == len(few), "\n".join(one["sql"] for one in many.captured_queries)
