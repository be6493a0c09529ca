"""The client against the stand-in vPlus over HTTPS: whole conversations, in each richness, with faults."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from vplus_bridge.client import (
    Endpoint,
    Forbidden,
    NotFound,
    Outcome,
    OutcomeKind,
    VplusClient,
    WriteRequest,
    cancel_queued_request,
    cancel_running_request,
    export_request,
)
from vplus_simulator.faults import Fault
from vplus_simulator.http import SimulatorServer
from vplus_simulator.options import ServerOptions

RICHNESS = ["poorest", "plain", "generous"]


@pytest.fixture
def simulator() -> Iterator[SimulatorServer]:
    with SimulatorServer(ServerOptions(stepped=True)) as running:
        yield running


@pytest.fixture
def client(simulator: SimulatorServer) -> Iterator[VplusClient]:
    connected = VplusClient(
        Endpoint(
            url=simulator.url,
            username="portal",
            password="portal",
            ca_bundle=str(simulator.ca_path),
            page_size=3,
            write_total_seconds=2,
        ),
        sleep=lambda _seconds: None,
    )
    yield connected
    connected.sign_out()


def export(simulator: SimulatorServer, vm_guid: str = "vm-alpha-web", *, later_ms: int = 0) -> WriteRequest:
    start = simulator.clock.now() + later_ms
    return export_request(
        vm_guid=vm_guid,
        destination_guid="bd-main",
        backup_type="FULL",
        priority=50,
        window_start_ms=start,
        window_end_ms=start + 3_600_000,
    )


def send(client: VplusClient, request: WriteRequest) -> Outcome:
    with client.open_write() as channel:
        return channel.send(request)


def exports(simulator: SimulatorServer) -> int:
    return sum(entry.call == "POST /tasks/export" for entry in simulator.control.journal())


def tasks_of(client: VplusClient, vm_guid: str) -> list[str]:
    return [task.guid for page in client.tasks(vm_guid=vm_guid) for task in page if task.vm_guid == vm_guid]


@pytest.mark.parametrize("richness", RICHNESS)
def test_the_inventory_is_whole(simulator: SimulatorServer, client: VplusClient, richness: str) -> None:
    simulator.control.change(richness=richness)
    listing = client.virtual_machines()
    machines = [vm for page in listing for vm in page]
    assert {vm.guid for vm in machines} == {vm.guid for vm in simulator.control.objects("vms")}
    assert listing.completeness.complete
    assert listing.completeness.paging_ignored is (richness == "poorest")
    one = client.virtual_machine(machines[0].guid)
    assert (one.guid, one.uuid, one.name) == (machines[0].guid, machines[0].uuid, machines[0].name)


@pytest.mark.parametrize("richness", RICHNESS)
def test_every_listing_can_be_read(simulator: SimulatorServer, client: VplusClient, richness: str) -> None:
    simulator.control.change(richness=richness)
    for read in (
        client.tasks,
        client.backup_destinations,
        client.hypervisors,
        client.hypervisor_managers,
        client.hypervisor_clusters,
        client.hypervisor_storages,
        client.policies,
        client.schedules,
        lambda: client.rules("p-unknown"),
    ):
        listing = read()
        list(listing)
        assert listing.completeness.complete, read
    for vm in simulator.control.objects("vms"):
        history = client.backups(vm.guid)
        list(history)
        assert history.completeness.complete


@pytest.mark.parametrize("richness", RICHNESS)
def test_policies_rules_and_schedules_are_read_to_be_changed(
    simulator: SimulatorServer, client: VplusClient, richness: str
) -> None:
    simulator.control.change(richness=richness)
    policies = [policy for page in client.policies() for policy in page]
    assert policies
    for brief in policies:
        policy = client.policy_detail(brief.guid)
        assert (policy.raw["guid"], policy.record.name) == (brief.guid, brief.name)
        assert policy.record.vm_guids is not None
        assert policy.rules
        rule = client.rule_detail(policy.rules[0].record.guid)
        assert rule.record.name == policy.rules[0].record.name
        told: dict[str, Any] = {"priority": 50, "auto_remove_non_present": False, "tenant_label": "label"}
        assert client.dialect.update_policy_request(policy.raw, **told).path.endswith(brief.guid)
    schedules = [schedule for page in client.schedules(type="VM_BACKUP") for schedule in page]
    assert schedules
    for one in schedules:
        schedule = client.schedule_detail(one.guid)
        assert schedule.record.execution_type in {"TIME", "INTERVAL"}
        assert schedule.record.days_of_week
        assert client.dialect.update_schedule_request(schedule.raw, tenant_label="label").path.endswith(one.guid)


def test_where_backups_can_go_to_and_come_from(simulator: SimulatorServer, client: VplusClient) -> None:
    usable = client.destinations_usable_for(["vm-alpha-web", "vm-alpha-db"])
    assert "bd-main" in [destination.guid for destination in usable]
    with pytest.raises(NotFound):
        client.destinations_usable_for(["no-such-vm"])
    backup = next(backup for page in client.backups("vm-alpha-web") for backup in page)
    managers = [manager for page in client.hypervisor_managers(for_backup=backup.guid) for manager in page]
    everywhere = [manager for page in client.hypervisor_managers() for manager in page]
    assert 0 < len(managers) <= len(everywhere)


def test_what_the_account_may_not_read_is_forbidden(client: VplusClient) -> None:
    with pytest.raises(Forbidden):
        list(client.projects())


def test_an_unknown_task_is_not_found(client: VplusClient) -> None:
    with pytest.raises(NotFound):
        client.task("no-such-task")


@pytest.mark.parametrize("shape", ["one", "array", "batch"])
def test_an_export_is_accepted_and_followed_to_its_backup(
    simulator: SimulatorServer, client: VplusClient, shape: str
) -> None:
    simulator.control.change(task_response=shape, richness="generous")
    before = {backup.guid for page in client.backups("vm-alpha-web") for backup in page}
    outcome = send(client, export(simulator))
    assert outcome.kind is OutcomeKind.ACCEPTED
    task = outcome.tasks[0]
    simulator.control.step(120)
    assert client.task(task.guid).state == "FINISHED"
    new = [backup for page in client.backups("vm-alpha-web") for backup in page if backup.guid not in before]
    assert [(backup.status, backup.type) for backup in new] == [("SUCCESS", "FULL")]
    assert exports(simulator) == 1


def test_an_empty_answer_is_uncertain_and_the_task_can_be_found(
    simulator: SimulatorServer, client: VplusClient
) -> None:
    before = tasks_of(client, "vm-alpha-web")
    request = export(simulator)
    outcome = send(client, request)
    assert (outcome.kind, outcome.tasks) == (OutcomeKind.UNCERTAIN, ())
    new = [guid for guid in tasks_of(client, "vm-alpha-web") if guid not in before]
    assert len(new) == 1


@pytest.mark.parametrize(
    ("fault", "processed"),
    [
        (Fault(kind="cut", phase="before", path="/tasks/export", count=1), 0),
        (Fault(kind="cut", phase="after", path="/tasks/export", count=1), 1),
        (Fault(kind="cut", phase="answering", path="/tasks/export", count=1, bytes=12), 1),
        (Fault(kind="html", phase="before", path="/tasks/export", count=1, status=200), 0),
        (Fault(kind="html", phase="after", path="/tasks/export", count=1, status=502), 1),
        (Fault(kind="status", phase="after", path="/tasks/export", count=1, status=500), 1),
        (Fault(kind="latency", phase="before", path="/tasks/export", count=1, seconds=3), 1),
        (Fault(kind="latency", phase="after", path="/tasks/export", count=1, seconds=3), 1),
    ],
    ids=lambda value: f"{value.kind} {value.phase}" if isinstance(value, Fault) else None,
)
def test_each_fault_is_uncertain_whether_it_ran_or_not(
    simulator: SimulatorServer, client: VplusClient, fault: Fault, processed: int
) -> None:
    client.ensure_session()
    simulator.control.change(task_response="one")
    simulator.control.arm(fault)
    assert send(client, export(simulator)).kind is OutcomeKind.UNCERTAIN
    until(lambda: exports(simulator) == processed)


def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    """Wait for something that the server does on its own time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


