"""What can go wrong around a call, and when: while its body is read, before, during and after the work, in the answer.

This module says what a fault is; `fault_drawing` decides which calls it hits, `fault_effects` what becomes of their
answers, and `wire` what becomes of their connections. Waits are wall-clock seconds, since a client's patience is real;
only `late` counts simulated ones. The outage of the whole server is `http.SimulatorServer.refuse_connections`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Phase = Literal["before", "reading", "processing", "after", "answering"]
Kind = Literal[
    "latency",
    "status",
    "html",
    "empty",
    "body",
    "content_type",
    "truncated",
    "malformed",
    "member",
    "cut",
    "reset",
    "tls",
    "drip",
    "unauthorized",
    "expired",
    "missing_rows",
    "larger_total",
    "changing_total",
    "duplicate_rows",
    "late",
    "outage",
]
Calls = Literal["any", "read", "write", "sign_in"]

PHASES: dict[Kind, tuple[Phase, ...]] = {
    "latency": ("before", "reading", "after"),
    "status": ("before", "after"),
    "html": ("before", "after"),
    "empty": ("before", "after"),
    "body": ("before", "after"),
    "content_type": ("after",),
    "truncated": ("after",),
    "malformed": ("after",),
    "member": ("after",),
    "cut": ("before", "reading", "processing", "after", "answering"),
    "reset": ("before", "reading", "processing", "after", "answering"),
    "tls": ("answering",),
    "drip": ("answering",),
    "unauthorized": ("before",),
    "expired": ("before",),
    "missing_rows": ("after",),
    "larger_total": ("after",),
    "changing_total": ("after",),
    "duplicate_rows": ("after",),
    "late": ("before",),
    "outage": ("before", "after"),
}
"""When each kind can happen; the first one is meant where none is named."""
LIST_KINDS = frozenset({"missing_rows", "larger_total", "changing_total", "duplicate_rows", "member"})
"""Kinds that only a GET of a list, or for `member` any GET, can show."""
SESSION_KINDS = frozenset({"unauthorized", "expired"})
"""Kinds that leave sign-ins alone, unless one is named by its path."""
WORDS: dict[Phase, str] = {
    "before": "before the call is processed",
    "reading": "while the request is read",
    "processing": "while the call is processed",
    "after": "after the call was processed",
    "answering": "while answering",
}
LOWEST_STATUS, HIGHEST_STATUS = 200, 599


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One armed fault: what happens, when in a call, and to which calls.

    Phases. `before`: the call is not processed (latency, expired: processed all the same; late: processed later).
    `reading`: after `bytes` bytes of the request body. `processing`: the connection goes at once, the work is done
    `seconds` later. `after`: the work is done, but its answer does not arrive as it should. `answering`: the answer
    goes wrong after `bytes` bytes.

    Kinds. latency waits `seconds`. status answers `status` as JSON; html answers `status` with a page; empty
    answers `status` with nothing; body answers `status` with `body`. content_type labels the right answer as
    `content_type`; truncated cuts its text to `bytes` bytes, with a length that fits; malformed breaks its JSON;
    member puts `value` in place of `member` (a path such as "state.name") in the first `rows` records, or takes it
    out where no value is given. cut closes the connection; reset does so with a TCP reset; tls sends a record that
    cannot be decrypted. drip sends `bytes` bytes every `seconds`. unauthorized answers 401 although the session
    lives; expired ends the call's session first. missing_rows drops `rows` rows from a page; larger_total announces
    `rows` more than there are; changing_total announces `rows` more each time; duplicate_rows begins each page
    `rows` rows early, as when objects appear while a list is read page by page; a list in one piece repeats its
    first rows. late answers as `late_answer` says and does the work `seconds` simulated seconds later. outage makes
    the whole server unreachable for `seconds`.
    """

    kind: Kind
    phase: Phase = "before"
    method: str | None = None
    path: str | None = None
    """A route's template such as "/tasks/{guid}"; None: every call."""
    calls: Calls = "any"
    """read: calls that change nothing; write: those that do; sign_in: POSTs below /session."""
    probability: float = 1.0
    """How likely a call that it names is hit; drawn from the seed, the call and its number."""
    skip: int = 0
    """How many calls that it names pass before it begins to hit."""
    count: int | None = None
    """How many calls it still hits; None: no limit."""
    for_seconds: float | None = None
    """How long it stays armed; None: until it is disarmed."""
    seconds: float = 0.0
    seconds_most: float | None = None
    """With it, each hit draws its wait between `seconds` and this."""
    status: int = 503
    bytes: int = 0
    bytes_most: int | None = None
    """With it, each hit draws its bytes between `bytes` and this."""
    rows: int = 1
    member: str = ""
    value: Any = msgspec.UNSET
    body: str = ""
    content_type: str = "application/json"
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    """Further headers of an answer by status, html, empty or body, such as Retry-After or Location."""
    late_answer: Literal["empty", "status", "cut"] = "cut"
    """What a late server answers at once: 201 with nothing, `status`, or no answer."""

    def __post_init__(self) -> None:
        if self.phase == "before" and "before" not in PHASES[self.kind]:
            self.phase = PHASES[self.kind][0]

    def check(self) -> None:
        """Raise ValueError, with one sentence, for a fault that cannot happen."""
        if self.phase not in PHASES[self.kind]:
            raise ValueError(f"{self.kind} cannot happen {WORDS[self.phase]}")
        if not 0 <= self.probability <= 1:
            raise ValueError("probability must be between 0 and 1")
        if not LOWEST_STATUS <= self.status <= HIGHEST_STATUS:
            raise ValueError(f"status must be between {LOWEST_STATUS} and {HIGHEST_STATUS}")
        if min(self.seconds, self.bytes, self.skip) < 0 or self.rows < 0:
            raise ValueError("seconds, bytes, rows and skip must not be negative")
        if self.kind == "drip" and (self.bytes < 1 or self.seconds <= 0):
            raise ValueError("drip needs bytes and seconds")
        if self.kind == "member" and not self.member:
            raise ValueError("member needs the name of a member")


