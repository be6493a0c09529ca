"""A token in a real browser: made, seen this once, used, revoked in a dialog."""

import requests
from playwright.sync_api import Page, expect

from tests.browser.conftest import House
from tests.browser.test_every_page import violations
from tests.processes import Processes

TOKENS = "/t/alpha/tokens/"


def test_a_token_is_made_copied_and_revoked(operator: Page, web: Processes, house: House) -> None:
    operator.goto(web.url + TOKENS)
    operator.get_by_role("link", name="New token").click()
    operator.get_by_label("Name").fill("nightly report")
    operator.get_by_label("Back up", exact=True).check()
    operator.get_by_role("button", name="Make the token").click()
    expect(operator.get_by_text("Copy it now. It is not shown again.")).to_be_visible()
    assert violations(operator) == []
    text = operator.locator("#token").inner_text()
    headers = {"Authorization": f"Bearer {text}"}
    assert (
        requests.get(f"{web.url}/api/v1/me/", headers=headers, timeout=20).json()["token"]["name"] == "nightly report"
    )
    operator.get_by_role("link", name="I have copied it").click()
    operator.get_by_role("link", name="Revoke nightly report").click()
    dialog = operator.get_by_role("dialog")
    expect(dialog.get_by_role("heading")).to_have_text("Revoke the token nightly report?")
    dialog.get_by_role("button", name="Revoke").click()
    expect(operator.get_by_text("The token nightly report is revoked.")).to_be_visible()
    assert requests.get(f"{web.url}/api/v1/me/", headers=headers, timeout=20).status_code == 401
