"""The last step of an answer: its bytes on an encrypted connection, whole, slow, or broken off."""

from __future__ import annotations

import logging
import socket
import ssl
import struct
import threading

from .fault_drawing import FaultEntry
from .fault_effects import Cut

log = logging.getLogger(__name__)

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER: on, for 0 seconds: closing sends a TCP reset."""
UNDECIPHERABLE = b"\x17\x03\x03\x00\x40" + bytes(range(64))
"""A TLS record of application data that no key fits."""
BREAKS = ("cut", "reset", "tls")


def send(connection: ssl.SSLSocket, content: bytes, hits: list[FaultEntry], stopping: threading.Event) -> None:
    """Send an answer as the faults of its call let it through; Cut where it ends before its end."""
    answering = [hit.fault for hit in hits if hit.fault.phase == "answering"]
    breaks = sorted((fault for fault in answering if fault.kind in BREAKS), key=lambda fault: fault.bytes)
    broken = breaks[0] if breaks and breaks[0].bytes < len(content) else None
    part = content if broken is None else content[: broken.bytes]
    drip = next((fault for fault in answering if fault.kind == "drip"), None)
    if drip is None:
        connection.sendall(part)
    else:
        _drip(connection, part, drip.bytes, drip.seconds, stopping)
    if broken is None:
        return
    if broken.kind == "tls":
        _send_undecipherable(connection)
    raise Cut(reset=broken.kind == "reset")


def _drip(connection: ssl.SSLSocket, content: bytes, size: int, seconds: float, stopping: threading.Event) -> None:
    for start in range(0, len(content), size):
        if start and stopping.wait(seconds):
            raise Cut
        connection.sendall(content[start : start + size])


def _send_undecipherable(connection: ssl.SSLSocket) -> None:
    """Write below TLS: the client finds a record that its keys do not open."""
    with socket.socket(fileno=socket.dup(connection.fileno())) as below:
        below.sendall(UNDECIPHERABLE)


def hang_up(connection: ssl.SSLSocket, *, reset: bool) -> None:
    """End the connection now, before anything else happens; no TLS farewell is said."""
    try:
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        else:
            connection.shutdown(socket.SHUT_RDWR)
    except OSError as error:
        log.debug("the connection had gone: %s", error)
    connection.close()
