"""The verdict on pages: badge, sentence, seven days; and the Protection tab with its evidence."""

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tenants.scope import every_tenant
from tests.api.conftest import Rows
from tests.conftest import Cast
from tests.web.conftest import LIST, Visitor, ago
from tests.web.test_machine_pages import cells
from vplus_bridge.models import ExpectedRun, PolicyPromise
from vplus_bridge.protection.timetable import UtcRule, timetable_of_utc

TAB = f"{LIST}vm-1/protection/"
DAYS = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"]


def promise(tenant: Any) -> None:
    rule = UtcRule(
        guid="s-1",
        active=True,
        execution_type="TIME",
        backup_type="FULL",
        days_of_week=DAYS,
        hour_ms=7_200_000,
        start_window_ms=21_600_000,
    )
    table = timetable_of_utc(rule)
    assert table is not None
    with every_tenant("test"):
        PolicyPromise.objects.create(tenant=tenant, policy_guid="p-1", state="known", timetables=[table.as_json()])


def run(tenant: Any, outcome: str, days_ago: float, **facts: Any) -> None:
    at = ago(days=days_ago)
    known = {"policy_guid": "p-1", "timetable_key": "vplus:s-1", "backup_type": "FULL", **facts}
    window = at + timedelta(hours=6)
    with every_tenant("test"):
        ExpectedRun.objects.create(
            tenant=tenant, virtual_machine_guid="vm-1", due_at=at, window_end=window, outcome=outcome, **known
        )


PROMISED = {"policy_guid": "p-1", "policy_label": "Gold daily", "promise_seconds": 31 * 3600, "restore_point_count": 3}


@pytest.mark.parametrize(
    ("verdict", "told"),
    [
        (("protected", "within_promise"), (0.5, ["Protected", "Within the promise of 31 hours"])),
        (("at_risk", "older_than_promise"), (2.1, ["At risk", "Last point 2 days old; the promise is 31 hours"])),
        (
            ("not_protected", "promise_lost"),
            (19.1, ["Not protected", "Last point 19 days old; the promise is 31 hours"]),
        ),
        (("at_risk", "no_policy"), (3.1, ["At risk", "No policy; last point 3 days old"])),
        (("unknown", "time_not_given"), (None, ["Not known", "does not tell how old"])),
        (("unknown", "evidence_ended"), (2.1, ["Not known", "no contact with the backup system"])),
    ],
)
def test_a_row_says_its_verdict_with_age_and_promise(
    verdict: tuple[str, str], told: tuple[float | None, list[str]], cast: Cast, rows: Rows, oscar: Visitor
) -> None:
    (status, reason), (days, words) = verdict, told
    newest = None if days is None else ago(days=days)
    rows.machine(
        "vm-1",
        cast.alpha,
        name="web-01",
        protection_status=status,
        protection_reason=reason,
        newest_point_at=newest,
        **PROMISED,
    )
    row = cells(oscar, "web-01")
    for said in words:
        assert said in row
    assert len(oscar.get(LIST, status=status).rows()) == 1


