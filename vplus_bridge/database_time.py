"""The one clock that all workers share: the database's. Moments that are compared with each other come from it."""

from datetime import datetime

from django.db import connection


def database_now() -> datetime:
    """Return the moment (UTC) at which the database answers; unlike its now() it moves on within a transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now