@pytest.mark.parametrize("status", [400, 403, 404, 409])
def test_a_refusal_is_a_refusal(simulator: SimulatorServer, client: VplusClient, status: int) -> None:
    simulator.control.arm(Fault(kind="status", path="/tasks/export", count=1, status=status))
    assert send(client, export(simulator)).kind is OutcomeKind.REFUSED
    assert exports(simulator) == 0


def test_a_wrong_export_is_refused_with_the_servers_words(simulator: SimulatorServer, client: VplusClient) -> None:
    start = simulator.clock.now()
    wrong = export_request(
        vm_guid="vm-alpha-web",
        destination_guid="bd-main",
        backup_type="FULL",
        priority=50,
        window_start_ms=start,
        window_end_ms=start - 1,
    )
    outcome = send(client, wrong)
    assert (outcome.kind, outcome.status) == (OutcomeKind.REFUSED, 400)
    assert outcome.vendor_text


def test_an_expired_session_costs_a_read_nothing_and_a_write_one_attempt(
    simulator: SimulatorServer, client: VplusClient
) -> None:
    list(client.virtual_machines())
    simulator.control.end_sessions()
    list(client.virtual_machines())
    simulator.control.end_sessions()
    outcome = send(client, export(simulator))
    assert (outcome.kind, outcome.needs_sign_in) == (OutcomeKind.NOT_ACCEPTED, True)
    assert exports(simulator) == 0
    send(client, export(simulator))
    assert exports(simulator) == 1


