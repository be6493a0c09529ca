"""The platform and vPlus's picture of it, which follows only at each sync (vplus-api.md 3.10)."""

from __future__ import annotations

import msgspec

from .entities import PlatformVm, VirtualMachine
from .world import World


class Changes(msgspec.Struct):
    """Guids of VMs that a sync found, changed or missed."""

    added: list[str]
    changed: list[str]
    vanished: list[str]


def synchronize(world: World, at: int) -> Changes:
    """Make the inventory say what the platform says; a VM that is gone stays with `present` false."""
    changes = Changes([], [], [])
    for machine in world.platform.values():
        guid = world.vm_by_uuid.get(machine.uuid)
        if guid is None:
            changes.added.append(adopt(world, machine).guid)
        elif follow(world, world.vms[guid], machine):
            changes.changed.append(guid)
    for vm in world.vms.values():
        if vm.present and vm.uuid not in world.platform:
            vm.present = False
            world.touch_vm(vm, listed=True)
            changes.vanished.append(vm.guid)
        policy = world.policies.get(vm.policy or "")
        if not vm.present and policy is not None and policy.auto_remove_non_present:
            world.assign_policy(vm, None)
    for storage in world.storages.values():
        if storage.really_used is not None:
            storage.used, storage.really_used = storage.really_used, None
            world.changed()
    world.last_sync = at
    return changes


def adopt(world: World, machine: PlatformVm, *, guid: str | None = None) -> VirtualMachine:
    """Take a machine of the platform into the inventory under a guid of its own."""
    return world.add_vm(
        VirtualMachine(
            guid=guid or world.guid_of("vm", machine.uuid),
            uuid=machine.uuid,
            name=machine.name,
            manager=machine.manager,
            project=machine.project,
            cluster=machine.cluster,
            hypervisor=machine.hypervisor,
            size=machine.size,
            incremental=machine.incremental,
        )
    )


def follow(world: World, vm: VirtualMachine, machine: PlatformVm) -> bool:
    """Take over what the platform changed on a VM; return whether anything did."""
    seen = (vm.name, vm.present, vm.project, vm.cluster, vm.hypervisor, vm.size)
    news = (machine.name, True, machine.project, machine.cluster, machine.hypervisor, machine.size)
    if seen == news:
        return False
    vm.name, vm.present, vm.project, vm.cluster, vm.hypervisor, vm.size = news
    world.touch_vm(vm, listed=True)
    return True
