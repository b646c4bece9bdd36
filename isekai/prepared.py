"""Statements that run with every work: the server plans each of them once for a connection, not each time anew.

Django puts the parameters into the text of a statement, so that no plan of it can be kept; to plan a claim takes
PostgreSQL more than twenty times as long as to run it. Here they are sent beside the text (psycopg's server-side
binding), and from the second time on the plan is kept, unless a transaction pooler stands in between (see the
settings). The server must be able to tell the type of each parameter: where it stands alone it needs a cast.

What is the same each time is better no parameter at all (`written_out`): the server uses a partial index only where the
statement itself says that it may, and a plan for any value at all is one that never does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.db.backends.postgresql.base import ServerBindingCursor
from django.db.models import QuerySet

# Its types are those of psycopg 2.
_Cursor: Any = ServerBindingCursor


@contextmanager
def prepared_cursor() -> Iterator[Any]:
    """As `connection.cursor`, for statements whose text is the same each time."""
    if connection.queries_logged:
        # Whoever wants to read them wants to see the parameters, which only Django's own way shows.
        with connection.cursor() as ordinary:
            yield ordinary
        return
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    with connection.wrap_database_errors:
        cursor = _Cursor(connection.connection)
    with connection.make_cursor(cursor) as wrapped:
        yield wrapped


def written_out(queryset: "QuerySet[Any, Any]", *, parameter: Any = None) -> str:
    """The SQL of a queryset with its values in its text, for a statement that is run with `prepared_cursor`.

    ``parameter``: the value that stays a parameter (``%s``) wherever it stands; None for none.
    """
    operations: Any = connection.ops  # of PostgreSQL; the types are those of any database
    sql: str = operations.compose_sql(*queryset.query.sql_with_params())
    # A sign of percent in it is none of a parameter.
    sql = sql.replace("%", "%%")
    return sql if parameter is None else sql.replace(operations.compose_sql("%s", [parameter]), "%s")
