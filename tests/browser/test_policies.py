"""A tenant admin's way in a browser: a policy from nothing, the preview that follows, a change, drift, and the end of it."""

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tenants.scope import every_tenant
from tests.bridge.policy_scenes import NEW, carried_out, upstream
from tests.browser.conftest import PHONE, Troubles, sign_in
from tests.browser.test_every_page import violations
from tests.conftest import Bridge, Cast
from tests.processes import Processes

POLICIES = "/t/alpha/policies/"
PREVIEW = "#preview .runs li"


@pytest.fixture
def admin(page: Page, context: BrowserContext, web: Processes, cast: Cast, troubles: Troubles) -> Page:
    # Who presses while the preview is still being fetched leaves it behind, which htmx tells the console.
    troubles.expected += ["htmx:sendAbort", "htmx:afterRequest"]
    sign_in(context, web, cast.alice)
    return page


def finish(bridge: Bridge) -> None:
    """Let the workers carry out what is under way."""
    from vplus_bridge.models import Operation

    with every_tenant("test"):
        waiting = list(Operation.objects.filter(kind="policy", state__in=("requested", "submitted", "running")))
    assert waiting, "nothing was asked for"
    for operation in waiting:
        assert carried_out(bridge, operation).state == "succeeded"


def read_policies(bridge: Bridge) -> None:
    from vplus_bridge import jobs
    from vplus_bridge.mirror import policies as mirror

    for _ in range(2):  # what listings tell, and then the details that they make worth reading
        mirror.read_policies(bridge.client)
        jobs.after_policies()


def test_a_policy_from_nothing_to_its_end(admin: Page, web: Processes, working: Bridge) -> None:
    read_policies(working)
    admin.goto(f"{web.url}{POLICIES}")
    expect(admin.locator("main")).to_contain_text("No policy yet. Backups happen only by hand.")
    admin.get_by_role("link", name="New policy").first.click()

    # The preview follows zone and days by itself, and only the next run is announced.
    admin.get_by_label("Name", exact=True).fill("Gold")
    admin.get_by_label("Time zone").fill("Asia/Kathmandu")
    admin.get_by_label("At", exact=True).fill("02:00")
    admin.get_by_label("At", exact=True).blur()
    expect(admin.locator(PREVIEW).first).to_contain_text("02:00 = ")
    expect(admin.locator(PREVIEW).first).to_contain_text("20:15")
    expect(admin.locator("#next-run")).to_contain_text("Kathmandu time")
    for day in ("Tue", "Wed", "Thu", "Fri", "Sat", "Sun"):
        admin.get_by_label(day, exact=True).uncheck()
    expect(admin.locator(PREVIEW).filter(has_text="Mon ")).to_have_count(20)
    admin.get_by_label("Mon", exact=True).uncheck()
    expect(admin.locator("#preview")).to_contain_text("Choose at least one day of the week.")
    admin.get_by_label("Sun", exact=True).check()
    expect(admin.locator("#preview")).to_contain_text("every Sunday at 02:00, Kathmandu time.")
    admin.locator(f".picks input[value='{NEW}']").check()
    expect(admin.locator("#changes")).to_contain_text("Virtual machines: ")
    assert not violations(admin)
    admin.get_by_role("button", name="Create policy").click()
    expect(admin.locator("h1")).to_have_text("Gold")
    expect(admin.locator("main")).to_contain_text("Being saved")
    finish(working)
    admin.reload()
    expect(admin.locator(".heading")).to_contain_text("Active")
    assert [name for name in upstream(working) if "-policy-" in name]

    # A change, said beside the button before it is made.
    admin.get_by_role("link", name="Change", exact=True).click()
    admin.locator(".schedule").get_by_label("Full backup").check()
    admin.get_by_label("Name", exact=True).fill("Golden")
    admin.get_by_label("Name", exact=True).blur()
    expect(admin.locator("#changes")).to_contain_text("Name: Gold → Golden")
    expect(admin.locator("#changes")).to_contain_text("Full backup every Sunday")
    admin.get_by_role("button", name="Save changes").click()
    finish(working)
    admin.reload()
    expect(admin.locator("h1")).to_have_text("Golden")
    expect(admin.locator("main")).to_contain_text("Name: Gold → Golden")

    # Somebody changes it in vPlus; ours is put back.
    guid = policy_guid()
    working.simulator.control.protection.change("policies", guid, vms=[])
    read_policies(working)
    admin.reload()
    expect(admin.locator("main")).to_contain_text("Virtual machines: taken out fresh-01.")
    admin.get_by_role("button", name="Put ours back").click()
    finish(working)
    read_policies(working)
    admin.reload()
    expect(admin.locator(".heading")).to_contain_text("Active")

    # Once more, and now what vPlus holds is accepted.
    working.simulator.control.protection.change("schedules", carrier_guid(), hour=5 * 3_600_000)
    read_policies(working)
    admin.reload()
    admin.get_by_role("button", name="Accept").click()
    expect(admin.locator(".toasts")).to_contain_text("Accepted")
    expect(admin.locator("main")).to_contain_text("at 05:00, UTC.")

    # The end.
    admin.get_by_role("link", name="Delete").click()
    expect(admin.get_by_role("dialog")).to_contain_text("1 virtual machine loses its schedule. Restore points stay.")
    admin.get_by_role("button", name="Delete policy").click()
    finish(working)
    admin.goto(f"{web.url}{POLICIES}")
    expect(admin.locator("main")).to_contain_text("No policy yet.")
    assert not [name for name in upstream(working) if "-policy-" in name]


def policy_guid() -> str:
    from vplus_bridge.models import Policy

    with every_tenant("test"):
        return Policy.objects.get(state="kept").vplus_guid


def carrier_guid() -> str:
    from vplus_bridge.models import Carrier

    with every_tenant("test"):
        return Carrier.objects.get().vplus_guid


def test_by_keyboard_alone_on_a_phone(admin: Page, web: Processes, working: Bridge) -> None:
    admin.set_viewport_size(PHONE)  # type: ignore[arg-type]
    admin.goto(f"{web.url}{POLICIES}new/")
    admin.get_by_label("Name", exact=True).focus()
    admin.keyboard.type("Night")
    for _ in range(80):
        admin.keyboard.press("Tab")
        if admin.evaluate(f"document.activeElement.value === '{NEW}'"):
            break
    admin.keyboard.press("Space")
    expect(admin.locator("#changes")).to_contain_text("Virtual machines: ")
    assert admin.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert not violations(admin)
    for _ in range(80):
        admin.keyboard.press("Tab")
        if admin.evaluate("document.activeElement.value === 'save'"):
            break
    admin.keyboard.press("Enter")
    expect(admin.locator("h1")).to_have_text("Night")


def test_what_is_wrong_gets_the_focus_and_leads_to_its_field(
    admin: Page, web: Processes, working: Bridge, troubles: Troubles
) -> None:
    troubles.expected.append("status of 400")
    admin.goto(f"{web.url}{POLICIES}new/")
    admin.get_by_role("button", name="Create policy").click()
    summary = admin.get_by_role("alert")
    expect(summary).to_be_focused()
    summary.get_by_role("link", name="Name").click()
    expect(admin.get_by_label("Name", exact=True)).to_be_focused()
    assert not violations(admin)
