"""Activity, tasks and the page of one operation: words for each state."""

from typing import Any

import pytest

from tests.api.conftest import Rows
from tests.conftest import Cast
from tests.web.conftest import ACTIVITY, LIST, Visitor, ago


def operation_page(rows: Rows, cast: Cast, visitor: Visitor, **facts: Any) -> Any:
    rows.machine("vm-1", cast.alpha, name="web-01")
    made = rows.operation("vm-1", cast.alpha, virtual_machine_name="web-01", **facts)
    page = visitor.get(f"/t/alpha/operations/{made.pk}/")
    assert page.status == 200
    assert page.heading == "Backup of web-01"
    assert "7F3K-29QD" in page.main.text, "the reference is always there"
    return page


@pytest.mark.parametrize(
    ("facts", "stage", "value"),
    [
        ({"state": "requested"}, "Waiting to be sent", None),
        ({"state": "submitted", "stage": "export"}, "Queued", None),
        ({"state": "running", "stage": "export", "progress": 12.0}, "Exporting, 1 of 2", "12"),
        ({"state": "running", "stage": "store", "progress": 63.9}, "Storing, 2 of 2", "64"),
    ],
)
def test_what_runs_shows_bar_stage_and_steps(
    *, facts: dict[str, Any], stage: str, value: str | None, cast: Cast, rows: Rows, vera: Visitor
) -> None:
    page = operation_page(rows, cast, vera, **facts)
    bar = page.main.one("progress")
    assert bar.attributes.get("value") == value
    assert page.one(role="status", data_stage="").text == stage
    steps = [one.attributes["class"].split("-")[1] for one in page.one("ol", css_class="steps").all("li")]
    assert steps.count("now") == 1
    assert steps == sorted(steps, key=["done", "now", "next"].index), "done, then now, then what is to come"
    assert page.title.startswith(f"({int(facts['progress'])}" if value else "Backup of web-01")


def test_what_is_queued_reads_nothing_yet(cast: Cast, rows: Rows, vera: Visitor) -> None:
    page = operation_page(rows, cast, vera, state="submitted", stage="export")
    [now] = page.one("ol", css_class="steps").all("li", css_class="step-now")
    assert now.text == "Queued"


def test_a_backup_under_way_has_no_result(cast: Cast, rows: Rows, vera: Visitor) -> None:
    """vPlus has a record of it from the start, with a time and lengths of 0 s; nothing can be restored from that."""
    rows.backup("b-1", "vm-1", cast.alpha, ago(minutes=5), status="INPROGRESS", export_seconds=0, store_seconds=0)
    page = operation_page(rows, cast, vera, state="running", stage="export", progress=7.0, backup_guid="b-1")
    result = next(one for one in page.all("section") if one.all("h2") and one.all("h2")[0].text == "Result")
    assert result.text == "Result Nothing yet."


@pytest.mark.parametrize(("state", "word"), [("succeeded", "Restore point"), ("failed", "Taken")])
def test_what_failed_is_no_restore_point(*, state: str, word: str, cast: Cast, rows: Rows, vera: Visitor) -> None:
    rows.backup("b-1", "vm-1", cast.alpha, ago(minutes=5), status="SUCCESS" if state == "succeeded" else "FAILED")
    code = "" if state == "succeeded" else "could_not_store"
    page = operation_page(rows, cast, vera, state=state, backup_guid="b-1", error_code=code, finished_at=ago())
    facts = {one.one("dt").text: one.one("dd").text for one in page.main.all("div", css_class="fact")}
    assert facts[word].endswith(" UTC"), "the zone is told"
    assert ("Restore point" in facts) == (state == "succeeded")


@pytest.mark.parametrize(
    ("facts", "words", "way"),
    [
        ({"state": "succeeded", "progress": 100.0}, "Done. There is a new restore point.", "Restore points"),
        (
            {"state": "succeeded", "warnings": ["full_instead_of_incremental"]},
            "Done. There is a new restore point. An incremental backup was asked for",
            "Restore points",
        ),
        (
            {"state": "succeeded", "warnings": ["restore_point_unknown"]},
            "Done. It was stored, but which",
            "Restore points",
        ),
        (
            {"state": "failed", "error_code": "could_not_read"},
            "Could not read the virtual machine. The export failed, so nothing was stored.",
            "Try again",
        ),
        ({"state": "failed", "error_code": "could_not_store", "stage": "store"}, "Could not store.", "Try again"),
        ({"state": "failed", "error_code": "not_sent_in_time"}, "Not sent in time.", "Try again"),
        ({"state": "failed", "error_code": "vm_gone"}, "Virtual machine is gone.", "Open web-01"),
        ({"state": "failed", "error_code": "of_another_version"}, "Something went wrong.", "Try again"),
        ({"state": "needs_attention", "error_code": "arrival_unknown"}, "It is never sent twice.", "Open web-01"),
        (
            {"state": "cancelled", "error_code": "cancelled_in_vplus"},
            "It was cancelled in the backup system.",
            "Try again",
        ),
    ],
)
def test_what_ended_has_a_sentence_and_one_way_on(
    *, facts: dict[str, Any], words: str, way: str, cast: Cast, rows: Rows, oscar: Visitor
) -> None:
    page = operation_page(rows, cast, oscar, finished_at=ago(seconds=5), **facts)
    assert words in page.main.text
    assert not page.all("progress")
    outcome = page.one(css_class="outcome")
    assert [one.text for one in outcome.all("a")] == [way]
    assert oscar.get(page.link(way)).status == 200
    steps = [one.attributes["class"].split("-")[1] for one in page.one("ol", css_class="steps").all("li")]
    assert "now" not in steps
    assert steps.count("stopped") == (0 if facts["state"] == "succeeded" else 1)


