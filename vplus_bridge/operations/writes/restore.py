"""The restore with import: a new virtual machine from a restore point. It has no stamp, so it is never sent twice."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

import structlog

from tenants.scope import in_tenant
from vplus_bridge.client import Dialect, NotFound, VplusClient
from vplus_bridge.mirror.backups import read_history
from vplus_bridge.mirror.models import Backup, VirtualMachine
from vplus_bridge.operations.writes.restore_source import copy_to_read, project_to_restore_into
from vplus_bridge.operations.writes.task_write import TaskWrite
from vplus_bridge.operations.writes.write import Claim, Prepared, Ready, WorldChanged
from vplus_bridge.ownership.assignment import attribute_backups
from vplus_bridge.ownership.models import AllowedRestoreTarget

log = structlog.get_logger(__name__)
PLACES = ("hypervisor_guid", "manager_guid", "cluster_uuid", "storage_uuid", "data_center", "project")
"""What a restore target stands for, as its row and the plan of a restore name it."""


class RestoreWrite(TaskWrite):
    """POST /tasks/restore-and-import (vplus-api.md 2.2.4)."""

    action = "restore"
    task_type = "RESTORE"
    stage = "restore"
    later_stages = MappingProxyType({"IMPORT": "import"})

    def check(self, claim: Claim) -> None:
        """See that machine and point are still the tenant's, the point restorable, the target allowed and the same place."""
        if not VirtualMachine.objects.filter(guid=claim.virtual_machine_guid).exists():
            raise WorldChanged("vm_not_yours")
        _check_point(claim)
        target = AllowedRestoreTarget.objects.filter(pk=claim.plan["target"]).first()
        if target is None or any(getattr(target, place) != claim.plan[place] for place in PLACES):
            raise WorldChanged("target_not_allowed")

    def check_upstream(self, client: VplusClient, claim: Claim) -> Mapping[str, Any]:
        """Read the machine's history anew and see that the point is still in it; 404 means unknown, so it goes on.

        Where restores name a copy, or a project by its id, find those out.
        """
        facts = {
            "copy": copy_to_read(client, claim) if client.dialect.RESTORES_A_COPY else None,
            "project": project_to_restore_into(client, claim) if client.dialect.PROJECTS_BY_ID else None,
        }
        try:
            read_history(client, claim.virtual_machine_guid, attribute_backups)
        except NotFound:
            # Some servers forget the machine and keep its backups; vPlus will say what it thinks.
            log.info("history could not be asked for before restoring", operation=str(claim.operation_id))
            return facts
        with in_tenant(claim.tenant_id):
            _check_point(claim)
        return facts

    def ready(self, dialect: Dialect, claim: Claim, prepared: Prepared, now: datetime) -> Ready | None:
        """Return the request exactly as the plan says that people were shown."""
        del now
        plan = claim.plan
        request = dialect.restore_and_import_request(
            backup_guid=plan["restore_point"],
            hypervisor_guid=plan["hypervisor_guid"] or None,
            hypervisor_manager_guid=plan["manager_guid"] or None,
            restored_name=plan["restored_name"],
            storage_uuid=plan["storage_uuid"] or None,
            cluster_uuid=plan["cluster_uuid"] or None,
            project_name=plan["project"] or None,
            data_center=plan["data_center"] or None,
            tenant_label=plan["tenant_label"] or str(claim.tenant_id),
            location_guid=prepared.facts["copy"],
            project_uuid=prepared.facts["project"],
        )
        return Ready(request)


def _check_point(claim: Claim) -> None:
    point = Backup.objects.filter(
        guid=claim.plan["restore_point"], virtual_machine_guid=claim.virtual_machine_guid
    ).first()
    if point is None or not point.restorable:
        raise WorldChanged("point_gone")
