"""A backup from the press of a button to the new restore point: real web server, workers, beat, Redis and PostgreSQL."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Page as BrowserPage
from playwright.sync_api import expect

from tests.conftest import PASSWORD, Member
from tests.end_to_end.conftest import Portal
from tests.pages import Page
from tests.processes import eventually
from vplus_simulator.world import Outcome

LIST = "/t/alpha/virtual-machines/"
BACK_UP = "/t/alpha/back-up/"


@pytest.fixture(scope="module")
def portal(start_portal: Callable[[], Portal]) -> Portal:
    """Everything up, with two workers that send: each operation has to reach vPlus once all the same."""
    portal = start_portal()
    portal.start_everything(senders=("send-1", "send-2"))
    return portal


def ask_by_page(portal: Portal, machine: str, member: Member) -> str:
    """Press [Back up now] on the page; return the address of the operation that it leads to."""
    visitor = portal.visitor(member)
    answer = visitor.press(visitor.page(f"{BACK_UP}?vm={machine}"), BACK_UP)
    address = str(answer.response.url)
    assert re.fullmatch(rf"{portal.url}/t/alpha/operations/[0-9a-f-]+/", address), answer.main.text
    return address.removeprefix(portal.url)


def ask_by_api(portal: Portal, machine: str, member: Member) -> str:
    """Ask with a token; return the address of the operation's page."""
    asked = portal.script(member).post("operations/", {"kind": "backup", "virtual_machines": [machine]})
    [operation] = asked["operations"]
    return f"/t/alpha/operations/{operation['id']}/"


def ended(portal: Portal, address: str, member: Member) -> Page:
    """Reload the operation's page until it has ended; return that page."""
    visitor = portal.visitor(member)

    def page() -> Page | None:
        shown = visitor.page(address)
        return None if shown.all("progress") else shown

    found = eventually(f"{address} ends", page)
    assert isinstance(found, Page)
    return found


def restore_points(portal: Portal, machine: str, member: Member) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = portal.script(member).get(f"virtual-machines/{machine}/restore-points/")["results"]
    return found


@pytest.mark.parametrize("richness", ["poorest", "generous"])
@pytest.mark.parametrize("ask", [ask_by_page, ask_by_api])
def test_a_backup_asked_for_ends_with_a_restore_point_on_page_and_api(
    portal: Portal, richness: str, ask: Callable[[Portal, str, Member], str]
) -> None:
    portal.vplus.control.change(richness=richness)
    oscar, vera, machine = portal.cast.oscar, portal.cast.vera, "vm-alpha-web"
    before, sent = restore_points(portal, machine, vera), portal.vplus.exports(machine)
    address = ask(portal, machine, oscar)
    done = ended(portal, address, vera)
    assert "Done. There is a new restore point." in done.main.text
    assert portal.vplus.exports(machine) == sent + 1, "two workers, one export"
    after = restore_points(portal, machine, vera)
    assert len(after) == len(before) + 1
    page = portal.visitor(vera).page(f"{done.link('Restore points')}?view=list")
    assert len(page.rows()) == len(after)
    assert "Last good" in page.rows()[0][0]
    told = portal.script(vera).get(f"operations/{address.split('/')[-2]}/")
    assert (told["state"], told["progress"]) == ("succeeded", 100)
    assert told["result"]["restore_point"] in {point["guid"] for point in after} - {point["guid"] for point in before}


def test_wishes_survive_a_wiped_redis_and_wait_for_a_worker(portal: Portal) -> None:
    """One wish loses its wake-up, so that only the sweeper can find it; the other was asked while no worker ran."""
    for name in ("send-1", "send-2"):
        portal.end(name)
    lost = ask_by_page(portal, "vm-alpha-db", portal.cast.oscar)
    portal.wipe_redis()
    kept = ask_by_api(portal, "vm-alpha-new", portal.cast.alice)
    visitor = portal.visitor(portal.cast.vera)
    for address in (lost, kept):
        assert "Waiting to be sent" in visitor.page(address).main.text
    assert "2 waiting" in visitor.page("/t/alpha/activity/").heading
    portal.start_worker("send", "send-1")
    for address, machine in ((lost, "vm-alpha-db"), (kept, "vm-alpha-new")):
        assert "Done." in ended(portal, address, portal.cast.vera).main.text
        assert portal.vplus.exports(machine) == 1


def test_in_a_browser_two_presses_lead_to_a_new_restore_point(portal: Portal, page: BrowserPage) -> None:
    """As a tenant's operator: sign in, back up from the list, reload and see one bar go through to the end."""
    machine = "vm-alpha-web"
    before = len(restore_points(portal, machine, portal.cast.vera))
    for task in ("EXPORT", "STORE"):  # vPlus stays in each stage until it was seen
        portal.vplus.control.next_outcome(Outcome(type=task, outcome="hold"))
    page.goto(f"{portal.url}{LIST}")
    page.get_by_label("E-mail").fill(portal.cast.oscar.email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.locator(f"tr:has-text('{machine.removeprefix('vm-alpha-')}-01')").get_by_role("link", name="Back up").click()
    page.get_by_role("button", name="Back up now").click()
    page.wait_for_url("**/operations/**")
    percents: list[float] = []

    def running_in_vplus(task: str) -> list[Any]:
        return [one for one in portal.vplus.control.objects("tasks") if (one.type, one.state) == (task, "RUNNING")]

    def shows(stage: str) -> bool:
        page.reload()
        bar = page.get_by_role("progressbar")
        if bar.count():
            percents.append(float(bar.get_attribute("value") or 0))
        return stage in page.locator("main").inner_text()

    for task, stage in (("EXPORT", "Exporting, 1 of 2"), ("STORE", "Storing, 2 of 2")):
        eventually(stage, partial(shows, stage))
        held: Any = eventually(f"vPlus runs the {task}", partial(running_in_vplus, task))
        portal.vplus.control.release(held[0].guid)
    eventually("it is done", partial(shows, "Done. There is a new restore point."))
    assert percents == sorted(percents), "the bar went backwards"
    page.get_by_role("link", name="Restore points").click()
    page.get_by_role("link", name="As a list").click()
    expect(page.locator("tbody tr")).to_have_count(before + 1)


def test_processes_say_nothing_alarming(portal: Portal) -> None:
    """Whatever the tests above did: no traceback, no error in any log, and no password."""
    logs = "".join(text for _, text in portal.logs())
    assert "Traceback" not in logs
    assert not [line for line in logs.splitlines() if "[error" in line or "ERROR" in line]
    assert portal.environment["VPLUS_PASSWORD"] not in logs
