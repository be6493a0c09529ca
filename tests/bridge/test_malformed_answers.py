"""Records of every kind that the mirror writes, malformed in any way: never a crash, and good neighbours are written."""

import contextlib
import json
from collections.abc import Callable

import pytest
from django.db.models import Model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenants.scope import every_tenant
from tests.bridge.conftest import Teller
from tests.client.samples import SAMPLES, odd
from vplus_bridge import jobs
from vplus_bridge.client import VplusClient, VplusError
from vplus_bridge.mirror import backups, tasks
from vplus_bridge.mirror.infrastructure import read_infrastructure
from vplus_bridge.mirror.models import (
    Backup,
    BackupDestination,
    InfrastructureItem,
    Project,
    Task,
    VirtualMachine,
    VplusPolicy,
    VplusSchedule,
)
from vplus_bridge.mirror.policies import read_policies, read_policy
from vplus_bridge.ownership.assignment import attribute_backups, attribute_tasks

FEW = settings(
    max_examples=10, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
Read = Callable[[VplusClient], object]
MIRRORED: dict[str, tuple[str, Read, type[Model]]] = {
    "virtual machines": ("/virtual-machines", jobs.inventory_once, VirtualMachine),
    "tasks": ("/tasks", lambda client: tasks.read_all_tasks(client, attribute_tasks), Task),
    "backups": ("/backups", lambda client: backups.read_history(client, "vm-good", attribute_backups), Backup),
    "backup destinations": ("/backup-destinations", read_infrastructure, BackupDestination),
    "projects": ("/projects", read_infrastructure, Project),
    "infrastructure": ("/hypervisors", read_infrastructure, InfrastructureItem),
    "policies": ("/policies/vm-backup", read_policies, VplusPolicy),
    "schedules": ("/schedules", read_policies, VplusSchedule),
}
"""Kind -> where vPlus lists it, how it is read, and where it is written."""
LISTS = (
    "/projects",
    "/backup-destinations",
    "/hypervisor-managers",
    "/hypervisors",
    "/hypervisor-clusters",
    "/hypervisor-storages",
    "/policies/vm-backup",
    "/schedules",
)


def tell(vplus: Teller, path: str, content: bytes) -> None:
    for empty in LISTS:
        vplus.raw(f"GET {empty}", b"[]")
    vplus.raw(f"GET {path}", content)


@pytest.mark.parametrize("kind", MIRRORED)
@FEW
@given(data=st.data())
def test_an_odd_record_is_written_or_left_out(kind: str, data: st.DataObject, database: None, vplus: Teller) -> None:
    path, read, model = MIRRORED[kind]
    good = SAMPLES[kind] | {"guid": "good"}
    with every_tenant("test"):
        model._default_manager.all().delete()
        VirtualMachine.objects.get_or_create(guid="vm-good", defaults={"digest": b"", "present": True, "name": "good"})
    if kind == "backups":
        good |= {"protectedEntity": {"guid": "vm-good"}}
    tell(vplus, path, json.dumps([data.draw(odd(kind)), good]).encode())
    read(vplus.client)
    with every_tenant("test"):
        assert model._default_manager.filter(guid="good").exists()


@FEW
@given(data=st.data())
def test_an_odd_detail_of_a_policy_is_written_or_a_problem(data: st.DataObject, database: None, vplus: Teller) -> None:
    """Its members and rules come with the detail alone."""
    vplus.raw("GET /policies/vm-backup/good", json.dumps(data.draw(odd("policies"))).encode())
    with every_tenant("test"):
        VplusPolicy.objects.get_or_create(guid="good", defaults={"name": "good", "digest": b""})
    with contextlib.suppress(VplusError):
        read_policy(vplus.client, "good")


@pytest.mark.parametrize("kind", MIRRORED)
@FEW
@given(data=st.data())
def test_broken_text_is_a_problem_that_is_told(kind: str, data: st.DataObject, database: None, vplus: Teller) -> None:
    path, read, _ = MIRRORED[kind]
    content = json.dumps([SAMPLES[kind]] * 2).encode()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 3)))
    tell(vplus, path, content[:start] + data.draw(st.binary(max_size=4)) + content[end:])
    with contextlib.suppress(VplusError):
        read(vplus.client)


def test_every_kind_that_the_mirror_writes_is_here() -> None:
    """A record that the mirror will write one day is listed here then, not forgotten."""
    not_mirrored = {"rules", "restore jobs"}
    assert MIRRORED.keys() | not_mirrored == SAMPLES.keys()
