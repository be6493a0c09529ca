"""A provider's believable world: twelve customers, some four hundred VMs, and four months of backups."""

from __future__ import annotations

import random
from dataclasses import dataclass

from ..entities import DAYS, Destination, Policy, Project, Rule, Schedule, SeedTenant
from ..world import World
from .demo_history import write_history
from .demo_names import INFRASTRUCTURE, TENANTS, UNOWNED, TenantNames
from .ground import GIB, TIB, Placement, add_destination, add_manager, add_vm

HOUR = 3_600_000


@dataclass(frozen=True)
class Level:
    """One kind of protection that the provider sells."""

    key: str
    words: str
    full_days: tuple[str, ...]
    incremental_days: tuple[str, ...]
    keep_fulls: int
    priority: int


LEVELS = (
    Level("gold", "daily incremental, weekly full", ("SUNDAY",), tuple(day for day in DAYS if day != "SUNDAY"), 4, 70),
    Level("silver", "three fulls a week", ("MONDAY", "WEDNESDAY", "FRIDAY"), (), 12, 50),
    Level("bronze", "weekly full", ("SATURDAY",), (), 8, 30),
)
LEVEL_WEIGHTS = (32, 34, 20, 14)
"""Out of 100 VMs: gold, silver, bronze, none."""
ALWAYS_PROTECTED = 3
"""Nobody forgets their first machines."""
INCREMENTAL_SHARE = 0.9


def plant(world: World, now: int) -> None:
    """Fill an empty world as it looks at `now`."""
    chance = world.chance("demo")
    add_manager(
        world,
        world.guid_of("manager", "openstack"),
        "OPENSTACK",
        "openstack-waw1",
        "https://keystone.waw1.cloud.internal:5000/v3",
        clusters=["nova", "waw1-b"],
        hosts=6,
    )
    add_manager(
        world,
        world.guid_of("manager", "vcenter"),
        "VCENTER",
        "vcenter-waw1",
        "https://vcenter.waw1.cloud.internal/sdk",
        clusters=["production", "general"],
        hosts=4,
    )
    openstack, vcenter = (Placement(world, guid) for guid in world.managers)
    for number, names in enumerate(TENANTS):
        _tenant(world, names, openstack, vcenter, chance, hour=number)
    _destinations(world)
    _unowned(world, openstack, vcenter, chance)
    write_history(world, now, chance)


def _destinations(world: World) -> None:
    first = world.tenants[0].project_guid
    for destination in (
        Destination("", "Primary storage", description="Warsaw", default=True, total=600 * TIB, used=371 * TIB),
        Destination("", "Offsite archive", "S3", "Frankfurt, object storage"),
        Destination("", "Nordwind vault", "SYNTHETICXFS", "Only Nordwind", projects=[first] if first else None),
        Destination("", "Old tape library", "ISP", "Being retired", enabled=False),
    ):
        destination.guid = world.guid_of("destination", destination.name)
        add_destination(world, destination)


def _tenant(
    world: World,
    names: TenantNames,
    openstack: Placement,
    vcenter: Placement,
    chance: random.Random,
    *,
    hour: int,
) -> None:
    project = None
    if names.openstack:
        uuid = world.guid_of("project uuid", names.slug).replace("-", "")
        project = Project(world.guid_of("project", names.slug), uuid, names.slug)
        world.projects[project.guid] = project
    policies = _policies(world, names.slug, project.uuid if project else None, hour=hour)
    tenant = SeedTenant(
        names.slug, names.name, project.uuid if project else None, project.guid if project else None, []
    )
    for position, name in enumerate(names.vms):
        on_openstack = position < names.openstack
        gone = name in names.gone
        vm = add_vm(
            world,
            openstack if on_openstack else vcenter,
            guid=world.guid_of("vm", f"{names.slug}/{name}"),
            uuid=world.guid_of("platform", f"{names.slug}/{name}"),
            name=name,
            project=project.guid if project and on_openstack else None,
            policy=_level_of(position, chance, policies),
            size=chance.choice((12, 20, 40, 40, 60, 80, 120, 250, 500)) * GIB,
            incremental=chance.random() < INCREMENTAL_SHARE,
            present=not gone,
        )
        tenant.vm_guids.append(vm.guid)
    world.tenants.append(tenant)


def _level_of(position: int, chance: random.Random, policies: dict[str, str]) -> str | None:
    """Some VMs are gold, many silver, some bronze, and a few that somebody forgot."""
    level = chance.choices((*policies, None), weights=LEVEL_WEIGHTS)[0]
    if level is None and position < ALWAYS_PROTECTED:
        level = "bronze"
    return None if level is None else policies[level]


def _policies(world: World, slug: str, tenant_id: str | None, *, hour: int) -> dict[str, str]:
    """Make a tenant's policies, one for each level; return their guids by level."""
    start = (20 + hour) % 24 * HOUR
    return {level.key: _policy(world, f"{slug}-{level.key}", level, tenant_id, start=start) for level in LEVELS}


def _policy(world: World, name: str, level: Level, tenant_id: str | None, *, start: int) -> str:
    """Make a policy with its rule and schedules; return its guid."""
    policy = Policy(guid=world.guid_of("policy", name), name=name, priority=level.priority, tenant_id=tenant_id)
    rule = Rule(
        guid=world.guid_of("rule", name),
        name=f"{name}-rule",
        policy=policy.guid,
        destinations=[world.guid_of("destination", "Primary storage")],
        keep_fulls=level.keep_fulls,
    )
    for backup_type, days in (("FULL", level.full_days), ("INCREMENTAL", level.incremental_days)):
        if days:
            schedule = Schedule(
                guid=world.guid_of("schedule", f"{name}/{backup_type}"),
                name=f"{name}-{backup_type.lower()}",
                backup_type=backup_type,
                hour=start,
                days=list(days),
                tenant_id=tenant_id,
            )
            world.schedules[schedule.guid] = schedule
            rule.schedules.append(schedule.guid)
    world.policies[policy.guid], world.rules[rule.guid] = policy, rule
    return policy.guid


def _unowned(world: World, openstack: Placement, vcenter: Placement, chance: random.Random) -> None:
    operations = Project(
        world.guid_of("project", "operations"), world.guid_of("project uuid", "operations"), "operations"
    )
    world.projects[operations.guid] = operations
    infrastructure = _policy(world, "infrastructure", LEVELS[0], None, start=3 * HOUR)
    for position, name in enumerate(UNOWNED):
        on_openstack = position % 2 == 0
        add_vm(
            world,
            openstack if on_openstack else vcenter,
            guid=world.guid_of("vm", f"unowned/{name}"),
            uuid=world.guid_of("platform", f"unowned/{name}"),
            name=name,
            project=operations.guid if on_openstack else None,
            policy=infrastructure if name in INFRASTRUCTURE else None,
            size=chance.choice((12, 20, 40)) * GIB,
        )
