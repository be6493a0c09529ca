"""Very many VMs of very many tenants, for measuring. Fast to make, plain in content."""

from __future__ import annotations

from ..backup_chain import remember_success
from ..entities import Backup, Destination, Project, SeedTenant
from ..world import World
from .ground import GIB, Placement, add_destination, add_manager, add_vm

DAY = 86_400_000


def plant(world: World, now: int, *, vms: int, tenants: int, backups_per_vm: int) -> None:
    """Fill an empty world with `vms` VMs (guid vm-1 ...) in `tenants` projects (uuid tenant-1 ...), in turns."""
    add_manager(
        world,
        "hvm-openstack",
        "OPENSTACK",
        "openstack",
        "https://keystone.internal:5000/v3",
        clusters=["nova"],
        hosts=8,
    )
    add_destination(world, Destination("bd-main", "Main storage", default=True))
    placement = Placement(world, "hvm-openstack")
    for number in range(1, tenants + 1):
        project = Project(f"project-{number}", f"tenant-{number}", f"tenant {number}")
        world.projects[project.guid] = project
        world.tenants.append(SeedTenant(f"tenant-{number}", f"Tenant {number}", project.uuid, project.guid, []))
    for number in range(1, vms + 1):
        tenant = world.tenants[(number - 1) % tenants]
        vm = add_vm(
            world,
            placement,
            guid=f"vm-{number}",
            uuid=f"uuid-{number}",
            name=f"server-{number:06d}",
            project=tenant.project_guid,
        )
        tenant.vm_guids.append(vm.guid)
        for age in range(backups_per_vm, 0, -1):
            taken = now - age * DAY
            backup = Backup(
                guid=f"backup-{number}-{age}",
                vm=vm.guid,
                vm_name=vm.name,
                status="SUCCESS",
                type="FULL",
                created=taken,
                destination="bd-main",
                snapshot_time=taken,
                backup_time=taken + 600_000,
                size=20 * GIB,
                project=vm.project,
            )
            world.add_backup(backup)
            remember_success(vm, backup, keeps_snapshot=False)
