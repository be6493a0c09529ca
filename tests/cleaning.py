"""Empty the test database between tests, also while a web server beneath it still answers what a browser asked last."""

import time

import psycopg.errors
from django.db import OperationalError, connections, transaction

KEPT = ("django_migrations", "django_content_type", "auth_permission")
TRIES = 100


def empty_database() -> None:
    """Empty every table that holds anything. Which ones that are is told by their size: row security hides their rows.

    A request that reads two tables may lock them the other way round, and would then wait for us as we for it. So nothing
    is awaited for long: what cannot be had at once is let go and asked for again. Raises OperationalError after half a
    minute, when somebody has left a transaction open.
    """
    for left in reversed(range(TRIES)):
        try:
            _truncate()
        except OperationalError as problem:
            if not left or not isinstance(problem.__cause__, psycopg.errors.LockNotAvailable):
                raise
            time.sleep(0.05)
        else:
            return


def _truncate() -> None:
    with transaction.atomic(using="owner"), connections["owner"].cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '250ms'")  # less than PostgreSQL waits before it looks for a deadlock
        cursor.execute(
            "SELECT quote_ident(relname) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            " AND pg_relation_size(oid) > 0 AND relname <> ALL(%s) ORDER BY relname",
            [list(KEPT)],
        )
        filled = [name for (name,) in cursor.fetchall()]
        if filled:
            cursor.execute(f"TRUNCATE {', '.join(filled)} CASCADE")
