"""vPlus away, or not what it should be: the portal starts, serves what it has, says since when, recovers by itself."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from tests.end_to_end.conftest import Portal
from tests.processes import eventually
from vplus_simulator.faults import Fault

LIST = "/t/alpha/virtual-machines/"
BAR = "No contact with the backup system since"


@pytest.fixture(scope="module")
def portal(start_portal: Callable[[], Portal]) -> Portal:
    """Web server, poller and beat, started while nothing listens at vPlus's address."""
    portal = start_portal()
    portal.start_beat()
    portal.start_worker("poll")
    portal.start_web()
    portal.wait_ready("poll")
    return portal


def bar(portal: Portal) -> str:
    """Return the bar above a tenant's page; empty where there is contact."""
    page = portal.visitor(portal.cast.vera).page(LIST)
    assert page.status == 200
    return " ".join(one.text for one in page.all(css_class="global-bar"))


def wait_for_trouble(portal: Portal) -> None:
    """Wait until pages and /readyz say that there is no contact, and that it began just now."""
    eventually("the bar appears", lambda: BAR in bar(portal))
    told = portal.readiness()
    assert (told["status"], told["database"], told["vplus_contact"]) == ("ready", True, False)
    since = datetime.fromisoformat(str(told["no_contact_since"]))
    assert timedelta(0) <= timezone.now() - since < timedelta(minutes=1)
    for secret in ("localhost", str(portal.vplus.port), portal.environment["VPLUS_PASSWORD"], "Traceback"):
        assert secret not in bar(portal), "no hosts, no accounts"


def wait_for_recovery(portal: Portal) -> None:
    eventually("/readyz tells of contact", lambda: portal.readiness()["vplus_contact"])
    assert portal.readiness()["no_contact_since"] is None
    assert not bar(portal)


def names(portal: Portal) -> list[str]:
    return sorted(one.text for one in portal.visitor(portal.cast.vera).page(LIST).main.all("a", css_class="name-link"))


def test_it_starts_without_vplus_and_finds_it_when_it_comes(portal: Portal) -> None:
    wait_for_trouble(portal)
    page = portal.visitor(portal.cast.vera).page(LIST)
    assert "No virtual machines yet." in page.main.text
    portal.vplus.start()
    wait_for_recovery(portal)
    portal.assign_what_was_read()
    assert names(portal) == ["db-01", "files-01", "fresh-01", "web-01"]


def gone(portal: Portal) -> None:
    portal.vplus.stop()


def wrong_password(portal: Portal) -> None:
    portal.vplus.start(password="changed behind our back")


def wrong_authority(portal: Portal) -> None:
    portal.vplus.start(authority="foreign")


def html(portal: Portal) -> None:
    portal.vplus.control.arm(Fault(kind="html", status=200))


@pytest.mark.parametrize(
    ("trouble", "problem"),
    [
        (gone, "unreachable"),
        (wrong_password, "sign_in_refused"),
        (wrong_authority, "certificate_not_trusted"),
        (html, "unreadable_answer"),
    ],
)
def test_trouble_is_told_pages_stay_and_contact_returns_by_itself(
    portal: Portal, trouble: Callable[[Portal], None], problem: str
) -> None:
    portal.vplus.start()
    wait_for_recovery(portal)
    portal.assign_what_was_read()
    known = names(portal)
    trouble(portal)
    wait_for_trouble(portal)
    assert names(portal) == known, "the last good data stay"
    told = portal.script(portal.cast.paula).get("operator/status/")["contact"]
    assert (told["ok"], told["problem"]) == (False, problem), "the provider is told what it is"
    portal.vplus.start()
    wait_for_recovery(portal)
    assert names(portal) == known


def test_what_is_asked_without_contact_is_kept_and_goes_when_contact_is_back(portal: Portal) -> None:
    portal.vplus.start()
    wait_for_recovery(portal)
    portal.assign_what_was_read()
    portal.start_worker("send")
    portal.wait_ready("send")
    portal.vplus.stop()
    wait_for_trouble(portal)
    script = portal.script(portal.cast.oscar)
    [asked] = script.post("operations/", {"kind": "backup", "virtual_machines": ["vm-alpha-web"]})["operations"]
    eventually("sending was tried", lambda: "vplus_bridge.send_attempt" in portal.log("send"))
    assert script.get(f"operations/{asked['id']}/")["state"] == "requested"
    portal.vplus.start()
    eventually("it ends well", lambda: script.get(f"operations/{asked['id']}/")["state"] == "succeeded")
    assert portal.vplus.exports("vm-alpha-web") == 1
