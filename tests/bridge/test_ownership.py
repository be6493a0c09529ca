"""Whose a machine and its history are: the provider's word, else its project, else nobody's; and what a move splits."""

import json
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from tenants import entrance
from tenants.models import AuditEvent, Tenant
from tenants.refusals import Invalid
from tenants.scope import every_tenant, in_tenant
from tests.bridge.conftest import Teller
from tests.bridge.scenes import (
    WEB,
    ask,
    backup_row,
    backups,
    machine,
    operation,
    sent_operation,
    task_row,
    tasks,
    vm_row,
)
from tests.conftest import Bridge, Cast, StartSimulator, assign_everything
from vplus_bridge import jobs
from vplus_bridge.mirror.infrastructure import PROJECTS, read_infrastructure
from vplus_bridge.mirror.models import Project, VirtualMachine
from vplus_bridge.mirror.read_state import state_of
from vplus_bridge.models import Assignment, Attempt, Backup, ChainTask, Operation, OwnershipChange, Step, Task
from vplus_bridge.ownership.assignment import assign, attribute, attribute_backups, attribute_tasks
from vplus_bridge.ownership.by_provider import assign_to
from vplus_bridge.protection import verdict
from vplus_simulator.faults import Fault

NOW = timezone.now()


def give(tenant: Tenant, *guids: str, **how: Any) -> list[str]:
    with every_tenant("test"):
        return assign(tenant_id=tenant.pk, vm_guids=list(guids) or [WEB], by="Paula", **how)


def decide() -> list[str]:
    with every_tenant("test"):
        return attribute()


def changes(guid: str = WEB) -> list[tuple[Any, Any]]:
    with every_tenant("test"):
        rows = OwnershipChange.objects.filter(virtual_machine_guid=guid).order_by("id")
        return [(row.from_tenant_id, row.to_tenant_id) for row in rows]


def at(moment: Any) -> None:
    """Let the last change of ownership have happened at this moment."""
    with every_tenant("test"):
        last = OwnershipChange.objects.order_by("-id").first()
        OwnershipChange.objects.filter(pk=last.pk).update(at=moment)


def test_a_project_that_a_tenant_names_makes_its_machines_the_tenants(
    cast: Cast, start_simulator: StartSimulator
) -> None:
    bridge = Bridge(start_simulator(richness="plain"))
    jobs.inventory_once(bridge.client)
    assert machine().tenant_id is None, "the uuid is not known before the projects were read"
    read_infrastructure(bridge.client)
    assert WEB in decide()
    owners = {guid: machine(guid).tenant_id for guid in (WEB, "vm-alpha-gone", "vm-beta-web", "vm-gamma-erp", "vm-lab")}
    assert owners == {
        WEB: cast.alpha.pk,
        "vm-alpha-gone": cast.alpha.pk,
        "vm-beta-web": cast.beta.pk,
        "vm-gamma-erp": None,
        "vm-lab": None,
    }
    assert decide() == [], "what is right is not written again"


def test_a_project_whose_id_is_not_told_once_keeps_its_machines(cast: Cast, vplus: Teller) -> None:
    vm_row(project_guid="p-1")
    for record in ({"guid": "p-1", "uuid": "alpha-uuid", "name": "Alpha"}, {"guid": "p-1", "name": "Alpha, anew"}):
        vplus.raw("GET /projects", json.dumps([record]).encode())
        read_infrastructure(vplus.client)
        decide()
        assert machine().tenant_id == cast.alpha.pk
    with every_tenant("test"):
        assert [(row.uuid, row.name) for row in Project.objects.all()] == [("alpha-uuid", "Alpha, anew")]


def test_projects_that_may_not_be_read_are_a_gap(cast: Cast, start_simulator: StartSimulator) -> None:
    bridge = Bridge(start_simulator(richness="plain", projects="forbidden"))
    read_infrastructure(bridge.client)
    assert (state_of(PROJECTS).problem, state_of("managers").problem) == ("forbidden", "")
    jobs.inventory_once(bridge.client)
    assert machine().tenant_id is None
    bridge.simulator.control.change(projects="listed")
    read_infrastructure(bridge.client)
    assert state_of(PROJECTS).problem == ""
    decide()
    assert machine().tenant_id == cast.alpha.pk


