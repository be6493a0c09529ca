"""Whose a restored machine is: on evidence alone, never another tenant's, and the rest waits for the provider."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from tenants.scope import every_tenant
from tests.bridge.scenes import WEB, ask_restore, machine, machines, operation, task_row, vm_row
from tests.bridge.test_attention import provider_of
from tests.conftest import Bridge, Cast, StartSimulator, assign_everything
from vplus_bridge.models import Assignment, Attempt, ChainTask, Operation, Step
from vplus_bridge.operations.new_machines import link_new_machines, suggestions
from vplus_bridge.ownership.restored import ALPHABET, carries, code_for, default_name

SENT = timezone.now() - timedelta(minutes=10)
SEEN = SENT + timedelta(minutes=5)
NAME = "web-01-restored-k7q2f"


@given(st.uuids(), st.text(max_size=300), st.integers(0, 1000), st.sampled_from([80, 255]))
@settings(max_examples=50, deadline=None)
def test_a_default_name_carries_its_code_and_fits(tenant: Any, vm_name: str, number: int, longest: int) -> None:
    code = code_for(tenant, "vm-1", number)
    name = default_name(vm_name, code, longest=longest)
    assert len(code) == 5
    assert set(code) <= set(ALPHABET)
    assert len(name) <= longest
    assert carries(name, code)
    assert code_for(uuid4(), "vm-1", number) != code, "another tenant's is another"


@pytest.mark.parametrize(
    ("name", "carried"),
    [
        ("web-k7q2f", True), ("k7q2f", True), ("web (k7q2f) new", True), ("webk7q2f", False), ("web-k7q2f1", False),
        ("web-K7Q2F", False), ("", False),
    ],
)  # fmt: skip
def test_a_code_counts_only_when_it_stands_apart(name: str, carried: bool) -> None:
    assert carries(name, "k7q2f") is carried
    assert not carries(name, "")


def restored(tenant: Any, name: str = NAME, *, code: str = "k7q2f", named: str = WEB, **facts: Any) -> Operation:
    """A restore that is done; its IMPORT names the source as its destination, as servers do, unless told otherwise."""
    usual: dict[str, Any] = {
        "kind": "restore",
        "state": "succeeded",
        "subject": WEB,
        "virtual_machine_guid": WEB,
        "requested_by_id": tenant.pk,
        "requested_by_name": "Oscar",
        "send_until": timezone.now(),
        "finished_at": SENT + timedelta(minutes=4),
        "restored_name": name,
        "plan": {"code": code, "manager_guid": "hvm-1"},
    }
    with every_tenant("test"):
        row = Operation.objects.create(tenant=tenant, **{**usual, **facts})
        step = Step.objects.create(tenant=tenant, operation=row, position=1, action="restore")
        attempt = Attempt.objects.create(
            tenant=tenant, step=step, sent_at=SENT, outcome="accepted", task_guid=f"restore-{row.pk}"
        )
        ChainTask.objects.create(
            tenant=tenant, attempt=attempt, task_guid=f"import-{row.pk}", stage="import", linked_by="order"
        )
    task_row(f"import-{row.pk}", "IMPORT", "FINISHED", destination_vm_guid=named)
    return row


def looked(row: Operation) -> str:
    """Look for new machines; return the one that this restore made, or nothing."""
    with every_tenant("test"):
        link_new_machines()
        return Operation.objects.get(pk=row.pk).restored_vm_guid


def owner(guid: str = "vm-new") -> Any:
    return machine(guid).tenant_id


def new_machine(name: str = NAME, guid: str = "vm-new", **facts: Any) -> None:
    vm_row(guid, name=name, first_seen_at=facts.pop("first_seen_at", SEEN), **facts)


def test_a_never_seen_machine_of_exactly_that_name_is_the_tenants(cast: Cast) -> None:
    row = restored(cast.alpha)
    new_machine()
    assert (looked(row), owner()) == ("vm-new", cast.alpha.pk)
    with every_tenant("test"):
        assert Assignment.objects.get().source == "restored"


@pytest.mark.parametrize(
    "facts",
    [
        {"name": NAME.upper()},
        {"name": NAME + "-2"},
        {"first_seen_at": SENT - timedelta(hours=1)},
        {"manager_guid": "hvm-2"},
    ],
)
def test_what_something_contradicts_waits_for_the_provider(facts: dict[str, Any], cast: Cast) -> None:
    row = restored(cast.alpha)
    new_machine(**facts)
    assert (looked(row), owner()) == ("", None)


def test_a_platform_id_that_was_known_before_is_no_new_machine(cast: Cast) -> None:
    row = restored(cast.alpha)
    vm_row("vm-old", uuid="uuid-1", first_seen_at=SENT - timedelta(days=1))
    new_machine(uuid="uuid-1")
    assert (looked(row), owner()) == ("", None)


def test_two_new_machines_of_one_name_wait_for_the_provider(cast: Cast) -> None:
    row = restored(cast.alpha)
    new_machine()
    new_machine(guid="vm-other")
    assert (looked(row), owner(), owner("vm-other")) == ("", None, None)


def test_a_typed_name_without_the_code_waits_with_a_suggestion(cast: Cast) -> None:
    row = restored(cast.alpha, "web-02", code="")
    new_machine("web-02")
    assert (looked(row), owner()) == ("", None)
    with every_tenant("test"):
        assert {
            guid: [op.pk for op in found] for guid, found in suggestions(provider_of(cast.paula), ["vm-new"]).items()
        } == {"vm-new": [row.pk]}
        Assignment.objects.create(
            tenant=cast.alpha, virtual_machine_guid="vm-new", source="provider", assigned_by="Paula"
        )
        machines()["vm-new"].__class__.objects.filter(guid="vm-new").update(tenant=cast.alpha)
    assert looked(row) == "vm-new", "once the provider has decided, it is linked"


def test_two_tenants_that_chose_one_name_get_nothing_by_it(cast: Cast) -> None:
    """Beta typed the very name that the portal proposed to Alpha: the machine could be either's."""
    ours, theirs = restored(cast.alpha), restored(cast.beta, code="", subject="vm-b", virtual_machine_guid="vm-b")
    new_machine()
    assert (looked(ours), looked(theirs), owner()) == ("", "", None)
    with every_tenant("test"):
        assert {op.pk for op in suggestions(provider_of(cast.paula), ["vm-new"])["vm-new"]} == {ours.pk, theirs.pk}


