"""Everything real: web server, workers, beat and a simulated vPlus whose time runs by itself.

Processes take seconds to start, so a module's tests share them, and the database lives as long as they do: each test
uses machines of its own.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
from django.test import Client

from tests.conftest import VPLUS_PASSWORD, Cast, Member, make_cast
from tests.pages import Page
from tests.processes import Processes, collect_static_files, eventually, free_port
from vplus_bridge.client import DialectName
from vplus_simulator.http import SimulatorServer
from vplus_simulator.options import ServerOptions
from vplus_simulator.seed.plan import SeedPlan
from vplus_simulator.settings import Settings
from vplus_simulator.tls import certificate_files

QUICK: dict[str, Any] = {
    "pickup_seconds": 0.2,
    "export_seconds": (0.9, 0.9),
    "snapshot_seconds": 0.1,
    "store_gap_seconds": 0.2,
    "store_seconds": (0.9, 0.9),
    "inventory_sync_seconds": 1.0,
    "daily_cleanup": False,
    "schedules_fire": False,
}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Show with a failure what the processes wrote last."""
    report = yield
    portal = item.funcargs.get("portal")
    if report.failed and isinstance(portal, Processes):
        for name, text in portal.logs():
            report.sections.append((f"log of {name}", "\n".join(text.splitlines()[-40:])))
    return report


class Vplus:
    """One address, behind which a vPlus comes and goes; its world outlives a restart."""

    def __init__(self, folder: Path, dialect: DialectName = "guide") -> None:
        self.folder = folder
        self.dialect: DialectName = dialect
        self.port = free_port()
        self.url = f"https://localhost:{self.port}/api"
        self.ca_path, _ = certificate_files(self._tls("trusted"), ())
        self.server: SimulatorServer | None = None

    def start(self, *, password: str = VPLUS_PASSWORD, authority: str = "trusted") -> None:
        """Be there, at the poorest, instead of whatever was there before."""
        self.stop()
        options = ServerOptions(
            port=self.port,
            seed=SeedPlan(name="small"),
            settings=Settings(**QUICK, dialect=self.dialect),
            tls_dir=self._tls(authority),
            password=password,
            state_file=self.folder / "world",
        )
        self.server = SimulatorServer(options).start()

    def stop(self) -> None:
        """Be away."""
        if self.server is not None:
            self.server.stop()
            self.server = None

    @property
    def control(self) -> Any:
        """The control of the running server."""
        assert self.server is not None
        return self.server.control

    def exports(self, machine: str) -> int:
        """Return how many exports of this machine were accepted so far."""
        asked = [entry.asked for entry in self.control.journal() if entry.call == "POST /tasks/export"]
        return sum(body["protectedEntities"] == [{"guid": machine}] for body in asked)

    def _tls(self, authority: str) -> Path:
        path = self.folder / f"tls-{authority}"
        path.mkdir(exist_ok=True)
        return path


class Visitor:
    """A person's browser without the browser: signed in, pages from the real web server."""

    def __init__(self, url: str, member: Member | None = None) -> None:
        self.url = url
        self.http = requests.Session()
        self.http.trust_env = False
        if member is not None:
            client = Client()
            client.force_login(member.row)
            for name, morsel in client.cookies.items():
                self.http.cookies.set(name, morsel.value)

    def page(self, path: str) -> Page:
        return Page(self.http.get(self.url + path, timeout=20))

    def press(self, page: Page, action: str, **changes: Any) -> Page:
        """Send the form of this action as the page filled it in, with changes; return the page that follows."""
        sent = {**page.form(action), **changes}
        return Page(self.http.post(self.url + action, data=sent, headers={"Referer": self.url}, timeout=20))


class Script:
    """A script with a token, over the real web server."""

    def __init__(self, url: str, token: str) -> None:
        self.url = f"{url}/api/v1/"
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **parameters: Any) -> Any:
        answer = self.http.get(self.url + path, params=parameters, timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any) -> Any:
        answer = self.http.post(self.url + path, json=body, timeout=20)
        assert answer.status_code == 202, answer.text
        return answer.json()


class Portal(Processes):
    """The portal's processes with everybody in its database, and the vPlus that it speaks to."""

    def __init__(self, folder: Path, vplus: Vplus, cast: Cast) -> None:
        super().__init__(
            folder,
            VPLUS_URL=vplus.url,
            VPLUS_USERNAME="portal",
            VPLUS_PASSWORD=VPLUS_PASSWORD,
            VPLUS_CA_BUNDLE=str(vplus.ca_path),
            VPLUS_DIALECT=vplus.dialect,
        )
        self.vplus = vplus
        self.cast = cast

    def visitor(self, member: Member | None = None) -> Visitor:
        return Visitor(self.url, member)

    def script(self, member: Member) -> Script:
        return Script(self.url, member.token())

    def start_everything(self, senders: Sequence[str] = ("send",)) -> None:
        """Start vPlus and all of the portal's processes, and give the machines that were read to their tenants."""
        self.vplus.start()
        self.start_beat()
        self.start_worker("poll")
        for name in senders:
            self.start_worker("send", name)
        self.start_web()
        self.wait_ready("poll", *senders)
        self.assign_what_was_read()

    def assign_what_was_read(self) -> None:
        """Wait for the inventory and the histories, and give the seed's machines to their tenants."""
        from tenants.scope import every_tenant
        from vplus_bridge.models import BackupDestination, VirtualMachine
        from vplus_bridge.ownership.allowances import allow_destination, allow_restore_target
        from vplus_bridge.ownership.assignment import assign
        from vplus_bridge.protection.verdict import judge

        def read() -> bool:
            with every_tenant("test"):
                rows = VirtualMachine.objects.all()
                known = rows.count() == 8 and BackupDestination.objects.filter(guid="bd-main").exists()
                return known and not rows.filter(history_read_at=None).exists()

        eventually("inventory, destinations and histories are read", read)
        with every_tenant("test"):
            for owner in self.vplus.control.tenants():
                tenant = getattr(self.cast, owner.slug)
                assign(tenant_id=tenant.pk, vm_guids=owner.vm_guids, by="test")
                allow_destination(tenant_id=tenant.pk, guid="bd-main", label="Vault A")
                platform = "hvm-vcenter" if owner.slug == "gamma" else "hvm-openstack"
                allow_restore_target(tenant_id=tenant.pk, label="Production", manager_guid=platform)
            judge()


StartPortal = Callable[..., Portal]


@pytest.fixture(scope="module")
def start_portal(living_database: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartPortal]:
    """Make a portal whose processes a module starts as it needs them; everything is ended when the module is done."""
    collect_static_files()
    made: list[Portal] = []

    def make(dialect: DialectName = "guide") -> Portal:
        folder = tmp_path_factory.mktemp("processes")
        portal = Portal(folder, Vplus(folder, dialect), make_cast())
        portal.wipe_redis()
        made.append(portal)
        return portal

    yield make
    for portal in made:
        portal.end_all()
        portal.vplus.stop()
