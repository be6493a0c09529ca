"""The right to write one part of the mirror: a PostgreSQL advisory lock, held on the very connection that writes.

A connection that is gone has lost the right, so a paused or cut-off worker can never write over a newer one. Workers
use no pool, so the connection is this thread's alone.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

_SPACE = 0x76506C75  # keeps our locks apart from anybody else's in the same database
_MANY_MACHINES = 0  # never a number of sole_writer, which are made of names


@contextmanager
def sole_writer(part: str) -> Iterator[bool]:
    """Take the right to write ``part`` and yield whether it was had; never waits for it."""
    number = zlib.crc32(part.encode()) & 0x7FFFFFFF
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [_SPACE, number])
        granted = bool(cursor.fetchone()[0])
    try:
        yield granted
    finally:
        if granted and connection.connection is not None and not connection.connection.closed:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [_SPACE, number])


def one_at_a_time() -> None:
    """Wait until no other transaction writes many virtual machines' rows at once; holds until this one's end.

    Two that met rows in different orders would wait for each other for ever, and one would be ended by PostgreSQL; and
    one that decided on what it saw before it waited would undo what the other did.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_SPACE, _MANY_MACHINES])