@pytest.mark.parametrize("state", ["running", "needs_attention", "failed"])
def test_a_restore_of_another_tenant_that_may_have_made_it_is_a_rival(state: str, cast: Cast) -> None:
    ours = restored(cast.alpha)
    restored(cast.beta, code="", subject="vm-b", virtual_machine_guid="vm-b", state=state, finished_at=None)
    new_machine()
    assert (looked(ours), owner()) == ("", None)


def test_of_two_restores_of_one_tenant_it_is_the_tenants_but_nobody_says_whose(cast: Cast) -> None:
    first, second = restored(cast.alpha), restored(cast.alpha)
    new_machine()
    assert (looked(first), looked(second), owner()) == ("", "", cast.alpha.pk)


def test_another_tenants_machine_is_left_alone(cast: Cast) -> None:
    row = restored(cast.alpha, named="vm-new")
    new_machine(tenant_id=cast.beta.pk)
    assert (looked(row), owner()) == ("", cast.beta.pk)


def test_a_machine_that_the_import_names_needs_no_code(cast: Cast) -> None:
    row = restored(cast.alpha, "web-02", code="", named="vm-new")
    new_machine("whatever")
    assert (looked(row), owner()) == ("vm-new", cast.alpha.pk)


def test_an_import_that_names_a_machine_of_before_proves_nothing(cast: Cast) -> None:
    row = restored(cast.alpha, "web-02", code="", named="vm-old")
    vm_row("vm-old", first_seen_at=SENT - timedelta(days=1))
    assert (looked(row), owner("vm-old")) == ("", None)


def test_a_machine_that_two_restores_name_is_nobodys(cast: Cast) -> None:
    first = restored(cast.alpha, "a", code="", named="vm-new")
    second = restored(cast.beta, "b", code="", named="vm-new", subject="vm-b", virtual_machine_guid="vm-b")
    new_machine("c")
    assert (looked(first), looked(second), owner()) == ("", "", None)


def test_one_that_is_linked_already_is_no_other_restores(cast: Cast) -> None:
    restored(cast.alpha, restored_vm_guid="vm-new")
    second = restored(cast.alpha)
    new_machine(tenant_id=cast.alpha.pk)
    assert looked(second) == ""


def test_an_active_restore_claims_nothing(cast: Cast) -> None:
    row = restored(cast.alpha, state="running", finished_at=None)
    new_machine()
    assert (looked(row), owner()) == ("", None)


# The whole way.


def test_two_tenants_restore_under_one_name_and_neither_gets_the_others(cast: Cast, mirrored: Bridge) -> None:
    before = set(machines())
    ours = ask_restore(cast.oscar)
    name = operation(ours).restored_name
    theirs = ask_restore(cast.mallory, "backup-beta-full", restored_name=name)
    mirrored.send()
    mirrored.run(steps=20)
    assert {operation(ours).state, operation(theirs).state} == {"succeeded"}
    mirrored.simulator.control.sync()
    mirrored.sync()
    new = sorted(set(machines()) - before)
    assert len(new) == 2
    assert [owner(guid) for guid in new] == [None, None], "on the poorest server nothing tells them apart"
    assert (operation(ours).restored_vm_guid, operation(theirs).restored_vm_guid) == ("", "")


def test_two_tenants_of_one_name_are_told_apart_by_projects_where_a_plain_server_tells_them(
    cast: Cast, start_simulator: StartSimulator
) -> None:
    bridge = Bridge(start_simulator(richness="plain"))
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    before = set(machines())
    ask_restore(cast.oscar, restored_name="twice")
    ask_restore(cast.mallory, "backup-beta-full", restored_name="twice")
    bridge.send()
    bridge.run(steps=20)
    bridge.simulator.control.sync()
    bridge.sync()
    new = sorted(set(machines()) - before)
    by_project = {machine(guid).project_guid: owner(guid) for guid in new}
    assert by_project == {"project-alpha": cast.alpha.pk, "project-beta": cast.beta.pk}


def test_an_import_that_names_the_new_machine_where_a_generous_server_does_so(
    cast: Cast, start_simulator: StartSimulator
) -> None:
    bridge = Bridge(start_simulator(richness="generous", import_names="restored", projects="forbidden"))
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    before = set(machines())
    asked = ask_restore(cast.oscar, restored_name="typed by hand")
    bridge.send()
    bridge.run(steps=20)
    bridge.simulator.control.sync()
    bridge.sync()
    [new] = sorted(set(machines()) - before)
    assert operation(asked).restored_vm_guid == new
    assert owner(new) == cast.alpha.pk
