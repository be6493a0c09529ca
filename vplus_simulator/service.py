"""One call from request to answer: session, route, world, journal and counters."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from .api.call import Call, Route
from .api.routes import Switchboard
from .clock import Clock
from .engine import Engine
from .fault_drawing import FaultEntry, Subject
from .faults import Calls
from .messages import Answer, Refusal, Request, json_answer
from .sessions import Sessions
from .settings import Settings
from .shapes import Painter
from .work import ms
from .world import JournalEntry, LateCall, World

UNAUTHORIZED_PAGE = b"<html><head><title>401</title></head><body><h1>HTTP Status 401 - Unauthorized</h1></body></html>"


KEPT_HEADERS = ("user-agent", "x-request-id", "3rd-party", "3rd-party-project")
"""What a call that is acted on late still knows of its headers."""


class Counters(msgspec.Struct, kw_only=True):
    """What was asked since the counters were cleared; keys read "GET /virtual-machines/{guid}"."""

    total: int = 0
    calls: dict[str, int] = msgspec.field(default_factory=dict)
    unknown: dict[str, int] = msgspec.field(default_factory=dict)
    """Calls that this server does not have, by their real path."""
    unauthorized: dict[str, int] = msgspec.field(default_factory=dict)
    sign_ins: int = 0


class Service:
    """Answers the calls below the base path; whatever it does happens under the world's lock, at one instant."""

    def __init__(self, world: World, engine: Engine, clock: Clock, sessions: Sessions) -> None:
        self.world = world
        self.engine = engine
        self.clock = clock
        self.sessions = sessions
        self.counters = Counters()
        self._switchboard = Switchboard()
        self._late: dict[int, FaultEntry] = {}
        engine.on("late", self._act_late)

    @property
    def settings(self) -> Settings:
        """The switches in force."""
        return self.engine.settings

    def subject(self, request: Request) -> Subject:
        """Return what faults see of a call; without a route its path stands for the template."""
        route, _, _ = self._switchboard.find(request.method, request.path)
        template = request.path if route is None else route.template
        calls: Calls = "write" if route is not None and route.changes else "read"
        if template.startswith("/session") and request.method == "POST":
            calls = "sign_in"
        return Subject(request.method, template, request.path, calls, request.headers.get("x-request-id", ""))

    def unauthorized(self) -> Answer:
        """Return what a call without a session is told."""
        if self.settings.unauthorized_body == "html":
            return Answer(401, UNAUTHORIZED_PAGE, "text/html")
        return json_answer({"message": "Unauthorized"}, 401)

    def end_session(self, request: Request) -> None:
        """End the session that a call would use."""
        with self.world.lock:
            self.sessions.sign_out(request.headers.get("cookie", ""))

    def handle(self, request: Request) -> Answer:
        """Return the answer to one call. A refusal is an answer too; only a defect of the simulator raises."""
        with self.world.lock:
            now = self.clock.now()
            self.engine.advance(now)
            try:
                return self._handle(request, now)
            except Refusal as refusal:
                if refusal.status == HTTPStatus.UNAUTHORIZED and self.settings.unauthorized_body == "html":
                    return self.unauthorized()
                return json_answer({"message": refusal.message}, refusal.status)

    def _handle(self, request: Request, now: int) -> Answer:
        counters = self.counters
        counters.total += 1
        route, request.parts, known = self._switchboard.find(request.method, request.path)
        if route is None:
            name = f"{request.method} {request.path}"
            counters.unknown[name] = counters.unknown.get(name, 0) + 1
            raise Refusal(405 if known else 404, f"{name} does not exist")
        name = f"{route.method} {route.template}"
        counters.calls[name] = counters.calls.get(name, 0) + 1
        if route.needs_session:
            idle = ms(self.settings.session_idle_seconds)
            session = self.sessions.use(request.headers.get("cookie", ""), now, idle)
            if session is None:
                counters.unauthorized[name] = counters.unauthorized.get(name, 0) + 1
                raise Refusal(401, "Unauthorized")
            request.session = session
        return self._run(route, request, now)

    def _run(self, route: Route, request: Request, now: int) -> Answer:
        call = Call(
            request=request,
            world=self.world,
            engine=self.engine,
            settings=self.settings,
            sessions=self.sessions,
            now=now,
            painter=Painter(self.world, self.settings, now),
        )
        answer = route.handler(call)
        if route.template == "/session/login":
            self.counters.sign_ins += 1
        if route.changes:
            self._write_journal(route, call, answer)
        return answer

    # Calls that the server acts on late.

    def postpone(self, request: Request, hit: FaultEntry) -> bool:
        """Take a change now and make it `hit.fault.seconds` simulated seconds later; False for any other call."""
        with self.world.lock:
            now = self.clock.now()
            self.engine.advance(now)
            route, _, _ = self._switchboard.find(request.method, request.path)
            session = self.sessions.use(request.headers.get("cookie", ""), now, ms(self.settings.session_idle_seconds))
            if route is None or not route.changes or session is None:
                return False
            call = LateCall(
                number=self.world.number("late call"),
                at=now + ms(hit.fault.seconds),
                method=request.method,
                path=request.path,
                query=request.query,
                headers={name: request.headers[name] for name in KEPT_HEADERS if name in request.headers},
                body=request.body,
                client=request.client,
                session=session,
            )
            self.world.late[call.number] = call
            self.world.changed()
            self._late[call.number] = hit
            self.engine.plan(call.at, "late", str(call.number))
            return True

    def _act_late(self, key: str, at: int) -> None:
        late = self.world.late.pop(int(key), None)
        if late is None:
            return
        request = Request(late.method, late.path, late.query, late.headers, late.body, late.client)
        request.session = late.session
        route, request.parts, _ = self._switchboard.find(late.method, late.path)
        if route is None:
            raise LookupError(f"{late.method} {late.path} was taken and does not exist")
        try:
            status = self._run(route, request, at).status
        except Refusal as refusal:
            status = refusal.status
        hit = self._late.pop(late.number, None)
        if hit is not None:
            hit.status, hit.journal = status, request.journal

    def _write_journal(self, route: Route, call: Call, answer: Answer) -> None:
        request = call.request
        request.journal = self.world.number("journal")
        self.world.journal.append(
            JournalEntry(
                number=request.journal,
                at=call.now,
                call=f"{route.method} {route.template}",
                guid=request.parts.get("guid") or call.made,
                asked=msgspec.json.decode(request.body) if request.body else None,
                tasks=call.tasks,
                backups=call.backups,
                status=answer.status,
                session=request.session,
                client=request.client,
                user_agent=request.headers.get("user-agent", ""),
                request_id=request.headers.get("x-request-id", ""),
            )
        )
        self.world.changed()