def test_a_running_and_a_queued_task_are_cancelled(simulator: SimulatorServer, client: VplusClient) -> None:
    simulator.control.change(task_response="one")
    running = send(client, export(simulator)).tasks[0].guid
    simulator.control.step(5)
    assert client.task(running).state == "RUNNING"
    assert send(client, cancel_running_request(running)).kind is OutcomeKind.ACCEPTED
    assert client.task(running).state == "CANCELLED"
    queued = send(client, export(simulator, "vm-alpha-db", later_ms=600_000)).tasks[0].guid
    assert client.task(queued).state == "QUEUED"
    assert send(client, cancel_queued_request(queued)).kind is OutcomeKind.ACCEPTED
    with pytest.raises(NotFound):
        client.task(queued)


def test_a_server_that_cannot_cancel_refuses(simulator: SimulatorServer, client: VplusClient) -> None:
    simulator.control.change(task_response="one", cancel="missing")
    task = send(client, export(simulator)).tasks[0].guid
    simulator.control.step(5)
    outcome = send(client, cancel_running_request(task))
    assert (outcome.kind, outcome.status) == (OutcomeKind.REFUSED, 405)


def test_reads_survive_faults_that_pass(simulator: SimulatorServer, client: VplusClient) -> None:
    simulator.control.change(richness="generous")
    for fault in (
        Fault(kind="cut", phase="before", path="/virtual-machines", count=1),
        Fault(kind="cut", phase="answering", path="/virtual-machines", count=1, bytes=300),
    ):
        simulator.control.arm(fault)
    listing = client.virtual_machines()
    assert sum(len(page) for page in listing) == len(simulator.control.objects("vms"))
    assert listing.completeness.complete


def test_two_cookies_are_both_kept(simulator: SimulatorServer, client: VplusClient) -> None:
    simulator.control.change(second_cookie=True)
    list(client.virtual_machines())
    send(client, export(simulator))
    assert exports(simulator) == 1
