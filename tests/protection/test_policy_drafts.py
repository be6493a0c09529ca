"""What can be wrong with a draft: each said by its field, with what works, and nothing begun."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import time
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from tenants.refusals import Invalid, NotAllowed, NotVisible, WrongState
from tenants.scope import every_tenant, in_tenant
from tests.bridge.policy_scenes import DRAFT, HOURLY, NIGHTLY, asked_to_create, draft
from tests.bridge.scenes import vm_row
from tests.conftest import Cast, Member
from vplus_bridge.models import AllowedDestination, Operation, Policy, PolicyMember, Step
from vplus_bridge.protection.drafts import PolicyDraft, as_json, of_json
from vplus_bridge.protection.request_policy import request_policy_change, request_policy_delete

WEB, DB, NEW = "vm-alpha-web", "vm-alpha-db", "vm-alpha-new"
ALL_DAYS = HOURLY.days_of_week


@pytest.fixture
def world(cast: Cast) -> Cast:
    """Alpha has three machines and one destination; Beta has one machine."""
    for guid in (WEB, DB, NEW):
        vm_row(guid, tenant=cast.alpha)
    vm_row("vm-beta-web", tenant=cast.beta)
    with every_tenant("test"):
        AllowedDestination.objects.create(tenant=cast.alpha, destination_guid="bd-main", label="Vault A")
    return cast


def kept_policy(cast: Cast, name: str, *machines: str, **facts: Any) -> Policy:
    """A policy that is there, as an operation would have left it, but for its schedules."""
    with every_tenant("test"):
        row = Policy.objects.create(
            tenant=cast.alpha,
            name=name,
            state="kept",
            vplus_guid=f"guid-{name}",
            wire_name=f"wire-{name}",
            rule_guid=f"rule-{name}",
            destination_guid="bd-main",
            **facts,
        )
        for guid in machines:
            PolicyMember.objects.create(tenant=cast.alpha, policy=row, virtual_machine_guid=guid)
    return row


def refused(member: Member, wanted: PolicyDraft, kind: type[Any] = Invalid) -> dict[str, list[str]]:
    with pytest.raises(kind) as caught:
        asked_to_create(member, wanted)
    with every_tenant("test"):
        assert not Operation.objects.exists()
        assert not Step.objects.exists()
        assert not Policy.objects.filter(state="making").exists()
    errors: dict[str, list[str]] = caught.value.errors
    return errors


SCHEDULES: list[tuple[Any, str, str]] = [
    (replace(NIGHTLY, days_of_week=()), "days_of_week", "day"),
    (replace(NIGHTLY, days_of_week=("FUNDAY",)), "days_of_week", "MONDAY"),
    (replace(NIGHTLY, time_of_day=None), "time_of_day", "02:00"),
    (replace(NIGHTLY, time_of_day=time(2, 0, 30)), "time_of_day", "seconds"),
    (replace(NIGHTLY, zone="Europe/Atlantis"), "zone", ""),
    (replace(NIGHTLY, start_window_minutes=1), "start_window_minutes", "5 minutes"),
    (replace(NIGHTLY, start_window_minutes=21_600_000), "start_window_minutes", "20 hours"),
    (replace(NIGHTLY, backup_type="WHOLE"), "backup_type", "FULL"),
    (replace(NIGHTLY, months=("FEBRARY",)), "months", "FEBRUARY"),
    (replace(NIGHTLY, occurrences=("FIFTH",)), "occurrences", "Choose last"),
    (replace(HOURLY, end=time(7, 0)), "end", "07:00"),
    (replace(HOURLY, frequency_minutes=None), "frequency_minutes", "15"),
    (replace(HOURLY, frequency_minutes=1), "frequency_minutes", "15"),
    (replace(HOURLY, frequency_minutes=1200), "frequency_minutes", "second time"),
]


@pytest.mark.parametrize(("schedule", "field", "word"), SCHEDULES)
def test_a_schedule_that_cannot_be_is_refused_with_field_and_remedy(
    schedule: Any, field: str, word: str, world: Cast
) -> None:
    errors = refused(world.alice, draft(schedules=(NIGHTLY, schedule)))
    assert list(errors) == [f"schedules.1.{field}"]
    assert word in errors[f"schedules.1.{field}"][0]


POLICIES: list[tuple[dict[str, Any], str, str]] = [
    ({"name": "  "}, "name", "name"),
    ({"name": "x" * 121}, "name", "120"),
    ({"priority": 101}, "priority", "0 to 100"),
    ({"virtual_machines": ()}, "virtual_machines", "Choose at least one"),
    ({"schedules": ()}, "schedules", "Add one"),
    ({"destination": "bd-beta"}, "destination", "Vault A (bd-main)"),
]


@pytest.mark.parametrize(("members", "field", "word"), POLICIES)
def test_a_policy_that_cannot_be_is_refused_with_field_and_remedy(
    members: dict[str, Any], field: str, word: str, world: Cast
) -> None:
    errors = refused(world.alice, draft(**members))
    assert list(errors) == [field]
    assert word in errors[field][0]


def test_all_that_is_wrong_is_said_at_once(world: Cast) -> None:
    bad = draft(name="", priority=-1, schedules=(replace(NIGHTLY, days_of_week=()),))
    assert set(refused(world.alice, bad)) == {"name", "priority", "schedules.0.days_of_week"}


def test_a_time_that_needs_too_many_schedules_is_refused_with_times_that_work(world: Cast) -> None:
    hard = replace(NIGHTLY, zone="Asia/Kathmandu", occurrences=("FIRST",), days_of_week=ALL_DAYS)
    texts = refused(world.alice, draft(schedules=(hard,)))["schedules.0.time_of_day"]
    assert "UTC" in texts[0]
    assert all(text.startswith("This works: ") for text in texts[1:])
    assert texts[1:]


def test_machines_of_others_are_not_there(world: Cast) -> None:
    errors = refused(world.alice, draft(virtual_machines=(NEW, "vm-beta-web", "vm-none")), NotVisible)
    assert errors == {"virtual_machines": ["vm-beta-web: not found.", "vm-none: not found."]}


def test_a_machine_that_is_gone_is_refused(world: Cast) -> None:
    vm_row("vm-old", tenant=world.alpha, present=False)
    assert "Leave it out" in refused(world.alice, draft(virtual_machines=("vm-old", NEW)))["virtual_machines"][0]


def test_a_name_that_is_taken_in_the_tenant_is_refused_and_elsewhere_is_free(world: Cast) -> None:
    kept_policy(world, "GOLD", WEB)
    assert list(refused(world.alice, DRAFT)) == ["name"]
    with every_tenant("test"):
        Policy.objects.update(state="deleted")
    assert asked_to_create(world.alice).state == "requested"


def test_who_moves_a_machine_is_asked_and_told_which_policy_it_leaves(world: Cast) -> None:
    silver = kept_policy(world, "Silver", WEB, DB)
    assert refused(world.alice, draft(virtual_machines=(WEB,))) == {
        "moves": [f"{WEB} leaves Silver. Confirm that, or leave it out."]
    }
    operation = asked_to_create(world.alice, draft(virtual_machines=(WEB,), moves=(WEB,)))
    with every_tenant("test"):
        first = Step.objects.filter(operation=operation).order_by("position")[0]
    assert (first.action, first.spec["guid"], first.spec["meant"]["vms"]) == ("policy_update", silver.vplus_guid, [DB])


def test_moving_the_last_machine_is_refused(world: Cast) -> None:
    kept_policy(world, "Silver", WEB)
    errors = refused(world.alice, draft(virtual_machines=(WEB,), moves=(WEB,)))
    assert "without a virtual machine" in errors["moves"][0]


@pytest.mark.parametrize("how", ["attached", "foreign"])
def test_a_machine_in_a_policy_of_the_provider_is_not_moved(how: str, world: Cast) -> None:
    if how == "attached":
        kept_policy(world, "Platinum", WEB, attached=True)
    else:
        with every_tenant("test"):
            type(vm_row("vm-other", tenant=world.alpha)).objects.filter(guid=WEB).update(policy_guid="guid-of-others")
    errors = refused(world.alice, draft(virtual_machines=(WEB,), moves=(WEB,)))
    assert "your provider" in errors["virtual_machines"][0]
    assert "guid-of-others" not in str(errors)


def test_only_admins_change_policies(world: Cast) -> None:
    for member in (world.oscar, world.vera):
        with pytest.raises(NotAllowed):
            asked_to_create(member)
    with pytest.raises(NotVisible):
        asked_to_create(world.mallory)


def test_the_same_wish_again_is_answered_with_the_one_under_way(world: Cast) -> None:
    first = asked_to_create(world.alice)
    assert asked_to_create(world.alice).pk == first.pk
    with pytest.raises(Invalid) as caught:
        asked_to_create(world.alice, draft(priority=1))
    assert list(caught.value.errors) == ["name"]


def changed(cast: Cast, policy: Policy, version: int, **members: Any) -> Operation:
    actor = cast.alice.actor
    with in_tenant(actor.tenant_id):
        wanted = replace(DRAFT, **{"name": policy.name, "virtual_machines": (WEB,), **members})
        return request_policy_change(actor, policy.pk, wanted, version=version, now=timezone.now())


def test_who_edits_an_older_version_is_told_what_changed(world: Cast) -> None:
    policy = kept_policy(world, "Silver", WEB, version=3, changed_by_name="Jan")
    with every_tenant("test"):
        Operation.objects.create(
            tenant=world.alpha,
            kind="policy",
            state="succeeded",
            subject=str(policy.pk),
            plan={"from_version": 2, "changes": [{"field": "priority", "before": "50", "after": "70"}]},
            requested_by_id=world.alpha.pk,
            send_until=timezone.now(),
        )
    with pytest.raises(WrongState) as caught:
        changed(world, policy, 2)
    assert (caught.value.code, caught.value.errors) == (
        "changed_by_somebody",
        {"priority": ["Was 50, is now 70."]},
    )
    assert str(caught.value) == "Jan changed this meanwhile. Check and press again."


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"attached": True}, "read_only"),
    ({"differs_since": timezone.now()}, "differs_in_vplus"),
    ({"state": "making"}, "operation_active"),
]


@pytest.mark.parametrize(("facts", "code"), REFUSALS)
def test_what_cannot_be_changed_now_says_why(facts: dict[str, Any], code: str, world: Cast) -> None:
    policy = kept_policy(world, "Silver", WEB)
    with every_tenant("test"):
        Policy.objects.filter(pk=policy.pk).update(**facts)
    with pytest.raises(WrongState) as caught:
        changed(world, policy, 1)
    assert caught.value.code == code


def test_a_policy_that_somebody_changes_is_not_changed_meanwhile(world: Cast) -> None:
    policy = kept_policy(world, "Silver", WEB)
    changed(world, policy, 1, priority=70)
    with pytest.raises(WrongState) as caught:
        changed(world, policy, 1, priority=60)
    assert caught.value.code == "operation_active"
    with pytest.raises(WrongState), in_tenant(world.alpha.pk):
        request_policy_delete(world.alice.actor, policy.pk, version=1, now=timezone.now())


def test_a_member_that_was_given_to_somebody_else_is_said_and_not_named(world: Cast) -> None:
    policy = kept_policy(world, "Silver", WEB, "vm-beta-web")
    with pytest.raises(Invalid) as caught:
        changed(world, policy, 1, virtual_machines=(WEB, "vm-beta-web"))
    assert "given to somebody else" in caught.value.errors["virtual_machines"][0]
    assert "beta" not in str(caught.value.errors)
    assert changed(world, policy, 1).state == "requested"


def test_another_tenants_policy_is_not_there(world: Cast) -> None:
    policy = kept_policy(world, "Silver", WEB)
    actor = world.mallory.actor
    with pytest.raises(NotVisible), in_tenant(actor.tenant_id):
        request_policy_delete(actor, policy.pk, version=1, now=timezone.now())


def test_a_draft_is_kept_as_it_was_given() -> None:
    full: Callable[..., PolicyDraft] = draft
    wanted = full(moves=(WEB,), paused=True, schedules=(NIGHTLY, HOURLY))
    assert as_json(of_json(as_json(wanted))) == as_json(wanted)


def test_of_two_who_press_at_the_same_moment_one_gets_through(world: Cast) -> None:
    policy = kept_policy(world, "Silver", WEB)
    together = threading.Barrier(2)

    def press(priority: int) -> str:
        try:
            actor = world.alice.actor
            together.wait(30)
            with in_tenant(actor.tenant_id):
                wanted = replace(DRAFT, name="Silver", virtual_machines=(WEB,), priority=priority)
                request_policy_change(actor, policy.pk, wanted, version=1, now=timezone.now())
        except WrongState as refusal:
            return refusal.code
        finally:
            connection.close()
        return "through"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(press, (10, 20))) == ["operation_active", "through"]
    with every_tenant("test"):
        assert Operation.objects.count() == 1
