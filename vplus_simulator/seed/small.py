"""A handful of objects with fixed, readable guids, for tests. Everything that a test may name stands here.

Projects: project-alpha (uuid alpha-uuid), project-beta (uuid beta-uuid).
Hypervisor managers: hvm-openstack (clusters nova and edge), hvm-vcenter (cluster production).
Backup destinations: bd-main (the default, for all), bd-alpha (only project-alpha), bd-off (not enabled on the node).
Policies: policy-alpha with rule-alpha, schedule-alpha-full (Sunday) and schedule-alpha-inc (daily);
policy-beta with rule-beta and schedule-beta (daily, full).

VMs of alpha: vm-alpha-web "web-01", vm-alpha-db "db-01" (an incremental can build on its last backup),
vm-alpha-gone "files-01" (not present), all three in policy-alpha; vm-alpha-new "fresh-01" (no policy, no backup).
VMs of beta, both in policy-beta: vm-beta-web "web-01" (the same name), vm-beta-mail "mail-01" (no backup).
VM of gamma, on vCenter and without a project or policy: vm-gamma-erp "erp". VM of nobody, on vCenter: vm-lab "lab-01".
A VM's uuid is its guid with "uuid-" in place of "vm-".

Backups: backup-web-full; backup-db-removed, backup-db-full, backup-db-inc (builds on backup-db-full), backup-db-failed;
backup-gone-full; backup-beta-full; backup-erp-full. Those of one VM are a day apart, the newest is 12 hours old.
There are no tasks.
"""

from __future__ import annotations

from ..backup_chain import remember_success
from ..entities import DAYS, Backup, Destination, Origin, Policy, Project, Rule, Schedule, SeedTenant, Times
from ..world import World
from .ground import GIB, TIB, Placement, add_destination, add_manager, add_vm

DAY = 86_400_000
HALF_DAY = DAY // 2
MINUTE = 60_000


def plant(world: World, now: int) -> None:
    """Fill an empty world."""
    world.projects["project-alpha"] = Project("project-alpha", "alpha-uuid", "alpha")
    world.projects["project-beta"] = Project("project-beta", "beta-uuid", "beta")
    add_manager(
        world,
        "hvm-openstack",
        "OPENSTACK",
        "openstack",
        "https://keystone.internal:5000/v3",
        clusters=["nova", "edge"],
        hosts=1,
    )
    add_manager(
        world, "hvm-vcenter", "VCENTER", "vcenter", "https://vcenter.internal/sdk", clusters=["production"], hosts=1
    )
    add_destination(world, Destination("bd-main", "Main storage", default=True, total=100 * TIB, used=40 * TIB))
    add_destination(world, Destination("bd-alpha", "Alpha vault", "S3", projects=["project-alpha"]))
    add_destination(world, Destination("bd-off", "Tape", "ISP", enabled=False))
    _policies(world)
    _vms(world)
    _history(world, now)
    world.tenants = [
        _tenant(world, "alpha", "Alpha", "project-alpha"),
        _tenant(world, "beta", "Beta", "project-beta"),
        SeedTenant("gamma", "Gamma", None, None, ["vm-gamma-erp"]),
    ]


def _tenant(world: World, slug: str, name: str, project: str) -> SeedTenant:
    guids = [vm.guid for vm in world.vms.values() if vm.project == project]
    return SeedTenant(slug, name, world.projects[project].uuid, project, guids)


