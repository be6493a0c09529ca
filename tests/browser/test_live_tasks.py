"""Backups that nobody here asked for, on pages that change by themselves: of a schedule, or of somebody in vPlus."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from portal.web import runs_shown
from tenants.scope import every_tenant
from tests.api.conftest import Rows
from tests.bridge.scenes import export
from tests.browser.conftest import sign_in
from tests.browser.test_live_pages import COUNT_LOADS, MACHINES, go, same_page, settled
from tests.conftest import Bridge, Cast
from tests.processes import Processes, redis_url
from vplus_bridge import changes
from vplus_bridge.models import Task
from vplus_bridge.operations import told_runs
from vplus_bridge.operations.runs import runs_of

WEB, DB = "vm-alpha-web", "vm-alpha-db"


@pytest.fixture(autouse=True)
def same_redis(settings: object) -> None:
    settings.REDIS_URL = redis_url()  # type: ignore[attr-defined]


@pytest.fixture
def watcher(operator: Page, web: Processes, working: Bridge) -> Page:
    operator.add_init_script(COUNT_LOADS)
    working.simulator.control.change(richness="generous")  # so that bars move
    return operator


def loads(page: Page) -> int:
    return int(page.evaluate("window.loads"))


def share(page: Page) -> float:
    return float(page.locator("main").get_by_role("progressbar").get_attribute("value") or 0)


@pytest.mark.parametrize("path", [MACHINES, f"{MACHINES}{WEB}/", "/t/alpha/activity/", "/t/alpha/"])
def test_a_bar_comes_moves_and_goes_without_a_reload(path: str, watcher: Page, web: Processes, working: Bridge) -> None:
    if "activity" in path:
        export(working.simulator, WEB)
        working.poll()
    go(watcher, f"{web.url}{path}")
    bar, stage = watcher.locator("main").get_by_role("progressbar"), watcher.locator("[data-bar-stage]")
    if "activity" not in path:
        expect(bar).to_have_count(0)
        export(working.simulator, WEB)
        working.poll()
    expect(stage).to_have_text("Queued")
    working.run(steps=2)
    expect(stage).to_have_text("Exporting, 1 of 2")
    settled(watcher)
    before, start = loads(watcher), share(watcher)
    working.run(steps=4)
    expect(bar).not_to_have_attribute("value", str(int(start)))
    assert share(watcher) > start
    watcher.wait_for_timeout(1500)
    assert loads(watcher) == before, "progress alone reads no page again"
    working.run(steps=30)
    expect(bar).to_have_count(0)
    assert same_page(watcher)


def test_one_row_goes_over_both_stages_to_done(watcher: Page, web: Processes, working: Bridge) -> None:
    export(working.simulator, WEB)
    working.poll()
    go(watcher, f"{web.url}/t/alpha/activity/")
    row = watcher.locator("tbody tr").filter(has=watcher.get_by_text("Backup, full"))
    expect(row).to_have_count(1)
    name = row.get_attribute("id")
    shares = []
    for words in ("Exporting, 1 of 2", "Storing, 2 of 2"):
        step_until(working, lambda words=words: stage_of(WEB) == words)
        expect(row.locator("[data-bar-stage]")).to_have_text(words)
        shares.append(share(watcher))
    assert shares == sorted(shares), "one bar over both"
    expect(watcher.get_by_role("heading", level=1)).to_have_text("1 running")
    step_until(working, lambda: stage_of(WEB) == "")
    expect(row.locator(".badge")).to_have_text("Done")
    expect(row.get_by_role("progressbar")).to_have_count(0)
    expect(watcher.get_by_role("heading", level=1)).to_have_text("Nothing is running")
    assert row.get_attribute("id") == name
    expect(watcher.locator(".live-new")).to_have_count(0)
    assert same_page(watcher)


def step_until(bridge: Bridge, reached: Callable[[], bool]) -> None:
    """Let vPlus work until the portal knows this of it."""
    for _ in range(60):
        if reached():
            return
        bridge.run(steps=1)
    raise AssertionError("never so")


def stage_of(machine: str) -> str:
    """What the only run of a machine does; "" when it is over."""
    with every_tenant("test"):
        head = Task.objects.get(virtual_machine_guid=machine, run_guid="")
        [run] = runs_of([head], Task.objects.filter(run_guid=head.guid))
        return "" if head.run_ended else str(runs_shown.stage(run.progress))


def test_the_list_of_tasks_moves_in_place(watcher: Page, web: Processes, working: Bridge) -> None:
    export(working.simulator, WEB)
    working.poll()
    go(watcher, f"{web.url}/t/alpha/activity/tasks/")
    row = watcher.locator("tbody tr").first
    expect(row).to_contain_text("Queued")
    working.run(steps=4)
    expect(row.locator(".badge")).to_have_text("Running")
    expect(row).to_contain_text(re.compile(r"\d+\s%"))
    working.run(steps=14)
    expect(row.locator(".badge")).to_have_text("Finished")
    expect(watcher.locator(".live-new")).to_contain_text("1 new")
    assert same_page(watcher)


def test_who_does_not_see_the_machine_and_the_other_tenant_are_told_nothing(
    browser: Browser, web: Processes, working: Bridge, cast: Cast
) -> None:
    Rows(cast).grant(cast.vera, DB, role="viewer")
    pages = []
    for member, slug in ((cast.alice, "alpha"), (cast.vera, "alpha"), (cast.mallory, "beta")):
        context = browser.new_context()
        context.add_init_script(COUNT_LOADS)
        sign_in(context, web, member)
        page = context.new_page()
        go(page, f"{web.url}/t/{slug}/virtual-machines/")
        pages.append(page)
    watcher, *others = pages
    for page in others:
        settled(page)
    before = [loads(page) for page in others]
    export(working.simulator, WEB)
    working.poll()
    working.run(steps=4)
    expect(watcher.locator(f"tr#vm-{WEB}").get_by_role("progressbar")).to_be_visible()
    watcher.wait_for_timeout(1500)
    for page, count in zip(others, before, strict=True):
        assert loads(page) == count
        expect(page.locator("main").get_by_role("progressbar")).to_have_count(0)
    for page in pages:
        page.context.close()


def test_a_message_that_is_older_than_the_page_never_turns_it_back(
    watcher: Page, web: Processes, working: Bridge
) -> None:
    export(working.simulator, WEB)
    working.poll()
    with every_tenant("test"):
        [old] = runs_of([Task.objects.get(virtual_machine_guid=WEB, live=True)], ())
    working.run(steps=4)
    go(watcher, f"{web.url}{MACHINES}")
    stage = watcher.locator("[data-bar-stage]")
    expect(stage).to_have_text("Exporting, 1 of 2")
    with every_tenant("test"):
        changes.tell([told_runs.change(old, new=False)])
    working.poll()
    watcher.wait_for_timeout(1500)
    expect(stage).to_have_text("Exporting, 1 of 2")
    assert share(watcher) > 0
