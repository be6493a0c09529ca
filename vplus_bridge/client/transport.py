"""The way to vPlus: one TLS policy, total deadlines, size caps; one door for reads.

Time limits here are totals. A timeout given to a socket bounds one `recv`, so a server that drips a byte
a second would never meet it; our socket recomputes what is left of the call's deadline before each
operation.
"""

from __future__ import annotations

import contextlib
import email.utils
import hashlib
import hmac
import http.client
import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from http.cookiejar import Cookie
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.cookies import RequestsCookieJar
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from vplus_bridge.client.errors import BadAnswer, Invalid, TlsFailed, Unavailable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

USER_AGENT = "vplus-portal"
GOOD, ELSEWHERE, REFUSING, FAILING = range(200, 300), range(300, 400), range(400, 500), range(500, 600)
"""The families of HTTP statuses."""

_PIN = re.compile(r"[0-9a-f]{64}")
_WAIT = re.compile(r"[0-9]{1,8}")


@dataclass(frozen=True)
class Endpoint:
    """Where vPlus is, how to sign in, whom to trust and how long to wait.

    `url` is the base address (`https://host:8181/api`). Trust: `cert_sha256` pins one certificate, by its
    SHA-256 in hex, colons allowed, and then decides alone; else the certificate must be signed by
    `ca_bundle` (a PEM file; the system's authorities when None) and carry `tls_name`, or the host of `url`
    when None. There is no setting that turns this off (vplus-api.md 1.1).

    Raises ValueError for an address that is not https or a pin that is no SHA-256.
    """

    url: str
    username: str
    password: str = field(repr=False)
    dialect: Literal["guide", "current"] = "guide"
    ca_bundle: str | None = None
    tls_name: str | None = None
    cert_sha256: str | None = None
    connect_seconds: float = 5
    """For name, connection and TLS handshake together."""
    read_total_seconds: float = 30
    """For one read with its repetitions, from the first byte out to the last one in."""
    listing_total_seconds: float = 120
    """The same for one page of a listing."""
    write_total_seconds: float = 60
    """For one write on an open connection (R of the sending protocol)."""
    size_cap_bytes: int = 256 * 1024 * 1024
    write_size_cap_bytes: int = 4 * 1024 * 1024
    page_size: int = 500
    page_cap: int = 10_000
    """Pages of one listing, so that a server that never ends a listing is left."""
    read_tries: int = 3
    retry_after_cap_seconds: float = 10
    sign_in_cooling_seconds: float = 60
    """After vPlus refused name or password, no further attempt for so long: accounts lock out."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment or parts.username:
            raise ValueError("the vPlus address must look like https://host:8181/api")
        if parts.port == 0:  # reading it also refuses what is no port number
            raise ValueError("the vPlus address has an impossible port")
        if self.cert_sha256 is not None and not _PIN.fullmatch(_plain_hex(self.cert_sha256)):
            raise ValueError("the pin of the vPlus certificate must be a SHA-256 in hex")


def _plain_hex(pin: str) -> str:
    return pin.replace(":", "").strip().lower()


def path_segment(guid: str) -> str:
    """A guid escaped to stand as one segment of a path. Raises Invalid where it could leave its place."""
    if not guid or guid in {".", ".."}:
        raise Invalid("this is not an id that vPlus could know")
    return quote(guid, safe="")


class HeldUp(TimeoutError):
    """Too much time went by before the first byte of a request: whoever waits for it may have given it up."""


class Deadline:
    """A moment after which a call is over, by the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left, above 0. Raises TimeoutError when none are."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for this call is over")
        return left

    def passed(self) -> bool:
        """Whether the time is over."""
        return not self.lasts(0)

    def lasts(self, seconds: float) -> bool:
        """Whether more than `seconds` are left."""
        return self._at - time.monotonic() > seconds


# Pooled connections serve call after call, so the deadline travels with the calling thread, not the connection.
_deadline: ContextVar[Deadline | None] = ContextVar("vplus_deadline", default=None)


@contextlib.contextmanager
def within(deadline: Deadline) -> Iterator[None]:
    """Everything sent and received by this thread inside the block is bounded by `deadline`."""
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


