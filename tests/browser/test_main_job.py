"""The main job in a browser: back up from the list, watch it, see the new restore point. vPlus at its poorest."""

from collections.abc import Callable

from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import PHONE, sign_in
from tests.conftest import PASSWORD, Bridge, Cast
from tests.processes import Processes

MACHINES = "/t/alpha/virtual-machines/"


class Presses:
    """Counts what a person does: presses of links and buttons, ticks of boxes."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, act: Callable[[], None]) -> None:
        self.count += 1
        act()


def watch_to_the_end(page: Page, bridge: Bridge) -> list[str]:
    """Reload while vPlus works; return the stages in the order they were seen, the bar never going backwards."""
    seen: list[tuple[str, float]] = []
    for _ in range(40):
        page.reload()
        bar = page.get_by_role("progressbar")
        if not bar.count():
            break
        seen.append((page.locator(".live-head span").first.inner_text(), float(bar.get_attribute("value") or 0)))
        if not bridge.send():
            bridge.run(steps=1, seconds=4)
    shares = [share for _, share in seen]
    assert shares == sorted(shares), "the bar went backwards"
    return list(dict.fromkeys(stage for stage, _ in seen))


def restore_points(page: Page, web: Processes, machine: str) -> int:
    page.goto(f"{web.url}{MACHINES}{machine}/restore-points/?view=list")
    return page.locator("tbody tr").count()


def test_from_the_list_it_takes_two_presses(operator: Page, web: Processes, working: Bridge) -> None:
    before = restore_points(operator, web, "vm-alpha-web")
    operator.goto(f"{web.url}{MACHINES}")
    press = Presses()
    press(operator.get_by_role("link", name="Back up web-01").click)
    expect(operator.get_by_role("dialog")).to_contain_text("Back up web-01")
    press(operator.get_by_role("button", name="Back up now").click)
    operator.wait_for_url("**/operations/**")
    assert press.count == 2
    stages = watch_to_the_end(operator, working)
    assert stages == ["Waiting to be sent", "Queued", "Exporting, 1 of 2", "Storing, 2 of 2"]
    expect(operator.locator("main")).to_contain_text("Done. There is a new restore point.")
    operator.get_by_role("link", name="Restore points").click()
    expect(operator.locator(".point").first).to_contain_text("Last good")
    assert restore_points(operator, web, "vm-alpha-web") == before + 1


def test_two_machines_at_once_take_three_presses(operator: Page, web: Processes, working: Bridge) -> None:
    operator.goto(f"{web.url}{MACHINES}")
    operator.get_by_label("Select web-01").check()
    press = Presses()
    press(operator.get_by_label("Select db-01").check)
    expect(operator.get_by_role("region", name="Selection")).to_contain_text("2 selected")
    press(operator.get_by_role("button", name="Back up 2 VMs").click)
    press(operator.get_by_role("button", name="Back up 2 VMs").click)
    operator.wait_for_url("**/activity/")
    assert press.count == 3, "the tick of the last one, and two presses"
    expect(operator.get_by_role("status").filter(has_text="2 backups asked for.")).to_be_visible()
    assert working.send() == 2
    working.run(steps=30)
    operator.reload()
    expect(operator.get_by_role("heading", level=1)).to_have_text("Nothing is running")
    expect(operator.locator("tbody").get_by_text("Done")).to_have_count(2)


def tab_to(page: Page, name: str, *, most: int = 80) -> None:
    """Press Tab until the element with this name has the focus, and see that the focus can be seen."""
    for _ in range(most):
        page.keyboard.press("Tab")
        words = page.evaluate(
            """() => { const one = document.activeElement;
            return (one.getAttribute("aria-label") || (one.labels && one.labels[0]?.innerText) || one.innerText || "").trim() }"""
        )
        if " ".join(words.split()) == name:
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", f"the focus on {name} cannot be seen"
            return
    raise AssertionError(f"Tab never reached {name}")


def test_with_the_keyboard_alone(page: Page, web: Processes, working: Bridge, cast: Cast) -> None:
    """From signing in to the result; Escape closes the dialog and gives the focus back."""
    page.goto(f"{web.url}{MACHINES}")  # asks to sign in, and leads back
    tab_to(page, "E-mail")
    page.keyboard.type(cast.oscar.email)
    tab_to(page, "Password")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{web.url}{MACHINES}")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "Skip to content"
    page.keyboard.press("Enter")
    tab_to(page, "Back up web-01")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert "Back up web-01" in " ".join(page.evaluate("document.activeElement.innerText").split())
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    tab_to(page, "Back up now")
    page.keyboard.press("Enter")
    page.wait_for_url("**/operations/**")
    assert watch_to_the_end(page, working)[-1] == "Storing, 2 of 2"
    tab_to(page, "Restore points")
    page.keyboard.press("Enter")
    expect(page.locator(".point").first).to_contain_text("Last good")


def test_without_scripts(browser: Browser, web: Processes, working: Bridge, cast: Cast) -> None:
    """The same job, and the bulk of it, with JavaScript off; filters have their button, an operation its [Refresh]."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{web.url}{MACHINES}")
    page.get_by_label("E-mail").fill(cast.oscar.email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("searchbox").fill("web")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name="Back up web-01").click()
    page.get_by_role("button", name="Back up now").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Backup of web-01")
    working.send()
    working.run(steps=1)
    page.get_by_role("link", name="Refresh").click()
    expect(page.locator("main")).to_contain_text("Exporting, 1 of 2")
    page.goto(f"{web.url}{MACHINES}")
    page.get_by_label("Select db-01").check()
    page.get_by_label("Select fresh-01").check()
    page.get_by_role("button", name="Back up").click()
    page.get_by_role("button", name="Back up 2 VMs").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("1 running, 2 waiting")
    expect(page.locator("main")).to_contain_text("2 backups asked for.")
    context.close()


