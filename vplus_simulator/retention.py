"""Which backups a rule still keeps; the others lose their data and become SUCCESS_REMOVED (vplus-api.md 2.3)."""

from __future__ import annotations

from .entities import Backup
from .world import World

STORED = ("SUCCESS", "PARTIAL_SUCCESS")


def expire(world: World) -> list[str]:
    """Remove the data of every chain beyond its rule's `keep_fulls`; return the guids of the backups removed.

    A backup without a rule stays: nobody promised to remove it.
    """
    removed: list[str] = []
    for guids in world.backups_of.values():
        stored = [b for b in (world.backups[guid] for guid in guids) if b.status in STORED and b.rule in world.rules]
        if stored:
            removed += _expire_chains(world, stored)
    if removed:
        world.changed()
    return removed


def _expire_chains(world: World, stored: list[Backup]) -> list[str]:
    keep = world.rules[stored[-1].rule or ""].keep_fulls
    fulls = sorted((b for b in stored if b.type == "FULL"), key=lambda b: b.backup_time or 0, reverse=True)
    kept = {full.guid for full in fulls[:keep]}
    removed = []
    for backup in stored:
        if (backup.root or backup.guid) not in kept and (fulls or backup.type == "FULL"):
            backup.status = "SUCCESS_REMOVED"
            removed.append(backup.guid)
            vm = world.vms[backup.vm]
            if vm.base == backup.guid:
                vm.base = None
    return removed
