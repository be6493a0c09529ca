"""From "not protected" to "protected", as a tenant's admin goes it in a browser: a policy from nothing, a backup, the verdict."""

import re
from collections.abc import Callable
from functools import partial

import pytest
from playwright.sync_api import Page as BrowserPage

from tests.conftest import PASSWORD
from tests.end_to_end.conftest import Portal
from tests.processes import eventually

MACHINES = "/t/alpha/virtual-machines/"
NEVER = "vm-alpha-new"


@pytest.fixture(scope="module")
def portal(start_portal: Callable[[], Portal]) -> Portal:
    portal = start_portal()
    portal.start_everything()
    return portal


def says(page: BrowserPage, words: str) -> bool:
    page.reload()
    return words in page.locator("main").inner_text()


def test_a_machine_that_was_never_backed_up_becomes_protected(portal: Portal, page: BrowserPage) -> None:
    page.goto(f"{portal.url}{MACHINES}{NEVER}/")
    page.get_by_label("E-mail").fill(portal.cast.alice.email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    eventually("it is not protected", partial(says, page, "Not protected"))

    # A policy for it, reached from its own page.
    page.get_by_role("link", name="Make one").first.click()
    page.get_by_label("Name", exact=True).fill("Nightly")
    tick = page.locator(f".picks input[value='{NEVER}']")
    if not tick.is_checked():
        tick.check()
    page.get_by_role("button", name="Create policy").click()
    page.wait_for_url(re.compile(r"/policies/[0-9a-f-]+/"))
    eventually("vPlus holds it", partial(says, page, "Active"))
    page.goto(f"{portal.url}{MACHINES}{NEVER}/")
    eventually("its policy is known", partial(says, page, "Nightly"))
    assert says(page, "Not protected"), "a policy is a promise, not a backup"

    # The first backup need not wait for the night.
    page.get_by_role("link", name="Back up", exact=True).first.click()
    page.get_by_role("button", name="Back up now").click()
    page.wait_for_url("**/operations/**")
    eventually("it is stored", partial(says, page, "Done."), patience=60)
    page.goto(f"{portal.url}{MACHINES}{NEVER}/")
    eventually("it is protected", lambda: says(page, "Protected") and not says(page, "Not protected"), patience=60)
    page.goto(f"{portal.url}{MACHINES}{NEVER}/protection/")
    assert "Nightly" in page.locator("main").inner_text()
