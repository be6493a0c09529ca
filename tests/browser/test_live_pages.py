"""Pages that change by themselves: real browser, web server and Redis; the workers' deeds are done by the test."""

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Troubles, sign_in
from tests.conftest import Bridge, Cast
from tests.live.test_streams import ask
from tests.processes import Processes, redis_url

MACHINES = "/t/alpha/virtual-machines/"
COUNT_LOADS = """window.loads = 0; window.streams = 0;
const ask = window.fetch; window.fetch = (...all) => { window.loads += 1; return ask(...all); };
const Source = window.EventSource;
window.EventSource = class extends Source { constructor(...all) { super(...all); window.streams += 1; window.source = this; } };"""


@pytest.fixture(autouse=True)
def same_redis(settings: Any) -> None:
    settings.REDIS_URL = redis_url()


@pytest.fixture
def watcher(operator: Page, web: Processes, working: Bridge) -> Page:
    """Oscar's browser, which counts how often a page is read again."""
    operator.add_init_script(COUNT_LOADS)
    return operator


def go(page: Page, address: str) -> None:
    """Open a page and wait until its stream is open; a mark in the page tells whether it was loaded anew."""
    page.goto(address)
    listening(page)
    page.evaluate("document.body.mark = 'same page'")


def listening(page: Page) -> None:
    """Wait until the stream is open; the policy for content forbids Playwright's own way of waiting for a script."""
    for _ in range(100):
        if page.evaluate("window.source ? window.source.readyState : 0") == 1:
            return
        page.wait_for_timeout(50)
    raise AssertionError("the stream never opened")


def settled(page: Page) -> None:
    """Wait until what was told so far, by the opening of the stream too, has been read again (`readAgain` of live.js)."""
    before = -1
    for _ in range(20):
        page.wait_for_timeout(2500)  # longer than a browser puts off what it reads again
        if (now := page.evaluate("window.loads")) == before:
            return
        before = now
    raise AssertionError("the page is read again and again")


def same_page(page: Page) -> bool:
    return bool(page.evaluate("document.body.mark === 'same page'"))


def test_the_bar_moves_from_export_through_store_to_done_without_a_reload(
    watcher: Page, web: Processes, working: Bridge, cast: Cast
) -> None:
    [operation] = ask(cast.oscar, "vm-alpha-web")
    go(watcher, f"{web.url}/t/alpha/operations/{operation}/")
    stage, bar = watcher.locator("[data-bar-stage]"), watcher.get_by_role("progressbar")
    spoken = watcher.locator("[data-stage]")
    expect(stage).to_have_text("Waiting to be sent")
    working.send()
    expect(stage).to_have_text("Queued")
    working.simulator.control.change(richness="generous")  # so that the bar moves within a stage too
    shares: list[float] = []
    for expected in ("Exporting, 1 of 2", "Storing, 2 of 2"):
        for _ in range(30):
            working.run(steps=1, seconds=2)
            if stage.inner_text() == expected:
                break
            watcher.wait_for_timeout(150)
        expect(stage).to_have_text(expected)
        expect(spoken).to_have_text(expected)
        expect(watcher.locator(".step-now")).to_have_text(expected.partition(",")[0])
        working.run(steps=1, seconds=3)
        expect(watcher).to_have_title(re.compile(r"^\(\d+\s%\) Backup of web-01 - Alpha"))
        shares.append(float(bar.get_attribute("value") or 0))
    assert 0 < shares[0] < shares[1]
    working.run(steps=20)
    expect(watcher).to_have_title(re.compile("^Done: Backup of web-01"))
    expect(watcher.locator("main")).to_contain_text("Done. There is a new restore point.")
    expect(watcher.locator(".heading .badge")).to_have_text("Done")
    expect(spoken).to_have_text("Done")
    expect(watcher.get_by_role("link", name="Restore points")).to_be_visible()
    watcher.mouse.click(5, 5)
    expect(watcher).to_have_title(re.compile("^Backup of web-01"))
    assert same_page(watcher)


