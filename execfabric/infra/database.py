"""Prepared, pipelined statements and the limits of connections.

The statements are for the few that every step of every run executes; everything else
uses the ORM.
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
"""Maximum duration of a transaction, in leases: opening 1,000 gates is slow."""
KNOWS_TRANSACTION_TIMEOUT = 170_000

_limited: WeakKeyDictionary[Connection[Any], set[str]] = WeakKeyDictionary()
M = TypeVar("M", bound=Model)
Names = tuple[str, ...]
Row = tuple[Any, ...]
Statement = tuple[str, Sequence[Any]]


def columns(model: type[Model], *, prefix: str = "", but: Names = ()) -> str:
    """Return the columns of a model, in the order that `instance` expects."""
    start = f"{prefix}." if prefix else ""
    return ", ".join(f"{start}{field.column}" for field in _fields(model, but))


def instance(model: type[M], row: Sequence[Any], *, but: Names = ()) -> M:
    """Build a model instance from a row of `columns`; the others are deferred."""
    names, json_at = _shape(model, but)
    values = list(row)
    for index in json_at:
        if values[index] is not None:
            values[index] = json.loads(values[index])
    return model.from_db(DEFAULT_DB_ALIAS, names, values)


def bound_idle_transactions() -> None:
    """Make the server end transactions that are idle for too long.

    A frozen process holds the lock of its run: no one could decide on that run, and
    every worker that receives a hint for it would wait.
    """
    connection_created.connect(_bound_idle)


def bound_transactions() -> None:
    """Make the server end every transaction of this process that takes too long.

    Unlike `bound_idle_transactions`, this covers a process frozen within a pipeline. It
    is for servers and workers: a command such as `migrate` may take longer.
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
    if name not in limited:  # a pool hands out the same connection many times
        milliseconds = int(LEASES * settings.LEASE_SECONDS * 1000)
        server.execute(f"SET {name} = {milliseconds}")
        limited.add(name)


def check() -> None:
    """Close the connection if it is broken, so that the next use opens another."""
    close_old_connections()


def restore() -> None:
    """Replace the connection of this thread if it is broken or in a transaction.

    :raises OperationalError: when the server cannot be reached
    """
    leave_transaction()
    if not connection.is_usable():
        connection.close()
        connection.ensure_connection()


def leave_transaction() -> None:
    """Close the connection if an error has left it within a transaction.

    An error from outside the database can leave Django's `atomic` in this state.
    Writes on such a connection look committed, but are not.
    """
    wrapper = connections[DEFAULT_DB_ALIAS]
    if wrapper.connection and not (wrapper.in_atomic_block or wrapper.autocommit):
        wrapper.close()


def release() -> None:
    """Return the connection of this thread to the pool, if there is one.

    After an error the pool checks all its connections: usually the server was away,
    and all of them are broken.
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
    """Return the SQLSTATE of an error, or "" if it is not from the server."""
    cause = error.__cause__
    return (cause.sqlstate or "") if isinstance(cause, psycopg.Error) else ""


def detail(error: DatabaseError) -> str:
    """Return the detail message of an error, or ""."""
    cause = error.__cause__
    message = cause.diag.message_detail if isinstance(cause, psycopg.Error) else ""
    return message or ""


def pipelined(statements: Sequence[Statement]) -> list[RawCursor[Row]]:
    """Execute statements in order, without waiting for each one's result."""
    with _connected() as server, server.pipeline():
        return [_executed(server, text, values) for text, values in statements]


def _executed(
    server: Connection[Any], statement: str, values: Sequence[Any]
) -> RawCursor[Row]:
    cursor: RawCursor[Row] = RawCursor(server)
    return cursor.execute(_numbered(statement), values)


@contextmanager
def _connected() -> Iterator[Connection[Any]]:
    """Return the connection of this thread; its errors become Django's.

    :raises TransactionManagementError: when the transaction must be rolled back
    """
    # Looked up once: `django.db.connection` looks it up at each use.
    wrapper = connections[DEFAULT_DB_ALIAS]
    wrapper.close_if_health_check_failed()
    if wrapper.connection is None:
        wrapper.ensure_connection()
    # Otherwise a commit sent from here would save what Django will roll back.
    wrapper.validate_no_broken_transaction()
    with wrapper.wrap_database_errors:
        yield wrapper.connection


def _fields(model: type[Model], but: Names) -> "list[Field[Any, Any]]":
    return [field for field in model._meta.concrete_fields if field.name not in but]


@lru_cache(maxsize=64)
def _shape(model: type[Model], but: Names) -> tuple[list[str], list[int]]:
    """Return the names of the fields, and the indices of those that are JSON."""
    fields = _fields(model, but)
    json_at = [at for at, field in enumerate(fields) if isinstance(field, JSONField)]
    return [field.attname for field in fields], json_at


# There are few different statements: none of them contains data.
@lru_cache(maxsize=512)
def _numbered(statement: str) -> str:
    """Replace each `%s` by `$1`, `$2` and so on."""
    first, *rest = statement.split("%s")
    return first + "".join(
        f"${number}{part}" for number, part in zip(count(1), rest, strict=False)
    )
