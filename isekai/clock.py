"""The only place that reads the time of day.

What is decided inside the database is judged by the database's clock (``DatabaseNow``), so that hosts with different
clocks agree; ``isekai.now`` is a session setting that only tests set.
"""

from datetime import datetime

from django.db import connection
from django.db.models import DateTimeField, Func
from django.utils import timezone

# After a transaction that had it locally, a setting of ours is an empty text.
SQL_NOW = "coalesce(nullif(current_setting('isekai.now', true), '')::timestamptz, clock_timestamp())"


class DatabaseNow(Func):
    """The database's clock as an expression, an aware datetime; it moves within a transaction."""

    template = SQL_NOW
    output_field = DateTimeField()


class StatementNow(Func):
    """The same, read once in a statement: an index can be searched by it, and thousands of rows compared with it.

    For finding something. What decides whether a lease still runs needs `DatabaseNow`, as its statement may wait for a
    lock meanwhile.
    """

    template = f"(SELECT {SQL_NOW})"
    output_field = DateTimeField()


def now() -> datetime:
    """The moment by this process's clock, aware, in UTC."""
    return timezone.now()


def database_now() -> datetime:
    """The moment by the database's clock, aware, in UTC."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {SQL_NOW}")
        return cursor.fetchone()[0]
