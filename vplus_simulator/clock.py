"""Where the simulator's instants come from: the real clock, a faster one, or one that a test moves by hand."""

from __future__ import annotations

import time
from typing import Protocol

START_OF_STEPPED_TIME = 1_795_435_200_000
"""Where a stepped clock begins unless told otherwise: Monday 2026-11-23 12:00:00 UTC, in ms."""


class Clock(Protocol):
    """Anything that tells the simulated instant."""

    def now(self) -> int:
        """Return the simulated instant in ms since the epoch, UTC. Never runs backwards."""

    def resume(self, simulated_ms: int, wall_ms: int) -> None:
        """Go on from a saved state: it was `simulated_ms` in the simulation when the wall clock read `wall_ms`."""


def wall_ms() -> int:
    """Return the machine's own time in ms since the epoch, UTC."""
    return time.time_ns() // 1_000_000


class RunningClock:
    """Runs with the machine's clock, `speed` times as fast, shifted by `offset_ms` (a server whose clock is wrong)."""

    def __init__(self, *, speed: float = 1.0, offset_ms: int = 0) -> None:
        if speed <= 0:
            raise ValueError("speed must be above 0")
        self.speed = speed
        self._wall_origin = wall_ms()
        self._origin = self._wall_origin + offset_ms

    def now(self) -> int:
        """Return the simulated instant in ms."""
        return self._origin + int((wall_ms() - self._wall_origin) * self.speed)

    def resume(self, simulated_ms: int, wall_ms: int) -> None:
        """Continue a saved time; what passed on the wall meanwhile has passed here too, at this clock's speed.

        A clock of speed 1 needs no help: it shows the machine's time anyway. It only refuses to run backwards.
        """
        if self.speed != 1.0 or self.now() < simulated_ms:
            self._origin, self._wall_origin = simulated_ms, wall_ms


class SteppedClock:
    """Stands still until somebody calls `step`."""

    def __init__(self, start_ms: int = START_OF_STEPPED_TIME) -> None:
        self._now = start_ms

    def now(self) -> int:
        """Return the simulated instant in ms."""
        return self._now

    def step(self, milliseconds: int) -> None:
        """Move forward by `milliseconds`; a negative step raises ValueError."""
        if milliseconds < 0:
            raise ValueError("time does not run backwards")
        self._now += milliseconds

    def resume(self, simulated_ms: int, wall_ms: int) -> None:
        """Continue exactly where the saved state stood; the wall clock means nothing here."""
        del wall_ms
        self._now = max(self._now, simulated_ms)
