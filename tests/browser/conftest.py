"""A real browser before a real web server. What it must never do is collected: errors of scripts, and what the policy for
content blocks; each test ends with a look at both.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from playwright.sync_api import BrowserContext, Page

from tenants.models import Token
from tenants.scope import every_tenant
from tests.api.conftest import Rows
from tests.conftest import Bridge, Cast, Member
from tests.policies import NIGHTLY, held_differently, in_vplus, kept
from tests.processes import Processes, collect_static_files

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
TELL_OF_BLOCKING = """document.addEventListener("securitypolicyviolation",
    (event) => console.error("blocked by policy: " + event.violatedDirective + " " + event.blockedURI));"""


@pytest.fixture(scope="package")
def web(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """The web server of all browser tests; their rows come and go beneath it."""
    collect_static_files()
    usual = {"VPLUS_INVENTORY_SECONDS": "60", "VPLUS_POLL_IDLE_SECONDS": "30"}  # so that ages are not old at once
    processes = Processes(tmp_path_factory.mktemp("web"), **usual)
    processes.start_web()
    yield processes
    processes.end_all()


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    return {**browser_context_args, "viewport": WIDE, "locale": "en-GB", "reduced_motion": "reduce"}


@dataclass
class Troubles:
    """What a browser complained about; a test that asks for a page of an error says so in ``expected``."""

    seen: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        context.add_init_script(TELL_OF_BLOCKING)
        context.on("console", lambda said: self.seen.append(said.text) if said.type in ("error", "warning") else None)
        context.on("weberror", lambda problem: self.seen.append(str(problem.error)))

    def unexpected(self) -> list[str]:
        return [text for text in self.seen if not any(known in text for known in self.expected)]


@pytest.fixture(autouse=True)
def troubles(context: BrowserContext) -> Iterator[Troubles]:
    context.set_default_timeout(10_000)
    found = Troubles()
    found.watch(context)
    yield found
    assert not found.unexpected()


@pytest.fixture(autouse=True)
def closed_first(request: pytest.FixtureRequest, context: BrowserContext) -> Iterator[None]:
    """Close all pages before the database is emptied: an open one goes on asking the web server."""
    if "database" in request.fixturenames:
        request.getfixturevalue("database")
    yield
    for page in context.pages:
        page.close()


def sign_in(context: BrowserContext, web: Processes, member: Member) -> None:
    """Give the browser a session of this person; the form of sign-in has its own test."""
    client = Client()
    client.force_login(member.row)
    for name, morsel in client.cookies.items():
        context.add_cookies(
            [{"name": name, "value": morsel.value, "url": web.url, "httpOnly": True, "sameSite": "Lax"}]
        )


@pytest.fixture
def operator(page: Page, context: BrowserContext, web: Processes, cast: Cast) -> Page:
    """Oscar's browser, on an empty page."""
    sign_in(context, web, cast.oscar)
    return page


@dataclass
class House:
    """Addresses of pages that show something of everything."""

    operation: str
    failed: str
    waiting: str
    attention: str
    done: str
    policy: str
    differing: str
    restored: str
    target: str
    revoke: str