class DeadlineSocket(ssl.SSLSocket):
    """A TLS socket that keeps to the current deadline and remembers whether a byte of a request went out."""

    request_begun = False
    """Set when the first byte is handed to the socket; decides the phase of a write."""
    begin_before: float | None = None
    """The moment (time.monotonic) after which a request must not begin any more."""

    def _bound(self) -> None:
        deadline = _deadline.get()
        if deadline is not None:
            self.settimeout(deadline.left())

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands in the time left; a cut is a lost connection, not a question of trust."""
        self._bound()
        try:
            super().do_handshake(block)
        except ssl.SSLEOFError as error:
            raise ConnectionResetError("cut during the TLS handshake") from error

    def recv_into(self, buffer: WriteableBuffer, nbytes: int | None = None, flags: int = 0) -> int:
        """As `socket.recv_into`, in the time left."""
        self._bound()
        return super().recv_into(buffer, nbytes, flags)

    def send(self, data: ReadableBuffer, flags: int = 0) -> int:
        """As `socket.send`, in the time left; `sendall` comes through here too. Raises HeldUp instead of beginning late."""
        self._bound()
        # Looked at as late as can be: a process may be paused between any two lines.
        if not self.request_begun and self.begin_before is not None and time.monotonic() > self.begin_before:
            raise HeldUp
        self.request_begun = True
        try:
            return super().send(data, flags)
        except ssl.SSLEOFError as error:
            raise ConnectionResetError("cut while sending") from error

    def still_silent(self) -> bool:
        """Whether the peer neither closed nor said anything on this connection that has carried no request yet.

        TLS 1.3 session tickets may wait to be read and are no news, so looking at the bare socket would not do.
        """
        self.settimeout(0)
        try:
            self.recv(1)
        except ssl.SSLWantReadError:
            return True
        except OSError:
            return False
        return False


class TlsPolicy:
    """Whom we trust, for every connection alike; built from an `Endpoint`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.name = endpoint.tls_name
        self._pin = _plain_hex(endpoint.cert_sha256) if endpoint.cert_sha256 else None
        self.context = ssl.create_default_context(cafile=endpoint.ca_bundle)
        self.context.sslsocket_class = DeadlineSocket
        if self._pin:
            # Not "no verification": `wrap` compares the certificate itself before a byte of ours goes out.
            self.context.check_hostname = False
            self.context.verify_mode = ssl.CERT_NONE

    def wrap(self, raw: socket.socket, host: str) -> DeadlineSocket:
        """Shake hands on a connected socket and prove the peer. Raises ssl.SSLError, OSError."""
        secured = self.context.wrap_socket(raw, server_hostname=self.name or host)
        if not isinstance(secured, DeadlineSocket):
            raise TypeError("the TLS context must make DeadlineSockets")
        if self._pin:
            certificate = secured.getpeercert(binary_form=True) or b""
            if not hmac.compare_digest(hashlib.sha256(certificate).hexdigest(), self._pin):
                secured.close()
                raise ssl.SSLCertVerificationError("the certificate is not the pinned one")
        return secured


def _addresses(host: str, port: int, deadline: Deadline) -> list[Any]:
    """Look the host up in the time left: the resolver knows no timeout, so it works in a thread of its own."""
    found: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            found.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.put(error if isinstance(error, OSError) else OSError("not a host name"))

    threading.Thread(target=look_up, name="vplus-resolve", daemon=True).start()
    try:
        answer = found.get(timeout=deadline.left())
    except queue.Empty:
        raise TimeoutError("the name was not resolved in time") from None
    if isinstance(answer, OSError):
        raise answer
    return answer


class VplusConnection(HTTPSConnection):
    """One connection to vPlus under a `TlsPolicy`, connected within `connect_seconds` in all."""

    policy: TlsPolicy
    connect_seconds: float

    def connect(self) -> None:
        """Resolve, connect and shake hands. Raises urllib3 and ssl errors, OSError."""
        call = _deadline.get()
        limit = self.connect_seconds if call is None else min(self.connect_seconds, call.left())
        deadline = Deadline(limit)
        try:
            raw = self._reach(deadline)
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "vPlus did not take the connection in time") from error
        except OSError as error:
            raise NewConnectionError(self, "vPlus could not be reached") from error
        try:
            with within(deadline):
                self.sock = self.policy.wrap(raw, self.host)
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "vPlus did not finish the TLS handshake in time") from error
        finally:
            if self.sock is None:
                raw.close()
        self.is_verified = True

    def _reach(self, deadline: Deadline) -> socket.socket:
        last: OSError = OSError("the name has no address")
        for family, kind, protocol, _, address in _addresses(self.host, self.port, deadline):
            raw = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    raw.setsockopt(*option)
                raw.settimeout(deadline.left())
                raw.connect(address)
            except OSError as error:
                raw.close()
                last = error
            else:
                return raw
        raise last


def connection_class(endpoint: Endpoint, policy: TlsPolicy) -> type[VplusConnection]:
    """The class of this endpoint's connections; urllib3's pools take a class."""
    return type(
        "EndpointConnection", (VplusConnection,), {"policy": policy, "connect_seconds": endpoint.connect_seconds}
    )


class SharedCookieJar(RequestsCookieJar):
    """A jar that threads may read while another's answer puts a cookie in."""

    def __iter__(self) -> Iterator[Cookie]:  # type: ignore[override]  # typed as a mapping's; it gives cookies
        with self._cookies_lock:
            return iter(list(super().__iter__()))


