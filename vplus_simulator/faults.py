"""What can go wrong around a call, and when: before it is processed, after it, or while it is answered.

A fault is armed for some calls, for a number of them or for a time. Waits are wall-clock seconds: a client's patience
is real.
The connection-level outage (connections refused) is the server's own, see `http.SimulatorServer.refuse_connections`.
"""

from __future__ import annotations

import threading
import time
from typing import Literal

import msgspec

from .messages import JSON, Answer

Phase = Literal["before", "after", "answering"]
HTML_PAGE = b"<!DOCTYPE html><html><head><title>Error</title></head><body><h1>Service unavailable</h1></body></html>"


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One armed fault.

    `before`: the call is not processed (latency: processed later). `after`: it is, but its answer does not arrive as it
    should. `answering`: the answer stops after `bytes` bytes. latency waits `seconds`; status answers `status` as JSON;
    html answers `status` with a page; cut closes the connection.
    """

    kind: Literal["latency", "status", "html", "cut"]
    phase: Phase = "before"
    method: str | None = None
    path: str | None = None
    """A route's template such as "/tasks/{guid}"; None: every call."""
    count: int | None = None
    """How many calls it still hits; None: no limit."""
    for_seconds: float | None = None
    """How long it stays armed; None: until it is disarmed."""
    seconds: float = 0.0
    status: int = 503
    bytes: int = 0


class Cut(Exception):
    """The connection is to be closed now, without a further byte."""


class Faults:
    """The armed faults of one server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[tuple[Fault, float | None]] = []
        self.stopping = threading.Event()

    def arm(self, fault: Fault) -> None:
        """Arm a fault; ValueError where kind and phase do not go together."""
        if fault.phase == "answering" and fault.kind != "cut":
            raise ValueError(f"{fault.kind} cannot happen while answering")
        until = None if fault.for_seconds is None else time.monotonic() + fault.for_seconds
        with self._lock:
            self._armed.append((fault, until))

    def disarm(self) -> None:
        """Disarm all faults."""
        with self._lock:
            self._armed.clear()

    def armed(self) -> list[Fault]:
        """Return the faults that can still hit."""
        with self._lock:
            self._drop_spent()
            return [fault for fault, _ in self._armed]

    def draw(self, method: str, path: str) -> list[Fault]:
        """Return the faults that hit this call, and count them as used."""
        with self._lock:
            self._drop_spent()
            hits = []
            for fault, _ in self._armed:
                if fault.method in (None, method) and fault.path in (None, path):
                    hits.append(fault)
                    if fault.count is not None:
                        fault.count -= 1
            return hits

    def _drop_spent(self) -> None:
        now = time.monotonic()
        self._armed = [
            (fault, until)
            for fault, until in self._armed
            if (fault.count is None or fault.count > 0) and (until is None or until > now)
        ]

    def pass_through(self, hits: list[Fault], phase: Phase, answer: Answer | None) -> Answer | None:
        """Let the faults of one phase act; return the answer that goes on (None before processing: go on and process).

        Raises Cut where the connection is to be closed.
        """
        for fault in hits:
            if fault.phase != phase:
                continue
            if fault.kind == "latency":
                self.stopping.wait(fault.seconds)
            elif fault.kind == "cut":
                raise Cut
            elif fault.kind == "html":
                answer = Answer(fault.status, HTML_PAGE, "text/html")
            else:
                answer = Answer(fault.status, b'{"message":"The server is not available"}', JSON)
        return answer

    @staticmethod
    def bytes_let_through(hits: list[Fault]) -> int | None:
        """Return after how many bytes the answer stops, or None where it arrives whole."""
        return min((fault.bytes for fault in hits if fault.phase == "answering"), default=None)
