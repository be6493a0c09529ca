"""Giving machines to a tenant in a real browser: what goes along is said before the press, and after it."""

from playwright.sync_api import BrowserContext, Page, expect

from tests.api.conftest import Rows
from tests.browser.conftest import sign_in
from tests.conftest import Cast
from tests.processes import Processes


def test_how_many_backups_go_along_is_said_before_the_press(
    page: Page, context: BrowserContext, web: Processes, cast: Cast
) -> None:
    rows = Rows(cast)
    for number in (1, 2, 3):
        rows.machine(f"vm-{number}", None, name=f"lab-0{number}")
        for copy in range(number):
            rows.backup(f"b-{number}-{copy}", f"vm-{number}", None)
    sign_in(context, web, cast.paula)
    page.goto(f"{web.url}/console/virtual-machines/")
    says = page.locator("[data-goes-along]")
    page.get_by_label("Select lab-01").check()
    expect(says).to_have_text("They and their backups become visible to the tenant.")
    page.locator("select[name=tenant]").select_option(label="Alpha")  # its label holds the options too
    expect(says).to_have_text("This virtual machine and its backups (1) become visible to Alpha.")
    page.get_by_label("Select lab-03").check()
    expect(says).to_have_text("These 2 virtual machines and their 4 backups become visible to Alpha.")
    page.get_by_role("button", name="Assign 2 VMs").click()
    expect(page.get_by_text("2 virtual machines are now Alpha’s, with 4 backups.")).to_be_visible()
