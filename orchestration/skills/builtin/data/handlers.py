"""Data: SQL over files, and rows into a Postgres table and out again."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from orchestration.skills.builtin.data import duck, loading
from orchestration.skills.builtin.data.duck import BadQuery
from orchestration.skills.builtin.data.loading import Load, NotLoadable, Unreachable
from orchestration.skills.builtin.values import file_list, shown
from orchestration.skills.domain.handlers import check_of, dry_run_of, handler
from orchestration.skills.domain.outcome import (
    Call,
    DryRun,
    Failed,
    File,
    Outcome,
    Retry,
    Succeeded,
    TargetProblem,
    Unknown,
)

QUERY = "data.query@1"
LOAD = "data.load@1"
UNLOAD = "data.unload@1"
ROLLED_BACK = "40"
"""Class of SQLSTATEs of a transaction that was rolled back, such as a deadlock."""


@handler(QUERY)
def query(call: Call) -> Outcome:
    """Run the SELECT over the sources and write the result to a file."""
    kind = call.params.get("format", "csv")
    path = call.workdir / f"{call.params.get('name', 'result')}.{kind}"
    statement = call.params["sql"]
    try:
        with duck.opened(_sources(call), call.workdir, _memory(call)) as connection:
            columns = duck.columns(connection, statement, call.params["sources"])
            rows = duck.write(connection, statement, path, kind)
    except BadQuery as error:
        return Failed(error.code, error.message)
    call.log(f"{rows} rows, {len(columns)} columns")
    listed = [{"name": column.name, "type": column.type} for column in columns]
    return Succeeded(output={"rows": rows, "columns": listed}, files={"result": path})


@dry_run_of(QUERY)
def preview_query(call: Call) -> DryRun:
    """Return the columns of the result if the sources are known."""
    sources = _sources(call)
    if not all(sources.values()):
        return DryRun(summary=f"Runs SQL over {', '.join(sources)}.")
    try:
        with duck.opened(sources, call.workdir, _memory(call)) as connection:
            columns = duck.columns(connection, call.params["sql"], sources)
    except BadQuery as error:
        return DryRun.failing(error.message)
    named = ", ".join(f"{column.name} {column.type}" for column in columns)
    return DryRun(summary=f"Reads {', '.join(sources)} and returns {named}.")


@handler(LOAD)
def load(call: Call) -> Outcome:
    """Load the rows of a file in one transaction, once for all attempts."""
    file = call.params["file"]
    load_id = hashlib.sha256(call.idempotency_key.encode()).hexdigest()[:32]
    rows = call.workdir / "rows.csv"
    try:
        with duck.opened({"loaded": [file]}, call.workdir, _memory(call)) as connection:
            columns = duck.columns(connection, "SELECT * FROM loaded", ["loaded"])
            tagged = f"SELECT *, '{load_id}' AS {loading.LOAD_COLUMN} FROM loaded"  # noqa: S608 - hex digits
            count = duck.write(connection, tagged, rows, "csv")
        wanted = Load(load_id, _table(call), file.sha256, count)
        create = call.params.get("create", True)
        done = loading.load(_dsn(call), wanted, columns, rows, create=create)
    except (BadQuery, NotLoadable) as error:
        return Failed(error.code, error.message, before_effect=True)
    except (Unreachable, psycopg.Error) as error:
        return _database_failed(error)
    output = {"load_id": done.load_id, "table": done.table_name, "rows": done.rows}
    return Succeeded(output={**output, "database": _database(call)})


@dry_run_of(LOAD)
def preview_load(call: Call) -> DryRun:
    file, table = call.params["file"], call.params["table"]
    if not isinstance(file, File):
        return DryRun(summary=f"Loads {shown(file)} into {table}.")
    try:
        with duck.opened({"loaded": [file]}, call.workdir, _memory(call)) as connection:
            columns = duck.columns(connection, "SELECT * FROM loaded", ["loaded"])
            counted = connection.execute("SELECT count(*) FROM loaded").fetchone()
    except BadQuery as error:
        return DryRun.failing(error.message)
    rows = counted[0] if counted else 0
    named = ", ".join(column.name for column in columns)
    return DryRun(
        summary=f"Loads {rows} rows from {file.name} into {table}.",
        changes=(f"adds {rows} rows to {table} ({named})",),
    )


@check_of(LOAD)
def check_load(call: Call) -> Sequence[TargetProblem]:
    """Check that the database responds and the table fits."""
    try:
        problem = loading.table_problem(_dsn(call), call.params["table"])
    except NotLoadable as error:
        return [TargetProblem(error.code, error.message)]
    except (Unreachable, psycopg.Error) as error:
        outcome = _database_failed(error)
        return [TargetProblem(outcome.code, outcome.message)]
    made = call.params.get("create", True) and "does not exist" in problem
    return [TargetProblem("data.no_table", problem)] if problem and not made else []


@handler(UNLOAD)
def unload(call: Call) -> Outcome:
    """Remove exactly the rows of one load."""
    load_id = call.params["load_id"]
    try:
        known, removed = loading.unload(_dsn(call), call.params["table"], load_id)
    except NotLoadable as error:
        return Failed(error.code, error.message, before_effect=True)
    except (Unreachable, psycopg.Error) as error:
        return _database_failed(error)
    output = {"load_id": load_id, "table": known.table_name, "removed": removed}
    return Succeeded(output={**output, "loaded": known.rows})


@dry_run_of(UNLOAD)
def preview_unload(call: Call) -> DryRun:
    table, load_id = shown(call.params["table"]), shown(call.params["load_id"])
    return DryRun(
        summary=f"Removes the rows of load {load_id} from {table}.",
        changes=(f"removes the rows of one load from {table}",),
    )


def _sources(call: Call) -> dict[str, list[File]]:
    sources: Mapping[str, Any] = call.params["sources"]
    return {name: file_list(value) for name, value in sources.items()}


def _memory(call: Call) -> str:
    memory: str = call.config.get("memory", duck.MEMORY)
    return memory


def _table(call: Call) -> str:
    return ".".join(loading.parts_of(call.params["table"]))


def _database(call: Call) -> str:
    databases: Mapping[str, str] = call.config.get("databases", {})
    name: str = call.params.get("database") or next(iter(databases), "")
    if name not in databases:
        message = (
            f"Unknown database {name!r}. Use one that the skill's configuration names."
        )
        raise NotLoadable("data.no_database", message)
    return name


def _dsn(call: Call) -> str:
    dsn: str = call.config.get("databases", {})[_database(call)]
    return dsn


def _database_failed(error: Unreachable | psycopg.Error) -> Failed | Retry | Unknown:
    if isinstance(error, Unreachable):
        return Retry(
            "data.unreachable",
            f"Cannot reach the database: {error}. Nothing was changed.",
        )
    message = error.diag.message_primary or "the connection was lost"
    if (error.sqlstate or "").startswith(ROLLED_BACK):
        return Retry(
            "data.rolled_back", f"The database rolled the transaction back: {message}."
        )
    if isinstance(error, psycopg.OperationalError):
        # The response to the commit may be what was lost. The load has an id.
        text = f"Lost the connection to the database: {message}. The rows may be there."
        return Unknown("data.outcome_unknown", text)
    text = f"The database refused the statement: {message}. Nothing was changed."
    return Failed("data.refused", text, before_effect=True)
