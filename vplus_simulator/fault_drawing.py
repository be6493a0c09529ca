"""Which calls are hit by which fault, by count, by time or by seeded chance; every hit is written down."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field

import msgspec

from .clock import wall_ms
from .faults import LIST_KINDS, SESSION_KINDS, Calls, Fault, FaultPlan, chaos_mix


class FaultEntry(msgspec.Struct, kw_only=True):
    """One fault that was injected into one call, for the reconciliation of a chaos run."""

    number: int
    at: int
    """Simulated ms."""
    wall: int
    """The machine's own time, ms."""
    fault: Fault
    """As it hit: with its drawn bytes, seconds and rows."""
    planned: bool
    """Whether a plan drew it."""
    call: str
    """Method and template, as in the journal."""
    path: str
    request_id: str
    status: int | None = None
    """What the server itself answered; None: the call was never processed, or is still to be (late)."""
    journal: int | None = None
    """The number of the journal entry that the call led to; None: it changed nothing."""


@dataclass(frozen=True)
class Subject:
    """One call, as faults see it."""

    method: str
    template: str
    path: str
    calls: Calls
    request_id: str

    @property
    def name(self) -> str:
        """Return method and template."""
        return f"{self.method} {self.template}"


@dataclass
class _Armed:
    """A fault, until when it is armed (monotonic seconds), and what its chance depends on."""

    fault: Fault
    until: float | None
    key: str
    plan: int | None = None
    seen: dict[str, int] = field(default_factory=dict)
    hits: int = 0

    def names(self, subject: Subject) -> bool:
        """Return whether the fault is meant for such a call."""
        fault = self.fault
        if fault.method not in (None, subject.method) or fault.path not in (None, subject.template):
            return False
        if fault.calls not in ("any", subject.calls):
            return False
        if fault.kind in SESSION_KINDS and subject.calls == "sign_in" and fault.path is None:
            return False
        return fault.kind not in LIST_KINDS or (
            subject.method == "GET" and (fault.kind == "member" or "{" not in subject.template)
        )

    def draw(self, subject: Subject) -> Fault | None:
        """Return the fault as it hits this call, or None where chance spares it."""
        number = self.seen[subject.name] = self.seen.get(subject.name, 0) + 1
        if sum(self.seen.values()) <= self.fault.skip:
            return None
        chance = random.Random(f"{self.key}|{subject.name}|{number}")  # noqa: S311 - must repeat itself, nothing secret
        if self.fault.probability < 1 and chance.random() >= self.fault.probability:
            return None
        self.hits += 1
        fault = msgspec.structs.replace(self.fault, count=None)
        if fault.seconds_most is not None:
            fault.seconds = round(chance.uniform(fault.seconds, max(fault.seconds, fault.seconds_most)), 3)
        if fault.bytes_most is not None:
            fault.bytes = chance.randint(fault.bytes, max(fault.bytes, fault.bytes_most))
        if fault.kind == "changing_total":
            fault.rows *= self.hits
        return fault


class Faults:
    """The armed faults of one server, and the list of those that hit."""

    def __init__(self, seed: int = 1) -> None:
        self._lock = threading.Lock()
        self._armed: list[_Armed] = []
        self._seed = seed
        self._count = 0
        self._entries: list[FaultEntry] = []
        self.stopping = threading.Event()

    def arm(self, fault: Fault) -> None:
        """Arm a fault; ValueError for one that cannot happen."""
        fault.check()
        with self._lock:
            self._count += 1
            # A copy, whose count runs down: the caller may arm the same one again.
            armed = msgspec.structs.replace(fault)
            self._armed.append(_Armed(armed, _until(fault.for_seconds), f"{self._seed}|{self._count}"))

    def arm_plan(self, plan: FaultPlan) -> None:
        """Arm all faults of a plan; ValueError, and none armed, where one cannot happen."""
        faults = plan.faults or chaos_mix(plan.rate)
        for fault in faults:
            fault.check()
        with self._lock:
            self._count += 1
            for position, fault in enumerate(faults):
                until = _until(plan.for_seconds if fault.for_seconds is None else fault.for_seconds)
                key = f"plan|{plan.seed}|{position}"
                self._armed.append(_Armed(msgspec.structs.replace(fault), until, key, self._count))

    def disarm(self) -> None:
        """Disarm all faults; chance begins anew, and what has hit stays written down."""
        with self._lock:
            self._armed.clear()
            self._count = 0

    def armed(self) -> list[Fault]:
        """Return the faults that can still hit."""
        with self._lock:
            self._drop_spent()
            return [armed.fault for armed in self._armed]

    def draw(self, subject: Subject, now: int) -> list[FaultEntry]:
        """Return the faults that hit this call, each as its entry, and count them as used; `now` is simulated ms."""
        with self._lock:
            self._drop_spent()
            hits: list[FaultEntry] = []
            plans: set[int] = set()
            for armed in self._armed:
                if not armed.names(subject):
                    continue
                fault = armed.draw(subject)
                if fault is None or armed.plan in plans:
                    continue
                if armed.plan is not None:
                    plans.add(armed.plan)
                if armed.fault.count is not None:
                    armed.fault.count -= 1
                hits.append(self._written(fault, subject, now, planned=armed.plan is not None))
            return hits

    def journal(self, after: int = 0) -> list[FaultEntry]:
        """Return the faults that hit, numbered above `after`, in order."""
        with self._lock:
            return [msgspec.structs.replace(entry) for entry in self._entries if entry.number > after]

    def clear_journal(self) -> None:
        """Forget which faults hit."""
        with self._lock:
            self._entries.clear()

    def _written(self, fault: Fault, subject: Subject, now: int, *, planned: bool) -> FaultEntry:
        entry = FaultEntry(
            number=self._entries[-1].number + 1 if self._entries else 1,
            at=now,
            wall=wall_ms(),
            fault=fault,
            planned=planned,
            call=subject.name,
            path=subject.path,
            request_id=subject.request_id,
        )
        self._entries.append(entry)
        return entry

    def _drop_spent(self) -> None:
        now = time.monotonic()
        self._armed = [
            armed
            for armed in self._armed
            if (armed.fault.count is None or armed.fault.count > 0) and (armed.until is None or armed.until > now)
        ]


def _until(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds
