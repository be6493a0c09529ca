"""What the portal says of its backups, read from its tables as the reckoning wants it."""

from collections import defaultdict

from tenants.scope import every_tenant
from vplus_bridge.models import Attempt, Operation

from .reckoning import Told


def told(reason: str) -> list[Told]:
    """Return every backup that was asked for, of all tenants. Needs Django to be set up; ``reason`` is logged."""
    with every_tenant(reason):
        stamps = defaultdict(list)
        sent = Attempt.objects.filter(step__action="export", stamp__isnull=False)
        for operation, stamp in sent.values_list("step__operation", "stamp"):
            if stamp is not None:
                stamps[operation].append(round(stamp.timestamp() * 1000))
        return [
            Told(
                id=str(row.pk),
                virtual_machine=row.virtual_machine_guid,
                state=row.state,
                error=row.error_code,
                backup=row.backup_guid,
                warnings=row.warnings,
                stamps=stamps[row.pk],
            )
            for row in Operation.objects.filter(kind="backup").order_by("requested_at")
        ]
