"""What a type of task does; `backup_chain` has the first two."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .entities import Task

if TYPE_CHECKING:
    from .engine import Engine


def ms(seconds: float) -> int:
    """Return seconds as whole milliseconds."""
    return round(seconds * 1000)


class Work:
    """One type of task, as the engine sees it. A method that is not overridden has nothing to add."""

    reasons: tuple[str, ...] = ("Unknown reason",)
    """Why such a task fails, in a node's words."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.world = engine.world

    def seconds(self) -> tuple[float, float]:
        """Return the shortest and the longest run."""
        raise NotImplementedError

    def failure_rate(self) -> float:
        """Return the chance of failure, 0..1."""
        return 0.0

    def events(self) -> dict[str, Callable[[str, int], None]]:
        """Return handlers of events of its own."""
        return {}

    def obstacle(self, task: Task) -> str | None:
        """Return why the task cannot start, or None."""
        raise NotImplementedError

    def late_obstacle(self, task: Task) -> str | None:
        """Return why the task cannot end well although it ran, or None."""
        raise NotImplementedError

    def started(self, task: Task, at: int) -> None:
        """Act on the start."""

    def finished(self, task: Task, at: int) -> None:
        """Act on a good end."""

    def gave_up(self, task: Task, reason: str) -> None:
        """Act on a failure, or on a cancel that has taken effect."""

    def removed(self, task: Task, now: int) -> None:
        """Act on the removal of an ended task from the list."""

    def resumed(self, task: Task) -> None:
        """Plan anew, after a restart, what this type plans by events of its own."""
