"""Load rows into a Postgres table and remove them again, exactly once each.

A ledger row, unique by the id of the load, is written in the transaction of the rows.
So a second call recognises the first, and an undo removes exactly the rows of that load.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from orchestration.skills.builtin.data.duck import Column
from orchestration.skills.execution.reasons import cleaned

LEDGER = "execfabric_loads"
LOAD_COLUMN = "_load_id"
CHUNK = 256 * 1024
SECONDS = 10

TYPES = {
    "BIGINT": "bigint",
    "BLOB": "bytea",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "DOUBLE": "double precision",
    "FLOAT": "real",
    "HUGEINT": "numeric",
    "INTEGER": "integer",
    "SMALLINT": "smallint",
    "TIME": "time",
    "TIMESTAMP": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
    "TINYINT": "smallint",
    "UUID": "uuid",
}


class Unreachable(Exception):
    """Cannot connect to the database. Nothing was sent."""


class NotLoadable(Exception):
    """The table or the earlier load does not fit. Nothing was changed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Load:
    """A load in the ledger."""

    load_id: str
    table_name: str
    sha256: str
    rows: int
    undone: bool = False


def parts_of(table: str) -> tuple[str, str]:
    """Return the schema and the name of a table."""
    schema, dot, name = table.partition(".")
    return (schema, name) if dot else ("public", schema)


def load(
    dsn: str, load: Load, columns: Sequence[Column], rows: Path, *, create: bool
) -> Load:
    """Insert the rows, unless an earlier attempt of this load has done so.

    :raises NotLoadable: when the table does not fit or the id was used for other rows
    """
    schema, name = parts_of(load.table_name)
    with _connected(dsn) as connection:
        _make_ledger(connection, schema)
        known = _insert(connection, schema, load)
        if known is not None:
            return _same(known, load)
        if create:
            _make_table(connection, schema, name, columns)
        _check_table(connection, schema, name, columns)
        _copy(connection, schema, name, columns, rows)
        _check_count(connection, schema, name, load.load_id, load.rows)
        return load


def unload(dsn: str, table: str, load_id: str) -> tuple[Load, int]:
    """Remove the rows of one load; return the load and the number of removed rows.

    :raises NotLoadable: when there was no such load
    """
    schema, name = parts_of(table)
    with _connected(dsn) as connection:
        if not _exists(connection, schema, LEDGER):
            raise _unknown(load_id)
        known = _find(connection, schema, load_id, lock=True)
        if known is None or known.table_name != f"{schema}.{name}":
            raise _unknown(load_id)
        if known.undone:
            return known, 0
        removed = connection.execute(
            sql.SQL("DELETE FROM {} WHERE {} = %s").format(
                sql.Identifier(schema, name), sql.Identifier(LOAD_COLUMN)
            ),
            [load_id],
        ).rowcount
        _check_count(connection, schema, name, load_id, 0)
        connection.execute(
            sql.SQL("UPDATE {} SET undone_at = now() WHERE load_id = %s").format(
                sql.Identifier(schema, LEDGER)
            ),
            [load_id],
        )
        return known, removed


def table_problem(dsn: str, table: str) -> str:
    """Return why rows cannot be loaded into an existing table; empty if they can."""
    schema, name = parts_of(table)
    with _connected(dsn) as connection:
        if not _exists(connection, schema, name):
            return f"The table {schema}.{name} does not exist."
        if LOAD_COLUMN not in _columns(connection, schema, name):
            return f"The table {schema}.{name} has no column {LOAD_COLUMN} (text)."
        return ""


def _unknown(load_id: str) -> NotLoadable:
    return NotLoadable(
        "data.unknown_load",
        f"Unknown load {load_id!r} of this table. Nothing was changed.",
    )


def _same(known: Load, wanted: Load) -> Load:
    if known.undone:
        raise NotLoadable(
            "data.load_undone",
            "Cannot load the rows: this load was already undone. Start a new run.",
        )
    if (known.sha256, known.table_name) != (wanted.sha256, wanted.table_name):
        message = "Cannot load the rows: this load already exists with other rows or in another table. Start a new run."
        raise NotLoadable("data.key_reused", message)
    return known


def _make_ledger(connection: psycopg.Connection, schema: str) -> None:
    if _exists(connection, schema, LEDGER):
        return
    # Two first loads at the same time would both create it; one of them waits here.
    connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [LEDGER])
    connection.execute(
        sql.SQL(
            "CREATE TABLE IF NOT EXISTS {} (load_id text PRIMARY KEY,"
            " table_name text NOT NULL, sha256 text NOT NULL, rows bigint NOT NULL,"
            " loaded_at timestamptz NOT NULL DEFAULT now(), undone_at timestamptz)"
        ).format(sql.Identifier(schema, LEDGER))
    )


