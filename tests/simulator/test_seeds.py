"""The worlds to begin with."""

from __future__ import annotations

import msgspec
import pytest

from vplus_simulator.seed import plant
from vplus_simulator.seed.plan import SeedName, SeedPlan
from vplus_simulator.world import World

from .conftest import Start

NOW = 1_795_435_200_000


def planted(name: SeedName, *, random_seed: int = 1) -> World:
    world = World(random_seed=random_seed)
    plant(world, SeedPlan(name=name), NOW)
    return world


@pytest.fixture(scope="module")
def demo() -> World:
    return planted("demo")


@pytest.mark.parametrize("name", ["demo", "small", "scale", "empty"])
def test_the_same_seed_gives_the_same_world(name: SeedName) -> None:
    assert msgspec.json.encode(planted(name).snapshot()) == msgspec.json.encode(planted(name).snapshot())


def test_another_random_seed_gives_another_world(demo: World) -> None:
    assert not demo.vms.keys() & planted("demo", random_seed=2).vms.keys()


def test_the_demo_has_twelve_tenants_of_both_platforms(demo: World) -> None:
    assert len(demo.tenants) == 12
    assert (demo.tenants[0].name, len(demo.tenants[0].vm_guids)) == ("Nordwind Logistics", 148)
    assert 350 <= len(demo.vms) <= 450
    without_project = [tenant for tenant in demo.tenants if tenant.project_uuid is None]
    assert 2 <= len(without_project) <= 6
    managers = {vm.manager for vm in demo.vms.values()}
    assert {demo.managers[guid].type for guid in managers} == {"OPENSTACK", "VCENTER"}
    for tenant in demo.tenants:
        for guid in tenant.vm_guids:
            assert demo.vms[guid].project in (tenant.project_guid, None)


def test_every_vm_of_the_demo_is_one_tenants_or_nobodys(demo: World) -> None:
    owned = [guid for tenant in demo.tenants for guid in tenant.vm_guids]
    assert len(owned) == len(set(owned))
    assert 5 <= len(demo.vms.keys() - set(owned)) <= 20


def test_the_demo_has_the_hard_names(demo: World) -> None:
    names = {tenant.slug: [demo.vms[guid].name for guid in tenant.vm_guids] for tenant in demo.tenants}
    assert "files-warehouse-gdansk-long-term-archive-2019-2024-replica" in names["nordwind-logistics"]
    assert sum("erp-db" in of_one for of_one in names.values()) == 2
    assert any(not name.isascii() for of_one in names.values() for name in of_one)
    assert all(len(of_one) == len(set(of_one)) for of_one in names.values())


def test_the_demo_has_months_of_mixed_history(demo: World) -> None:
    statuses = [backup.status for backup in demo.backups.values()]
    assert {"SUCCESS", "FAILED", "SUCCESS_REMOVED"} == set(statuses)
    assert statuses.count("SUCCESS") > 3000
    assert min(backup.created for backup in demo.backups.values()) < NOW - 100 * 86_400_000
    assert max(backup.created for backup in demo.backups.values()) < NOW
    assert any(not demo.backups_of.get(guid) for guid in demo.vms)
    gone = [vm for vm in demo.vms.values() if not vm.present]
    assert len(gone) > 10
    assert all(any(demo.backups[b].status == "SUCCESS" for b in demo.backups_of[vm.guid]) for vm in gone)
    assert any(task.origin.type == "SCHEDULE" for task in demo.tasks.values())


def test_chains_hold_together(demo: World) -> None:
    for backup in demo.backups.values():
        if backup.type == "INCREMENTAL":
            parent, root = demo.backups[backup.parent or ""], demo.backups[backup.root or ""]
            assert parent.vm == root.vm == backup.vm
            assert root.type == "FULL"
            assert parent.created < backup.created
            if backup.status == "SUCCESS":
                assert (parent.status, root.status) == ("SUCCESS", "SUCCESS")
        else:
            assert (backup.parent, backup.root) == (None, None)
    for vm in demo.vms.values():
        if vm.base is not None:
            assert demo.backups[vm.base].status == "SUCCESS"


def test_scale_shares_vms_out_in_turns() -> None:
    world = World()
    plant(world, SeedPlan(name="scale", vms=100, tenants=7, backups_per_vm=2), NOW)
    assert (len(world.vms), len(world.backups)) == (100, 200)
    assert [len(tenant.vm_guids) for tenant in world.tenants] == [15, 15, 14, 14, 14, 14, 14]


def test_the_demo_has_policies_that_somebody_made_in_vplus_before(demo: World) -> None:
    assert len(demo.policies) == 37
    names = [policy.name for policy in demo.policies.values()] + [one.name for one in demo.schedules.values()]
    assert len(names) == len(set(names))
    assert all(demo.schedules_of(guid) and demo.rules_of(guid) for guid in demo.policies)
    held = [vm for vm in demo.vms.values() if vm.policy is not None]
    assert 300 < len(held) < len(demo.vms)
    infrastructure = next(guid for guid, policy in demo.policies.items() if policy.name == "infrastructure")
    assert [vm.name for vm in demo.members(infrastructure)] == ["monitoring-probe", "old-helpdesk", "dns-cache-01"]
    assert all(demo.backups_of[vm.guid] for vm in demo.members(infrastructure))
    ran = [schedule.last_run for schedule in demo.schedules.values() if schedule.last_run is not None]
    assert len(ran) > 40
    assert max(ran) > NOW - 86_400_000


def test_a_night_of_the_demo_backs_its_machines_up(start: Start) -> None:
    vplus = start(seed="demo", schedules_fire=True)
    before = len(vplus.server.world.backups)
    vplus.server.control.step(24 * 3600)
    new = list(vplus.server.world.backups.values())[before:]
    assert len(new) > 100
    assert {backup.origin.type for backup in new} == {"SCHEDULE"}
    done = [backup for backup in new if backup.status == "SUCCESS"]
    assert len(done) > len(new) * 0.9
