"""What the portal says of its backups and restores, read from its tables as the reckoning wants it."""

from collections import defaultdict

from tenants.scope import every_tenant
from vplus_bridge.models import Attempt, Operation, VirtualMachine

from .reckoning import RESTORED, Key, Told

KINDS = ("backup", "restore")


def told(reason: str) -> list[Told]:
    """Return every backup and restore that was asked for, of all tenants. Needs Django; ``reason`` is logged."""
    with every_tenant(reason):
        keys: dict[object, list[Key]] = defaultdict(list)
        sent = Attempt.objects.filter(step__action="export", stamp__isnull=False).select_related("step__operation")
        for attempt in sent:
            if attempt.stamp is not None:
                stamp = round(attempt.stamp.timestamp() * 1000)
                keys[attempt.step.operation_id].append((attempt.step.operation.virtual_machine_guid, stamp))
        rows = list(Operation.objects.filter(kind__in=KINDS).order_by("requested_at"))
        for row in rows:
            if row.restored_name:
                keys[row.pk].append((RESTORED, row.restored_name))
        born = VirtualMachine.objects.filter(guid__in=[row.restored_vm_guid for row in rows if row.restored_vm_guid])
        owners = dict(born.values_list("guid", "tenant"))
        return [
            Told(
                id=str(row.pk),
                virtual_machine=row.virtual_machine_guid,
                state=row.state,
                error=row.error_code,
                made=row.restored_vm_guid if row.kind == "restore" else row.backup_guid,
                warnings=row.warnings,
                keys=keys[row.pk],
                owned=owners.get(row.restored_vm_guid, row.tenant_id) == row.tenant_id,
            )
            for row in rows
        ]
