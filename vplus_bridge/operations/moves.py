"""The states of an operation and the moves between them, in one table. States never run backwards."""

from collections.abc import Mapping

from django.db import models


class Kind(models.TextChoices):
    """What was asked for."""

    BACKUP = "backup", "Backup"
    RESTORE = "restore", "Restore"
    CANCEL_TASK = "cancel_task", "Cancel of a task"
    POLICY = "policy", "Change of a policy"


class State(models.TextChoices):
    """How far it is."""

    REQUESTED = "requested", "Waiting to be sent"
    SUBMITTED = "submitted", "Queued"
    RUNNING = "running", "Running"
    CANCELLING = "cancelling", "Cancel asked"
    SUCCEEDED = "succeeded", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"
    NEEDS_ATTENTION = "needs_attention", "Needs attention"


ACTIVE = frozenset({State.REQUESTED, State.SUBMITTED, State.RUNNING, State.CANCELLING})
ENDED = frozenset(State) - ACTIVE

MOVES: Mapping[State, frozenset[State]] = {
    State.REQUESTED: frozenset(
        {
            State.SUBMITTED,
            State.RUNNING,
            State.CANCELLING,
            State.SUCCEEDED,
            State.FAILED,
            State.CANCELLED,
            State.NEEDS_ATTENTION,
        }
    ),
    State.SUBMITTED: frozenset(
        {State.RUNNING, State.CANCELLING, State.SUCCEEDED, State.FAILED, State.CANCELLED, State.NEEDS_ATTENTION}
    ),
    State.RUNNING: frozenset({State.CANCELLING, State.SUCCEEDED, State.FAILED, State.CANCELLED, State.NEEDS_ATTENTION}),
    State.CANCELLING: frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.NEEDS_ATTENTION}),
    # A person at the provider links a task, sends again, or abandons; or a late task turns up by itself.
    State.NEEDS_ATTENTION: frozenset(
        {
            State.REQUESTED,
            State.SUBMITTED,
            State.RUNNING,
            State.CANCELLING,
            State.SUCCEEDED,
            State.FAILED,
            State.CANCELLED,
        }
    ),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}


def allowed(before: str, after: str) -> bool:
    """Tell whether an operation may go from one state to the other; staying is always allowed."""
    return before == after or State(after) in MOVES[State(before)]
