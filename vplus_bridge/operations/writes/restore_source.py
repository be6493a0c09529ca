"""What the current dialect wants named in a restore beside the backup: the copy, and the project's id (vplus-api.md 2.2.4)."""

from vplus_bridge.client import CopyRecord, Forbidden, NotFound, VplusClient
from vplus_bridge.operations.writes.write import Claim, WorldChanged

PRESENT, PRIMARY = "PRESENT", "PRIMARY"


def copy_to_read(client: VplusClient, claim: Claim) -> str | None:
    """Return the guid of the copy to read, the primary one where it is there; None where this server tells no copies.

    Raises VplusError.
    """
    copies = [copy for copy in _copies(client, claim) if copy.status in (PRESENT, None)]
    return min(copies, key=lambda copy: copy.role not in (PRIMARY, None)).guid if copies else None


def _copies(client: VplusClient, claim: Claim) -> list[CopyRecord]:
    point, machine = claim.plan["restore_point"], claim.virtual_machine_guid
    try:
        listed = [copy for page in client.copies(machine) for copy in page if copy.backup_guid == point]
    except (NotFound, Forbidden):
        listed = []
    if listed:
        return listed
    try:
        backups = [backup for page in client.backups(machine) for backup in page if backup.guid == point]
    except NotFound:
        return []
    return [
        CopyRecord(place.guid, point, place.destination_guid, place.status, place.role)
        for backup in backups
        for place in backup.destinations
        if place.guid
    ]


def project_to_restore_into(client: VplusClient, claim: Claim) -> str | None:
    """Return the platform's id of the target's project, else of the tenant's own; None where neither is meant.

    A target names its project by name. Where vPlus does not tell its projects, the tenant's own is taken for it, as a
    target never leads into somebody else's (vplus-api.md 4.9). Raises WorldChanged where no id is known, VplusError.
    """
    own, name = str(claim.plan["tenant_label"] or ""), claim.plan["project"]
    if not name:
        return own or None
    try:
        ids = {project.uuid for page in client.projects() for project in page if project.name == name and project.uuid}
    except (NotFound, Forbidden):
        ids = {own} if own else set()
    if own in ids:
        return own
    if len(ids) != 1:
        raise WorldChanged("project_not_known")
    return ids.pop()
