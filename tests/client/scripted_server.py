"""A TLS server on real sockets that answers as a test tells it: well, badly, slowly, or not to the end."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request as the server read it."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes


class Line:
    """The server's end of one connection."""

    def __init__(self, tls: ssl.SSLSocket) -> None:
        self.tls = tls
        self._held = b""

    def read_request(self) -> Asked | None:
        while b"\r\n\r\n" not in self._held:
            piece = self.tls.recv(65536)
            if not piece:
                return None
            self._held += piece
        head, _, self._held = self._held.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(self._held) < int(headers.get("content-length", "0")):
            self._held += self.tls.recv(65536)
        length = int(headers.get("content-length", "0"))
        body, self._held = self._held[:length], self._held[length:]
        method, target, _ = first.split(" ")
        parts = urlsplit(target)
        return Asked(method, parts.path, parse_qsl(parts.query, keep_blank_values=True), headers, body)

    def reset(self) -> None:
        """Close with a TCP reset, as a crashed server or a firewall does."""
        self.tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.tls.close()


Behaviour = Callable[[Line, Asked], bool]
"""Answers one request; True keeps the connection for the next one."""


def answer(
    body: Any = None,
    status: int = 200,
    *,
    content_type: str = "application/json",
    headers: list[tuple[str, str]] | None = None,
) -> Behaviour:
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()

    def behave(line: Line, _asked: Asked) -> bool:
        line.tls.sendall(head(len(content), status, content_type=content_type, headers=headers) + content)
        return True

    return behave


def head(
    length: int | None,
    status: int = 200,
    *,
    content_type: str = "application/json",
    headers: list[tuple[str, str]] | None = None,
) -> bytes:
    lines = [f"HTTP/1.1 {status} Said", f"Content-Type: {content_type}"]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    lines += [f"{name}: {value}" for name, value in headers or ()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def raw(content: bytes) -> Behaviour:
    """Exactly these bytes, then close."""

    def behave(line: Line, _asked: Asked) -> bool:
        line.tls.sendall(content)
        return False

    return behave


def drip(start: bytes, drop: bytes = b" ", every: float = 0.05, seconds: float = 5) -> Behaviour:
    """`start` at once, then one drop at a time, far beyond any deadline of a test."""

    def behave(line: Line, _asked: Asked) -> bool:
        line.tls.sendall(start)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            line.tls.sendall(drop)
            time.sleep(every)
        return False

    return behave


def cut(start: bytes = b"", *, reset: bool = False) -> Behaviour:
    """Say `start`, then be gone."""

    def behave(line: Line, _asked: Asked) -> bool:
        if start:
            line.tls.sendall(start)
        if reset:
            line.reset()
        return False

    return behave


def silence(seconds: float = 5) -> Behaviour:
    def behave(_line: Line, _asked: Asked) -> bool:
        time.sleep(seconds)
        return False

    return behave


COOKIES = [("Set-Cookie", "JSESSIONID=s3cr3t-cookie; Path=/api; Secure; HttpOnly"), ("Set-Cookie", "node=n1; Path=/")]


def sign_in(body: Any = None) -> Behaviour:
    return answer({"privileges": [{"name": "NODE_READ"}]} if body is None else body, headers=COOKIES)


@dataclass
class ScriptedServer:
    """Listens on localhost. `routes` maps "METHOD /path" to one behaviour or to a queue of them (the last stays)."""

    context: ssl.SSLContext
    routes: dict[str, Behaviour | deque[Behaviour]] = field(default_factory=dict)
    on_connect: Callable[[Line], bool] | None = None
    """Called after the handshake; False ends the connection before a request is read."""

    def __post_init__(self) -> None:
        self.routes.setdefault("POST /api/session/login", sign_in())
        self.asked: list[Asked] = []
        self.connections = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/api"

    def on(self, what: str, *behaviours: Behaviour) -> None:
        method, path = what.split(" ")
        self.routes[f"{method} /api{path}"] = deque(behaviours)

    def asked_for(self, what: str) -> list[Asked]:
        method, path = what.split(" ")
        return [one for one in list(self.asked) if one.method == method and one.path == f"/api{path}"]

    def close(self) -> None:
        with contextlib.suppress(OSError):  # closed before, by the test
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread, which would take one more
        self._listener.close()
        with self._lock:
            for held in self._open:
                held.close()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.add(plain)
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            with self.context.wrap_socket(plain, server_side=True) as tls:
                line = Line(tls)
                if self.on_connect is not None and not self.on_connect(line):
                    return
                while (asked := line.read_request()) is not None:
                    self.asked.append(asked)
                    if not self._behaviour(asked)(line, asked):
                        return
        except OSError:
            pass  # the client under test went away: its business
        finally:
            plain.close()

    def _behaviour(self, asked: Asked) -> Behaviour:
        with self._lock:
            found = self.routes.get(f"{asked.method} {asked.path}")
            if found is None:
                return answer({"message": "no such path"}, 404)
            if isinstance(found, deque):
                return found.popleft() if len(found) > 1 else found[0]
            return found
