"""The same cast everywhere, a real database, and a simulated vPlus over HTTPS whose time only moves when told.

Alice (admin), Oscar (operator) and Vera (viewer) belong to Alpha; Mallory is Beta's admin; Paula operates the provider's
side and Arthur audits it. What belongs to whom in vPlus stands in vplus_simulator/seed/small.py.
"""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.core.cache import cache
from django.db import connections
from django.test.utils import setup_databases, teardown_databases

from tests.cleaning import empty_database
from vplus_simulator.http import SimulatorServer
from vplus_simulator.options import ServerOptions
from vplus_simulator.seed.plan import SeedPlan
from vplus_simulator.settings import Settings

# Playwright keeps an event loop in the test's thread. Django would refuse the database there, and keep a second set of
# connections while the loop runs, which nobody closes: one set per thread is enough.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
connections._connections = threading.local()  # type: ignore[attr-defined]  # Django has no public way

TESTS = Path(__file__).parent
LONG = ("chaos", "crash", "end_to_end", "browser")
"""Folders of tests that take long by themselves: begun first, so that no worker is left with one of them at the end."""

PASSWORD = "correct horse battery staple"
VPLUS_PASSWORD = "the simulator's"
STEADY: dict[str, Any] = {
    "pickup_seconds": 1.0,
    "export_seconds": (30.0, 30.0),
    "store_seconds": (10.0, 10.0),
    "session_idle_seconds": 10.0**7,
    "inventory_sync_seconds": 0.0,
    "daily_cleanup": False,
    "schedules_fire": False,
}
"""Nothing happens by itself at some hour of the day; a test about schedules lets them fire."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes long first; else everything keeps its order."""
    folders = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: folders.get(item.path.relative_to(TESTS).parts[0], len(LONG)))


@pytest.fixture(scope="session")
def django_db_setup(
    request: pytest.FixtureRequest,
    django_test_environment: None,
    django_db_modify_db_settings: None,
    django_db_blocker: Any,
) -> Iterator[None]:
    """Make the test database with both logins, whichever tests were chosen; drop it at the end.

    pytest-django's own makes it only where a chosen test is marked, and tests with processes of their own are not.
    What is pooled is closed first, else the database cannot be dropped.
    """
    verbosity = request.config.option.verbose
    with django_db_blocker.unblock():
        made = setup_databases(verbosity, interactive=False, aliases={"default", "owner"}, serialized_aliases=set())
    yield
    with django_db_blocker.unblock():
        for connection in connections.all(initialized_only=True):
            connection.close()
            if connection.settings_dict["OPTIONS"].get("pool"):
                connection.close_pool()
        teardown_databases(made, verbosity)


@contextmanager
def committed(django_db_blocker: Any) -> Iterator[None]:
    """Allow the database, in which everything is committed for real: both logins and all processes see the same rows."""
    with django_db_blocker.unblock():
        cache.clear()
        try:
            yield
        finally:
            empty_database()
            for connection in connections.all(initialized_only=True):
                connection.close()


