"""The month calendar in a real browser: the arrow keys, a day without leaving the page, and all of it without script."""

from datetime import datetime

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.api.conftest import Rows
from tests.browser.conftest import WIDE, sign_in
from tests.conftest import Cast
from tests.processes import Processes
from tests.web.test_point_calendar import at

POINTS = "/t/alpha/virtual-machines/vm-1/restore-points/"


@pytest.fixture(autouse=True)
def history(cast: Cast) -> None:
    rows = Rows(cast)
    rows.machine("vm-1", cast.alpha, name="erp-db", newest_point_guid="b-3")
    moments: list[datetime] = [at(2025, 11, 4, 2, 0), at(2025, 11, 19, 2, 11), at(2025, 11, 22, 2, 12)]
    for number, moment in enumerate(moments, start=1):
        rows.backup(f"b-{number}", "vm-1", cast.alpha, moment)


def test_arrow_keys_move_between_days_and_enter_opens_one(operator: Page, web: Processes) -> None:
    operator.goto(web.url + POINTS)
    chosen = operator.locator("[aria-current=date]")
    expect(chosen).to_have_id("day-2025-11-22")
    assert operator.locator("a.day[tabindex='0']").count() == 1, "Tab needs one stop for the whole month"
    chosen.focus()
    for key, day in (
        ("ArrowLeft", "21"),
        ("ArrowUp", "14"),
        ("Home", "10"),
        ("End", "16"),
        ("ArrowDown", "23"),
        ("ArrowLeft", "22"),
    ):
        operator.keyboard.press(key)
        expect(operator.locator(f"#day-2025-11-{day}")).to_be_focused()
    for _ in range(3):
        operator.keyboard.press("ArrowLeft")
    operator.keyboard.press("Enter")
    expect(operator.get_by_role("heading", name="Wednesday 19 November 2025")).to_be_visible()
    expect(operator.locator("#day-2025-11-19")).to_be_focused()
    assert operator.url.endswith("?day=2025-11-19"), "Back works, and the address can be sent"
    operator.keyboard.press("PageUp")
    expect(operator.locator(".month-head")).to_contain_text("November 2025"), "no point is older"
    operator.keyboard.press("PageDown")
    expect(operator.locator(".month-head")).to_contain_text("December 2025")
    operator.go_back()
    expect(operator.get_by_role("heading", name="Wednesday 19 November 2025")).to_be_visible()


def test_finding_a_moment(operator: Page, web: Processes) -> None:
    operator.goto(web.url + POINTS)
    operator.get_by_label("Find a moment").fill("2025-11-20T02:00")
    operator.get_by_role("button", name="Find").click()
    expect(operator.locator(".nearest")).to_contain_text("Nothing on Thu 20 Nov 2025.")
    operator.get_by_role("link", name="Wed 19 Nov 2025, 02:11").click()
    expect(operator.get_by_role("heading", name="Wednesday 19 November 2025")).to_be_visible()


def test_without_script_days_months_and_moments_are_pages(browser: Browser, web: Processes, cast: Cast) -> None:
    context = browser.new_context(java_script_enabled=False, viewport=WIDE)  # type: ignore[arg-type]
    sign_in(context, web, cast.vera)
    page = context.new_page()
    page.goto(web.url + POINTS)
    page.locator("#day-2025-11-04").click()
    expect(page.get_by_role("heading", name="Tuesday 4 November 2025")).to_be_visible()
    page.get_by_role("link", name="December 2025").click()
    expect(page.locator(".month-head")).to_contain_text("December 2025")
    page.get_by_label("Find a moment").fill("2025-11-20T02:00")
    page.get_by_role("button", name="Find").click()
    page.get_by_role("link", name="Sat 22 Nov 2025, 02:12").click()
    expect(page.get_by_role("heading", name="Saturday 22 November 2025")).to_be_visible()
    context.close()