def test_a_row_of_the_list_turns_live_and_back_and_keeps_focus_and_selection(
    watcher: Page, web: Processes, working: Bridge, cast: Cast
) -> None:
    go(watcher, f"{web.url}{MACHINES}")
    row = watcher.locator("tr#vm-vm-alpha-web")
    watcher.get_by_label("Select db-01").check()
    before = row.locator(".col-last").inner_text()
    row.get_by_role("link", name="Back up").focus()
    ask(cast.alice, "vm-alpha-web")
    expect(row.get_by_role("progressbar")).to_be_visible()
    assert watcher.evaluate("document.activeElement.innerText").startswith("Watch")
    expect(watcher.get_by_label("Select db-01")).to_be_checked()
    expect(watcher.locator(".sidebar")).to_contain_text("1 under way")
    working.send()
    working.run(steps=30)
    expect(row.get_by_role("progressbar")).to_have_count(0)
    expect(row.get_by_role("link", name="Back up")).to_be_visible()
    expect(watcher.locator(".sidebar")).not_to_contain_text("1 under way")
    assert row.locator(".col-last").inner_text() != before
    assert watcher.evaluate("document.activeElement.innerText").startswith("Back up")
    expect(watcher.get_by_label("Select db-01")).to_be_checked()
    expect(watcher.get_by_role("region", name="Selection")).to_contain_text("1 selected")
    assert same_page(watcher)


def test_two_browsers_of_two_tenants_see_their_own_only(
    watcher: Page, browser: Browser, web: Processes, working: Bridge, cast: Cast
) -> None:
    context = browser.new_context()
    context.add_init_script(COUNT_LOADS)
    sign_in(context, web, cast.mallory)
    other = context.new_page()
    go(watcher, f"{web.url}/t/alpha/activity/")
    go(other, f"{web.url}/t/beta/activity/")
    settled(other)
    loads = other.evaluate("window.loads")
    ask(cast.alice, "vm-alpha-web")
    offer = watcher.locator(".live-new")
    expect(offer).to_contain_text("1 new")
    assert watcher.locator("tbody tr").count() == 0, "nothing is pushed in"
    offer.get_by_role("button", name="Show").click()
    expect(watcher.locator("tbody tr")).to_have_count(1)
    assert watcher.evaluate("document.activeElement.innerText") == "Backup, full"
    settled(other)
    assert other.evaluate("window.loads") == loads, "Alpha's backup made Beta read nothing"
    ask(cast.mallory, "vm-beta-web")
    expect(other.locator(".live-new")).to_contain_text("1 new")
    expect(other.get_by_role("heading", level=1)).to_have_text("1 waiting")
    expect(watcher.get_by_role("heading", level=1)).to_have_text("1 waiting")
    expect(watcher.locator("tbody tr")).to_have_count(1)
    context.close()


def test_progress_alone_reads_no_page_again(watcher: Page, web: Processes, working: Bridge, cast: Cast) -> None:
    ask(cast.oscar, "vm-alpha-web")
    working.send()
    working.poll()
    working.simulator.control.change(richness="generous")
    go(watcher, f"{web.url}{MACHINES}vm-alpha-web/")
    settled(watcher)
    before = watcher.evaluate("window.loads")
    bar = watcher.get_by_role("progressbar")
    start = float(bar.get_attribute("value") or 0)
    working.run(steps=5)
    expect(watcher.locator("[data-bar-stage]")).to_have_text("Exporting, 1 of 2")
    watcher.wait_for_timeout(1500)
    assert float(bar.get_attribute("value") or 0) > start
    assert watcher.evaluate("window.loads") == before


def hide(page: Page, hidden: bool) -> None:
    """Make the tab believe that it is in the background, or is not: a headless browser has no background."""
    page.evaluate(
        """hidden => { Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
        document.dispatchEvent(new Event("visibilitychange")); }""",
        hidden,
    )


def test_a_hidden_tab_closes_its_stream_and_reads_once_when_it_is_seen_again(
    watcher: Page, web: Processes, working: Bridge, cast: Cast
) -> None:
    [operation] = ask(cast.oscar, "vm-alpha-web")
    go(watcher, f"{web.url}/t/alpha/operations/{operation}/")
    settled(watcher)
    hide(watcher, True)
    assert watcher.evaluate("window.source.readyState") == 2
    streams, loads = watcher.evaluate("[window.streams, window.loads]")
    working.send()
    working.run(steps=30)
    watcher.wait_for_timeout(1500)
    assert watcher.evaluate("[window.streams, window.loads]") == [streams, loads]
    expect(watcher.locator("[data-bar-stage]")).to_have_text("Waiting to be sent")
    hide(watcher, False)
    expect(watcher.locator("main")).to_contain_text("Done. There is a new restore point.")
    listening(watcher)
    assert watcher.evaluate("[window.streams, window.loads]") == [streams + 1, loads + 1]
    assert same_page(watcher)


