"""The overview: its heading is the answer, what is to do comes worst first, and all of it costs the same in any tenant."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.web.overview import heading_words
from tests.api.conftest import Rows
from tests.conftest import Cast
from tests.pages import Element, Page
from tests.web.conftest import ALPHA, LIST, Visitor, ago
from vplus_bridge.models import ReadState

NEVER = {"protection_status": "not_protected", "protection_reason": "never_backed_up", "attention_rank": 0}
OUTDATED = {"protection_reason": "vplus_outdated", "attention_rank": 1, "restore_point_count": 2}


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (
            {"not_protected": 3, "at_risk": 9, "protected": 131, "gone": 5},
            "3 of 143 virtual machines are not protected",
        ),
        ({"not_protected": 1, "unknown": 1}, "1 of 2 virtual machines is not protected"),
        ({"at_risk": 9, "protected": 134}, "9 of 143 virtual machines are at risk"),
        ({"unknown": 1, "protected": 142}, "1 of 143 virtual machines is not judged yet"),
        ({"protected": 143, "gone": 5}, "All 143 virtual machines are protected"),
        ({"protected": 1}, "The 1 virtual machine is protected"),
        ({"gone": 5}, "No virtual machine is on the platform"),
        ({}, "No virtual machines yet"),
    ],
)
def test_the_heading_names_the_worst_state_there_is(counts: dict[str, int], words: str) -> None:
    known = dict.fromkeys(("not_protected", "at_risk", "unknown", "protected", "gone"), 0) | counts
    assert heading_words({**known, "all": sum(known.values())}, ReadState(), ago())[0] == words


def test_without_contact_nothing_is_claimed() -> None:
    known = dict.fromkeys(("not_protected", "at_risk", "unknown", "gone"), 0) | {"protected": 143, "all": 143}
    heading, lead = heading_words(known, ReadState(failing_since=ago(minutes=18)), ago())
    assert heading.startswith("Not known since ")
    assert heading.endswith(": no contact")
    assert lead == "When last read: All 143 virtual machines are protected."


def card(page: Page, heading: str) -> Element:
    """Return the section with this heading."""
    [found] = [one for one in page.all("section") if any(h.text == heading for h in one.all("h2"))]
    return found


def entries(page: Page, heading: str) -> list[str]:
    return [one.text for one in card(page, heading).all("li")]


@pytest.fixture
def day(cast: Cast, rows: Rows) -> None:
    """Something of everything."""
    rows.reading("inventory", ago(seconds=12))
    rows.reading("tasks", ago(seconds=3))
    rows.machine("vm-new", cast.alpha, name="fresh-01", **NEVER)
    rows.machine("vm-old", cast.alpha, name="erp-db", newest_point_at=ago(days=19), **OUTDATED)
    rows.machine("vm-busy", cast.alpha, name="busy-01", **{**NEVER, "protection_reason": "last_failed"})
    rows.machine("vm-fine", cast.alpha, name="web-01", protection_reason="vplus_up_to_date")
    rows.machine("vm-night", cast.alpha, name="night-01", last_attempt_failed_at=ago(hours=6))
    rows.machine("vm-past", cast.alpha, name="past-01", last_attempt_failed_at=ago(hours=30))
    rows.machine("vm-gone", cast.alpha, name="gone-01", present=False, attention_rank=9)
    running = {"state": "running", "stage": "store", "progress": 63.0, "virtual_machine_name": "busy-01"}
    rows.operation("vm-busy", cast.alpha, tasks=("t-ours",), **running)
    rows.task("t-ours", "vm-busy", cast.alpha, state="RUNNING", live=True)
    rows.task("t-night", "vm-night", cast.alpha, state="RUNNING", live=True, progress=12.0, schedule_guid="s-1")
    failed = {"state": "failed", "error_code": "could_not_store", "virtual_machine_name": "web-01"}
    rows.operation("vm-fine", cast.alpha, finished_at=ago(hours=2), **failed)
    rows.operation("vm-past", cast.alpha, finished_at=ago(hours=30), **{**failed, "virtual_machine_name": "past-01"})


def test_what_is_to_do_comes_worst_first_with_its_button(day: None, oscar: Visitor) -> None:
    page = oscar.get(ALPHA)
    assert page.heading == "2 of 6 virtual machines are not protected"
    first, second, third = entries(page, "Do next")
    assert first.startswith("busy-01 Not protected The last backup failed")
    assert first.endswith("Watch busy-01")
    assert second.startswith("fresh-01 Not protected No backup was ever made")
    assert second.endswith("Back up fresh-01")
    assert third.startswith("erp-db vPlus: outdated")
    assert page.link("Back up fresh-01") == "/t/alpha/back-up/?vm=vm-new"


def test_what_failed_is_to_do_where_no_machine_is_in_need(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    rows.machine("vm-1", cast.alpha, name="web-01", protection_reason="vplus_up_to_date")
    facts = {"state": "failed", "error_code": "could_not_store", "virtual_machine_name": "web-01"}
    failed = rows.operation("vm-1", cast.alpha, finished_at=ago(hours=2), **facts)
    page = oscar.get(ALPHA)
    [only] = entries(page, "Do next")
    assert only.startswith("web-01 Failed Backup, full: Could not store")
    assert page.link("See why web-01") == f"/t/alpha/operations/{failed.pk}/"


def test_what_runs_with_what_nobody_asked_for(day: None, vera: Visitor) -> None:
    page = vera.get(ALPHA)
    ours, own = [one.replace("\N{NO-BREAK SPACE}", " ") for one in entries(page, "Running now")]
    assert ours.startswith("busy-01 Backup, full · Alice Storing, 2 of 2 63 %")
    assert own == "night-01 Backup · Schedule Exporting, 1 of 2 7 % time left not known"
    assert re.search(r"As of \d+ s ago", card(page, "Running now").text)


def test_what_failed_in_a_day_is_listed_and_nothing_older(day: None, vera: Visitor) -> None:
    page = vera.get(ALPHA)
    recent, night = entries(page, "Failed or did not happen in the last 24 hours")
    assert recent == "web-01 Backup, full · Could not store 2 h ago Failed"
    assert night == "night-01 Backup 6 h ago Failed"
    assert {one.attributes["href"] for one in card(page, "Failed or did not happen in the last 24 hours").all("a")} >= {
        f"{LIST}vm-night/backups/?status=FAILED"
    }


def test_a_failed_backup_says_why_and_where_it_is_told(cast: Cast, rows: Rows, vera: Visitor) -> None:
    rows.machine("vm-1", cast.alpha, name="web-01", last_attempt_failed_at=ago(hours=2))
    rows.backup("b-old", "vm-1", cast.alpha, ago(days=2), status="FAILED", export_seconds=1)
    rows.backup("b-new", "vm-1", cast.alpha, ago(hours=2), status="FAILED", status_info="host-7: no space left")
    page = vera.get(ALPHA)
    [failed] = entries(page, "Failed or did not happen in the last 24 hours")
    why = vera.get(f"{LIST}vm-1/backups/").rows()[0][2].removeprefix("Failed Why ")
    assert why
    assert failed == f"web-01 Backup · {why} 2 h ago Failed", "the same words as on the tab Backups"
    assert "host-7" not in page.html


def test_what_is_about_a_policy_bears_its_name(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    """It has no machine, and a link without a word leads nobody on."""
    rows.machine("vm-1", cast.alpha, name="web-01")
    asked = {"kind": "policy", "virtual_machine_name": "", "finished_at": ago(hours=1)}
    rows.operation("", cast.alpha, state="failed", error_code="refused_by_vplus", plan={"name": "Gold"}, **asked)
    rows.operation("", cast.alpha, state="running", plan={"name": "Silver"}, **{**asked, "finished_at": None})
    page = oscar.get(ALPHA)
    for title, name in (("Do next", "Gold"), ("Running now", "Silver"), ("Failed or did not happen", "Gold")):
        section = next(one for one in page.all("section") if title in one.text)
        links = [one.text for one in section.all("a")]
        assert f"Change of policy {name}" in links, title
        assert all(links)
    rows_of_it = [row for row in oscar.get(f"{ALPHA}activity/", kind="policy").rows() if "Gold" in row[1]]
    assert len(rows_of_it) == 1


def test_the_next_run_is_told_with_its_zone(cast: Cast, rows: Rows, vera: Visitor) -> None:
    assert "Next by schedule" not in vera.get(ALPHA).main.text
    tonight = ago(hours=-5)
    rows.machine("vm-1", cast.alpha, name="web-01", next_run_at=tonight)
    rows.machine("vm-2", cast.alpha, name="web-02", next_run_at=tonight)
    rows.machine("vm-3", cast.alpha, name="web-03", next_run_at=ago(hours=-9))
    rows.machine("vm-4", cast.alpha, name="gone-01", present=False, next_run_at=tonight, absent_since=ago(days=1))
    rows.machine("vm-5", cast.beta, name="theirs-01", next_run_at=tonight)
    text = card(vera.get(ALPHA), "Running now").text
    assert "Next by schedule:" in text
    assert text.endswith("), 2 virtual machines")


def test_tiles_lead_to_the_filtered_list(day: None, vera: Visitor) -> None:
    page = vera.get(ALPHA)
    tiles = {one.text: one.attributes["href"] for one in page.all("a", css_class="tile")}
    assert tiles == {
        "Not protected 2": f"{LIST}?status=not_protected",
        "Not judged 4": f"{LIST}?status=unknown",
        "Gone 1": f"{LIST}?status=gone",
    }
    for words, url in tiles.items():
        assert len(vera.get(url).rows()) == int(words.rsplit(maxsplit=1)[1])


def test_each_state_has_its_tile_where_something_is_in_it(cast: Cast, rows: Rows, vera: Visitor) -> None:
    for number, status in enumerate(("not_protected", "at_risk", "protected")):
        rows.machine(f"vm-{number}", cast.alpha, protection_status=status)
    words = [one.text for one in vera.get(ALPHA).all("a", css_class="tile")]
    assert words == ["Not protected 1", "At risk 1", "Protected 1", "Gone 0"]


def test_a_viewer_is_offered_nothing_to_start(day: None, vera: Visitor) -> None:
    page = vera.get(ALPHA)
    assert "fresh-01" in page.main.text
    assert not page.has_link("Back up fresh-01")


def test_a_quiet_tenant_is_told_so(cast: Cast, rows: Rows, vera: Visitor) -> None:
    rows.machine("vm-1", cast.alpha, protection_reason="vplus_up_to_date")
    text = vera.get(ALPHA).main.text
    for words in ("Nothing needs you.", "Nothing is running.", "Nothing failed."):
        assert words in text


def test_an_empty_tenant_is_told_when_machines_appear(rows: Rows, vera: Visitor) -> None:
    rows.reading("inventory", ago(seconds=40))
    page = vera.get(ALPHA)
    assert page.heading == "No virtual machines yet"
    assert "They appear once your provider has assigned them. Inventory was read 40 s ago." in page.main.text
    assert not page.all("section")


def test_without_contact_the_heading_says_since_when(no_contact: None, day: None, vera: Visitor) -> None:
    page = vera.get(ALPHA)
    assert page.heading.startswith("Not known since ")
    assert "When last read: 2 of 6 virtual machines are not protected." in page.main.text
    assert "fresh-01" in page.main.text, "what is known is still shown"


def test_who_was_granted_one_machine_sees_only_that(day: None, rows: Rows, cast: Cast) -> None:
    rows.grant(cast.vera, "vm-new")
    page = Visitor(cast.vera).get(ALPHA)
    assert page.heading == "1 of 1 virtual machines is not protected"
    for name in ("erp-db", "busy-01", "night-01", "web-01"):
        assert name not in page.html
    assert page.has_link("Back up fresh-01")


def test_another_tenants_overview_is_not_there(cast: Cast) -> None:
    assert Visitor(cast.mallory).get(ALPHA).status == 404


def cost(visitor: Visitor) -> int:
    visitor.get(ALPHA)
    with CaptureQueriesContext(connection) as captured:
        assert visitor.get(ALPHA).status == 200
    return len(captured)


def test_it_costs_the_same_however_much_there_is(day: None, cast: Cast, rows: Rows, oscar: Visitor) -> None:
    before = cost(oscar)
    for number in range(60):
        facts: dict[str, Any] = NEVER if number % 2 else {"last_attempt_failed_at": ago(hours=number % 20)}
        rows.machine(f"vm-{number}", cast.alpha, name=f"vm-{number}", **facts)
        rows.operation(f"vm-{number}", cast.alpha, tasks=(f"t-{number}",))
        rows.operation(
            f"vm-{number}", cast.alpha, state="failed", error_code="could_not_read", finished_at=ago(hours=1)
        )
        rows.task(f"own-{number}", f"vm-{number}", cast.alpha, state="QUEUED", live=True)
    assert cost(oscar) <= before
    page = oscar.get(ALPHA)
    assert len(entries(page, "Do next")) == 3
    assert len(entries(page, "Running now")) == 5
    assert len(entries(page, "Failed or did not happen in the last 24 hours")) == 5
    assert page.has_link("All that runs")
