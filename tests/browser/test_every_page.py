"""Every page in light and dark, on a desk and on a phone: no violation of WCAG 2.2 AA, nothing to scroll sideways."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.browser.conftest import PHONE, WIDE, House, Troubles, sign_in
from tests.conftest import PASSWORD, Cast
from tests.processes import ROOT, Processes

AXE = Path(ROOT / "node_modules/axe-core/axe.min.js")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], "resultTypes": ["violations"]}
MACHINES = "/t/alpha/virtual-machines/"

Visit = tuple[str, str]


def tenant_pages(house: House) -> list[Visit]:
    return [
        ("overview", "/t/alpha/"),
        ("list", MACHINES),
        ("list with filters", f"{MACHINES}?search=web&presence=yes&status=unknown"),
        ("list, nothing matches", f"{MACHINES}?search=no-such-thing"),
        ("machine", f"{MACHINES}vm-web/"),
        ("machine, running", f"{MACHINES}vm-busy/"),
        ("machine, gone", f"{MACHINES}vm-gone/"),
        ("machine, long name", f"{MACHINES}vm-long/"),
        ("restore points", f"{MACHINES}vm-web/restore-points/"),
        ("restore points, a list", f"{MACHINES}vm-web/restore-points/?view=list"),
        ("restore points, a moment", f"{MACHINES}vm-web/restore-points/?find=2026-01-20T02:00"),
        ("no restore points", f"{MACHINES}vm-new/restore-points/"),
        ("backups", f"{MACHINES}vm-web/backups/"),
        ("activity of a machine", f"{MACHINES}vm-busy/activity/"),
        ("protection of a machine", f"{MACHINES}vm-erp/protection/"),
        ("back up", "/t/alpha/back-up/?vm=vm-new"),
        ("back up several", "/t/alpha/back-up/?vm=vm-new&vm=vm-gone&vm=vm-busy&vm=vm-long"),
        ("restore", f"{MACHINES}vm-web/restore/"),
        ("restore with a plan", f"{MACHINES}vm-web/restore/?target={house.target}&restored_name=erp-db"),
        ("restore, wrong name", f"{MACHINES}vm-web/restore/?target={house.target}&restored_name={'x' * 300}"),
        ("restore, nothing to go back to", f"{MACHINES}vm-new/restore/"),
        ("restored machine", f"{MACHINES}vm-uni/"),
        ("operation, restored", house.restored),
        ("policies", "/t/alpha/policies/"),
        ("policies, nothing matches", "/t/alpha/policies/?search=no-such-thing"),
        ("policy", house.policy),
        ("activity", "/t/alpha/activity/"),
        ("tasks", "/t/alpha/activity/tasks/"),
        ("operation, running", house.operation),
        ("operation, failed", house.failed),
        ("cancel?", f"{house.operation}cancel/"),
        ("operation, waiting", house.waiting),
        ("operation, needs attention", house.attention),
        ("operation, done", house.done),
        ("tokens", "/t/alpha/tokens/"),
        ("tokens that have ended", "/t/alpha/tokens/?ended=1"),
        ("new token", "/t/alpha/tokens/new/"),
        ("revoke a token", house.revoke),
        ("account", "/account/"),
        ("password", "/accounts/password/change/"),
        ("second step", "/accounts/2fa/"),
        ("sessions", "/accounts/sessions/"),
        ("sign out", "/accounts/logout/"),
        ("chooser", "/tenants/"),
        ("nothing here", f"{MACHINES}no-such-machine/"),
        ("components", "/components/"),
        ("API", "/api/docs/"),
    ]


def admin_pages(house: House) -> list[Visit]:
    return [
        ("policy that differs", house.differing),
        ("new policy", "/t/alpha/policies/new/"),
        ("change a policy", f"{house.policy}change/"),
        ("delete a policy?", f"{house.policy}delete/"),
    ]


STRANGERS: list[Visit] = [
    ("sign in", "/accounts/login/"),
    ("forgotten password", "/accounts/password/reset/"),
    ("mail sent", "/accounts/password/reset/done/"),
    ("no sign-up", "/accounts/signup/"),
]


def violations(page: Page) -> list[str]:
    """Return what axe finds, as rule and place."""
    if not page.evaluate("() => Boolean(window.axe)"):
        page.evaluate(AXE.read_text(encoding="utf-8"))  # evaluate passes the page's policy, a script element would not
    found: list[dict[str, Any]] = page.evaluate(f"axe.run(document, {json.dumps(RULES)})")["violations"]
    return [f"{one['id']}: {node['html'][:160]} {node['failureSummary']}" for one in found for node in one["nodes"]]


def look(page: Page, web: Processes, visits: list[Visit], problems: list[str]) -> None:
    """Visit each page in both themes and both widths; add what is wrong to ``problems``."""
    for name, path in visits:
        page.set_viewport_size(WIDE)  # type: ignore[arg-type]
        page.emulate_media(color_scheme="light")
        page.goto(web.url + path)
        if page.locator("h1").count() != 1 and name != "components":  # where a dialog's heading is shown too
            problems.append(f"{name}: {page.locator('h1').count()} headings")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            problems.extend(f"{name}, {scheme}: {one}" for one in violations(page))
        page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            problems.extend(f"{name}, phone, {scheme}: {one}" for one in violations(page))
        wide = page.evaluate("document.documentElement.scrollWidth")
        if wide > PHONE["width"]:
            problems.append(f"{name}: {wide} px wide on a phone of {PHONE['width']}")


def test_every_page_of_a_tenant(operator: Page, web: Processes, house: House, troubles: Troubles) -> None:
    troubles.expected.append("status of 404")  # the page of what is not there
    problems: list[str] = []
    look(operator, web, tenant_pages(house), problems)
    assert not problems, "\n".join(problems)


def test_every_page_of_an_admin(page: Page, context: BrowserContext, web: Processes, house: House, cast: Cast) -> None:
    problems: list[str] = []
    sign_in(context, web, cast.alice)
    look(page, web, admin_pages(house), problems)
    assert not problems, "\n".join(problems)


def test_every_page_before_signing_in_and_of_the_console(
    page: Page, context: BrowserContext, web: Processes, house: House, cast: Cast
) -> None:
    problems: list[str] = []
    look(page, web, STRANGERS, problems)
    sign_in(context, web, cast.paula)
    look(
        page,
        web,
        [
            ("inbox", "/console/virtual-machines/"),
            ("policies of vPlus", "/console/policies/"),
            ("needs attention", "/console/operations/"),
            ("one that needs attention", "/console/operations/" + house.attention.split("operations/")[1]),
            ("chooser", "/tenants/"),
        ],
        problems,
    )
    assert not problems, "\n".join(problems)


def test_the_check_can_fail(operator: Page, web: Processes, house: House) -> None:
    operator.goto(f"{web.url}{MACHINES}")
    operator.evaluate(
        "document.querySelector('main').insertAdjacentHTML('beforeend', '<img src=\"/static/mark.svg\">')"
    )
    assert any(one.startswith("image-alt") for one in violations(operator))


def test_every_page_of_the_second_step(page: Page, web: Processes, house: House, cast: Cast) -> None:
    """They want to be sure who asks, so one has to have signed in by the form."""
    page.goto(f"{web.url}/accounts/login/")
    page.get_by_label("E-mail").fill(cast.oscar.email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("**/t/alpha/")
    page.goto(f"{web.url}/accounts/2fa/totp/activate/")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()
    page.wait_for_url("**/totp/activate/")
    problems: list[str] = []
    paths = {"an app": "totp/activate/", "keys": "webauthn/", "a key": "webauthn/add/", "both": ""}
    look(page, web, [(name, f"/accounts/2fa/{path}") for name, path in paths.items()], problems)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("what", ["style", "script"])
def test_what_the_policy_blocks_is_noticed(
    what: str, operator: Page, web: Processes, house: House, troubles: Troubles
) -> None:
    """The watch over every test works: inline code is blocked, and the block is seen."""
    operator.goto(f"{web.url}{MACHINES}")
    operator.evaluate(
        f"""() => {{ const one = document.createElement("{what}"); one.textContent = "/* */"; document.body.append(one); }}"""
    )
    operator.wait_for_timeout(50)
    assert any("blocked by policy" in text for text in troubles.seen)
    troubles.seen.clear()
