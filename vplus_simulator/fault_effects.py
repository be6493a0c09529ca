"""What the faults of one call do to its answer."""

from __future__ import annotations

import threading
from typing import Any

import msgspec

from .fault_drawing import FaultEntry
from .faults import Fault, Phase
from .messages import JSON, Answer, Disorder

HTML_PAGE = b"<!DOCTYPE html><html><head><title>Error</title></head><body><h1>Service unavailable</h1></body></html>"
OUTAGE_MESSAGE = b'{"message":"The server is not available"}'


class Cut(Exception):
    """The connection is to be closed now, without a further byte; `reset`: by a TCP reset."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__("reset" if reset else "cut")
        self.reset = reset


def replaced(hits: list[FaultEntry], phase: Phase, answer: Answer | None, stopping: threading.Event) -> Answer | None:
    """Let the faults of one phase act; return the answer that goes on (None before processing: go on and process).

    Raises Cut where the connection is to be closed. Faults that need the server itself are left to `http`.
    """
    for fault in (hit.fault for hit in hits if hit.fault.phase == phase):
        if fault.kind == "latency":
            stopping.wait(fault.seconds)
        elif fault.kind in ("cut", "reset"):
            raise Cut(reset=fault.kind == "reset")
        elif fault.kind in ("status", "html", "empty", "body"):
            answer = _other(fault)
        elif answer is not None:
            answer = _spoiled(fault, answer)
    return answer


def _other(fault: Fault) -> Answer:
    """Return the answer that comes in place of the server's own."""
    headers = list(fault.headers.items())
    if fault.kind == "status":
        return Answer(fault.status, OUTAGE_MESSAGE, JSON, headers)
    if fault.kind == "html":
        return Answer(fault.status, HTML_PAGE, "text/html", headers)
    if fault.kind == "empty":
        return Answer(fault.status, headers=headers)
    return Answer(fault.status, fault.body.encode(), fault.content_type, headers)


def _spoiled(fault: Fault, answer: Answer) -> Answer:
    """Return the server's own answer, made wrong."""
    if fault.kind == "content_type":
        return Answer(answer.status, answer.body, fault.content_type, answer.headers)
    if fault.kind == "truncated":
        return Answer(answer.status, answer.body[: fault.bytes], answer.content_type, answer.headers)
    if fault.kind == "malformed":
        half = len(answer.body) // 2
        return Answer(answer.status, answer.body[:half] + b"\x00{," + answer.body[half:], JSON, answer.headers)
    if fault.kind == "member" and answer.content_type == JSON:
        body = msgspec.json.encode(_with_member(msgspec.json.decode(answer.body), fault))
        return Answer(answer.status, body, JSON, answer.headers)
    return answer


def _with_member(content: Any, fault: Fault) -> Any:
    records = content if isinstance(content, list) else [content]
    for record in records[: fault.rows or None]:
        *way, last = fault.member.split(".")
        target = record
        for step in way:
            target = target.get(step) if isinstance(target, dict) else None
        if not isinstance(target, dict):
            continue
        if fault.value is msgspec.UNSET:
            target.pop(last, None)
        else:
            target[last] = fault.value
    return content


def disorder(hits: list[FaultEntry]) -> Disorder:
    """Return how the list that this call asks for is out of order."""
    rows: dict[str, int] = {}
    for fault in (hit.fault for hit in hits):
        rows[fault.kind] = rows.get(fault.kind, 0) + fault.rows
    return Disorder(
        missing=rows.get("missing_rows", 0),
        more_total=rows.get("larger_total", 0) + rows.get("changing_total", 0),
        repeated=rows.get("duplicate_rows", 0),
    )
