"""Hot statements: bound and prepared by the server, sent in pipelines.

Only for the few statements that every step of every run executes; everything else
goes through the ORM. Row versions are PostgreSQL's `xmin`: whoever changes a row, by
whatever way, changes its version.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import count
from typing import Any

from django.db import connection
from psycopg import RawCursor

Row = tuple[Any, ...]
Statement = tuple[str, Sequence[Any]]


def rows(statement: str, values: Sequence[Any]) -> list[Row]:
    """All rows of one query."""
    return _executed(statement, values).fetchall()


def row(statement: str, values: Sequence[Any]) -> Row | None:
    """The first row of one query, if there is one."""
    return _executed(statement, values).fetchone()


def pipelined(statements: Sequence[Statement]) -> list[RawCursor[Row]]:
    """Send statements without waiting in between; they execute in their order."""
    connection.ensure_connection()
    with connection.connection.pipeline():
        return [_executed(text, values) for text, values in statements]


def together(statements: Sequence[Statement]) -> tuple[list[int], str]:
    """Send statements that change data as one; they see the same moment.

    No two of them may change the same row. Returned are how many rows each has hit,
    and the version that the rows they wrote now have.
    """
    text = _joined(tuple(statement for statement, _ in statements))
    found = row(text, [value for _, values in statements for value in values])
    if found is None:
        message = "a statement without an answer"
        raise LookupError(message)
    return list(found[:-1]), found[-1]


def _executed(statement: str, values: Sequence[Any]) -> RawCursor[Row]:
    connection.ensure_connection()
    cursor: RawCursor[Row] = RawCursor(connection.connection)
    return cursor.execute(_numbered(statement), values)


# The shapes of statements are few: they are composed by kind, never from data.
@lru_cache(maxsize=512)
def _numbered(statement: str) -> str:
    """`%s` in their order as `$1`, `$2`, which the server understands."""
    first, *rest = statement.split("%s")
    return first + "".join(
        f"${number}{part}" for number, part in zip(count(1), rest, strict=False)
    )


@lru_cache(maxsize=512)
def _joined(statements: tuple[str, ...]) -> str:
    parts = [f"w{n} AS ({text} RETURNING 1)" for n, text in enumerate(statements)]
    hits = [f"(SELECT count(*) FROM w{n})" for n in range(len(statements))]
    answer = ", ".join([*hits, "pg_current_xact_id()::xid::text"])
    return f"WITH {', '.join(parts)} SELECT {answer}"