@pytest.fixture
def database(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """A clean database for one test."""
    with committed(django_db_blocker):
        yield


@pytest.fixture(scope="module")
def living_database(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """A database that lives as long as the module's tests."""
    with committed(django_db_blocker):
        yield


@dataclass
class Member:
    """One of the cast in one tenant."""

    email: str
    slug: str | None

    @property
    def row(self) -> Any:
        from tenants.models import Person

        return Person.objects.get(email=self.email)

    @property
    def actor(self) -> Any:
        """The person as a member, as the entrance lets them in at this moment."""
        from tenants import entrance

        assert self.slug is not None
        return entrance.member_of(self.row, self.slug)

    def token(self, *scopes: str) -> str:
        """A new token, as a script would hold it."""
        from tenants.scope import every_tenant
        from tenants.tokens import make_token

        tenant_id = self.actor.tenant_id if self.slug else None
        with every_tenant("test"):
            _, text = make_token(
                tenant_id=tenant_id, person_id=self.row.pk, owner_name=self.email, name="test", scopes=scopes
            )
        return text


@dataclass
class Cast:
    """Everybody, and their tenants' ids."""

    alice: Member = field(default_factory=lambda: Member("alice@alpha.example", "alpha"))
    oscar: Member = field(default_factory=lambda: Member("oscar@alpha.example", "alpha"))
    vera: Member = field(default_factory=lambda: Member("vera@alpha.example", "alpha"))
    mallory: Member = field(default_factory=lambda: Member("mallory@beta.example", "beta"))
    paula: Member = field(default_factory=lambda: Member("paula@provider.example", None))
    arthur: Member = field(default_factory=lambda: Member("arthur@provider.example", None))
    alpha: Any = None
    beta: Any = None
    gamma: Any = None


@pytest.fixture
def cast(database: None) -> Cast:
    """Everybody, made anew for this test."""
    return make_cast()


def make_cast() -> Cast:
    """Make tenants and people. Passwords are hashed quickly, in a form that every process can check."""
    from tenants.models import Membership, Person, Tenant
    from tenants.scope import every_tenant

    people = Cast()
    password = PBKDF2PasswordHasher().encode(PASSWORD, "salt", iterations=1)
    with every_tenant("test"):
        for slug, name, vplus_id in (
            ("alpha", "Alpha", "alpha-uuid"),
            ("beta", "Beta", "beta-uuid"),
            ("gamma", "Gamma", ""),
        ):
            tenant = Tenant.objects.create(slug=slug, name=name, vplus_tenant_id=vplus_id, time_zone="Europe/Warsaw")
            setattr(people, slug, tenant)
        for member, name, role, provider in (
            (people.alice, "Alice", "admin", ""),
            (people.oscar, "Oscar", "operator", ""),
            (people.vera, "Vera", "viewer", ""),
            (people.mallory, "Mallory", "admin", ""),
            (people.paula, "Paula", "", "operator"),
            (people.arthur, "Arthur", "", "auditor"),
        ):
            person = Person.objects.create(email=member.email, name=name, password=password, provider_role=provider)
            if member.slug:
                Membership.objects.create(
                    tenant=getattr(people, member.slug), person=person, role=role, name=name, email=member.email
                )
    return people


@pytest.fixture(scope="session")
def tls_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One authority for all simulators of a test run."""
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Use the system's Chromium; in a container it has no sandbox to sit in."""
    quiet = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    return {**browser_type_launch_args, "executable_path": shutil.which("chromium"), "args": ["--no-sandbox", *quiet]}


StartSimulator = Callable[..., SimulatorServer]


@pytest.fixture
def dialect() -> str:
    """What simulated servers speak unless told otherwise, and the portal with them; a module may have its own."""
    return "guide"


@pytest.fixture
def start_simulator(tls_dir: Path, settings: Any, dialect: str) -> Iterator[StartSimulator]:
    """Start a simulated vPlus with the small seed, at its poorest unless told otherwise, and point the portal at it."""
    from vplus_bridge import connection

    running: list[SimulatorServer] = []

    def start(
        *, seed: str = "small", stepped: bool = True, start_at: int | None = None, **switches: Any
    ) -> SimulatorServer:
        begins = start_at or time.time_ns() // 1_000_000
        server = SimulatorServer(
            ServerOptions(
                seed=SeedPlan(name=seed),
                settings=Settings(**{**STEADY, "dialect": dialect, **switches}),
                tls_dir=tls_dir,
                password=VPLUS_PASSWORD,
                stepped=stepped,
                start_at=begins if stepped else None,
            )
        ).start()
        running.append(server)
        settings.VPLUS_URL, settings.VPLUS_CA_BUNDLE = server.url, str(server.ca_path)
        settings.VPLUS_DIALECT = server.settings.dialect
        settings.VPLUS_USERNAME, settings.VPLUS_PASSWORD = "portal", VPLUS_PASSWORD
        connection.client.cache_clear()
        return server

    yield start
    connection.client.cache_clear()
    for server in running:
        server.stop()


@pytest.fixture
def simulator(start_simulator: StartSimulator) -> SimulatorServer:
    """A simulated vPlus at its poorest."""
    return start_simulator()


class Bridge:
    """What the workers do, done at once and in the test's own thread."""

    def __init__(self, simulator: SimulatorServer) -> None:
        self.simulator = simulator

    @property
    def client(self) -> Any:
        from vplus_bridge.connection import client

        return client()

    def sync(self) -> None:
        """Read infrastructure, inventory, policies and all histories."""
        from tenants.scope import every_tenant
        from vplus_bridge import jobs
        from vplus_bridge.mirror.infrastructure import read_infrastructure
        from vplus_bridge.mirror.policies import read_policies
        from vplus_bridge.ownership.assignment import attribute

        read_infrastructure(self.client)
        jobs.inventory_once(self.client)
        read_policies(self.client)
        with every_tenant("test"):
            attribute()
        while jobs.histories_once(self.client, seconds=30, limit=1000):
            pass

    def send(self) -> int:
        """Send what is due, as the sweeper finds it; return how many attempts were tried."""
        from tenants.scope import every_tenant
        from vplus_bridge.operations import send, settle

        with every_tenant("test"):
            due = settle.due_attempts(100)
        for attempt in due:
            send.send_attempt(self.client, attempt.tenant_id, attempt.attempt_id)
        return len(due)

    def poll(self, *, full: bool = False) -> None:
        """Read tasks and bring operations up to date."""
        from vplus_bridge import jobs

        jobs.poll_once(self.client, full=full)

    def run(self, *, steps: int = 60, seconds: float = 2.0) -> None:
        """Let vPlus work, looking in between, for ``steps`` times ``seconds`` of its time."""
        for _ in range(steps):
            self.simulator.control.step(seconds)
            self.poll()


@pytest.fixture
def bridge(simulator: SimulatorServer) -> Bridge:
    """The workers' deeds, against the poorest vPlus."""
    return Bridge(simulator)


def assign_everything(simulator: SimulatorServer, cast: Cast) -> None:
    """Give the seed's machines to its tenants, as a provider does where vPlus tells no projects; allow places to use."""
    from tenants.scope import every_tenant
    from vplus_bridge.ownership.allowances import allow_destination, allow_restore_target
    from vplus_bridge.ownership.assignment import assign
    from vplus_bridge.protection.verdict import judge

    with every_tenant("test"):
        for owner in simulator.control.tenants():
            tenant = getattr(cast, owner.slug)
            assign(tenant_id=tenant.pk, vm_guids=owner.vm_guids, by="test")
            allow_destination(tenant_id=tenant.pk, guid="bd-main", label="Vault A")
            platform = "hvm-vcenter" if owner.slug == "gamma" else "hvm-openstack"
            allow_restore_target(tenant_id=tenant.pk, label="Production", manager_guid=platform)
        judge()


@pytest.fixture
def mirrored(cast: Cast, bridge: Bridge) -> Bridge:
    """Everything read once and given to its tenants; the poorest vPlus, with operations still to be asked for."""
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    return bridge
