"""Hot statements: bound and prepared by the server, sent in pipelines.

Only for the few statements that every step of every run executes; everything else
goes through the ORM.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import count
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import psycopg
from django.conf import settings
from django.db import (
    DEFAULT_DB_ALIAS,
    DatabaseError,
    close_old_connections,
    connection,
    connections,
)
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models import Field, JSONField, Model
from psycopg import Connection, RawCursor

LEASES = 6
"""How many leases a transaction may last: one that opens a thousand gates is long."""
KNOWS_TRANSACTION_TIMEOUT = 170_000

_limited: WeakKeyDictionary[Connection[Any], set[str]] = WeakKeyDictionary()
M = TypeVar("M", bound=Model)
Names = tuple[str, ...]
Row = tuple[Any, ...]
Statement = tuple[str, Sequence[Any]]


def columns(model: type[Model], *, prefix: str = "", but: Names = ()) -> str:
    """The columns of a model, for a statement whose rows `instance` takes."""
    start = f"{prefix}." if prefix else ""
    return ", ".join(f"{start}{field.column}" for field in _fields(model, but))


def instance(model: type[M], row: Sequence[Any], *, but: Names = ()) -> M:
    """A model's instance from a row of its `columns`; what is left out is deferred."""
    names, json_at = _shape(model, but)
    values = list(row)
    for place in json_at:
        if values[place] is not None:
            values[place] = json.loads(values[place])
    return model.from_db(DEFAULT_DB_ALIAS, names, values)


def bound_idle_transactions() -> None:
    """Have the server end transactions whose process is frozen between statements.

    A frozen process keeps its connection and with it the lock of its run: nobody could
    decide on that run, and every worker that is hinted would wait for it.
    """
    connection_created.connect(_bound_idle)


def bound_transactions() -> None:
    """Have the server end every transaction of this process that takes too long.

    Unlike `bound_idle_transactions` this covers a process frozen within a pipeline. It
    is for processes that serve: a command such as `migrate` may take its time.
    """
    connection_created.connect(_bound_length)


def _bound_idle(connection: BaseDatabaseWrapper, **_: object) -> None:
    _limit(connection.connection, "idle_in_transaction_session_timeout")


def _bound_length(connection: BaseDatabaseWrapper, **_: object) -> None:
    server = connection.connection
    if server.info.server_version >= KNOWS_TRANSACTION_TIMEOUT:
        _limit(server, "transaction_timeout")


def _limit(server: Connection[Any], name: str) -> None:
    limited = _limited.setdefault(server, set())
    if name not in limited:  # a pool hands out the same connection again and again
        milliseconds = int(LEASES * settings.LEASE_SECONDS * 1000)
        server.execute(f"SET {name} = {milliseconds}")
        limited.add(name)


def check() -> None:
    """Have the connection tried before its next use; a broken one is replaced."""
    close_old_connections()


def restore() -> None:
    """Replace this thread's connection if it is broken, or left in a transaction.

    :raises OperationalError: when the server cannot be reached
    """
    leave_transaction()
    if not connection.is_usable():
        connection.close()
        connection.ensure_connection()


def leave_transaction() -> None:
    """Drop a connection that an error has left within a transaction.

    An error that is none of the database's can do that to Django's `atomic`. What is
    written on such a connection looks committed, and never is.
    """
    wrapper = connections[DEFAULT_DB_ALIAS]
    if wrapper.connection and not (wrapper.in_atomic_block or wrapper.autocommit):
        wrapper.close()


def release() -> None:
    """Give this thread's connection back to the pool, where there is one.

    After an error the pool replaces what is broken, all at once: usually the server
    was away, and every connection that waits in the pool is then as dead as this one.
    """
    pool = getattr(connection, "pool", None)
    if pool is None:
        return
    failed = connection.errors_occurred
    connection.close()
    if failed:
        pool.check()


def rows(statement: str, values: Sequence[Any]) -> list[Row]:
    with _connected() as server:
        return _executed(server, statement, values).fetchall()


def row(statement: str, values: Sequence[Any]) -> Row | None:
    with _connected() as server:
        return _executed(server, statement, values).fetchone()


def sqlstate(error: DatabaseError) -> str:
    """Return the server's code for an error, or "" if it came from this side."""
    cause = error.__cause__
    return (cause.sqlstate or "") if isinstance(cause, psycopg.Error) else ""


def detail(error: DatabaseError) -> str:
    """Return what the server adds to an error, or ""."""
    cause = error.__cause__
    found = cause.diag.message_detail if isinstance(cause, psycopg.Error) else ""
    return found or ""


def pipelined(statements: Sequence[Statement]) -> list[RawCursor[Row]]:
    """Send statements without waiting in between; they execute in their order."""
    with _connected() as server, server.pipeline():
        return [_executed(server, text, values) for text, values in statements]


def _executed(
    server: Connection[Any], statement: str, values: Sequence[Any]
) -> RawCursor[Row]:
    cursor: RawCursor[Row] = RawCursor(server)
    return cursor.execute(_numbered(statement), values)


@contextmanager
def _connected() -> Iterator[Connection[Any]]:
    """This thread's connection, its errors as Django's.

    :raises TransactionManagementError: when the transaction may only be rolled back
    """
    # Looked up once: Django's own name for it is looked up at every use of it.
    wrapper = connections[DEFAULT_DB_ALIAS]
    wrapper.close_if_health_check_failed()
    if wrapper.connection is None:
        wrapper.ensure_connection()
    # Else a commit sent from here would keep what Django is about to roll back.
    wrapper.validate_no_broken_transaction()
    with wrapper.wrap_database_errors:
        yield wrapper.connection


def _fields(model: type[Model], but: Names) -> "list[Field[Any, Any]]":
    return [field for field in model._meta.concrete_fields if field.name not in but]


@lru_cache(maxsize=64)
def _shape(model: type[Model], but: Names) -> tuple[list[str], list[int]]:
    """The names of a model's fields, and which of them are JSON."""
    fields = _fields(model, but)
    json_at = [at for at, field in enumerate(fields) if isinstance(field, JSONField)]
    return [field.attname for field in fields], json_at


# The shapes of statements are few: they are composed by kind, never from data.
@lru_cache(maxsize=512)
def _numbered(statement: str) -> str:
    """`%s` in their order as `$1`, `$2`, which the server understands."""
    first, *rest = statement.split("%s")
    return first + "".join(
        f"${number}{part}" for number, part in zip(count(1), rest, strict=False)
    )
