"""No page and no read of the API causes a call to vPlus: a whole web process, and the simulator's own count."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from django.conf import settings
from django.test import Client

from tests.conftest import VPLUS_PASSWORD, Bridge, Cast, Member
from tests.processes import Processes

MACHINE = "vm-alpha-web"
PAGES = [
    "/",
    "/account/",
    "/tenants/",
    "/t/alpha/",
    "/t/alpha/virtual-machines/",
    "/t/alpha/virtual-machines/?search=web&order=name&status=unknown",
    f"/t/alpha/virtual-machines/{MACHINE}/",
    f"/t/alpha/virtual-machines/{MACHINE}/restore-points/",
    f"/t/alpha/virtual-machines/{MACHINE}/backups/",
    f"/t/alpha/virtual-machines/{MACHINE}/activity/",
    f"/t/alpha/back-up/?vm={MACHINE}&vm=vm-alpha-db",
    "/t/alpha/activity/",
    "/t/alpha/activity/tasks/",
    "/components/",
    "/api/docs/",
    "/healthz",
    "/readyz",
    "/metrics",
]
READS = [
    "me/",
    "virtual-machines/",
    f"virtual-machines/{MACHINE}/",
    f"virtual-machines/{MACHINE}/backups/",
    f"virtual-machines/{MACHINE}/restore-points/",
    f"virtual-machines/{MACHINE}/tasks/",
    "operations/",
    "tasks/",
    "backup-destinations/",
]
PROVIDER_READS = ["me/", "operator/tenants/", "operator/virtual-machines/", "operator/status/"]


@pytest.fixture
def web(mirrored: Bridge, static_files: None, tmp_path: Path) -> Iterator[Processes]:
    """A web server that could call the simulator: it has its address, name, password and authority."""
    processes = Processes(
        tmp_path,
        VPLUS_URL=settings.VPLUS_URL,
        VPLUS_USERNAME=settings.VPLUS_USERNAME,
        VPLUS_PASSWORD=VPLUS_PASSWORD,
        VPLUS_CA_BUNDLE=settings.VPLUS_CA_BUNDLE,
    )
    processes.start_web()
    yield processes
    processes.end_all()


def read(web: Processes, path: str, *, as_person: Member | None = None, token: str = "") -> None:
    client = Client()
    if as_person is not None:
        client.force_login(as_person.row)
    cookies = {name: morsel.value for name, morsel in client.cookies.items()}
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = requests.get(web.url + path, cookies=cookies, headers=headers, timeout=20)
    assert answer.status_code == 200, (path, answer.text[-500:])


def test_reading_asks_vplus_nothing(web: Processes, mirrored: Bridge, cast: Cast) -> None:
    control = mirrored.simulator.control
    mirrored.poll()
    before = control.counters().total
    assert before > 0, "the count counts"
    for path in PAGES:
        read(web, path, as_person=cast.oscar)
    read(web, "/console/virtual-machines/", as_person=cast.paula)
    mine, provider = cast.oscar.token(), cast.paula.token()
    for path in READS:
        read(web, f"/api/v1/{path}", token=mine)
    for path in PROVIDER_READS:
        read(web, f"/api/v1/{path}", token=provider)
    assert control.counters().total == before
    mirrored.poll()
    assert control.counters().total > before, "and it still counts"
