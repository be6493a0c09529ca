"""A restore from the wish to the new virtual machine, against the real client and a simulated vPlus over HTTPS."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from tenants.models import AuditEvent, Membership
from tenants.refusals import Invalid, NotAllowed, NotVisible
from tenants.scope import every_tenant, in_tenant
from tests.bridge.scenes import ask_restore, backups, machine, machines, operation, restores_sent, tasks
from tests.conftest import Bridge, Cast, StartSimulator, assign_everything
from vplus_bridge.models import AllowedRestoreTarget, Backup, Operation
from vplus_bridge.operations.request import NoneStarted
from vplus_bridge.operations.restore_plan import make_plan
from vplus_bridge.operations.restore_request import PlanChanged, PointGone
from vplus_bridge.ownership.allowances import allow_restore_target
from vplus_simulator.world import Outcome

WEB, GONE = "vm-alpha-web", "vm-alpha-gone"


def new_ones(bridge: Bridge, before: set[str]) -> list[str]:
    """Let vPlus see its platform, read the inventory, and return what is new."""
    bridge.simulator.control.sync()
    bridge.sync()
    return sorted(set(machines()) - before)


@pytest.mark.parametrize("richness", ["poorest", "plain", "generous"])
def test_a_restore_ends_with_a_new_machine_of_the_same_tenant(
    richness: str, cast: Cast, start_simulator: StartSimulator
) -> None:
    bridge = Bridge(start_simulator(richness=richness))
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    before = set(machines())
    asked = ask_restore(cast.oscar)
    name = operation(asked).restored_name
    assert name.startswith("web-01-restored-")
    seen: list[tuple[str, str, float]] = []
    assert bridge.send() == 1
    for _ in range(40):
        bridge.poll()
        now = operation(asked)
        seen.append((now.state, now.stage, now.progress or 0.0))
        bridge.simulator.control.step(2)
    done = operation(asked)
    assert (done.state, done.error_code, done.progress) == ("succeeded", "", 100)
    stages = list(dict.fromkeys((state, stage) for state, stage, _ in seen))
    assert stages == [
        ("submitted", "restore"), ("running", "restore"), ("running", "import"), ("succeeded", "import"),
    ]  # fmt: skip
    progress = [part for _, _, part in seen]
    assert progress == sorted(progress), "the bar went backwards"
    assert max(part for state, _, part in seen if state == "running") < 100
    assert done.restored_vm_guid == "", "no inventory has shown it yet"
    [new] = new_ones(bridge, before)
    assert operation(asked).restored_vm_guid == new
    assert (machine(new).name, machine(new).tenant_id) == (name, cast.alpha.pk)
    [sent] = restores_sent(bridge.simulator)
    assert (sent.asked["backup"], sent.asked["restoredPeName"]) == ("backup-web-full", name)
    assert sent.asked["hypervisorManager"] == {"guid": "hvm-openstack"}
    assert (sent.asked["overwrite"], sent.asked["tenantId"]) == (False, "alpha-uuid")
    assert {row.tenant_id for row in tasks().values() if row.type in ("RESTORE", "IMPORT")} == {cast.alpha.pk}


def test_a_machine_that_is_gone_is_restored_like_any_other(cast: Cast, mirrored: Bridge) -> None:
    before = set(machines())
    asked = ask_restore(cast.oscar, "backup-gone-full")
    mirrored.send()
    mirrored.run(steps=20)
    assert operation(asked).state == "succeeded"
    [new] = new_ones(mirrored, before)
    assert machine(new).name.startswith("files-01-restored-")
    assert machine(GONE).gone, "the old one stays what it was"


def test_restore_finished_is_not_restored(cast: Cast, mirrored: Bridge) -> None:
    asked = ask_restore(cast.oscar)
    mirrored.send()
    mirrored.simulator.control.next_outcome(Outcome(type="IMPORT", outcome="fail", reason="keystone.internal: 500"))
    mirrored.run(steps=20)
    assert (operation(asked).state, operation(asked).error_code) == ("failed", "could_not_import")


def test_a_restore_that_cannot_read_its_point_fails(cast: Cast, mirrored: Bridge) -> None:
    asked = ask_restore(cast.oscar)
    mirrored.send()
    reason = "Not enough space in the staging area /vprotect_data on node node-1"
    mirrored.simulator.control.next_outcome(Outcome(type="RESTORE", outcome="fail", reason=reason))
    mirrored.run(steps=20)
    assert (operation(asked).state, operation(asked).error_code) == ("failed", "could_not_restore")


def generous(cast: Cast, start_simulator: StartSimulator, **switches: Any) -> Bridge:
    """A server that gives reasons; the poorest gives none, and then the words are general."""
    bridge = Bridge(start_simulator(richness="generous", **switches))
    bridge.sync()
    assign_everything(bridge.simulator, cast)
    return bridge


def test_a_target_without_room_is_told_as_such_where_a_generous_server_gives_reasons(
    cast: Cast, start_simulator: StartSimulator
) -> None:
    bridge = generous(cast, start_simulator)
    for storage in bridge.simulator.control.objects("storages"):
        bridge.simulator.control.fill_storage(storage.guid, 0)
    asked = ask_restore(cast.oscar)
    bridge.send()
    bridge.run(steps=20)
    failed = operation(asked)
    assert (failed.state, failed.error_code) == ("failed", "no_room")
    assert "fast-ssd" in failed.vendor_text or "bulk" in failed.vendor_text, "the original is for the provider"


@pytest.mark.parametrize("name", ["web-01", "web/02"])
def test_a_name_that_the_platform_refuses_is_told_as_such_where_a_generous_server_gives_reasons(
    name: str, cast: Cast, start_simulator: StartSimulator
) -> None:
    bridge = generous(cast, start_simulator)
    asked = ask_restore(cast.oscar, restored_name=name)
    bridge.send()
    bridge.run(steps=20)
    assert (operation(asked).state, operation(asked).error_code) == ("failed", "name_refused")


def test_the_same_wish_twice_is_one_restore_and_another_waits(cast: Cast, mirrored: Bridge) -> None:
    first, second = ask_restore(cast.oscar), ask_restore(cast.alice)
    assert second.already_active == {first.operations[0].pk}
    with pytest.raises(NoneStarted) as refusal:
        ask_restore(cast.alice, restored_name="another")
    assert (refusal.value.status, refusal.value.code) == (409, "operation_active")
    assert "Oscar" in str(refusal.value)
    mirrored.send()
    mirrored.send()
    assert len(restores_sent(mirrored.simulator)) == 1


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"restored_name": "x" * 300}, "restored_name"),
        ({"restored_name": "web\x07"}, "restored_name"),
        ({"restored_name": "web\N{RIGHT-TO-LEFT OVERRIDE}10"}, "restored_name"),
        ({"target": "not an id"}, "target"),
        ({"target": "00000000-0000-0000-0000-000000000001"}, "target"),
        ({"send_until": timedelta(hours=-1)}, "send_until"),
        ({"send_until": timedelta(days=90)}, "send_until"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_starts(
    wish: dict[str, Any], field: str, cast: Cast, mirrored: Bridge
) -> None:
    given = {name: timezone.now() + value if isinstance(value, timedelta) else value for name, value in wish.items()}
    with pytest.raises(Invalid) as refusal:
        ask_restore(cast.oscar, **given)
    assert list(refusal.value.errors) == [field]
    with every_tenant("test"):
        assert not Operation.objects.exists()


def test_another_tenants_target_is_not_allowed(cast: Cast, mirrored: Bridge) -> None:
    with every_tenant("test"):
        theirs = AllowedRestoreTarget.objects.get(tenant=cast.beta)
    with pytest.raises(Invalid) as refusal:
        ask_restore(cast.oscar, target=str(theirs.pk))
    assert list(refusal.value.errors) == ["target"]


def test_a_long_name_is_cut_for_the_platform_and_keeps_its_code(cast: Cast, mirrored: Bridge) -> None:
    mirrored.simulator.control.rename_vm(WEB, "w" * 250)
    mirrored.simulator.control.sync()
    mirrored.sync()
    asked = operation(ask_restore(cast.oscar))
    assert len(asked.restored_name) == 255
    assert asked.restored_name.endswith(asked.plan["code"])


def test_what_is_somebody_elses_or_beyond_ones_role_is_refused(cast: Cast, mirrored: Bridge) -> None:
    with pytest.raises(NotVisible):
        ask_restore(cast.mallory)
    with pytest.raises(NotVisible):
        ask_restore(cast.oscar, "backup-beta-full")
    with pytest.raises(NotAllowed):
        ask_restore(cast.vera)
    with every_tenant("test"):
        assert not Operation.objects.exists()


def test_it_is_audited(cast: Cast, mirrored: Bridge) -> None:
    ask_restore(cast.oscar)
    with every_tenant("test"):
        event = AuditEvent.objects.get(action="operation.restore")
        assert (event.object_id, event.tenant_id) == (WEB, cast.alpha.pk)
        assert Membership.objects.filter(tenant=cast.alpha).exists()


# The world moves between page and press, and between press and sending.


def test_a_failed_backup_cannot_be_restored(cast: Cast, mirrored: Bridge) -> None:
    with pytest.raises(Invalid) as refusal:
        ask_restore(cast.oscar, "backup-db-failed")
    assert "cannot be restored" in refusal.value.errors["restore_point"][0]


def test_a_point_that_is_gone_is_refused_with_the_nearest(cast: Cast, mirrored: Bridge) -> None:
    with pytest.raises(PointGone) as refusal:
        ask_restore(cast.oscar, "backup-db-removed")
    nearest = refusal.value.nearest
    assert nearest is not None
    assert nearest.guid == "backup-db-full"
    assert "backup-db-full" in refusal.value.errors["restore_point"][0]


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_point_removed_after_the_press_is_never_restored(forgotten: bool, cast: Cast, mirrored: Bridge) -> None:
    asked = ask_restore(cast.oscar)
    world = mirrored.simulator.world
    with world.lock:
        world.backups["backup-web-full"].status = "SUCCESS_REMOVED"
        if forgotten:
            world.backups_of[WEB].remove("backup-web-full")
    mirrored.send()
    failed = operation(asked)
    assert (failed.state, failed.error_code) == ("failed", "point_gone")
    assert restores_sent(mirrored.simulator) == []
    assert not backups()["backup-web-full"].restorable
    with pytest.raises(PointGone) as refusal:
        ask_restore(cast.oscar)
    assert refusal.value.nearest is None, "it was the only one"


def test_a_target_taken_away_or_changed_after_the_press_is_not_used(cast: Cast, mirrored: Bridge) -> None:
    asked = ask_restore(cast.oscar)
    with every_tenant("test"):
        AllowedRestoreTarget.objects.filter(tenant=cast.alpha).update(project="elsewhere")
    mirrored.send()
    assert (operation(asked).state, operation(asked).error_code) == ("failed", "target_not_allowed")
    assert restores_sent(mirrored.simulator) == []


def shown_digest(cast: Cast) -> str:
    actor = cast.oscar.actor
    with in_tenant(cast.alpha.pk):
        point, target = Backup.objects.get(guid="backup-web-full"), AllowedRestoreTarget.objects.get()
        return make_plan(actor, machine(WEB), point, target, None).digest


def test_the_plan_shown_is_the_plan_sent(cast: Cast, mirrored: Bridge) -> None:
    assert len(ask_restore(cast.oscar, plan_digest=shown_digest(cast)).operations) == 1


@pytest.mark.parametrize("part", ["target", "restored_name", "virtual_machine"])
def test_what_changed_since_the_plan_was_shown_is_told_and_nothing_starts(
    part: str, cast: Cast, mirrored: Bridge
) -> None:
    digest, wish = shown_digest(cast), {}
    if part == "target":
        with every_tenant("test"):
            AllowedRestoreTarget.objects.filter(tenant=cast.alpha).update(label="Elsewhere")
    elif part == "virtual_machine":
        mirrored.simulator.control.remove_vm(WEB)
        mirrored.simulator.control.sync()
        mirrored.sync()
    else:
        wish = {"restored_name": "web-02"}
    with pytest.raises(PlanChanged) as refusal:
        ask_restore(cast.oscar, plan_digest=digest, **wish)
    assert refusal.value.parts == [part]
    assert (refusal.value.code, refusal.value.status) == ("plan_changed", 409)
    with every_tenant("test"):
        assert not Operation.objects.exists()


def test_where_it_was_goes_before_the_others_where_a_server_tells_it(
    cast: Cast, start_simulator: StartSimulator
) -> None:
    bridge = generous(cast, start_simulator)
    with every_tenant("test"):
        allow_restore_target(tenant_id=cast.alpha.pk, label="A first one", manager_guid="hvm-vcenter")
    assert operation(ask_restore(cast.oscar)).plan["target_label"] == "Production"
    del bridge


def test_with_several_targets_the_poorest_server_leaves_the_choice_to_people(cast: Cast, mirrored: Bridge) -> None:
    with every_tenant("test"):
        other = allow_restore_target(tenant_id=cast.alpha.pk, label="A first one", manager_guid="hvm-vcenter")
    with pytest.raises(Invalid) as refusal:
        ask_restore(cast.oscar)
    assert "Choose one of A first one" in refusal.value.errors["target"][0]
    assert operation(ask_restore(cast.oscar, target=str(other.pk))).plan["manager_guid"] == "hvm-vcenter"


def test_the_estimate_comes_from_the_last_restores_of_the_same_machine(cast: Cast, mirrored: Bridge) -> None:
    first = ask_restore(cast.oscar)
    assert operation(first).estimate_basis == "unknown"
    mirrored.send()
    mirrored.run(steps=20)
    second = operation(ask_restore(cast.oscar))
    assert second.estimate_basis == "last_1"
    assert second.estimate_seconds is not None
    assert second.restored_name != operation(first).restored_name, "each has a code of its own"


@pytest.mark.parametrize(
    ("switches", "line"),
    [
        (
            {},
            "NOT READ     restore jobs: this server does not have it (404); the end of a restore is known by its tasks",
        ),
        ({"restore_jobs": "forbidden"}, "NOT READ     restore jobs: the account may not (403)"),
        ({"restore_jobs": "listed"}, "Read         restore jobs: 0"),
    ],
)
def test_the_check_tells_if_restore_jobs_can_be_read(
    switches: dict[str, Any], line: str, cast: Cast, start_simulator: StartSimulator, capsys: Any
) -> None:
    start_simulator(**switches)
    call_command("vplus_check")
    said = capsys.readouterr().out
    assert line in said
    assert "Version      not told: this server has no list of nodes (404)" in said
