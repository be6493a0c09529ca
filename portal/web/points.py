"""What is told of restore points wherever they are shown: where they are kept, and which full backup they need."""

from collections.abc import Mapping
from datetime import datetime

from tenants.rights import Actor
from vplus_bridge.ownership import visible


def labels(actor: Actor) -> dict[str, str]:
    """Return destinations under the labels that the tenant knows; any other name is the provider's (vplus-api.md 4.20)."""
    return {row.destination_guid: row.label for row in visible.destinations(actor)}


def chains(actor: Actor, guid: str) -> Mapping[str, datetime | None]:
    """Return, by guid of an incremental of this machine, when the full backup was taken that it needs in the end."""
    rows = visible.backups(actor, guid).values_list("guid", "parent_guid", "taken_at")
    parents, taken = {}, {}
    for backup, parent, at in rows:
        parents[backup], taken[backup] = parent, at
    roots: dict[str, str] = {}
    for backup in parents:
        way = [backup]
        while (parent := parents[way[-1]]) in parents and parent not in roots and len(way) <= len(parents):
            way.append(parent)
        root = roots.get(parents[way[-1]], way[-1])
        roots |= dict.fromkeys(way, root)
    return {backup: taken[root] for backup, root in roots.items() if root != backup}
