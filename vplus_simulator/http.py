"""The HTTPS side: sockets, TLS, HTTP/1.1 with kept connections, and the server as one object to start and stop."""

from __future__ import annotations

import logging
import socket
import socketserver
import ssl
import sys
import threading
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from .clock import Clock, RunningClock, SteppedClock
from .control import Control
from .control_api import CONTROL_BASE, answer_control
from .engine import Engine
from .fault_drawing import FaultEntry, Faults
from .fault_effects import Cut, disorder, replaced
from .faults import Fault
from .messages import Answer, Refusal, Request, empty_answer, json_answer, read_query
from .options import ServerOptions
from .seed import plant
from .service import Service
from .sessions import Sessions
from .settings import Settings
from .state_file import StateFile
from .tls import CertificateKind, files_of, server_context
from .wire import hang_up, send
from .world import World

BASE = "/api"
LARGEST_BODY = 64 * 2**20
IDLE_CONNECTION_SECONDS = 120
TICK_SECONDS = 0.2
PAUSE_SECONDS = 60
"""A process that stood still for longer, wall clock, was down as far as schedules are concerned."""
OUTAGE_BEGINS_AFTER_SECONDS = 0.1

log = logging.getLogger(__name__)


class Connection(BaseHTTPRequestHandler):
    """One client's connection; a thread of its own serves it, call after call."""

    protocol_version = "HTTP/1.1"
    server_version = "vPlus"
    timeout = IDLE_CONNECTION_SECONDS
    disable_nagle_algorithm = True
    server: Listener
    connection: ssl.SSLSocket

    def setup(self) -> None:
        """Note the connection, so that the server can end it."""
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        """Forget the connection."""
        self.server.connections.discard(self.connection)
        super().finish()

    def handle(self) -> None:
        """Serve until either side goes; a client that goes away in the middle is no defect."""
        try:
            super().handle()
        except OSError as error:
            log.debug("connection from %s ended: %s", self.client_address, error)

    def serve(self) -> None:
        """Serve one call."""
        try:
            self._serve()
        except Cut as cut:
            self._hang_up(reset=cut.reset)
        except OSError:
            raise
        except Exception:
            # The outermost boundary: a defect of the simulator is told to the client and the log, the others go on.
            log.exception("%s %s failed", self.command, self.path)
            self._write(json_answer({"message": "The simulator has a defect; see its log"}, 500))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = serve

    def _serve(self) -> None:
        simulator = self.server.simulator
        try:
            request, length = self._read_head()
        except Refusal as refusal:
            self.close_connection = True
            self._write(json_answer({"message": refusal.message}, refusal.status))
            return
        if request.path.startswith(CONTROL_BASE):
            request.body = self.rfile.read(length)
            self._write(answer_control(simulator.control, request))
            return
        if not (request.path == BASE or request.path.startswith(BASE + "/")):
            self.rfile.read(length)
            self._write(json_answer({"message": f"{request.path} does not exist"}, 404))
            return
        request.path = request.path.removeprefix(BASE)
        hits = simulator.faults.draw(simulator.service.subject(request), simulator.clock.now())
        self._read_body(request, length, hits)
        answer = self._before(request, hits) or self._processed(request, hits)
        self._outage(hits, "after")
        self._write(replaced(hits, "after", answer, simulator.faults.stopping) or answer, hits)

    def _before(self, request: Request, hits: list[FaultEntry]) -> Answer | None:
        """Let happen what happens before processing; return the answer where there is one already."""
        simulator = self.server.simulator
        self._outage(hits, "before")
        answer = replaced(hits, "before", None, simulator.faults.stopping)
        for hit in hits:
            if hit.fault.kind == "unauthorized":
                answer = simulator.service.unauthorized()
            elif hit.fault.kind == "expired":
                simulator.service.end_session(request)
            elif hit.fault.kind == "late" and answer is None and simulator.service.postpone(request, hit):
                if hit.fault.late_answer == "cut":
                    raise Cut
                late = empty_answer(201)
                answer = late if hit.fault.late_answer == "empty" else Answer(hit.fault.status)
        return answer

    def _processed(self, request: Request, hits: list[FaultEntry]) -> Answer:
        """Do the work, perhaps for a client that is gone already; note for each fault what the server did."""
        simulator = self.server.simulator
        going = [hit.fault for hit in hits if hit.fault.phase == "processing"]
        if going:
            self._hang_up(reset=going[0].kind == "reset")
            simulator.faults.stopping.wait(going[0].seconds)
        request.disorder = disorder(hits)
        answer = simulator.service.handle(request)
        for hit in hits:
            hit.status, hit.journal = answer.status, request.journal
        if going:
            raise Cut
        return answer

    def _outage(self, hits: list[FaultEntry], phase: str) -> None:
        for hit in hits:
            if hit.fault.kind == "outage" and hit.fault.phase == phase:
                self.server.simulator.refuse_connections(hit.fault.seconds)
                raise Cut

    def _hang_up(self, *, reset: bool) -> None:
        self.close_connection = True
        self.rfile.close()
        hang_up(self.connection, reset=reset)

    def _read_body(self, request: Request, length: int, hits: list[FaultEntry]) -> None:
        for fault in (hit.fault for hit in hits if hit.fault.phase == "reading"):
            if fault.kind == "latency":
                self.server.simulator.faults.stopping.wait(fault.seconds)
            else:
                self.rfile.read(min(length, fault.bytes))
                raise Cut(reset=fault.kind == "reset")
        request.body = self.rfile.read(length) if length else b""

    def _read_head(self) -> tuple[Request, int]:
        """Return the request without its body, and the body's length."""
        if "transfer-encoding" in self.headers:
            raise Refusal(411, "A request body needs a Content-Length")
        try:
            length = int(self.headers.get("content-length") or 0)
        except ValueError as error:
            raise Refusal(400, "Content-Length is not a number") from error
        if not 0 <= length <= LARGEST_BODY:
            raise Refusal(413, "The request body is too large")
        address = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=unquote(address.path).rstrip("/"),
            query=read_query(address.query),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=b"",
            client=str(self.client_address[0]),
        )
        return request, length

    def _write(self, answer: Answer, hits: list[FaultEntry] | None = None) -> None:
        """Send an answer, as far and as fast as the faults of its call let it."""
        try:
            reason = HTTPStatus(answer.status).phrase
        except ValueError:
            reason = "Unknown"
        lines = [
            f"HTTP/1.1 {answer.status} {reason}",
            f"Date: {formatdate(self.server.simulator.clock.now() / 1000, usegmt=True)}",
            f"Server: {self.server_version}",
        ]
        if answer.content_type is not None:
            lines.append(f"Content-Type: {answer.content_type}")
        if answer.status != HTTPStatus.NO_CONTENT:
            lines.append(f"Content-Length: {len(answer.body)}")
        if self.close_connection:
            lines.append("Connection: close")
        lines += [f"{name}: {value}" for name, value in answer.headers]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        whole = head if self.command == "HEAD" else head + answer.body
        send(self.connection, whole, hits or [], self.server.simulator.faults.stopping)
        log.debug("%s %s -> %s", self.command, self.path, answer.status)

    def log_message(self, format: str, *args: Any) -> None:
        """Write the base class's remarks to our log."""
        log.debug(format, *args)