def test_a_policy_that_is_not_the_tenants_bears_no_name(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    rows.machine("vm-1", cast.alpha, name="web-01", policy_guid="p-9", policy_name="beta's secret", policy_label="")
    rows.machine("vm-2", cast.alpha, name="db-01")
    for path in (LIST, f"{LIST}vm-1/", TAB):
        page = oscar.get(path)
        assert "beta's secret" not in page.main.text
        assert "A policy of your provider" in page.main.text
    assert "web-01" in oscar.get(LIST, policy="provider").main.text
    assert "db-01" not in oscar.get(LIST, policy="provider").main.text


def test_seven_days_say_each_day_in_words(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    rows.machine("vm-1", cast.alpha, name="web-01", **PROMISED)
    rows.machine("vm-2", cast.alpha, name="db-01")
    run(cast.alpha, "stored", 1)
    run(cast.alpha, "missed", 2)
    run(cast.alpha, "failed", 3)
    run(cast.alpha, "excused", 4)
    rows.backup("b-5", "vm-1", cast.alpha, ago(days=5))
    rows.backup("b-6", "vm-1", cast.alpha, ago(days=6), status="FAILED")
    rows.backup("b-old", "vm-1", cast.alpha, ago(days=9))
    strips = {
        strip.attributes["aria-label"]: [day.attributes["class"] for day in strip.all("i")]
        for strip in oscar.get(LIST).main.all(css_class="strip")
    }
    first, second = sorted(strips.values(), key=lambda days: len(set(days)), reverse=True)
    assert first == [f"strip-{day}" for day in ("failed", "done", "none", "failed", "missed", "done", "none")]
    assert set(second) == {"strip-none"}
    words = next(words for words, days in strips.items() if days == first)
    said = [part.split(" ", 1)[1] for part in words.removeprefix("Last 7 days: ").split(", ")]
    assert said == ["failed", "done", "none planned", "failed", "did not happen", "done", "none planned"]


def test_the_tab_shows_promise_schedules_and_runs(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    promise(cast.alpha)
    rows.machine(
        "vm-1",
        cast.alpha,
        name="web-01",
        protection_status="at_risk",
        protection_reason="older_than_promise",
        newest_point_at=ago(days=2),
        next_run_at=ago(days=-0.5),
        **PROMISED,
    )
    run(cast.alpha, "missed", 1)
    run(cast.alpha, "failed", 2, why="store_failed")
    run(cast.alpha, "stored", 3, why="late", started_at=ago(days=2.7))
    run(cast.alpha, "stored", 40)
    text = oscar.get(TAB).main.text
    for words in (
        "The newest restore point is 2 days old. The promise is 31 hours.",
        "31 hours old",
        "Full backup every day at 02:00, UTC.",
        "Starts within 6 hours.",
        "Did not happen",
        "Nothing ran when it was planned.",
        "The copy could not be stored.",
        "It started after its window.",
        "See how the last runs ended.",
    ):
        assert words in text
    assert len(oscar.get(TAB).rows()) == 3, "thirty days are shown"


def test_the_tab_of_a_machine_without_a_policy_says_so(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    rows.machine("vm-1", cast.alpha, name="web-01")
    text = oscar.get(TAB).main.text
    assert "No promise is known" in text
    assert "No schedule is known that backs up this virtual machine." in text
    assert "No run was planned in the last 30 days" in text


def test_a_promise_of_another_tenant_is_not_shown(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    promise(cast.beta)
    rows.machine("vm-1", cast.alpha, name="web-01", **PROMISED)
    run(cast.beta, "missed", 1)
    text = oscar.get(TAB).main.text
    assert "02:00" not in text
    assert "Did not happen" not in text


def test_the_overview_names_runs_that_did_not_happen(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    rows.machine("vm-1", cast.alpha, name="web-01", **PROMISED)
    run(cast.alpha, "missed", 0.5, settled_at=ago(days=0.1))
    run(cast.alpha, "missed", 1.6, settled_at=ago(days=1.3))
    run(cast.alpha, "excused", 0.4, settled_at=ago(days=0.1))
    text = oscar.get("/t/alpha/").main.text
    assert text.count("Did not happen") == 1
    assert "Backup planned" in text
    assert oscar.get("/t/alpha/").has_link("web-01")


def test_the_calendar_rings_the_days_on_which_a_run_did_not_happen(cast: Cast, rows: Rows, oscar: Visitor) -> None:
    rows.machine("vm-1", cast.alpha, name="web-01", **PROMISED)
    rows.backup("b-1", "vm-1", cast.alpha, ago(days=1))
    run(cast.alpha, "missed", 1)
    run(cast.alpha, "stored", 1)
    day = ago(days=1).astimezone(ZoneInfo("Europe/Warsaw")).date()
    page = oscar.get(f"{LIST}vm-1/restore-points/", day=day.isoformat())
    cell = page.main.one(id=f"day-{day.isoformat()}")
    assert "1 restore point, 1 did not happen" in cell.text
    assert [mark.attributes["class"] for mark in cell.all("i")] == ["dot dot-full", "dot dot-missed"]
