"""Load rows into a Postgres table and remove them again, exactly once each.

A ledger row, unique by the id of the load, is written in the transaction of the rows.
So a second call recognises the first, and an undo removes exactly the rows of that load.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import class_row
from psycopg.sql import Composable, Composed, Identifier

from orchestration.skills.builtin.data.duck import Column
from orchestration.skills.domain.outcome import (
    CallFailed,
    Failed,
    Retry,
    Unknown,
    refused,
)
from orchestration.skills.execution.reasons import cleaned

LEDGER = "execfabric_loads"
LOAD_COLUMN = "_load_id"
CHUNK = 256 * 1024
SECONDS = 10
ROLLED_BACK = "40"
"""Class of SQLSTATEs of a transaction that was rolled back, such as a deadlock."""

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


@dataclass(frozen=True)
class Load:
    load_id: str
    table_name: str
    sha256: str
    rows: int
    undone: bool = False


def parts_of(table: str) -> tuple[str, str]:
    """Return the schema and the name of a table."""
    schema, dot, name = table.partition(".")
    return (schema, name) if dot else ("public", schema)


class LoadTarget:
    """A table and the ledger beside it, in one transaction."""

    def __init__(self, connection: psycopg.Connection, table_name: str) -> None:
        self._connection = connection
        self._schema, self._name = parts_of(table_name)
        self.full_name = f"{self._schema}.{self._name}"

    def run(
        self,
        query: LiteralString,
        params: Sequence[object] | None = None,
        **parts: Composable,
    ) -> psycopg.Cursor:
        """Execute a query with the names `{table}`, `{ledger}` and `{id}`."""
        return self._connection.execute(self._named(query, **parts), params)

    def columns(self, name: str = "") -> set[str]:
        """Return the columns of a table in the schema; empty if it does not exist."""
        rows = self._connection.execute(
            "SELECT attname FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid"
            " JOIN pg_namespace ON relnamespace = pg_namespace.oid"
            " WHERE nspname = %s AND relname = %s AND attnum > 0 AND NOT attisdropped",
            [self._schema, name or self._name],
        )
        return {row[0] for row in rows}

    def make_ledger(self) -> None:
        if self.columns(LEDGER):
            return
        # Two first loads at the same time would both create it; one of them waits here.
        self.run("SELECT pg_advisory_xact_lock(hashtext(%s))", [LEDGER])
        self.run(
            "CREATE TABLE IF NOT EXISTS {ledger} (load_id text PRIMARY KEY,"
            " table_name text NOT NULL, sha256 text NOT NULL, rows bigint NOT NULL,"
            " loaded_at timestamptz NOT NULL DEFAULT now(), undone_at timestamptz)"
        )

    def record(self, load: Load) -> Load | None:
        """Insert the load into the ledger, or return the existing one."""
        inserted = self.run(
            "INSERT INTO {ledger} (load_id, table_name, sha256, rows)"
            " VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [load.load_id, load.table_name, load.sha256, load.rows],
        ).rowcount
        return None if inserted else self.find(load.load_id)

    def find(self, load_id: str, *, lock: bool = False) -> Load | None:
        query = self._named(
            "SELECT load_id, table_name, sha256, rows, undone_at IS NOT NULL AS undone"
            " FROM {ledger} WHERE load_id = %s {lock}",
            lock=sql.SQL("FOR UPDATE" if lock else ""),
        )
        with self._connection.cursor(row_factory=class_row(Load)) as cursor:
            return cursor.execute(query, [load_id]).fetchone()

    def make(self, columns: Sequence[Column]) -> None:
        defined = [
            Identifier(column.name) + sql.SQL(" ") + sql.SQL(_type(column.type))
            for column in columns
        ]
        self.run(
            "CREATE TABLE IF NOT EXISTS {table} ({columns}, {id} text NOT NULL)",
            columns=sql.SQL(", ").join(defined),
        )

    def check_columns(self, columns: Sequence[Column]) -> None:
        """Check that the table has all columns.

        :raises CallFailed: when it does not, or does not exist
        """
        columns_there = self.columns()
        if not columns_there:
            message = f"The table {self.full_name} does not exist. Nothing was changed."
            raise refused("data.no_table", message)
        wanted = [column.name for column in columns] + [LOAD_COLUMN]
        missing = [column for column in wanted if column not in columns_there]
        if missing:
            message = f"Cannot load the rows: {self.full_name} has no column {', '.join(missing)}. Nothing was changed."
            raise refused("data.columns", message)

    def copy(self, columns: Sequence[Column], rows: Path) -> None:
        query = self._named(
            "COPY {table} ({columns}, {id}) FROM STDIN (FORMAT csv, HEADER)",
            columns=sql.SQL(", ").join(Identifier(column.name) for column in columns),
        )
        with (
            self._connection.cursor() as cursor,
            cursor.copy(query) as copied,
            rows.open("rb") as source,
        ):
            while chunk := source.read(CHUNK):
                copied.write(chunk)

    def check_count(self, load_id: str, wanted: int) -> None:
        """Compare the rows with those that were approved: triggers may drop or add some.

        :raises CallFailed: before the commit, so that the table stays as it was
        """
        query: LiteralString = "SELECT count(*) FROM {table} WHERE {id} = %s"
        counted = self.run(query, [load_id]).fetchone()
        rows = counted[0] if counted else 0
        if rows != wanted:
            message = (
                f"Cannot load the rows: {self.full_name} would have {rows} rows of this load,"
                f" not {wanted}. Nothing was changed. Check its triggers and rules."
            )
            raise refused("data.effect_differs", message)

    def _named(self, query: LiteralString, **parts: Composable) -> Composed:
        return sql.SQL(query).format(
            table=Identifier(self._schema, self._name),
            ledger=Identifier(self._schema, LEDGER),
            id=Identifier(LOAD_COLUMN),
            **parts,
        )


def load(
    dsn: str, load: Load, columns: Sequence[Column], rows: Path, *, create: bool
) -> Load:
    """Insert the rows, unless an earlier attempt of this load has done so.

    :raises CallFailed: when the table does not fit or the id was used for other rows
    """
    with _connected(dsn, load.table_name) as table:
        table.make_ledger()
        known = table.record(load)
        if known is not None:
            return _same(known, load)
        if create:
            table.make(columns)
        table.check_columns(columns)
        table.copy(columns, rows)
        table.check_count(load.load_id, load.rows)
        return load


def unload(dsn: str, table_name: str, load_id: str) -> tuple[Load, int]:
    """Remove the rows of one load; return the load and the number of removed rows.

    :raises CallFailed: when there was no such load
    """
    with _connected(dsn, table_name) as table:
        known = table.find(load_id, lock=True) if table.columns(LEDGER) else None
        if known is None or known.table_name != table.full_name:
            message = f"Unknown load {load_id!r} of this table. Nothing was changed."
            raise refused("data.unknown_load", message)
        if known.undone:
            return known, 0
        removed = table.run("DELETE FROM {table} WHERE {id} = %s", [load_id]).rowcount
        table.check_count(load_id, 0)
        undo = "UPDATE {ledger} SET undone_at = now() WHERE load_id = %s"
        table.run(undo, [load_id])
        return known, removed


def check_table(dsn: str, table_name: str, *, create: bool) -> None:
    """Check that rows can be loaded into a table, which `create` may still make.

    :raises CallFailed: when they cannot
    """
    with _connected(dsn, table_name) as table:
        columns = table.columns()
        if not columns and not create:
            message = f"The table {table.full_name} does not exist."
            raise refused("data.no_table", message)
        if columns and LOAD_COLUMN not in columns:
            message = f"The table {table.full_name} has no column {LOAD_COLUMN} (text)."
            raise refused("data.no_table", message)


def _same(known: Load, wanted: Load) -> Load:
    if known.undone:
        message = "Cannot load the rows: this load was already undone. Start a new run."
        raise refused("data.load_undone", message)
    if (known.sha256, known.table_name) != (wanted.sha256, wanted.table_name):
        message = "Cannot load the rows: this load already exists with other rows or in another table. Start a new run."
        raise refused("data.key_reused", message)
    return known


@contextmanager
def _connected(dsn: str, table_name: str) -> Iterator[LoadTarget]:
    """Connect and open one transaction; commit it if the body succeeds.

    :raises CallFailed: when there is no connection, or the database refuses a statement
    """
    try:
        with _opened(dsn) as connection:
            yield LoadTarget(connection, table_name)
    except psycopg.Error as error:
        raise CallFailed(_database_failed(error)) from error


def _opened(dsn: str) -> psycopg.Connection:
    try:
        return psycopg.connect(dsn, connect_timeout=SECONDS)
    except psycopg.OperationalError as error:
        text = (
            f"Cannot reach the database: {_without_places(error)}. Nothing was changed."
        )
        raise CallFailed(Retry("data.unreachable", text)) from error
    except psycopg.ProgrammingError as error:
        # It may quote the connection string, which is a secret.
        text = "Cannot connect to the database: its connection string is not valid. Ask an admin."
        raise refused("data.no_database", text) from error


def _database_failed(error: psycopg.Error) -> Failed | Retry | Unknown:
    message = error.diag.message_primary or "the connection was lost"
    if (error.sqlstate or "").startswith(ROLLED_BACK):
        text = f"The database rolled the transaction back: {message}."
        return Retry("data.rolled_back", text)
    if isinstance(error, psycopg.OperationalError):
        # The response to the commit may be what was lost. The load has an id.
        text = (
            f"The database did not confirm the load: {message}. The rows may be there."
        )
        return Unknown("data.outcome_unknown", text)
    text = f"The database refused the statement: {message}. Nothing was changed."
    return Failed("data.refused", text, before_effect=True)


def _without_places(error: psycopg.Error) -> str:
    """Return the last cause of a failed connection, without the addresses before it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return cleaned(lines[0].rpartition("failed: ")[2])


def _type(duck: str) -> str:
    if duck.startswith("DECIMAL("):
        return duck.replace("DECIMAL", "numeric")
    return TYPES.get(duck, "text")