class Listener(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Accepts connections; the TLS handshake happens in the connection's own thread, so a slow client delays nobody."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext, simulator: SimulatorServer) -> None:
        self.context = context
        self.simulator = simulator
        self.connections: set[socket.socket] = set()
        self.ended = False
        super().__init__(address, Connection)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands, then serve; a client that does not trust us is told by TLS itself."""
        request.settimeout(IDLE_CONNECTION_SECONDS)
        try:
            encrypted = self.context.wrap_socket(request, server_side=True)
        except OSError as error:
            log.debug("no TLS with %s: %s", client_address, error)
            return
        with encrypted:
            if self.ended:
                return
            super().finish_request(encrypted, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log a defect in a connection's thread."""
        log.error("connection from %s failed", client_address, exc_info=sys.exc_info())

    def end_connections(self) -> None:
        """End every open connection now, and serve none that is still shaking hands."""
        self.ended = True
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                log.debug("connection was already gone")


class SimulatorServer:
    """A whole simulated vPlus: `start()` it, use `url` and `ca_path` as a client, `control` as a test, `stop()` it."""

    def __init__(self, options: ServerOptions | None = None) -> None:
        self.options = options or ServerOptions()
        self.clock: Clock
        if self.options.stepped:
            self.clock = SteppedClock() if self.options.start_at is None else SteppedClock(self.options.start_at)
        else:
            self.clock = RunningClock(
                speed=self.options.speed, offset_ms=round(self.options.clock_offset_seconds * 1000)
            )
        self.world = World(random_seed=self.options.random_seed)
        self.state_file = StateFile(self.options.state_file) if self.options.state_file else None
        if self.state_file is None or not self.state_file.load(self.world, self.clock):
            plant(self.world, self.options.seed, self.clock.now())
        self.engine = Engine(self.world, self.options.settings, self.clock.now())
        if not self.options.stepped:
            self.engine.firing.patience = round(PAUSE_SECONDS * 1000 * self.options.speed)
        self.faults = Faults(self.options.random_seed)
        self.arm_start_faults()
        self.sessions = Sessions(self.options.username, self.options.password)
        self.service = Service(self.world, self.engine, self.clock, self.sessions)
        self.control = Control(self)
        self._own_directory = TemporaryDirectory(prefix="vplus-simulator-") if self.options.tls_dir is None else None
        tls_dir = self.options.tls_dir or Path(self._own_directory.name if self._own_directory else "")
        self._tls_dir = tls_dir
        self.ca_path, server_path = files_of(self.options.certificate, tls_dir, self.options.tls_names)
        self._context = server_context(server_path)
        self._listener: Listener | None = None
        self._listening = threading.Lock()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self.port = self.options.port

    @property
    def url(self) -> str:
        """The base URL that a client of vPlus is given."""
        return f"https://localhost:{self.port}{BASE}"

    @property
    def control_url(self) -> str:
        """The base URL of the control API."""
        return f"https://localhost:{self.port}{CONTROL_BASE}"

    @property
    def settings(self) -> Settings:
        """The switches in force."""
        return self.engine.settings

    def arm_start_faults(self) -> None:
        """Arm what the server was started with; ValueError for a fault that cannot happen."""
        if self.options.latency_seconds:
            self.faults.arm(Fault(kind="latency", seconds=self.options.latency_seconds))
        for fault in self.options.faults:
            self.faults.arm(msgspec.structs.replace(fault))
        if self.options.fault_plan is not None:
            self.faults.arm_plan(self.options.fault_plan)

    def start(self) -> SimulatorServer:
        """Listen and let time pass; returns when connections are accepted."""
        self._listen()
        thread = threading.Thread(target=self._tick, name="simulator-time", daemon=True)
        thread.start()
        self._threads.append(thread)
        return self

    def stop(self) -> None:
        """Stop listening, end all connections, save the state. A second call does nothing."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self.faults.stopping.set()
        self._silence()
        for thread in self._threads:
            thread.join(timeout=5)
        if self.state_file is not None:
            self.state_file.save(self.world, self.clock)
        if self._own_directory is not None:
            self._own_directory.cleanup()

    def __enter__(self) -> SimulatorServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def open_connections(self) -> list[socket.socket]:
        """Return the connections that clients hold now."""
        listener = self._listener
        return [] if listener is None else list(listener.connections)

    def refuse_connections(self, seconds: float) -> None:
        """Be away for some wall-clock seconds: open connections end, new ones are refused; then listen again.

        It begins a moment after this call, so that the control call that asked for it is still answered.
        """
        thread = threading.Thread(target=self._be_away, args=(seconds,), name="simulator-outage", daemon=True)
        thread.start()
        self._threads.append(thread)

    def show_certificate(self, kind: CertificateKind) -> None:
        """Show clients another certificate from the next connection on; open connections keep the one they have seen."""
        with self._listening:
            self.ca_path, server_path = files_of(kind, self._tls_dir, self.options.tls_names)
            self._context = server_context(server_path)
            if self._listener is not None:
                self._listener.context = self._context

    def _be_away(self, seconds: float) -> None:
        if self._stopping.wait(OUTAGE_BEGINS_AFTER_SECONDS):
            return
        self._silence()
        if not self._stopping.wait(seconds):
            self._listen()

    def _listen(self) -> None:
        with self._listening:
            if self._listener is not None or self._stopping.is_set():
                return
            listener = Listener((self.options.host, self.port), self._context, self)
            self.port = listener.server_address[1]
            self._listener = listener
        threading.Thread(
            target=listener.serve_forever, kwargs={"poll_interval": 0.05}, name="simulator-listen", daemon=True
        ).start()

    def _silence(self) -> None:
        with self._listening:
            listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown()
            listener.server_close()
            listener.end_connections()

    def _tick(self) -> None:
        """Let time pass where nobody asks, and save now and then."""
        ticks = 0
        every = max(1, round(self.options.save_seconds / TICK_SECONDS))
        while not self._stopping.wait(TICK_SECONDS):
            ticks += 1
            with self.world.lock:
                self.engine.advance(self.clock.now())
            if self.state_file is not None and ticks % every == 0:
                try:
                    self.state_file.save(self.world, self.clock)
                except OSError:
                    log.exception("the state cannot be saved; time goes on")
