"""Whether it is the portal's own database that is away: a request that met this is answered 503, not "unknown trouble"."""

from time import monotonic
from typing import Any, Final

import psycopg
from psycopg_pool import PoolTimeout

POOL_SECONDS: Final = 10.0
"""How long a request waits for a connection of the pool."""
RECONNECT_SECONDS: Final = 4.0
"""How long the pool tries to connect before it starts anew with the next request. Its own five minutes, in which it tries
ever less often, would leave a portal without pages for minutes after PostgreSQL is back."""
CONNECT_SECONDS: Final = 5
_LEFT: Final = ("08", "57P")  # SQLSTATE: the connection is lost; PostgreSQL is ended, or only just begins
_FULL: Final = "53300"  # too many connections

_not_reached_at = float("-inf")


def note_not_reached(pool: Any) -> None:
    """Note that the pool could not connect: whoever waits for it in vain waits for the database, not for other people."""
    del pool
    global _not_reached_at  # noqa: PLW0603  # a process has one pool
    _not_reached_at = monotonic()


def is_away(problem: BaseException | None) -> bool:
    """Tell whether this problem, or one that it came of, is that the database cannot be reached or has left."""
    while problem is not None:
        if isinstance(problem, psycopg.OperationalError):
            return _away(problem)
        problem = problem.__cause__ or problem.__context__
    return False


def is_busy(problem: BaseException | None) -> bool:
    """Tell whether this problem, or one that it came of, is that other requests held each connection for too long."""
    while problem is not None:
        if isinstance(problem, PoolTimeout):
            return not _away(problem)
        problem = problem.__cause__ or problem.__context__
    return False


def _away(problem: psycopg.OperationalError) -> bool:
    if isinstance(problem, PoolTimeout):
        return monotonic() - _not_reached_at < POOL_SECONDS
    # A connection that cannot be made, or ends while one waits for an answer, comes without a code.
    return problem.sqlstate is None or problem.sqlstate.startswith(_LEFT) or problem.sqlstate == _FULL
