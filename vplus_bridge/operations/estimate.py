"""How long an operation still takes, as far as one can say."""

from datetime import datetime

from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import State


def seconds_left(operation: Operation, now: datetime) -> float | None:
    """Return the seconds that are left of the work, or None where nobody can say.

    Only what runs has an estimate: how long something waits in the queue is not known. It comes from how long earlier
    ones of the same virtual machine took, less the part that is done; one that takes longer than they did has none.
    """
    if operation.estimate_seconds is None or operation.state not in {State.RUNNING, State.CANCELLING}:
        return None
    if operation.started_at is None:
        return operation.estimate_seconds
    by_clock = operation.estimate_seconds - (now - operation.started_at).total_seconds()
    if operation.progress is None:
        return by_clock if by_clock > 0 else None
    by_progress = operation.estimate_seconds * (1 - operation.progress / 100)
    # A bar that stands still over its time would promise the same seconds for ever.
    return by_progress if by_clock > -operation.estimate_seconds else None
