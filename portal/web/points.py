"""What is told of restore points wherever they are shown: where they are kept, and which full backup they need."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from tenants.rights import Actor
from vplus_bridge.mirror.models import Backup
from vplus_bridge.operations import visible as operations
from vplus_bridge.operations.backup_places import kept_at
from vplus_bridge.operations.models import Operation
from vplus_bridge.ownership import visible


def places(actor: Actor, backups: Sequence[Backup], makers: Mapping[str, Operation] | None = None) -> Mapping[str, str]:
    """Return, by guid of a backup, where it is kept, under the label that the tenant knows; "" where that is not known.

    Any other name is the provider's (vplus-api.md 4.20). ``makers``: the operations that made them, where one has them.
    """
    if makers is None:
        makers = operations.makers_of(actor, [backup.guid for backup in backups if not backup.destination_guid])
    labels = {row.destination_guid: row.label for row in visible.destinations(actor)}
    return {backup.guid: labels.get(kept_at(backup, makers.get(backup.guid)), "") for backup in backups}


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