class FaultPlan(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Faults by chance for a chaos run: at most one hits a call, and the same seed hits the same calls.

    What happens to the n-th call of a kind ("GET /tasks") depends on the seed and n only, not on other calls.
    """

    seed: int = 1
    faults: list[Fault] = msgspec.field(default_factory=list)
    """Each with its probability; empty: `chaos_mix(rate)`."""
    rate: float = 0.1
    """Which share of calls is hit, about, where `faults` is empty."""
    for_seconds: float | None = None


def chaos_mix(rate: float) -> list[Fault]:
    """Return a mixture of faults that hits about `rate` of all reads and writes, and some sign-ins."""

    def part(share: float, kind: Kind, phase: Phase, calls: Calls, **members: Any) -> Fault:
        return Fault(kind=kind, phase=phase, calls=calls, probability=min(1.0, rate * share), **members)

    return [
        part(0.12, "cut", "before", "write"),
        part(0.08, "cut", "reading", "write", bytes_most=60),
        part(0.10, "cut", "processing", "write", seconds_most=0.1),
        part(0.16, "cut", "after", "write"),
        part(0.10, "reset", "answering", "write", bytes_most=400),
        part(0.05, "tls", "answering", "write", bytes_most=200),
        part(0.08, "status", "before", "write", status=503),
        part(0.08, "html", "after", "write", status=502),
        part(0.05, "empty", "after", "write", status=201),
        part(0.05, "truncated", "after", "write", bytes_most=40),
        part(0.05, "late", "before", "write", seconds=1, seconds_most=20),
        part(0.04, "unauthorized", "before", "write"),
        part(0.04, "latency", "before", "write", seconds_most=0.5),
        part(0.10, "cut", "before", "read"),
        part(0.10, "reset", "answering", "read", bytes_most=2000),
        part(0.05, "tls", "answering", "read", bytes_most=2000),
        part(0.10, "status", "before", "read", status=500),
        part(0.08, "html", "after", "read", status=200),
        part(0.08, "truncated", "after", "read", bytes_most=500),
        part(0.08, "malformed", "after", "read"),
        part(0.06, "content_type", "after", "read", content_type="text/plain"),
        part(0.06, "empty", "after", "read", status=200),
        part(0.06, "missing_rows", "after", "read", rows=3),
        part(0.06, "larger_total", "after", "read", rows=2),
        part(0.06, "duplicate_rows", "after", "read", rows=1),
        part(0.05, "drip", "answering", "read", bytes=400, seconds=0.01),
        part(0.06, "latency", "before", "read", seconds_most=0.5),
        part(0.05, "unauthorized", "before", "read"),
        part(0.05, "expired", "before", "read"),
        part(0.10, "status", "before", "sign_in", status=503),
        part(0.10, "cut", "after", "sign_in"),
    ]
