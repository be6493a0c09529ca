"""What is told to open pages when a virtual machine changes: that it did. Its row on a page is then read again."""

from collections.abc import Iterable
from uuid import UUID

from vplus_bridge import changes
from vplus_bridge.mirror.models import VirtualMachine

KIND = "virtual_machine"
NEW = "new"
LEFT = "left"
CHANGED = "changed"


def tell(vm_guids: Iterable[str], *, state: str = CHANGED) -> None:
    """Tell the owners of these virtual machines, in the open wide scope and after the commit."""
    guids = list(vm_guids)
    if not guids:
        return
    rows = VirtualMachine.objects.filter(guid__in=guids, tenant__isnull=False)
    changes.tell(
        changes.Change(KIND, guid, tenant_id, guid, {"state": state})
        for guid, tenant_id in rows.values_list("guid", "tenant")
        if tenant_id is not None
    )


def tell_of_owners(moves: Iterable[tuple[str, UUID | None, UUID | None]]) -> None:
    """Tell whoever had these virtual machines, and whoever has them now: (guid, tenant before, tenant now)."""
    changes.tell(
        changes.Change(KIND, guid, tenant_id, guid, {"state": state})
        for guid, before, after in moves
        for tenant_id, state in ((before, LEFT), (after, NEW))
        if tenant_id is not None
    )
