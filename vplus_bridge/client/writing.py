"""A write: one fresh connection, one request, one of four outcomes.

Whether a failure came before or after the first byte is told by the socket itself, never by the class of
an exception: libraries raise the same for both.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from vplus_bridge.client import decoding
from vplus_bridge.client.errors import BadAnswer, TlsFailed, Unavailable
from vplus_bridge.client.outcome import Expectation, Outcome, OutcomeKind, WriteRequest
from vplus_bridge.client.session import ServerClock, note_call
from vplus_bridge.client.transport import (
    ELSEWHERE,
    GOOD,
    NETWORK_TROUBLE,
    REFUSING,
    USER_AGENT,
    Answer,
    Deadline,
    DeadlineSocket,
    Endpoint,
    HeldUp,
    VplusConnection,
    is_tls_failure,
    read_body,
    within,
)


@dataclass(frozen=True)
class _Received:
    """An answer, perhaps only its head: `whole` is False when the body was cut, too slow or too big."""

    answer: Answer
    whole: bool


class WriteChannel:
    """One TLS connection that will carry exactly one write. Use it as a context manager.

    It is opened before the mark is set (`VplusClient.open_write`) and carries no byte of a request until `send`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        connection: type[VplusConnection],
        cookie_header: str | None,
        clock: ServerClock,
        on_rejected_session: Callable[[], None],
    ) -> None:
        """Connect. Raises TlsFailed, Unavailable."""
        parts = urlsplit(endpoint.url)
        self._base = parts.path.rstrip("/")
        self._endpoint = endpoint
        self._cookies = cookie_header
        self._clock = clock
        self._on_rejected_session = on_rejected_session
        self._used = False
        self._http = connection(parts.hostname or "", parts.port)
        try:
            self._http.connect()
        except NETWORK_TROUBLE as error:
            self._http.close()
            cause = type(error).__name__
            if is_tls_failure(error):
                raise TlsFailed(
                    "the secure connection to vPlus failed: check its certificate, name and pin", cause=cause
                ) from error
            raise Unavailable("vPlus could not be reached", cause=cause) from error
        if not isinstance(self._http.sock, DeadlineSocket):
            raise TypeError("a write needs a socket that knows its phase")
        self._socket = self._http.sock
        self._http.auto_open = 0  # http.client would reconnect by itself

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return "<WriteChannel>"

    def close(self) -> None:
        """Close the connection; nothing more can be sent."""
        self._used = True
        with contextlib.suppress(OSError):  # a connection the peer has reset is as closed as can be
            self._http.close()

    def send(self, request: WriteRequest, *, begin_before: float | None = None) -> Outcome:
        """Send `request` once and say what became of it; never raises for trouble on the network.

        No reconnect, no redirect, no repetition; whole within `write_total_seconds`. After `begin_before`
        (time.monotonic) no first byte goes out, and it counts as not accepted. Raises RuntimeError when the
        channel was used or closed.
        """
        if self._used:
            raise RuntimeError("a write channel carries one request")
        self._used = True
        self._socket.begin_before = begin_before
        started = time.monotonic()
        try:
            outcome = self._outcome(request)
        finally:
            self.close()
        good = outcome.kind is OutcomeKind.ACCEPTED
        note_call(
            request.method,
            request.template or "(write)",
            outcome.status,
            time.monotonic() - started,
            None if good else f"{outcome.kind}: {outcome.reason}",
        )
        if outcome.needs_sign_in:
            self._on_rejected_session()
        return outcome

    def _outcome(self, request: WriteRequest) -> Outcome:
        if not self._socket.still_silent():
            return Outcome(OutcomeKind.NOT_ACCEPTED, None, "vPlus closed the connection before we spoke")
        deadline = Deadline(self._endpoint.write_total_seconds)
        try:
            with within(deadline):
                received = self._exchange(request)
        except NETWORK_TROUBLE as error:
            return self._cut(error, deadline)
        self._clock.note(received.answer.date_ms)
        return judge(request, received.answer, whole=received.whole)

    def _cut(self, error: Exception, deadline: Deadline) -> Outcome:
        if isinstance(error, HeldUp):
            return Outcome(OutcomeKind.NOT_ACCEPTED, None, "not sent: the worker was held up")
        if not self._socket.request_begun:
            return Outcome(OutcomeKind.NOT_ACCEPTED, None, f"nothing was sent ({type(error).__name__})")
        if deadline.passed():
            return Outcome(OutcomeKind.UNCERTAIN, None, "vPlus did not answer in time")
        return Outcome(OutcomeKind.UNCERTAIN, None, f"the connection broke before the answer ({type(error).__name__})")

    def _exchange(self, request: WriteRequest) -> _Received:
        """Send and receive. Raises NETWORK_TROUBLE as long as no status line was read."""
        headers = {
            **dict(request.headers),
            "User-Agent": USER_AGENT,
            "Accept": "application/json",
            "Content-Type": "application/json",
            "Connection": "close",
        }
        if self._cookies:
            headers["Cookie"] = self._cookies
        body = request.body.encode() or None
        try:
            self._http.request(request.method, self._base + request.path, body, headers, preload_content=False)
        except OSError:
            if not self._socket.request_begun:
                raise
            # A server may refuse before it has taken the whole request, and close: its word still counts.
        response = self._http.getresponse()
        try:
            content, whole = read_body(response, self._endpoint.write_size_cap_bytes), True
        except (BadAnswer, *NETWORK_TROUBLE):
            content, whole = b"", False
        return _Received(Answer(response.status, response.headers, content), whole)