class VplusAdapter(HTTPAdapter):
    """Pooled connections for reads, all under the one TLS policy."""

    def __init__(self, connection: type[VplusConnection]) -> None:
        self._pool = type("EndpointPool", (HTTPSConnectionPool,), {"ConnectionCls": connection})
        super().__init__(pool_connections=1, pool_maxsize=16, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Let the pool make our connections and nothing else; plain http has no pool at all."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"https": self._pool}


@dataclass(frozen=True)
class Answer:
    """One whole HTTP answer; names of headers are case-blind."""

    status: int
    headers: Any = field(repr=False)
    content: bytes = field(repr=False)

    @property
    def html(self) -> bool:
        """Whether this is a web page: vPlus never sends one, what stands before it may."""
        kind: str = self.headers.get("Content-Type") or ""
        return "html" in kind.lower() or self.content[:64].lstrip().lower().startswith((b"<!doctype", b"<html"))

    @property
    def retry_after_seconds(self) -> float | None:
        """What `Retry-After` asks for, in seconds; None where it is missing or odd."""
        return retry_after_seconds(self.headers.get("Retry-After"))

    @property
    def date_ms(self) -> int | None:
        """The server's clock (`Date`), in ms UTC, whole seconds; None where it is missing or odd."""
        try:
            return int(email.utils.parsedate_to_datetime(self.headers.get("Date") or "").timestamp()) * 1000
        except (ValueError, TypeError, OverflowError):
            return None


def retry_after_seconds(value: str | None) -> float | None:
    """Seconds from a `Retry-After` header, in either of its forms; None where it is missing or odd."""
    value = (value or "").strip()
    if _WAIT.fullmatch(value):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def read_body(stream: urllib3.BaseHTTPResponse, cap: int) -> bytes:
    """The decoded body, at most `cap` bytes. Raises BadAnswer beyond that, urllib3 errors and OSError on a cut."""
    content = bytearray()
    for piece in stream.stream(65536, decode_content=True):
        content += piece
        if len(content) > cap:
            raise BadAnswer("vPlus sent more data than the limit allows", stream.status)
    return bytes(content)


# What a broken or odd peer can make the HTTP libraries raise. ValueError: a header that is no number.
NETWORK_TROUBLE = (
    OSError,
    http.client.HTTPException,
    urllib3.exceptions.HTTPError,
    requests.exceptions.RequestException,
    ValueError,
)


class ReadDoor:
    """The one way by which anything is read: bounded, never redirected, blind to the environment's proxies."""

    def __init__(self, endpoint: Endpoint, connection: type[VplusConnection]) -> None:
        self._base = endpoint.url.rstrip("/")
        self._cap = endpoint.size_cap_bytes
        self._adapter = VplusAdapter(connection)

    def new_session(self) -> requests.Session:
        """A cookie jar of its own over the shared connections."""
        session = requests.Session()
        session.trust_env = False
        session.cookies = SharedCookieJar()
        session.headers.clear()
        session.headers.update({"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": "gzip"})
        session.adapters.clear()
        session.mount("https://", self._adapter)
        return session

    def call(
        self,
        session: requests.Session,
        method: str,
        path: str,
        *,
        deadline: Deadline,
        params: list[tuple[str, str]] | None = None,
        json: Any = None,
    ) -> Answer:
        """One request and its whole answer, whatever its status.

        Raises TlsFailed, Unavailable when no whole answer came in time, BadAnswer beyond the size cap.
        """
        try:
            with within(deadline):
                response = session.request(
                    method,
                    self._base + path,
                    params=params,
                    json=json,
                    headers={"Content-Type": "application/json"},
                    allow_redirects=False,
                    stream=True,
                    timeout=deadline.left(),
                )
                # Closing gives an unread connection back to nobody: a half-read answer never meets the next call.
                with contextlib.closing(response):
                    return Answer(response.status_code, response.headers, read_body(response.raw, self._cap))
        except NETWORK_TROUBLE as error:
            raise _read_failure(error, deadline) from error

    def close(self) -> None:
        """Close the pooled connections."""
        self._adapter.close()


def is_tls_failure(error: BaseException) -> bool:
    """Whether trust or the secure connection itself failed, and not merely the line under it."""
    return isinstance(error, (requests.exceptions.SSLError, urllib3.exceptions.SSLError, ssl.SSLError)) and not (
        isinstance(error, ssl.SSLEOFError)
    )


def _read_failure(error: BaseException, deadline: Deadline) -> TlsFailed | Unavailable:
    cause = type(error).__name__
    if is_tls_failure(error):
        return TlsFailed("the secure connection to vPlus failed: check its certificate, name and pin", cause=cause)
    if deadline.passed():
        return Unavailable("vPlus did not answer in time", cause=cause)
    return Unavailable("vPlus could not be reached or broke off its answer", cause=cause)
