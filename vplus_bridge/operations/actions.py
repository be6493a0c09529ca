"""What a person can do with a virtual machine now: by right, by its state, and by what is under way."""

from collections.abc import Sequence

from tenants.rights import Actor, Right
from vplus_bridge.mirror.models import VirtualMachine
from vplus_bridge.operations.backup_places import has_no_place
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import Kind

BACK_UP = "back_up"
RESTORE = "restore"


def allowed_actions(
    actor: Actor, machine: VirtualMachine, active: Sequence[Operation], *, or_explained: bool = False
) -> list[str]:
    """Return the actions that would not be refused; ``active`` are the machine's operations that have not ended.

    ``or_explained`` has the backup among them that wants a policy first: its page says so, and a button leads there. The
    request itself checks everything again (operations/request.py).
    """
    if actor.suspended:
        return []
    under_way = {operation.kind for operation in active}
    # A machine that is gone cannot be backed up, and is restored like any other.
    possible = {
        BACK_UP: not machine.gone
        and Kind.BACKUP not in under_way
        and (or_explained or not has_no_place(machine))
        and actor.may(Right.BACK_UP, machine.guid),
        RESTORE: machine.restore_point_count > 0
        and Kind.RESTORE not in under_way
        and actor.may(Right.RESTORE, machine.guid),
    }
    return [action for action, can in possible.items() if can]