def test_the_providers_word_beats_the_project(cast: Cast, start_simulator: StartSimulator) -> None:
    bridge = Bridge(start_simulator(richness="plain"))
    bridge.sync()
    assert machine().tenant_id == cast.alpha.pk
    assert give(cast.beta) == [WEB]
    assert machine().tenant_id == cast.beta.pk
    jobs.inventory_once(bridge.client)
    assert decide() == []
    assert machine().tenant_id == cast.beta.pk
    with every_tenant("test"):
        Assignment.objects.all().delete()
    assert decide() == [WEB]
    assert machine().tenant_id == cast.alpha.pk


def test_a_machine_that_moves_to_another_project_moves_to_its_tenant(
    cast: Cast, start_simulator: StartSimulator
) -> None:
    bridge = Bridge(start_simulator(richness="plain"))
    bridge.sync()
    bridge.simulator.control.move_vm(WEB, "project-beta")
    bridge.simulator.control.sync()
    jobs.inventory_once(bridge.client)
    assert machine().tenant_id == cast.beta.pk
    assert changes() == [(None, cast.alpha.pk), (cast.alpha.pk, cast.beta.pk)]
    assert backups()["backup-web-full"].tenant_id == cast.alpha.pk, "what was made before stays with who had it then"
    with in_tenant(cast.beta.pk):
        assert VirtualMachine.objects.filter(guid=WEB).exists()
        assert not Backup.objects.filter(virtual_machine_guid=WEB).exists()


def test_a_tenant_without_a_project_gets_nothing_by_an_empty_one(cast: Cast) -> None:
    vm_row()
    with every_tenant("test"):
        Project.objects.create(guid="p-1", uuid="")
        VirtualMachine.objects.update(project_guid="p-1")
    assert decide() == [], "gamma names no project, and this one has no uuid"


def test_a_machine_that_is_nobodys_is_seen_by_no_tenant(cast: Cast, bridge: Bridge) -> None:
    bridge.sync()
    for tenant in (cast.alpha, cast.beta, cast.gamma):
        with in_tenant(tenant.pk):
            assert not VirtualMachine.objects.exists()
            assert not Backup.objects.exists()


def test_the_first_owner_gets_all_the_history(cast: Cast) -> None:
    vm_row()
    backup_row("b-1", taken_at=NOW - timedelta(days=300))
    task_row("t-1", state="FINISHED", started_at=NOW - timedelta(days=1))
    assert give(cast.alpha) == [WEB]
    assert backups()["b-1"].tenant_id == cast.alpha.pk
    assert tasks()["t-1"].tenant_id == cast.alpha.pk


def test_a_move_splits_history_at_its_moment(cast: Cast) -> None:
    vm_row()
    give(cast.alpha)
    at(NOW - timedelta(days=10))
    backup_row("b-mine", taken_at=NOW - timedelta(days=5), tenant_id=cast.alpha.pk)
    task_row("t-mine", state="FINISHED", tenant_id=cast.alpha.pk)
    asked = sent_operation(cast.alpha, task="t-mine", state="succeeded")
    give(cast.beta)
    at(NOW - timedelta(days=2))
    # Discovered only now: a history that was read for the first time after the move.
    backup_row("b-before", taken_at=NOW - timedelta(days=3))
    backup_row("b-after", taken_at=NOW - timedelta(days=1))
    backup_row("b-older-than-us", taken_at=NOW - timedelta(days=99))
    task_row("t-before", state="FINISHED", started_at=NOW - timedelta(days=3))
    task_row("t-after", state="FINISHED", first_seen_at=NOW)
    with every_tenant("test"):
        attribute_backups([WEB])
        attribute_tasks([WEB])
        assert Operation.objects.get(pk=asked.pk).tenant_id == cast.alpha.pk
    assert {guid: row.tenant_id for guid, row in backups().items()} == {
        "b-mine": cast.alpha.pk,
        "b-before": cast.alpha.pk,
        "b-older-than-us": cast.alpha.pk,
        "b-after": cast.beta.pk,
    }
    assert {guid: row.tenant_id for guid, row in tasks().items()} == {
        "t-mine": cast.alpha.pk,
        "t-before": cast.alpha.pk,
        "t-after": cast.beta.pk,
    }


def adds_up_to(guid: str = WEB) -> tuple[int, str, Any, Any, Any]:
    """What a machine's row says of its history, which lists, counts and the verdict go by."""
    row = machine(guid)
    return (
        row.restore_point_count,
        row.newest_point_guid,
        row.newest_point_at,
        row.last_backup_size,
        row.last_full_backup_at,
    )


