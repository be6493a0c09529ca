"""The second main job in a browser: restore, watch, and see the new machine in the list. vPlus at its poorest."""

from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PHONE
from tests.browser.test_main_job import MACHINES, Presses, tab_to, watch_to_the_end
from tests.conftest import PASSWORD, Bridge, Cast
from tests.processes import Processes

STAGES = ["Waiting to be sent", "Queued", "Reading the copy, 1 of 2", "Creating the VM, 2 of 2"]


def inventory(bridge: Bridge) -> None:
    """Let vPlus look at its platform, and the portal at vPlus."""
    bridge.simulator.control.sync()
    bridge.sync()


def listed(page: Page, web: Processes, search: str) -> list[str]:
    page.goto(f"{web.url}{MACHINES}?search={search}")
    return page.locator("tbody .name-link").all_inner_texts()


def test_from_the_newest_point_it_takes_two_presses(operator: Page, web: Processes, working: Bridge) -> None:
    operator.goto(f"{web.url}{MACHINES}")
    press = Presses()
    press(operator.get_by_role("link", name="Restore web-01").click)
    expect(operator.get_by_role("heading", level=1)).to_have_text("Restore web-01")
    press(operator.get_by_role("button", name="Restore as new VM").click)
    operator.wait_for_url("**/operations/**")
    assert press.count == 2
    assert watch_to_the_end(operator, working) == STAGES
    expect(operator.locator("main")).to_contain_text("Restored, not yet listed.")
    inventory(working)
    operator.reload()
    operator.get_by_role("link", name="Open web-01-restored-").click()
    expect(operator.get_by_role("heading", level=1)).to_contain_text("web-01-restored-")
    expect(operator.locator("main")).to_contain_text("Restored from")


def test_under_a_new_name_the_plan_follows_and_the_machine_is_in_the_list(
    operator: Page, web: Processes, working: Bridge
) -> None:
    operator.goto(f"{web.url}{MACHINES}vm-alpha-db/restore/")
    name = operator.get_by_label("Name of the new VM")
    code = name.input_value().removeprefix("db-01-restored-")
    name.fill(f"reports-{code}")
    name.press("Tab")
    expect(operator.locator("#plan")).to_contain_text(f"reports-{code}")
    expect(operator.locator("#name-says")).to_contain_text("No VM of yours has this name.")
    assert f"restored_name=reports-{code}" in operator.url, "the address holds it"
    operator.get_by_role("button", name="Restore as new VM").click()
    operator.wait_for_url("**/operations/**")
    assert watch_to_the_end(operator, working) == STAGES
    inventory(working)
    assert listed(operator, web, "reports") == [f"reports-{code}"]


def test_a_name_without_the_code_waits_for_the_provider(operator: Page, web: Processes, working: Bridge) -> None:
    operator.goto(f"{web.url}{MACHINES}vm-alpha-web/restore/")
    name = operator.get_by_label("Name of the new VM")
    name.fill("db-01")
    name.press("Tab")
    expect(operator.locator("#name-says")).to_contain_text("You already have db-01.")
    expect(operator.locator("#name-says")).to_contain_text("wait until your provider")
    name.fill("x" * 300)
    name.press("Tab")
    expect(operator.locator("#name-says")).to_contain_text("This has 300 characters")
    expect(operator.get_by_role("button", name="Restore as new VM")).to_have_count(0)


def test_another_day_takes_three_presses(operator: Page, web: Processes, working: Bridge) -> None:
    operator.goto(f"{web.url}{MACHINES}")
    press = Presses()
    press(operator.get_by_role("link", name="Restore db-01").click)
    before = operator.locator("#plan").inner_text()
    days = operator.locator(".day:not([aria-current])", has=operator.locator(".dot-full"))
    if not days.count():
        operator.locator("#month-before").click()  # the full one lies in the month before
    chosen = operator.locator(".day:not([aria-current])", has=operator.locator(".dot-full")).first
    press(chosen.click)
    expect(operator.locator("#plan")).not_to_have_text(before)
    expect(operator.locator("#restore-calendar input[name=point]:checked")).to_have_value("backup-db-full")
    expect(operator.locator("#plan input[name=plan_digest]")).to_have_count(1)
    operator.wait_for_load_state("networkidle")
    press(operator.get_by_role("button", name="Restore as new VM").click)
    operator.wait_for_url("**/operations/**")
    assert press.count == 3
    working.send()
    [sent] = [one for one in working.simulator.control.journal() if one.call == "POST /tasks/restore-and-import"]
    assert sent.asked["backup"] == "backup-db-full"


def test_a_deleted_machine_is_restored_from_the_list(operator: Page, web: Processes, working: Bridge) -> None:
    operator.goto(f"{web.url}{MACHINES}?status=gone")
    operator.get_by_role("link", name="Restore files-01").click()
    expect(operator.locator("main")).not_to_contain_text("still exists")
    operator.get_by_role("button", name="Restore as new VM").click()
    operator.wait_for_url("**/operations/**")
    watch_to_the_end(operator, working)
    inventory(working)
    assert len(listed(operator, web, "files-01-restored")) == 1


def test_with_the_keyboard_alone(operator: Page, web: Processes, working: Bridge) -> None:
    operator.goto(f"{web.url}{MACHINES}")
    tab_to(operator, "Restore web-01")
    operator.keyboard.press("Enter")
    operator.wait_for_url("**/restore/**")
    tab_to(operator, "Name of the new VM")
    tab_to(operator, "Restore as new VM")
    operator.keyboard.press("Enter")
    operator.wait_for_url("**/operations/**")
    assert watch_to_the_end(operator, working)[-1] == STAGES[-1]


def test_without_scripts(browser: Browser, web: Processes, working: Bridge, cast: Cast) -> None:
    """Another day and another name with [Show the plan]; then the press."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(web.url)
    page.get_by_label("E-mail").fill(cast.oscar.email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.goto(f"{web.url}{MACHINES}")
    page.get_by_role("link", name="Restore web-01").click()
    page.get_by_label("Name of the new VM").fill("web-02")
    page.get_by_role("button", name="Show the plan").click()
    expect(page.locator("#plan")).to_contain_text("web-02")
    page.get_by_label("Name of the new VM").fill("web-03")
    page.get_by_role("button", name="Restore as new VM").click()
    expect(page.locator("main")).to_contain_text("Something changed while you read")
    page.get_by_role("button", name="Restore as new VM").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Restore of web-01")
    expect(page.locator("main")).to_contain_text("web-03")
    context.close()


def test_on_a_phone_a_bar_leads_to_the_plan(operator: Page, web: Processes, working: Bridge) -> None:
    operator.set_viewport_size(PHONE)  # type: ignore[arg-type]
    operator.goto(f"{web.url}{MACHINES}vm-alpha-web/restore/")
    jump = operator.get_by_role("link", name="See the plan")
    expect(jump).to_be_in_viewport()
    button = operator.get_by_role("button", name="Restore as new VM")
    expect(button).not_to_be_in_viewport()
    jump.click()
    expect(button).to_be_in_viewport()
    assert operator.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    button.click()
    operator.wait_for_url("**/operations/**")


def test_pressed_twice_it_is_one(operator: Page, web: Processes, working: Bridge) -> None:
    operator.goto(f"{web.url}{MACHINES}vm-alpha-web/restore/")
    operator.get_by_role("button", name="Restore as new VM").dblclick()
    operator.wait_for_url("**/operations/**")
    assert working.send() == 1
    assert working.send() == 0