def test_a_broken_stream_says_so_and_catches_up(
    watcher: Page, web: Processes, working: Bridge, cast: Cast, troubles: Troubles
) -> None:
    troubles.expected += ["net::ERR_", "Failed to load resource"]
    [operation] = ask(cast.oscar, "vm-alpha-web")
    go(watcher, f"{web.url}/t/alpha/operations/{operation}/")
    watcher.context.set_offline(True)
    watcher.evaluate("window.source.dispatchEvent(new Event('error'))")  # a cut line is noticed late by a browser
    expect(watcher.locator("[data-live]")).to_have_text("Live updates paused, reconnecting")
    working.send()
    working.run(steps=30)
    watcher.context.set_offline(False)
    expect(watcher.locator("main")).to_contain_text("Done. There is a new restore point.", timeout=20_000)
    expect(watcher.locator("[data-live]")).to_have_text("")
    assert same_page(watcher)


def test_who_is_removed_is_told_and_sees_nothing_new(
    watcher: Page, web: Processes, working: Bridge, cast: Cast, troubles: Troubles
) -> None:
    from tenants.models import Membership
    from tenants.scope import every_tenant

    troubles.expected.append("status of 404")
    go(watcher, f"{web.url}/t/alpha/activity/")
    with every_tenant("test"):
        Membership.objects.get(email=cast.oscar.email).delete()
    expect(watcher.locator("[data-live]")).to_contain_text("You can no longer see this.")
    ask(cast.alice, "vm-alpha-web")
    watcher.wait_for_timeout(1500)
    expect(watcher.locator(".live-new")).to_have_count(0)
    assert watcher.evaluate("window.source.readyState") == 2


def test_ages_start_anew_with_each_reading(watcher: Page, web: Processes, working: Bridge, cast: Cast) -> None:
    from datetime import timedelta

    from django.utils import timezone

    from vplus_bridge.models import ReadState

    ReadState.objects.filter(name="tasks").update(succeeded_at=timezone.now() - timedelta(seconds=50))
    ReadState.objects.get_or_create(name="tasks", defaults={"succeeded_at": timezone.now() - timedelta(seconds=50)})
    go(watcher, f"{web.url}/t/alpha/activity/")
    age = watcher.locator(".age[data-reading=tasks]")
    expect(age).to_contain_text(re.compile("As of 5[0-9] s ago"))
    working.poll()
    expect(age).to_contain_text(re.compile("As of ([0-9] s ago|now)"))
    assert same_page(watcher)


def test_a_message_that_is_older_than_the_page_never_turns_it_back(
    watcher: Page, web: Processes, working: Bridge, cast: Cast
) -> None:
    from tenants.scope import every_tenant
    from vplus_bridge.models import Operation
    from vplus_bridge.operations import told

    [operation] = ask(cast.oscar, "vm-alpha-web")
    working.send()
    working.run(steps=3)
    go(watcher, f"{web.url}/t/alpha/operations/{operation}/")
    stage = watcher.locator("[data-bar-stage]")
    expect(stage).to_have_text("Exporting, 1 of 2")
    with every_tenant("test"):
        row = Operation.objects.get(pk=operation)
        row.state = "requested"
        told.tell([row])
    working.poll()
    expect(watcher.locator(".age[data-reading=tasks]")).to_contain_text(re.compile("As of ([0-9] s ago|now)"))
    watcher.wait_for_timeout(1500)
    expect(stage).to_have_text("Exporting, 1 of 2")


def test_the_overview_shows_what_begins_and_what_is_over(
    watcher: Page, web: Processes, working: Bridge, cast: Cast
) -> None:
    go(watcher, f"{web.url}/t/alpha/")
    running = watcher.get_by_role("region", name="Running now")
    expect(running).to_contain_text("Nothing is running.")
    ask(cast.alice, "vm-alpha-web")
    expect(running.get_by_role("progressbar")).to_be_visible()
    working.send()
    working.run(steps=30)
    expect(running).to_contain_text("Nothing is running.")
    assert same_page(watcher)