NOTHING = (0, "", None, None, None)


def test_after_a_move_a_row_adds_up_what_its_owner_can_see(cast: Cast, mirrored: Bridge) -> None:
    before = adds_up_to()
    assert before[0] > 0
    give(cast.beta)
    assert adds_up_to() == NOTHING, "neither the points nor their times and sizes are the new owner's"
    with in_tenant(cast.beta.pk):
        assert not Backup.objects.filter(virtual_machine_guid=WEB).exists()
    mirrored.sync()
    with every_tenant("test"):
        VirtualMachine.objects.filter(guid=WEB).update(history_wanted_at=timezone.now())
    jobs.histories_once(mirrored.client, seconds=30)
    assert adds_up_to() == NOTHING, "reading the history again tells no more"
    give(cast.alpha)
    assert adds_up_to() == before


def test_after_a_detour_over_nobody_a_row_adds_up_what_its_owner_can_see(cast: Cast, mirrored: Bridge) -> None:
    with every_tenant("test"):
        Assignment.objects.filter(virtual_machine_guid=WEB).delete()
    assert decide() == [WEB]
    assert adds_up_to()[0] > 0, "what is nobody's is the provider's to see whole"
    give(cast.beta)
    assert adds_up_to() == NOTHING


def test_what_is_handed_over_counts_for_the_new_owner(cast: Cast, mirrored: Bridge) -> None:
    before = adds_up_to()
    give(cast.beta, hand_over=True)
    assert adds_up_to() == before


def test_who_loses_a_machine_reads_of_it_in_the_audit_and_not_who_has_it(cast: Cast, mirrored: Bridge) -> None:
    with every_tenant("test"):
        provider = entrance.provider_of(cast.paula.row)
        assert provider is not None
        assign_to(provider, slug="beta", vm_guids=[WEB, "vm-beta-web", "vm-lab"], hand_over=True)
    with in_tenant(cast.alpha.pk):
        event = AuditEvent.objects.get(action="virtual_machine.take_away")
    assert (event.actor_name, event.object_id, event.detail) == (
        "Paula", WEB, {"virtual_machines": [WEB], "hand_over": True}
    )  # fmt: skip
    with every_tenant("test"):
        call_command("assign_vms", "gamma", WEB)
    with in_tenant(cast.beta.pk):
        taken = AuditEvent.objects.get(action="virtual_machine.take_away")
    assert (taken.via, taken.object_id) == ("command assign_vms", WEB)


def test_nobody_is_protected_by_backups_of_the_owner_before(cast: Cast, mirrored: Bridge) -> None:
    give(cast.beta)
    with every_tenant("test"):
        verdict.judge([WEB])
    row = machine()
    assert (row.protection_status, row.protection_reason) == ("not_protected", "never_backed_up")


def test_a_detour_over_nobody_splits_as_a_move_does(cast: Cast) -> None:
    """Alpha gives it up, later Beta gets it: Alpha's backups, also those that are discovered late, are never Beta's."""
    vm_row()
    give(cast.alpha)
    at(NOW - timedelta(days=10))
    with every_tenant("test"):
        Assignment.objects.all().delete()
    decide()
    at(NOW - timedelta(days=6))
    backup_row("b-alphas", taken_at=NOW - timedelta(days=8))
    with every_tenant("test"):
        attribute_backups([WEB])
    assert backups()["b-alphas"].tenant_id == cast.alpha.pk, "it is its own also while the machine is nobody's"
    give(cast.beta)
    at(NOW - timedelta(days=2))
    backup_row("b-late", taken_at=NOW - timedelta(days=7))
    backup_row("b-nobodys", taken_at=NOW - timedelta(days=4))
    with every_tenant("test"):
        attribute_backups([WEB])
    owners = {guid: row.tenant_id for guid, row in backups().items()}
    assert owners == {"b-alphas": cast.alpha.pk, "b-late": cast.alpha.pk, "b-nobodys": cast.beta.pk}


