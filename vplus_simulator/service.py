"""One call from request to answer: session, route, world, journal and counters."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from .api.call import Call, Route
from .api.routes import Switchboard
from .clock import Clock
from .engine import Engine
from .messages import Answer, Refusal, Request, json_answer
from .sessions import Sessions
from .settings import Settings
from .shapes import Painter
from .work import ms
from .world import JournalEntry, World

UNAUTHORIZED_PAGE = b"<html><head><title>401</title></head><body><h1>HTTP Status 401 - Unauthorized</h1></body></html>"


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

    @property
    def settings(self) -> Settings:
        """The switches in force."""
        return self.engine.settings

    def template(self, request: Request) -> str:
        """Return the template of the request's route, or its path where there is none."""
        route, _, _ = self._switchboard.find(request.method, request.path)
        return request.path if route is None else route.template

    def handle(self, request: Request) -> Answer:
        """Return the answer to one call. A refusal is an answer too; only a defect of the simulator raises."""
        with self.world.lock:
            now = self.clock.now()
            self.engine.advance(now)
            try:
                return self._handle(request, now)
            except Refusal as refusal:
                if refusal.status == HTTPStatus.UNAUTHORIZED and self.settings.unauthorized_body == "html":
                    return Answer(401, UNAUTHORIZED_PAGE, "text/html")
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
            counters.sign_ins += 1
        if route.changes:
            self._write_journal(route, call, answer)
        return answer

    def _write_journal(self, route: Route, call: Call, answer: Answer) -> None:
        request = call.request
        self.world.journal.append(
            JournalEntry(
                number=self.world.number("journal"),
                at=call.now,
                call=f"{route.method} {route.template}",
                guid=request.parts.get("guid"),
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