def _policies(world: World) -> None:
    for schedule in (
        Schedule(
            guid="schedule-alpha-full",
            name="alpha weekly full",
            backup_type="FULL",
            hour=3_600_000,
            days=["SUNDAY"],
            tenant_id="alpha-uuid",
        ),
        Schedule(
            guid="schedule-alpha-inc",
            name="alpha daily incremental",
            backup_type="INCREMENTAL",
            hour=7_200_000,
            days=list(DAYS),
            tenant_id="alpha-uuid",
        ),
        Schedule(
            guid="schedule-beta",
            name="beta daily full",
            backup_type="FULL",
            hour=3_600_000,
            days=list(DAYS),
            tenant_id="beta-uuid",
        ),
    ):
        world.schedules[schedule.guid] = schedule
    world.policies["policy-alpha"] = Policy(guid="policy-alpha", name="alpha gold", priority=60, tenant_id="alpha-uuid")
    world.policies["policy-beta"] = Policy(guid="policy-beta", name="beta silver", tenant_id="beta-uuid")
    world.rules["rule-alpha"] = Rule(
        guid="rule-alpha",
        name="Default alpha",
        policy="policy-alpha",
        schedules=["schedule-alpha-full", "schedule-alpha-inc"],
        destinations=["bd-main"],
    )
    world.rules["rule-beta"] = Rule(
        guid="rule-beta",
        name="Default beta",
        policy="policy-beta",
        schedules=["schedule-beta"],
        destinations=["bd-main"],
    )


def _vms(world: World) -> None:
    openstack, vcenter = Placement(world, "hvm-openstack"), Placement(world, "hvm-vcenter")
    for key, name, project, policy, present in (
        ("alpha-web", "web-01", "project-alpha", "policy-alpha", True),
        ("alpha-db", "db-01", "project-alpha", "policy-alpha", True),
        ("alpha-gone", "files-01", "project-alpha", "policy-alpha", False),
        ("alpha-new", "fresh-01", "project-alpha", None, True),
        ("beta-web", "web-01", "project-beta", "policy-beta", True),
        ("beta-mail", "mail-01", "project-beta", "policy-beta", True),
        ("gamma-erp", "erp", None, None, True),
        ("lab", "lab-01", None, None, True),
    ):
        placement = openstack if project else vcenter
        add_vm(
            world,
            placement,
            guid=f"vm-{key}",
            uuid=f"uuid-{key}",
            name=name,
            project=project,
            policy=policy,
            present=present,
        )


def _history(world: World, now: int) -> None:
    newest = now - HALF_DAY
    _backup(world, "backup-web-full", "vm-alpha-web", newest)
    _backup(world, "backup-db-removed", "vm-alpha-db", newest - 3 * DAY, status="SUCCESS_REMOVED")
    _backup(world, "backup-db-full", "vm-alpha-db", newest - 2 * DAY)
    _backup(world, "backup-db-inc", "vm-alpha-db", newest - DAY, parent="backup-db-full")
    _backup(world, "backup-db-failed", "vm-alpha-db", newest, status="FAILED")
    _backup(world, "backup-gone-full", "vm-alpha-gone", newest)
    _backup(world, "backup-beta-full", "vm-beta-web", newest)
    _backup(world, "backup-erp-full", "vm-gamma-erp", newest)


def _backup(
    world: World, guid: str, vm_guid: str, started: int, *, status: str = "SUCCESS", parent: str | None = None
) -> None:
    vm = world.vms[vm_guid]
    stored = status != "FAILED"
    rule = f"rule-{vm.policy.removeprefix('policy-')}" if vm.policy else None
    backup = Backup(
        guid=guid,
        vm=vm_guid,
        vm_name=vm.name,
        status=status,
        type="INCREMENTAL" if parent else "FULL",
        created=started,
        destination="bd-main",
        snapshot_time=started + MINUTE if stored else None,
        backup_time=started + 20 * MINUTE if stored else None,
        size=(GIB if parent else 20 * GIB) if stored else 0,
        parent=parent,
        root=parent,
        policy=vm.policy,
        rule=rule,
        project=vm.project,
        origin=Origin("USER", "1", "portal"),
        status_info=None if stored else "Store failed: No space left on device (/backupdestination/main)",
        times=Times(5000, 12 * MINUTE, 3000, 6 * MINUTE) if stored else Times(),
    )
    world.add_backup(backup)
    if status == "SUCCESS":
        remember_success(vm, backup, keeps_snapshot=vm.policy == "policy-alpha" and vm.present)
