"""What goes wrong, and when: seeded faults inside vPlus, processes killed, Redis wiped, PostgreSQL restarted."""

import random
import signal
import time
from collections.abc import Callable
from typing import Any

import msgspec

from chaos.stack import SENDERS, SETTLED_AFTER, Stack
from local_stack.terminal import say
from vplus_simulator.faults import Fault, chaos_mix

LATEST = 0.5 * SETTLED_AFTER
"""A server that acts later than the waits is outside the promise (docs/operators/exactly-once.md); ours stays inside."""
PAUSED_SECONDS = 3.0
OUTAGE_SECONDS = 3.0


def faults(rate: float) -> list[dict[str, Any]]:
    """Return the simulator's own mixture, none of whose work is later than the portal waits, as its control API has it."""

    def bounded(fault: Fault) -> Fault:
        most = fault.seconds_most
        late = fault.kind == "late" and most is not None
        return msgspec.structs.replace(fault, seconds_most=min(most or 0, LATEST)) if late else fault

    mixture: list[dict[str, Any]] = msgspec.to_builtins([bounded(fault) for fault in chaos_mix(rate)])
    return mixture


class Trouble:
    """Makes trouble for a running stack, a little at each `tick`; the same seed in the same time makes the same."""

    def __init__(self, stack: Stack, seed: int, minutes: float) -> None:
        self._stack = stack
        self._chance = random.Random(seed)  # noqa: S311  # has to repeat itself
        self._began = time.monotonic()
        self._restart_after = 30 * minutes
        self._restarted = False
        self._paused: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self._often: list[tuple[float, str, Callable[[], bool]]] = [
            (9, "a sender killed", lambda: stack.signal(self._chance.choice(SENDERS), signal.SIGKILL)),
            (23, "the poller killed", lambda: stack.signal("worker-poll", signal.SIGKILL)),
            (17, "a sender paused", self._pause),
            (13, "Redis wiped", self._wipe),
            (29, "vPlus unreachable", self._outage),
        ]

    def begin(self, seed: int, rate: float) -> None:
        """Arm the faults inside vPlus."""
        self._stack.vplus("POST", "/faults/plan", {"seed": seed, "faults": faults(rate)})

    def tick(self, seconds: float) -> None:
        """Do what chance wants in these seconds, and PostgreSQL's restart when its moment has come."""
        self._wake(time.monotonic())
        if not self._restarted and time.monotonic() - self._began > self._restart_after:
            self._restarted = True
            self._stack.restart_postgres()
            self._note("PostgreSQL restarted")
        for every, what, act in self._often:
            if self._chance.random() < seconds / every and act():
                self._note(what)

    def end(self) -> None:
        """Stop all of it: nobody stays paused, and vPlus answers again."""
        self._wake(float("inf"))
        give_up = time.monotonic() + 10 * OUTAGE_SECONDS
        while True:
            try:
                self._stack.vplus("DELETE", "/faults")
            except OSError:  # still away
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.2)
            else:
                return

    def words(self) -> str:
        """Return how often each kind of trouble came."""
        return ", ".join(f"{count} x {what}" for what, count in self.counts.items()) or "none"

    def _note(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
        say(f"    {time.monotonic() - self._began:6.1f} s  {what}")

    def _pause(self) -> bool:
        name = self._chance.choice(SENDERS)
        if name in self._paused or not self._stack.signal(name, signal.SIGSTOP):
            return False
        self._paused[name] = time.monotonic() + PAUSED_SECONDS
        return True

    def _wake(self, now: float) -> None:
        for name in [name for name, until in self._paused.items() if until <= now]:
            del self._paused[name]
            self._stack.signal(name, signal.SIGCONT)

    def _wipe(self) -> bool:
        self._stack.wipe_redis()
        return True

    def _outage(self) -> bool:
        try:
            self._stack.vplus("POST", "/outage", {"seconds": OUTAGE_SECONDS})
        except OSError:  # it is away already
            return False
        return True