@pytest.fixture
def house(cast: Cast) -> House:
    """Alpha with machines, backups, tasks and operations in every state, long names among them."""
    rows, now = Rows(cast), timezone.now()
    rows.reading("inventory", now - timedelta(seconds=12))
    rows.reading("tasks", now - timedelta(seconds=2))
    rows.destination("bd-main", cast.alpha, "Vault A")
    rows.destination("bd-two", cast.alpha, "Vault B, Gdańsk")
    target = rows.target(cast.alpha, "Production, Warsaw 1")
    rows.target(cast.alpha, "Recovery, Gdańsk, in the hall beside the harbour", manager_guid="hvm-2")
    never = {"protection_status": "not_protected", "protection_reason": "never_backed_up", "attention_rank": 0}
    failed = {"protection_status": "not_protected", "protection_reason": "last_failed", "attention_rank": 0}
    dated = {"last_backup_at": now - timedelta(hours=8), "last_backup_size": 412 * 2**30, "restore_point_count": 3}
    fresh = {**dated, "protection_reason": "vplus_up_to_date", "newest_point_guid": "b-1", "history_read_at": now}
    stale = {
        **dated,
        "protection_reason": "vplus_outdated",
        "attention_rank": 1,
        "last_backup_at": now - timedelta(days=19),
    }
    gone = {
        "present": False,
        "not_present_since": now - timedelta(days=20),
        "restore_point_count": 14,
        "attention_rank": 9,
    }
    for guid, name, facts in (
        ("vm-web", "web-01", {**fresh, "policy_name": "Gold daily", "policy_guid": "p"}),
        ("vm-erp", "erp-db", {**stale, "policy_name": "Gold daily", "policy_guid": "p"}),
        ("vm-mail", "mail-01", failed),
        ("vm-new", "fresh-01", never),
        ("vm-unread", "unread-01", {}),
        ("vm-gone", "files-01", gone),
        ("vm-long", "a-very-long-name-" * 20, {**stale, "policy_name": "Every-hour-of-every-day-" * 6}),
        ("vm-uni", "Łódź-serwer-bazy-danych-ünïcødé-数据库服务器", never),
        ("vm-busy", "busy-01", fresh),
    ):
        rows.machine(guid, cast.alpha, name=name, platform="OPENSTACK", **facts)
    sized = {"destination_guid": "bd-main", "size": 38 * 2**30, "export_seconds": 720.0, "store_seconds": 300.0}
    for number in range(1, 30):
        kind = {"type": "INCREMENTAL", "parent_guid": "b-29"} if number % 7 else {}
        state = {"status": "FAILED"} if number == 5 else {"status": "SUCCESS_REMOVED"} if number == 9 else {}
        rows.backup(f"b-{number}", "vm-web", cast.alpha, now - timedelta(days=number - 0.6), **sized, **kind, **state)
    rows.backup("b-unsaid", "vm-web", cast.alpha, None)
    for number, state in enumerate(("QUEUED", "RUNNING", "FINISHED", "FAILED", "CANCELLED", "ODD")):
        rows.task(f"t-{number}", "vm-web", cast.alpha, state=state, live=number < 2, progress=41.0, schedule_guid="s")
    made = {}
    for key, vm, facts in (
        ("operation", "vm-busy", {"state": "running", "stage": "store", "progress": 63.0}),
        (
            "failed",
            "vm-mail",
            {"state": "failed", "error_code": "could_not_store", "stage": "store", "finished_at": now},
        ),
        ("waiting", "vm-erp", {"state": "requested"}),
        ("attention", "vm-long", {"state": "needs_attention", "error_code": "arrival_unknown", "finished_at": now}),
        ("done", "vm-web", {"state": "succeeded", "progress": 100.0, "backup_guid": "b-1", "finished_at": now}),
    ):
        names = {"vm-busy": "busy-01", "vm-mail": "mail-01", "vm-erp": "erp-db", "vm-web": "web-01"}
        facts["virtual_machine_name"] = names.get(vm, "a-very-long-name-" * 20)
        facts["plan"] = {"backup_type": "FULL", "destination_label": "Vault A", "priority": 50}
        row = rows.operation(vm, cast.alpha, tasks=(f"t-of-{key}",), **facts)
        rows.task(f"t-of-{key}", vm, cast.alpha, state="RUNNING" if key == "operation" else "FINISHED")
        made[key] = f"/t/alpha/operations/{row.pk}/"
    row = rows.operation(
        "vm-web", cast.alpha, kind="restore", state="succeeded", stage="import", progress=100.0, finished_at=now,
        virtual_machine_name="web-01", restored_name="web-01-restored-k7q2f", restore_point_guid="b-1",
        restored_vm_guid="vm-uni", plan={"target_label": "Production, Warsaw 1", "code": "k7q2f"},
    )  # fmt: skip
    made["target"] = str(target.pk)
    made["restored"] = f"/t/alpha/operations/{row.pk}/"
    for number in range(3):
        rows.machine(f"vm-lab-{number}", None, name=f"lab-{number}", project_name="Laboratory", cluster_name="nova")
    weekly = {**NIGHTLY, "backup_type": "FULL", "days_of_week": ["SUNDAY"], "zone": "America/St_Johns"}
    made["policy"] = (
        f"/t/alpha/policies/{kept(cast.alpha, 'Gold daily', 'vm-web', 'vm-erp', schedules=(NIGHTLY, weekly)).pk}/"
    )
    differing = kept(cast.alpha, "Every-hour-of-every-day-" * 5, "vm-long", differs_since=now)
    held_differently(differing, priority=80)
    made["differing"] = f"/t/alpha/policies/{differing.pk}/"
    kept(cast.alpha, "Theirs", attached=True)
    in_vplus("p-Theirs-alpha", name="Provider's own, attached", tenant=cast.alpha)
    in_vplus("p-nobody", name="Provider's own", vm_guids=["vm-lab-0"])
    kept(cast.alpha, "Bronze", "vm-new", paused=True)
    return House(**made, revoke=f"/t/alpha/tokens/{tokens_of(cast.oscar)}/revoke/")


def tokens_of(member: Member) -> str:
    """Make tokens of which one has ended and one is narrowed; return the id of that one."""
    for _ in range(3):
        member.token("read", "backup")
    with every_tenant("test"):
        ended, never, narrowed = Token.objects.filter(owner_name=member.email).order_by("created_at")
        Token.objects.filter(pk=ended.pk).update(revoked_at=timezone.now())
        Token.objects.filter(pk=never.pk).update(scopes=[], name="a-very-long-name-" * 5)
        Token.objects.filter(pk=narrowed.pk).update(expires_at=timezone.now() + timedelta(days=30))
    return str(narrowed.pk)


@pytest.fixture
def working(mirrored: Bridge) -> Bridge:
    """vPlus at its poorest behind the pages; a test moves its time and does the workers' deeds."""
    return mirrored
