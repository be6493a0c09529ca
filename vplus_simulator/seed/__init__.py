"""Worlds to begin with. The same plan, random seed and instant always give the same world."""

from __future__ import annotations

from ..world import World
from . import demo, scale, small
from .plan import SeedPlan


def plant(world: World, plan: SeedPlan, now: int) -> None:
    """Replace the world's content by the plan's, as it stands at `now` (ms), freshly synchronized."""
    world.clear(world.random_seed)
    if plan.name == "demo":
        demo.plant(world, now)
    elif plan.name == "small":
        small.plant(world, now)
    elif plan.name == "scale":
        scale.plant(world, now, vms=plan.vms, tenants=plan.tenants, backups_per_vm=plan.backups_per_vm)
    world.last_sync = now
    world.last_cleanup = now
