"""Cancelling in a browser: a queued backup and a running one; asked is not cancelled. vPlus at its poorest."""

from playwright.sync_api import Browser, Page, expect

from tests.bridge.test_cancelling import cancels
from tests.browser.conftest import sign_in
from tests.browser.test_every_page import violations
from tests.conftest import Bridge, Cast
from tests.processes import Processes

MACHINES = "/t/alpha/virtual-machines/"


def back_up(page: Page, web: Processes, bridge: Bridge) -> None:
    """Ask for a backup from the list, and let it reach vPlus."""
    page.goto(f"{web.url}{MACHINES}")
    page.get_by_role("link", name="Back up web-01").click()
    page.get_by_role("button", name="Back up now").click()
    page.wait_for_url("**/operations/**")
    bridge.send()
    bridge.poll()
    page.reload()


def ask_to_cancel(page: Page) -> None:
    """Press the button and confirm in the dialog, whose safe answer has the focus."""
    page.locator("main").get_by_role("link", name="Ask to cancel").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Ask to cancel this backup?")
    expect(dialog.get_by_text("Keep running")).to_be_focused()
    dialog.get_by_role("button", name="Ask to cancel").click()
    expect(page.locator("main")).to_contain_text("by Oscar")


def test_a_queued_backup_is_cancelled(operator: Page, web: Processes, working: Bridge) -> None:
    working.simulator.control.change(pickup_seconds=600)
    back_up(operator, web, working)
    expect(operator.locator("main")).to_contain_text("Queued")
    ask_to_cancel(operator)
    expect(operator.locator(".heading")).to_contain_text("Cancel asked")
    assert cancels(working) == []
    working.send()
    working.poll()
    operator.reload()
    expect(operator.locator(".heading")).to_contain_text("Cancelled")
    assert len(cancels(working)) == 1


def test_a_running_backup_is_cancelled_once_it_is_so(operator: Page, web: Processes, working: Bridge) -> None:
    back_up(operator, web, working)
    working.run(steps=2)
    operator.reload()
    expect(operator.locator("main")).to_contain_text("Exporting, 1 of 2")
    ask_to_cancel(operator)
    assert not violations(operator)
    expect(operator.get_by_role("link", name="Ask to cancel")).to_have_count(0)
    working.send()
    operator.reload()
    expect(operator.locator(".heading")).to_contain_text("Cancel asked")
    working.run(steps=8)
    operator.reload()
    expect(operator.locator(".heading")).to_contain_text("Cancelled")
    expect(operator.locator("main")).to_contain_text("Older restore points stay.")
    assert len(cancels(working)) == 1


def test_keeping_it_running_changes_nothing(operator: Page, web: Processes, working: Bridge) -> None:
    back_up(operator, web, working)
    operator.locator("main").get_by_role("link", name="Ask to cancel").click()
    operator.get_by_role("dialog").get_by_text("Keep running").click()
    expect(operator.get_by_role("dialog")).to_have_count(0)
    operator.reload()
    expect(operator.locator("main").get_by_role("link", name="Ask to cancel")).to_be_visible()
    assert cancels(working) == []


def test_without_scripts(browser: Browser, web: Processes, working: Bridge, cast: Cast) -> None:
    context = browser.new_context(java_script_enabled=False)
    try:
        sign_in(context, web, cast.oscar)
        page = context.new_page()
        back_up(page, web, working)
        page.locator("main").get_by_role("link", name="Ask to cancel").click()
        expect(page.locator("h1")).to_have_text("Ask to cancel this backup?")
        page.get_by_role("button", name="Ask to cancel").click()
        expect(page.locator("main")).to_contain_text("by Oscar")
    finally:
        context.close()
