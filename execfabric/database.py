"""Hot statements: server-side binding, kept prepared, sent in pipelines.

Only for the few statements that every step of every run executes; everything else
goes through the ORM.
"""

from collections.abc import Sequence
from typing import Any

from django.db import connection
from psycopg import Cursor

Row = tuple[Any, ...]
Statement = tuple[str, Sequence[Any]]


def rows(statement: str, values: Sequence[Any]) -> list[Row]:
    """All rows of one query."""
    return _cursor().execute(statement, values).fetchall()


def row(statement: str, values: Sequence[Any]) -> Row | None:
    """The first row of one query, if there is one."""
    return _cursor().execute(statement, values).fetchone()


def pipelined(statements: Sequence[Statement]) -> list[Cursor[Row]]:
    """Send statements without waiting in between; they execute in their order."""
    connection.ensure_connection()
    with connection.connection.pipeline():
        return [_cursor().execute(text, values) for text, values in statements]


def _cursor() -> Cursor[Row]:
    connection.ensure_connection()
    return Cursor(connection.connection)