def test_on_a_phone(operator: Page, web: Processes, working: Bridge) -> None:
    operator.set_viewport_size(PHONE)  # type: ignore[arg-type]
    operator.goto(f"{web.url}{MACHINES}")
    button = operator.get_by_role("link", name="Back up web-01")
    box = button.bounding_box()
    assert box is not None
    assert box["height"] >= 44, "a finger's width"
    button.click()
    expect(operator.get_by_role("heading", level=1)).to_have_text("Back up web-01")
    press = operator.get_by_role("button", name="Back up now")
    expect(press).to_be_in_viewport()
    press.click()
    operator.wait_for_url("**/operations/**")
    expect(operator.get_by_role("progressbar")).to_be_visible()


def test_pressed_twice_it_is_one(operator: Page, web: Processes, working: Bridge) -> None:
    operator.goto(f"{web.url}/t/alpha/back-up/?vm=vm-alpha-web")
    operator.get_by_role("button", name="Back up now").dblclick()
    operator.wait_for_url("**/operations/**")
    assert working.send() == 1
    assert working.send() == 0


def test_another_tenants_browser_sees_nothing_of_it(
    operator: Page, browser: Browser, web: Processes, working: Bridge, cast: Cast
) -> None:
    operator.goto(f"{web.url}/t/alpha/back-up/?vm=vm-alpha-web")
    operator.get_by_role("button", name="Back up now").click()
    operator.wait_for_url("**/operations/**")
    address = operator.url
    working.send()
    working.run(steps=3)
    theirs: BrowserContext = browser.new_context()
    sign_in(theirs, web, cast.mallory)
    page = theirs.new_page()
    for there in (address, address.replace("/t/alpha/", "/t/beta/"), f"{web.url}{MACHINES}vm-alpha-web/"):
        answer = page.goto(there)
        assert answer is not None
        assert answer.status == 404
        expect(page.locator("body")).not_to_contain_text("web-01")
    page.goto(f"{web.url}/t/beta/activity/")
    expect(page.locator("main")).to_contain_text("Nothing has run yet.")
    page.goto(f"{web.url}/t/beta/activity/tasks/")
    expect(page.locator("main")).to_contain_text("Nothing has run yet.")
    page.goto(f"{web.url}/t/beta/virtual-machines/")
    expect(page.locator("progress")).to_have_count(0)
    expect(page.get_by_role("link", name="web-01", exact=True)).to_have_count(1)  # Beta has a web-01 of its own
    theirs.close()