def _insert(connection: psycopg.Connection, schema: str, load: Load) -> Load | None:
    """Insert the load, or return the existing one."""
    inserted = connection.execute(
        sql.SQL(
            "INSERT INTO {} (load_id, table_name, sha256, rows) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING"
        ).format(sql.Identifier(schema, LEDGER)),
        [load.load_id, load.table_name, load.sha256, load.rows],
    ).rowcount
    return None if inserted else _find(connection, schema, load.load_id)


def _find(
    connection: psycopg.Connection, schema: str, load_id: str, *, lock: bool = False
) -> Load | None:
    query = sql.SQL(
        "SELECT load_id, table_name, sha256, rows, undone_at IS NOT NULL AS undone"
        " FROM {} WHERE load_id = %s {}"
    ).format(sql.Identifier(schema, LEDGER), sql.SQL("FOR UPDATE" if lock else ""))
    with connection.cursor(row_factory=class_row(Load)) as cursor:
        return cursor.execute(query, [load_id]).fetchone()


def _make_table(
    connection: psycopg.Connection, schema: str, name: str, columns: Sequence[Column]
) -> None:
    defined = [
        sql.SQL("{} {}").format(
            sql.Identifier(column.name), sql.SQL(_type(column.type))
        )
        for column in columns
    ]
    defined.append(sql.SQL("{} text NOT NULL").format(sql.Identifier(LOAD_COLUMN)))
    connection.execute(
        sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(
            sql.Identifier(schema, name), sql.SQL(", ").join(defined)
        )
    )


def _check_table(
    connection: psycopg.Connection, schema: str, name: str, columns: Sequence[Column]
) -> None:
    columns_there = _columns(connection, schema, name)
    if not columns_there:
        message = f"The table {schema}.{name} does not exist. Nothing was changed."
        raise NotLoadable("data.no_table", message)
    wanted = [column.name for column in columns] + [LOAD_COLUMN]
    missing = [column for column in wanted if column not in columns_there]
    if missing:
        message = f"Cannot load the rows: {schema}.{name} has no column {', '.join(missing)}. Nothing was changed."
        raise NotLoadable("data.columns", message)


def _copy(
    connection: psycopg.Connection,
    schema: str,
    name: str,
    columns: Sequence[Column],
    rows: Path,
) -> None:
    names = [sql.Identifier(column.name) for column in columns]
    names.append(sql.Identifier(LOAD_COLUMN))
    query = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, HEADER)").format(
        sql.Identifier(schema, name), sql.SQL(", ").join(names)
    )
    with (
        connection.cursor() as cursor,
        cursor.copy(query) as copied,
        rows.open("rb") as source,
    ):
        while chunk := source.read(CHUNK):
            copied.write(chunk)


def _check_count(
    connection: psycopg.Connection, schema: str, name: str, load_id: str, wanted: int
) -> None:
    """Compare the rows with those that were approved: triggers may drop or add some.

    :raises NotLoadable: before the commit, so that the table stays as it was
    """
    counted = connection.execute(
        sql.SQL("SELECT count(*) FROM {} WHERE {} = %s").format(
            sql.Identifier(schema, name), sql.Identifier(LOAD_COLUMN)
        ),
        [load_id],
    ).fetchone()
    rows = counted[0] if counted else 0
    if rows != wanted:
        message = (
            f"Cannot load the rows: {schema}.{name} would have {rows} rows of this load,"
            f" not {wanted}. Nothing was changed. Check its triggers and rules."
        )
        raise NotLoadable("data.effect_differs", message)


@contextmanager
def _connected(dsn: str) -> Iterator[psycopg.Connection]:
    """Open a connection with one transaction; commit it if the body succeeds.

    :raises Unreachable: when there is no connection
    """
    try:
        connection = psycopg.connect(dsn, connect_timeout=SECONDS)
    except psycopg.OperationalError as error:
        raise Unreachable(_without_places(error)) from error
    except psycopg.ProgrammingError as error:
        # It may quote the connection string, which is a secret.
        text = "Cannot connect to the database: its connection string is not valid. Ask an admin."
        raise NotLoadable("data.no_database", text) from error
    with connection:
        yield connection


def _without_places(error: psycopg.Error) -> str:
    """Return the last cause of a failed connection, without the addresses before it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return cleaned(lines[0].rpartition("failed: ")[2])


def _exists(connection: psycopg.Connection, schema: str, name: str) -> bool:
    return bool(_columns(connection, schema, name))


def _columns(connection: psycopg.Connection, schema: str, name: str) -> set[str]:
    rows = connection.execute(
        "SELECT attname FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid"
        " JOIN pg_namespace ON relnamespace = pg_namespace.oid"
        " WHERE nspname = %s AND relname = %s AND attnum > 0 AND NOT attisdropped",
        [schema, name],
    )
    return {row[0] for row in rows}


def _type(duck: str) -> str:
    if duck.startswith("DECIMAL("):
        return duck.replace("DECIMAL", "numeric")
    return TYPES.get(duck, "text")
