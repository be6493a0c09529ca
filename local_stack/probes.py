"""Is a port free, and does a server answer on it yet?"""

import http.client
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

from local_stack.child import last_lines
from local_stack.problem import StackProblem


def free_port(wished: int) -> int:
    """Return the wished port where it can be listened on, else one that the system chooses."""
    for port in (wished, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                probe.listen()
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise StackProblem("No free port on this machine's loopback address.")


def wait_for_answer(answers: Callable[[], bool], check: Callable[[], None], *, log: Path, patience: float) -> None:
    """Ask until it answers; raise StackProblem after ``patience`` seconds, or what ``check`` raises meanwhile."""
    give_up = time.monotonic() + patience
    while not answers():
        check()
        if time.monotonic() > give_up:
            raise StackProblem(f"It did not answer within {patience:g} s; {log} ends:\n{last_lines(log, 5)}")
        time.sleep(0.2)


def web_answers(port: int) -> bool:
    """Tell whether the portal's web server on this machine can serve pages: it answers, and it reaches the database."""
    return _answers(http.client.HTTPConnection("localhost", port, timeout=5), "/readyz")


def simulator_answers(port: int, authority: Path) -> bool:
    """Tell whether the simulator on this machine answers over HTTPS, verified against its own authority."""
    if not authority.exists():
        return False
    context = ssl.create_default_context(cafile=str(authority))
    return _answers(http.client.HTTPSConnection("localhost", port, timeout=5, context=context), "/control/state")


def _answers(connection: http.client.HTTPConnection, path: str) -> bool:
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