def judge(request: WriteRequest, answer: Answer, *, whole: bool = True) -> Outcome:
    """The outcome that an answer stands for; `whole` is False when its body did not come to its end.

    401 and 429 are rejected before they run (vplus-api.md 1.3); other 3xx and 4xx but 408 are the server's no;
    2xx counts as `request.expects` says; everything else may have run.
    """
    status = answer.status
    text = decoding.vendor_text(answer.content)
    if status == HTTPStatus.UNAUTHORIZED:
        return Outcome(OutcomeKind.NOT_ACCEPTED, status, "our session was not valid", text, needs_sign_in=True)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Outcome(
            OutcomeKind.NOT_ACCEPTED,
            status,
            "vPlus asks us to slow down",
            text,
            retry_after_seconds=answer.retry_after_seconds,
        )
    if status in GOOD:
        return _accepted(request, answer, text, whole=whole)
    if status in ELSEWHERE:
        return Outcome(OutcomeKind.REFUSED, status, "vPlus sent us elsewhere, which a write does not follow", text)
    if status in REFUSING and status != HTTPStatus.REQUEST_TIMEOUT:
        return Outcome(OutcomeKind.REFUSED, status, "vPlus refused", text)
    return Outcome(
        OutcomeKind.UNCERTAIN,
        status,
        "vPlus reports a failure of its own",
        text,
        retry_after_seconds=answer.retry_after_seconds,
    )


def _accepted(request: WriteRequest, answer: Answer, text: str | None, *, whole: bool) -> Outcome:
    """A 2xx: accepted where it holds what was expected, else uncertain with whatever it names."""
    status = answer.status
    if answer.html:
        return Outcome(OutcomeKind.UNCERTAIN, status, "a web page answered in vPlus's place", text)
    if request.expects is not Expectation.TASK:
        return Outcome(OutcomeKind.ACCEPTED, status, "accepted", named=_object_named(answer.content))
    if not whole:
        return Outcome(OutcomeKind.UNCERTAIN, status, "the answer broke off")
    if not answer.content.strip():
        return Outcome(OutcomeKind.UNCERTAIN, status, "accepted without naming a task")
    return _task_accepted(answer, text)


def _task_accepted(answer: Answer, text: str | None) -> Outcome:
    """A 2xx with a body to a call that creates one task."""
    status = answer.status
    try:
        tasks, named = decoding.task_answer(answer.content)
    except BadAnswer as error:
        return Outcome(OutcomeKind.UNCERTAIN, status, error.user_message, text)
    if len(tasks) == 1:
        return Outcome(OutcomeKind.ACCEPTED, status, "accepted", tasks=tasks, named=named)
    reason = "accepted, naming several tasks" if tasks else "accepted without naming a task"
    return Outcome(OutcomeKind.UNCERTAIN, status, reason, text, tasks, named)


def _object_named(content: bytes) -> tuple[tuple[str, str | None], ...]:
    """The (guid, name) of the one object in an answer, where it is there to be read."""
    pair = decoding.object_named(content)
    return () if pair is None else (pair,)