def test_vplus_own_words_stay_with_the_provider(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    from tenants.scope import every_tenant
    from vplus_bridge.models import Attempt

    page = operation_page(rows, cast, oscar, state="failed", error_code="could_not_store", finished_at=ago())
    with every_tenant("test"):
        Attempt.objects.update(vendor_text="No space left on host-7:/mnt/vault")
    rows.task("t-1", "vm-1", cast.alpha, state="FAILED", status_info="host-7 is away")
    for path in (page.response.request["PATH_INFO"], ACTIVITY, f"{ACTIVITY}tasks/", f"{LIST}vm-1/activity/"):
        assert "host-7" not in oscar.get(path).html


def test_the_heading_counts_what_runs_and_waits(cast: Cast, rows: Rows, vera: Visitor) -> None:
    assert vera.get(ACTIVITY).heading == "Nothing is running"
    assert "Nothing has run yet." in vera.get(ACTIVITY).main.text
    assert "Nothing has run yet." in vera.get(f"{ACTIVITY}tasks/").main.text
    rows.operation("vm-1", cast.alpha, state="requested")
    assert vera.get(ACTIVITY).heading == "1 waiting"
    rows.operation("vm-2", cast.alpha, state="running")
    rows.operation("vm-3", cast.alpha, state="submitted")
    rows.operation("vm-4", cast.alpha, state="failed", error_code="could_not_read")
    page = vera.get(ACTIVITY)
    assert page.heading == "1 running, 2 waiting", "what is queued does not run"
    states = [row[3] for row in page.rows()]
    assert "Could not read the virtual machine" in states[3], "what runs comes first, then the newest"
    assert "3 under way" in page.one("aside").text, "the menu counts them too"
    rows.task("t-9", "vm-1", cast.alpha, state="RUNNING", live=True, schedule_guid="s-1")
    page = vera.get(ACTIVITY)
    assert page.heading == "2 running, 2 waiting"
    assert "4 under way" in page.one("aside").text, "of schedules too, as the heading"


def test_a_failed_task_says_why_in_our_words(cast: Cast, rows: Rows, vera: Visitor) -> None:
    rows.machine("vm-1", cast.alpha, name="web-01")
    rows.task("t-1", "vm-1", cast.alpha, state="FAILED", status_info="host-7 is away")
    rows.task("t-2", "vm-1", cast.alpha, type="STORE", state="FAILED")
    states = [row[3] for row in vera.get(ACTIVITY).rows()]
    assert states == [
        "Failed The copy could not be stored. Older restore points are untouched.",
        "Failed The virtual machine could not be read.",
    ]


def test_tasks_say_what_vplus_does(cast: Cast, rows: Rows, vera: Visitor) -> None:
    rows.machine("vm-1", cast.alpha, name="web-01")
    rows.task(
        "t-1", "vm-1", cast.alpha, state="RUNNING", live=True, progress=41.0, schedule_guid="s-1", backup_type="FULL"
    )
    rows.task("t-2", "vm-not-mine-now", cast.alpha, type="STORE", state="NEW_STATE", state_description="Preparing")
    text = [" | ".join(row) for row in vera.get(f"{ACTIVITY}tasks/").rows()]
    assert "Store" in text[0]
    assert "Not among yours any more" in text[0]
    assert "Preparing" in text[0], "a state we do not know is shown in vPlus's words"
    assert "Export | web-01 Full | Running 41" in text[1]
    assert "Schedule" in text[1]


def test_an_operation_of_another_tenant_is_not_there(cast: Cast, rows: Rows) -> None:
    made = rows.operation("vm-1", cast.alpha)
    mallory = Visitor(cast.mallory)
    for slug in ("alpha", "beta"):
        assert mallory.get(f"/t/{slug}/operations/{made.pk}/").status == 404
    assert "Nothing has run yet." in mallory.get("/t/beta/activity/").main.text
    for odd in ("x", "1", "00000000-0000-0000-0000-000000000000"):
        assert Visitor(cast.alice).get(f"/t/alpha/operations/{odd}/").status == 404
