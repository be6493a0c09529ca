"""One bar over two tasks that follow each other: EXPORT and STORE, RESTORE and IMPORT."""

from collections.abc import Sequence

from vplus_bridge.mirror.models import Task

# Without a history of its own, the first task is taken to be this share of the work.
EXPORT_SHARE = 0.6
RESTORE_SHARE = 0.4
MOST = 99.0
"""100 is for the end alone, which no task decides."""


def progress_of(firsts: Sequence[Task], seconds: Sequence[Task], share: float) -> float | None:
    """Return how far both stages are together, in percent; None where nothing tells.

    Each stage is given with its copies: one that is tried again is as far as the best of them was.
    """
    if seconds or any(task.state == "FINISHED" for task in firsts):
        inside = 100.0 if any(task.state == "FINISHED" for task in seconds) else _furthest(seconds) or 0.0
        return min(100 * share + (1 - share) * inside, MOST)
    begun = _furthest([task for task in firsts if task.state != "QUEUED"])
    return None if begun is None else min(share * begun, MOST)


def _furthest(tasks: Sequence[Task]) -> float | None:
    return max((task.progress for task in tasks if task.progress is not None), default=None)