def test_handing_over_takes_all_the_history_along(cast: Cast) -> None:
    vm_row()
    give(cast.alpha)
    backup_row("b-1", taken_at=NOW - timedelta(days=5), tenant_id=cast.alpha.pk)
    task_row("t-1", state="FINISHED", tenant_id=cast.alpha.pk)
    asked = sent_operation(cast.alpha, task="t-1", state="succeeded")
    other = sent_operation(cast.alpha, task="t-2", state="succeeded", subject="vm-alpha-db")
    give(cast.beta, hand_over=True)
    backup_row("b-late", taken_at=NOW - timedelta(days=7))
    with every_tenant("test"):
        attribute_backups([WEB])
    with in_tenant(cast.beta.pk):
        assert Backup.objects.count() == 2
        assert Task.objects.count() == 1
        assert [row.pk for row in Operation.objects.all()] == [asked.pk]
        assert (Step.objects.count(), Attempt.objects.count(), ChainTask.objects.count()) == (1, 1, 1)
    with in_tenant(cast.alpha.pk):
        assert [row.pk for row in Operation.objects.all()] == [other.pk], "other machines' stay"
        assert not Backup.objects.exists()
    give(cast.gamma)
    at(NOW + timedelta(minutes=1))
    backup_row("b-latest", taken_at=NOW)
    with every_tenant("test"):
        attribute_backups([WEB])
    assert backups()["b-latest"].tenant_id == cast.beta.pk, "a later move splits again"
    assert backups()["b-1"].tenant_id == cast.beta.pk


def test_an_assignment_names_what_is_not_known_and_then_does_nothing(cast: Cast) -> None:
    vm_row()
    with pytest.raises(Invalid) as refusal:
        give(cast.alpha, WEB, "no-such-machine")
    assert "no-such-machine: no such virtual machine" in refusal.value.errors["virtual_machines"][0]
    assert machine().tenant_id is None
    assert changes() == []
    with pytest.raises(Invalid), every_tenant("test"):
        assign(tenant_id=cast.alpha.pk, vm_guids=[], by="Paula")


def test_a_reading_that_began_before_an_assignment_does_not_undo_it(cast: Cast) -> None:
    """Race: the inventory decides whose machines are, and commits after the provider has assigned one otherwise."""
    vm_row(project_guid="p-1")
    with every_tenant("test"):
        Project.objects.create(guid="p-1", uuid="alpha-uuid")
    assigned, tried = threading.Event(), list[list[str]]()

    def inventory() -> None:
        try:
            assigned.wait(30)
            tried.append(decide())
        finally:
            connection.close()

    thread = threading.Thread(target=inventory)
    thread.start()
    with every_tenant("test"):
        assign(tenant_id=cast.beta.pk, vm_guids=[WEB], by="Paula")
        assigned.set()
        thread.join(0.5)  # it has begun, and waits
        assert tried == []
    thread.join(30)
    assert tried == [[]]
    assert machine().tenant_id == cast.beta.pk
    assert changes() == [(None, cast.beta.pk)]


def test_a_machine_that_moved_before_it_was_sent_is_not_backed_up_for_its_old_tenant(
    cast: Cast, mirrored: Bridge
) -> None:
    asked = ask(cast.oscar)
    give(cast.beta)
    mirrored.send()
    assert (operation(asked).state, operation(asked).error_code) == ("failed", "vm_not_yours")
    assert mirrored.simulator.control.journal() == []


def test_an_operation_that_runs_on_over_a_move_stays_its_tenants(cast: Cast, mirrored: Bridge) -> None:
    asked = ask(cast.oscar)
    mirrored.send()
    mirrored.poll()
    give(cast.beta)
    mirrored.run(steps=30)
    done = operation(asked)
    assert (done.state, done.tenant_id) == ("succeeded", cast.alpha.pk)
    with in_tenant(cast.beta.pk):
        assert not Operation.objects.exists()


def test_everything_assigned_belongs_to_its_tenant_alone(cast: Cast, bridge: Bridge) -> None:
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    for owner in bridge.simulator.control.tenants():
        with in_tenant(getattr(cast, owner.slug).pk):
            mine = set(VirtualMachine.objects.values_list("guid", flat=True))
            assert mine == set(owner.vm_guids)
            assert set(Backup.objects.values_list("virtual_machine_guid", flat=True)) <= mine


@pytest.mark.parametrize("status", [403, 404, 500])
def test_one_small_listing_that_cannot_be_read_leaves_the_others_alone(status: int, cast: Cast, bridge: Bridge) -> None:
    bridge.simulator.control.arm(Fault(kind="status", path="/backup-destinations", status=status))
    read_infrastructure(bridge.client)
    assert state_of("destinations").failing_since is not None
    assert state_of("storages").succeeded_at is not None
