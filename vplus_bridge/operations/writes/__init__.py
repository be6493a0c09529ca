"""The writes that steps of operations are made of, one module each, known by their action.

Sending (operations/send.py) is the same for all of them; what differs is here. A room above, such as protection/, adds
its own with `register` when Django starts.
"""

from collections.abc import Mapping
from types import MappingProxyType

from vplus_bridge.operations.writes.cancel import CancelWrite
from vplus_bridge.operations.writes.export import ExportWrite
from vplus_bridge.operations.writes.restore import RestoreWrite
from vplus_bridge.operations.writes.task_write import TaskWrite
from vplus_bridge.operations.writes.write import Write

_WRITES: dict[str, Write] = {}
WRITES: Mapping[str, Write] = MappingProxyType(_WRITES)
"""Every write by its action."""


def register(*writes: Write) -> None:
    """Make writes known by their actions. Raises ValueError for an action that is taken."""
    for write in writes:
        if type(_WRITES.get(write.action, write)) is not type(write):
            raise ValueError(f"two writes are called {write.action}")
        _WRITES[write.action] = write


def task_writes() -> Mapping[str, TaskWrite]:
    """Return the writes that make a task which can be told from others, by action."""
    return {action: write for action, write in _WRITES.items() if isinstance(write, TaskWrite)}


register(ExportWrite(), RestoreWrite(), CancelWrite())
