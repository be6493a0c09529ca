"""The one session with vPlus that all threads share, and reads made with it."""

from __future__ import annotations

import logging
import random
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import requests
from requests.cookies import get_cookie_header

from vplus_bridge.client import decoding
from vplus_bridge.client.errors import (
    AuthFailed,
    BadAnswer,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Unavailable,
    VplusError,
)
from vplus_bridge.client.records import SessionInfo
from vplus_bridge.client.transport import ELSEWHERE, FAILING, GOOD, REFUSING, Answer, Deadline, Endpoint, ReadDoor

log = logging.getLogger("vplus")

Params = list[tuple[str, str]]

_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 3.0


def note_call(method: str, template: str, status: int | None, seconds: float, problem: str | None = None) -> None:
    """Log one call: method, path without ids, status, duration. Never queries, bodies or cookies."""
    duration_ms = round(seconds * 1000)
    facts = {"method": method, "path": template, "status": status, "duration_ms": duration_ms, "problem": problem}
    level = logging.DEBUG if problem is None else logging.WARNING
    log.log(level, "%s %s: %s in %d ms", method, template, problem or status, duration_ms, extra=facts)


class ServerClock:
    """How far vPlus's clock is from ours, by the `Date` headers of its last answers."""

    def __init__(self) -> None:
        self._offsets: deque[int] = deque(maxlen=5)

    def note(self, date_ms: int | None) -> None:
        """Take in the `Date` of an answer that has just come; the header's second is taken at its middle."""
        if date_ms is not None:
            self._offsets.append(date_ms + 500 - time.time_ns() // 1_000_000)

    @property
    def offset_ms(self) -> int | None:
        """Server minus local clock, ms: the median of the last answers, None before the first."""
        offsets = list(self._offsets)
        return round(statistics.median(offsets)) if offsets else None


@dataclass(frozen=True)
class SignedIn:
    """One sign-in: its number, its cookies (in the requests session) and what the server told."""

    generation: int
    http: requests.Session = field(repr=False)
    info: SessionInfo = field(repr=False)

    def cookie_header(self, url: str) -> str | None:
        """The value of `Cookie` for a request to `url`, made by another connection."""
        header: str | None = get_cookie_header(self.http.cookies, requests.Request("GET", url).prepare())
        return header


class SessionKeeper:
    """Signs in, at most one at a time, and hands the result to every thread.

    Threads that meet a 401 together share one sign-in and also its failure. After vPlus refused name or
    password, nobody tries again for `sign_in_cooling_seconds`.
    """

    def __init__(self, endpoint: Endpoint, door: ReadDoor, clock: ServerClock) -> None:
        self._endpoint = endpoint
        self._door = door
        self._clock = clock
        self._lock = threading.Lock()
        self._current: SignedIn | None = None
        self._generation = 0
        self._finished = 0  # sign-ins that ended, well or not
        self._last_failure: VplusError | None = None
        self._cool_until = 0.0

    def current(self) -> SignedIn:
        """The session in use, signing in when there is none. Raises as `renew`."""
        return self._current or self.renew(None)

    def renew(self, rejected: SignedIn | None) -> SignedIn:
        """A session other than `rejected`: another thread's newer one, or a fresh one.

        Raises AuthFailed, Unavailable, TlsFailed, BadAnswer, Forbidden, Invalid.
        """
        finished = self._finished
        with self._lock:
            current = self._current
            if current is not None and current is not rejected:
                return current
            if self._finished != finished and self._last_failure is not None:
                # The sign-in that this thread waited for has failed; queueing up for the same answer helps nobody.
                raise _same(self._last_failure)
            return self._sign_in()

    def fresh(self) -> SignedIn:
        """Sign in now, whatever there was. Raises as `renew`."""
        with self._lock:
            return self._sign_in()

    def reject(self, rejected: SignedIn) -> None:
        """Drop a session that vPlus did not accept, unless a newer one has taken its place."""
        with self._lock:
            if self._current is rejected:
                self._current = None

    def take(self) -> SignedIn | None:
        """Drop the session, whatever it is, and hand it over to be ended."""
        with self._lock:
            taken, self._current = self._current, None
            return taken

    def _sign_in(self) -> SignedIn:
        if self._last_failure is not None and time.monotonic() < self._cool_until:
            raise _same(self._last_failure)
        self._current = None
        try:
            signed_in = self._post_login()
        except VplusError as error:
            self._last_failure = error
            cooling = self._endpoint.sign_in_cooling_seconds if isinstance(error, AuthFailed) else 0
            self._cool_until = time.monotonic() + cooling
            raise
        finally:
            self._finished += 1
        self._last_failure = None
        self._current = signed_in
        return signed_in

    def _post_login(self) -> SignedIn:
        """One POST /session/login with an empty jar (vplus-api.md 1.2)."""
        http = self._door.new_session()
        started = time.monotonic()
        try:
            answer = self._door.call(
                http,
                "POST",
                "/session/login",
                deadline=Deadline(self._endpoint.read_total_seconds),
                json={"login": self._endpoint.username, "password": self._endpoint.password},
            )
            self._clock.note(answer.date_ms)
            if answer.status in {400, 401, 403}:
                raise AuthFailed("vPlus does not accept our name and password", answer.status, html=answer.html)
            raise_for_status(answer)
            if answer.html:
                raise BadAnswer("a web page answered in vPlus's place", answer.status, html=True)
            info = decoding.session_info(answer.content)
            if not len(http.cookies):
                raise BadAnswer("vPlus took our sign-in but gave no session", answer.status)
        except VplusError as error:
            note_call("POST", "/session/login", error.status, time.monotonic() - started, error.user_message)
            raise
        note_call("POST", "/session/login", answer.status, time.monotonic() - started)
        self._generation += 1
        return SignedIn(self._generation, http, info)


def _same(error: VplusError) -> VplusError:
    """A copy to raise in another thread, without the first one's traceback."""
    return type(error)(
        error.user_message,
        error.status,
        html=error.html,
        retry_after_seconds=error.retry_after_seconds,
        cause=error.cause,
    )


_BY_STATUS: dict[int, tuple[type[VplusError], str]] = {
    401: (AuthFailed, "vPlus does not accept our session"),
    403: (Forbidden, "our account may not do this in vPlus"),
    404: (NotFound, "vPlus does not know this"),
    408: (Unavailable, "vPlus did not wait for our question"),
    409: (Conflict, "vPlus says that this conflicts with what it has"),
    429: (Unavailable, "vPlus asks us to slow down"),
}


def raise_for_status(answer: Answer) -> None:
    """Raise the VplusError that a status other than 2xx stands for (vplus-api.md 1.8)."""
    status = answer.status
    if status in GOOD:
        return
    if status in _BY_STATUS:
        kind, words = _BY_STATUS[status]
    elif status in ELSEWHERE:
        kind, words = BadAnswer, "vPlus sent us elsewhere, which we do not follow"
    elif status in REFUSING:
        kind, words = Invalid, "vPlus refused our question"
    elif status in FAILING:
        kind, words = Unavailable, "vPlus reports a failure of its own"
    else:
        kind, words = BadAnswer, "vPlus answered with a status that means nothing"
    raise kind(words, status, html=answer.html, retry_after_seconds=answer.retry_after_seconds)


@dataclass(frozen=True)
class Question:
    """One read: a GET, or a POST that asks and changes nothing. `template` is the path without ids, for logs."""

    method: str
    path: str
    template: str
    params: Params | None = None
    json: Any = None


class Reader:
    """Reads with the shared session: repeated on passing trouble, and once after a 401."""

    def __init__(
        self,
        endpoint: Endpoint,
        door: ReadDoor,
        keeper: SessionKeeper,
        clock: ServerClock,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._endpoint = endpoint
        self._door = door
        self._keeper = keeper
        self._clock = clock
        self._sleep = sleep

    def get(self, path: str, template: str, params: Params | None = None, *, seconds: float | None = None) -> Answer:
        """GET `path`, whose answer is a 2xx with a JSON body of some kind.

        `seconds` bounds the read with its repetitions (default `read_total_seconds`); a sign-in in between has
        its own. Raises VplusError.
        """
        return self._answer(Question("GET", path, template, params), seconds)

    def post(self, path: str, json: Any) -> Answer:
        """POST `json` to a `path` that only answers a question; bounded, repeated and raising as `get`.

        Never for a call that changes anything: such a one goes out once, by a `WriteChannel`.
        """
        return self._answer(Question("POST", path, path, json=json), None)

    def _answer(self, question: Question, seconds: float | None) -> Answer:
        total = self._endpoint.read_total_seconds if seconds is None else seconds
        signed_in = self._keeper.current()
        try:
            return self._repeated(signed_in, question, total)
        except AuthFailed:
            signed_in = self._keeper.renew(signed_in)
        try:
            return self._repeated(signed_in, question, total)
        except AuthFailed:
            self._keeper.reject(signed_in)
            raise

    def _repeated(self, signed_in: SignedIn, question: Question, total: float) -> Answer:
        deadline = Deadline(total)
        for turn in range(1, self._endpoint.read_tries + 1):
            try:
                return self._once(signed_in, question, deadline)
            except Unavailable as error:
                wait = self._wait(error, turn)
                if turn == self._endpoint.read_tries or wait is None or not deadline.lasts(wait):
                    raise
            self._sleep(wait)
        raise AssertionError("read_tries is at least 1")

    def _wait(self, error: Unavailable, turn: int) -> float | None:
        """Seconds before the next try; None for no next try.

        What the server asks for is obeyed, up to a cap, beyond which the next poll is soon enough. A 429 or 408
        without it is not repeated.
        """
        asked = error.retry_after_seconds
        if asked is not None:
            return asked if asked <= self._endpoint.retry_after_cap_seconds else None
        if error.status in REFUSING:
            return None
        ceiling = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2 ** (turn - 1))
        return random.uniform(ceiling / 2, ceiling)  # noqa: S311  # jitter, no secret

    def _once(self, signed_in: SignedIn, question: Question, deadline: Deadline) -> Answer:
        started = time.monotonic()
        try:
            answer = self._door.call(
                signed_in.http,
                question.method,
                question.path,
                deadline=deadline,
                params=question.params,
                json=question.json,
            )
            self._clock.note(answer.date_ms)
            raise_for_status(answer)
            if answer.html:
                raise BadAnswer("a web page answered in vPlus's place", answer.status, html=True)
            if not answer.content.strip():
                raise BadAnswer("vPlus answered nothing", answer.status)
        except VplusError as error:
            took = time.monotonic() - started
            note_call(question.method, question.template, error.status, took, _problem(error))
            raise
        note_call(question.method, question.template, answer.status, time.monotonic() - started)
        return answer


def _problem(error: VplusError) -> str:
    return f"{error.user_message} ({error.cause})" if error.cause else error.user_message
