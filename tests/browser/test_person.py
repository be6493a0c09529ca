"""What belongs to the person at the browser: signing in, a passkey, the theme, filters that work while one types."""

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import House, Troubles, sign_in
from tests.conftest import PASSWORD, Cast
from tests.processes import Processes

MACHINES = "/t/alpha/virtual-machines/"
AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


def by_password(page: Page, cast: Cast) -> None:
    page.get_by_label("E-mail").fill(cast.oscar.email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def test_a_passkey_is_made_and_signs_in(page: Page, context: BrowserContext, web: Processes, cast: Cast) -> None:
    session = context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    session.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
    page.goto(web.url)
    by_password(page, cast)
    page.wait_for_url("**/t/alpha/")
    page.goto(f"{web.url}/accounts/2fa/webauthn/add/")
    if "reauthenticate" in page.url:  # before what matters one is asked once more
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Go on").click()
    page.get_by_label("Name").fill("This laptop")
    page.get_by_label("Sign in with this key alone: a passkey").check()
    page.locator("main button[type=submit], main #mfa_webauthn_add").first.click()
    page.wait_for_url(re.compile("/accounts/2fa/(?!webauthn/add)"))
    context.clear_cookies()
    page.goto(f"{web.url}/accounts/login/?next={MACHINES}")
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url(f"**{MACHINES}")
    expect(page.get_by_role("heading", level=1)).to_have_text("Virtual machines")


def test_a_theme_is_kept(operator: Page, web: Processes, house: House) -> None:
    operator.emulate_media(color_scheme="light")
    operator.goto(f"{web.url}{MACHINES}")
    light = operator.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    with operator.expect_response("**/account/theme/"):
        operator.get_by_role("button", name="Dark theme").click()
    dark = operator.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert light != dark, "it changes at once"
    operator.reload()
    assert operator.evaluate("getComputedStyle(document.documentElement).backgroundColor") == dark
    operator.goto(f"{web.url}/t/alpha/activity/")
    expect(operator.get_by_role("button", name="Light theme")).to_be_visible()
    operator.context.clear_cookies()
    operator.goto(f"{web.url}/accounts/login/")
    assert operator.evaluate("getComputedStyle(document.documentElement).backgroundColor") == light, (
        "a stranger has the system's"
    )


def test_typing_filters_the_list_and_back_works(operator: Page, web: Processes, house: House) -> None:
    operator.goto(f"{web.url}{MACHINES}")
    everything = operator.locator("tbody tr").count()
    operator.get_by_role("searchbox").press_sequentially("web", delay=20)
    expect(operator.locator("tbody tr")).to_have_count(1)
    expect(operator).to_have_url(re.compile(r"search=web"))
    expect(operator.locator("#count")).to_contain_text("of 1")
    operator.get_by_label("Presence").select_option("no")
    expect(operator.locator("main")).to_contain_text("Nothing matches.")
    operator.go_back()
    operator.go_back()
    expect(operator.locator("tbody tr")).to_have_count(everything)
    operator.get_by_role("link", name="Name", exact=True).click()
    expect(operator.locator("th[aria-sort=ascending]")).to_have_text("Name")
    expect(operator.locator("tbody tr").first).to_contain_text("a-very-long-name")


def test_the_selection_counts_names_and_clears(operator: Page, web: Processes, house: House) -> None:
    operator.goto(f"{web.url}{MACHINES}")
    bar = operator.get_by_role("region", name="Selection")
    expect(bar).to_be_hidden()
    operator.get_by_label("Select all on this page").check()
    boxes = operator.locator("tbody .pick input").count()
    expect(bar).to_contain_text(f"{boxes} selected")
    operator.get_by_label("Select mail-01").uncheck()
    expect(bar).to_contain_text(f"{boxes - 1} selected")
    assert operator.get_by_label("Select all on this page").evaluate("(box) => box.indeterminate")
    bar.get_by_role("button", name="Clear").click()
    expect(bar).to_be_hidden()
    assert operator.evaluate("document.activeElement.matches('[data-pick-all]')"), "the focus has a place to be"


@pytest.mark.usefixtures("house")
def test_a_session_that_ended_leads_to_signing_in_and_back(
    operator: Page, context: BrowserContext, web: Processes, cast: Cast, troubles: Troubles
) -> None:
    # The page's stream may be asked for just then, and is led to sign-in as well.
    troubles.expected.append("EventSource's response has a MIME type")
    operator.goto(f"{web.url}{MACHINES}")
    context.clear_cookies()
    operator.get_by_role("searchbox").press_sequentially("web", delay=20)
    operator.wait_for_url("**/accounts/login/**")
    by_password(operator, cast)
    operator.wait_for_url(f"**{MACHINES}**")
    expect(operator.locator("tbody tr")).to_have_count(1)


def test_the_reference_can_be_copied(operator: Page, context: BrowserContext, web: Processes, house: House) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    operator.goto(f"{web.url}{house.failed}")
    operator.get_by_role("button", name="Copy the reference").click()
    expect(operator.get_by_role("button", name="Copied")).to_be_visible()
    assert operator.evaluate("navigator.clipboard.readText()") == "7F3K-29QD"


def test_signing_out_from_the_menu(operator: Page, web: Processes, house: House) -> None:
    operator.goto(f"{web.url}{MACHINES}")
    operator.locator("aside summary").last.click()
    operator.get_by_role("button", name="Sign out").first.click()
    expect(operator.get_by_role("heading", level=1)).to_have_text("Sign in")
    operator.go_back()
    operator.reload()
    expect(operator.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_in_two_tenants_one_switches(operator: Page, context: BrowserContext, web: Processes, cast: Cast) -> None:
    from tenants.models import Membership
    from tenants.scope import every_tenant

    with every_tenant("test"):
        Membership.objects.create(tenant=cast.beta, person=cast.oscar.row, role="viewer", name="O", email="o@x.example")
    sign_in(context, web, cast.oscar)
    operator.goto(f"{web.url}{MACHINES}")
    operator.locator("details.switcher summary").click()
    operator.locator("details.switcher").get_by_role("link", name="Beta").click()
    operator.wait_for_url("**/t/beta/")
    operator.goto(web.url)
    operator.wait_for_url("**/t/beta/")


def test_paper_is_white_and_holds_nothing_to_press(operator: Page, web: Processes, house: House) -> None:
    operator.emulate_media(media="print", color_scheme="dark")
    operator.goto(f"{web.url}{MACHINES}")
    operator.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert operator.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
    assert not operator.locator(".button:visible").count()
    expect(operator.get_by_role("heading", level=1)).to_be_visible()
