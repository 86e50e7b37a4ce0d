"""Data: query files with SQL; load and remove rows of a Postgres table."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import duckdb

from orchestration.skills.builtin.common import digest_of_key, file_list, shown
from orchestration.skills.builtin.data import duck, loading
from orchestration.skills.builtin.data.loading import Load
from orchestration.skills.domain.handlers import check_of, dry_run_of, handler
from orchestration.skills.domain.outcome import (
    Call,
    CallFailed,
    DryRunResult,
    File,
    Outcome,
    Succeeded,
    refused,
)

QUERY = "data.query@1"
LOAD = "data.load@1"
UNLOAD = "data.unload@1"


@handler(QUERY)
def query(call: Call) -> Outcome:
    """Run the SELECT over the sources and write the result to a file."""
    kind = call.params.get("format", "csv")
    path = call.workdir / f"{call.params.get('name', 'result')}.{kind}"
    statement = call.params["sql"]
    with _opened(call, _sources(call)) as connection:
        columns = duck.columns(connection, statement, call.params["sources"])
        rows = duck.write(connection, statement, path, kind)
    call.log(f"{rows} rows, {len(columns)} columns")
    listed = [{"name": column.name, "type": column.type} for column in columns]
    return Succeeded(output={"rows": rows, "columns": listed}, files={"result": path})


@dry_run_of(QUERY)
def preview_query(call: Call) -> DryRunResult:
    """Return the columns of the result if the sources are known."""
    sources = _sources(call)
    if not all(sources.values()):
        return DryRunResult(summary=f"Runs SQL over {', '.join(sources)}.")
    with _opened(call, sources) as connection:
        columns = duck.columns(connection, call.params["sql"], sources)
    named = ", ".join(f"{column.name} {column.type}" for column in columns)
    return DryRunResult(summary=f"Reads {', '.join(sources)} and returns {named}.")


@handler(LOAD)
def load(call: Call) -> Outcome:
    """Load the rows of a file in one transaction, once for all attempts."""
    file = call.params["file"]
    load_id = digest_of_key(call)[:32]
    rows = call.workdir / "rows.csv"
    try:
        with duck.opened({"loaded": [file]}, call.workdir, _memory(call)) as connection:
            columns = duck.columns(connection, "SELECT * FROM loaded", ["loaded"])
            tagged = f"SELECT *, '{load_id}' AS {loading.LOAD_COLUMN} FROM loaded"  # noqa: S608 - hex digits
            count = duck.write(connection, tagged, rows, "csv")
    except CallFailed as error:
        raise refused(error.outcome.code, error.outcome.message) from error
    wanted = Load(load_id, _table(call), file.sha256, count)
    create = call.params.get("create", True)
    database, dsn = _database(call)
    done = loading.load(dsn, wanted, columns, rows, create=create)
    output = {"load_id": done.load_id, "table": done.table_name, "rows": done.rows}
    return Succeeded(output={**output, "database": database})


@dry_run_of(LOAD)
def preview_load(call: Call) -> DryRunResult:
    file, table = call.params["file"], call.params["table"]
    if not isinstance(file, File):
        return DryRunResult(summary=f"Loads {shown(file)} into {table}.")
    with duck.opened({"loaded": [file]}, call.workdir, _memory(call)) as connection:
        columns = duck.columns(connection, "SELECT * FROM loaded", ["loaded"])
        counted = connection.execute("SELECT count(*) FROM loaded").fetchone()
    rows = counted[0] if counted else 0
    named = ", ".join(column.name for column in columns)
    return DryRunResult(
        summary=f"Loads {rows} rows from {file.name} into {table}.",
        changes=(f"adds {rows} rows to {table} ({named})",),
    )


@check_of(LOAD)
def check_load(call: Call) -> None:
    """Check that the database responds and the table fits."""
    create = call.params.get("create", True)
    _, dsn = _database(call)
    loading.check_table(dsn, call.params["table"], create=create)


@handler(UNLOAD)
def unload(call: Call) -> Outcome:
    """Remove exactly the rows of one load."""
    load_id = call.params["load_id"]
    _, dsn = _database(call)
    known, removed = loading.unload(dsn, call.params["table"], load_id)
    output = {"load_id": load_id, "table": known.table_name, "removed": removed}
    return Succeeded(output={**output, "loaded": known.rows})


@dry_run_of(UNLOAD)
def preview_unload(call: Call) -> DryRunResult:
    table, load_id = shown(call.params["table"]), shown(call.params["load_id"])
    return DryRunResult(
        summary=f"Removes the rows of load {load_id} from {table}.",
        changes=(f"removes the rows of one load from {table}",),
    )


def _opened(
    call: Call, sources: Mapping[str, Sequence[File]]
) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
    as_text: bool = call.params.get("text", False)
    return duck.opened(sources, call.workdir, _memory(call), as_text=as_text)


def _sources(call: Call) -> dict[str, list[File]]:
    sources: Mapping[str, Any] = call.params["sources"]
    return {name: file_list(value) for name, value in sources.items()}


def _memory(call: Call) -> str:
    memory: str = call.config.get("memory", duck.MEMORY)
    return memory


def _table(call: Call) -> str:
    return ".".join(loading.parts_of(call.params["table"]))


def _database(call: Call) -> tuple[str, str]:
    """Return the name of the database and its connection string."""
    databases: Mapping[str, str] = call.config.get("databases", {})
    name: str = call.params.get("database") or next(iter(databases), "")
    if name not in databases:
        message = (
            f"Unknown database {name!r}. Use one that the skill's configuration names."
        )
        raise refused("data.no_database", message)
    return name, databases[name]
