"""DuckDB in a locked configuration: it reads its sources and no other files."""

import errno
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from orchestration.skills.domain.outcome import CallFailed, Failed, File

MEMORY = "512MB"
THREADS = "2"
READERS: Mapping[str, str] = {
    ".csv": "read_csv",
    ".csv.gz": "read_csv",
    ".json": "read_json",
    ".jsonl": "read_json",
    ".ndjson": "read_json",
    ".parquet": "read_parquet",
    ".tsv": "read_csv",
    ".txt": "read_csv",
}
FORMATS: Mapping[str, str] = {
    "csv": "FORMAT csv, HEADER",
    "json": "FORMAT json, ARRAY true",
    "parquet": "FORMAT parquet",
}
AS_TEXT = "all_varchar = true, header = true, skip = 0, comment = '', quote = '\"', escape = '\"', nullstr = '\x01\x02'"
"""Options of `read_csv` with which it guesses nothing that changes a value.

It reads `nullstr` as NULL, which is the empty text unless another one is set.
"""

# DuckDB shows its settings, the definitions of its views and the text of the running
# statement. All of them contain paths of this host.
TABLE_FUNCTIONS = frozenset(
    {
        *("generate_series", "json_each", "json_tree", "range", "repeat", "repeat_row"),
        *("summary", "unnest"),
    }
)
"""Table functions that read their arguments and nothing else."""
REFUSED = frozenset(
    {
        *("current_query", "current_setting", "getenv", "json_execute_serialized_sql"),
        *("json_serialize_plan", "parse_duckdb_log_message", "pg_get_constraintdef"),
        *("pg_get_expr", "pg_get_viewdef", "write_log"),
    }
)
_INTERNAL = "SELECT DISTINCT lower(table_name) FROM information_schema.tables UNION SELECT lower(view_name) FROM duckdb_views() WHERE internal"


@dataclass(frozen=True)
class Column:
    """Name and DuckDB type of a column."""

    name: str
    type: str


@contextmanager
def opened(
    sources: Mapping[str, Sequence[File]],
    workdir: Path,
    memory: str = MEMORY,
    *,
    as_text: bool = False,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database in memory with a view of each source and no other access.

    :raises CallFailed: when a source cannot be read
    """
    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": memory,
            "threads": THREADS,
            "temp_directory": str(workdir / "spill"),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "allow_persistent_secrets": "false",
        },
    )
    try:
        paths = [str(file.path) for files in sources.values() for file in files]
        connection.execute("SET python_enable_replacements = false")
        connection.execute(f"SET allowed_paths = {_list(paths)}")
        connection.execute(f"SET allowed_directories = {_list([str(workdir)])}")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        for name, files in sources.items():
            _view(connection, name, files, as_text=as_text)
        yield connection
    except duckdb.OutOfMemoryException as error:
        text = (
            f"The query needs more than {memory} of memory. Use fewer rows or columns."
        )
        raise _failed("data.memory", text) from error
    except duckdb.Error as error:
        message = _without_places(str(error), sources, workdir)
        if "File too large" in message:
            raise OSError(errno.EFBIG, "the result or its spill") from error
        raise _failed("data.sql", message) from error
    finally:
        connection.close()


def _without_places(
    message: str, sources: Mapping[str, Sequence[File]], workdir: Path
) -> str:
    """Replace the paths in a message of DuckDB by the names of files."""
    names = {str(file.path): file.name for files in sources.values() for file in files}
    names[str(workdir)] = "."
    for path in sorted(names, key=len, reverse=True):
        message = message.replace(path, names[path])
    return message


def columns(
    connection: duckdb.DuckDBPyConnection, sql: str, sources: Collection[str]
) -> list[Column]:
    """Return the columns of a query without running it.

    :raises CallFailed: when `sql` is not one query that reads only `sources`
    """
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        message = "The SQL must be exactly one SELECT. It may start with WITH."
        raise _failed("data.not_a_query", message)
    if refused := _refusal(connection, sql, sources):
        raise _failed("data.not_allowed", refused)
    described = connection.execute(f"DESCRIBE {_bare(sql)}").fetchall()
    return [Column(name=row[0], type=row[1]) for row in described]


def write(
    connection: duckdb.DuckDBPyConnection, sql: str, path: Path, kind: str
) -> int:
    """Write the result of a checked query to a file; return its number of rows."""
    target = f"COPY ({_bare(sql)}\n) TO {_text(str(path))} ({FORMATS[kind]})"
    counted: tuple[Any, ...] | None = connection.execute(target).fetchone()
    return int(counted[0]) if counted else 0


def _view(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    files: Sequence[File],
    *,
    as_text: bool,
) -> None:
    if not files:
        raise _failed("data.no_file", f"The source {name!r} has no file.")
    readers = {_reader(file) for file in files}
    if len(readers) != 1:
        message = (
            f"The files of the source {name!r} have different formats. Use one format."
        )
        raise _failed("data.mixed", message)
    reader = readers.pop()
    options = ", union_by_name = true" if len(files) > 1 else ""
    if reader == "read_csv" and files[0].name.lower().endswith(".gz"):
        options += ", compression = 'gzip'"
    if reader == "read_csv" and as_text:
        delimiter = "\t" if files[0].name.lower().endswith(".tsv") else ","
        options += f", delim = '{delimiter}', {AS_TEXT}"
    paths = _list([str(file.path) for file in files])
    quoted = '"' + name.replace('"', '""') + '"'
    connection.execute(
        f"CREATE VIEW {quoted} AS SELECT * FROM {reader}({paths}{options})"  # noqa: S608 - quoted above
    )


def _reader(file: File) -> str:
    name = file.name.lower()
    for suffix, reader in READERS.items():
        if name.endswith(suffix):
            return reader
    known = ", ".join(READERS)
    message = f"Cannot read {file.name!r}: unknown file format. Use {known}."
    raise _failed("data.kind", message)


def _failed(code: str, message: str) -> CallFailed:
    return CallFailed(Failed(code, message))


def _bare(sql: str) -> str:
    return sql.strip().rstrip(";")


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _list(values: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def _refusal(
    connection: duckdb.DuckDBPyConnection, sql: str, sources: Collection[str]
) -> str:
    """Return why a query is not allowed; empty if it is."""
    serialized = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql])
    row: Any = serialized.fetchone()
    tree = json.loads(row[0])
    if tree["error"]:
        return str(tree["error_message"])
    own = {name.lower() for name in sources}
    internal = {row[0] for row in connection.execute(_INTERNAL).fetchall()} - own
    problems = _refused(tree, frozenset(own), frozenset(internal))
    return next(problems, "")


def _refused(
    node: Any, known: frozenset[str], internal: frozenset[str]
) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _refused(item, known, internal)
    elif isinstance(node, dict):
        named = (node.get("cte_map") or {}).get("map", [])
        names = [item["key"].lower() for item in named]
        yield from (
            f"The name {name!r} is reserved. Use another name."
            for name in names
            if name in internal
        )
        known |= set(names)
        if problem := _problem(node, known):
            yield problem
        for item in node.values():
            yield from _refused(item, known, internal)


def _problem(node: dict[str, Any], known: frozenset[str]) -> str:
    kind = node.get("type")
    if kind == "BASE_TABLE":
        name = ".".join(node["qualified_name"]["path"])
        is_known = name.lower() in known
        return "" if is_known else f"Unknown table {name!r}. Add it to the sources."
    if kind == "TABLE_FUNCTION":
        name = _function(node["function"])
        allowed = name in TABLE_FUNCTIONS
        return "" if allowed else f"The table function {name} is not allowed."
    if kind == "SHOW_REF" and node.get("query") is None:
        return "SHOW is not allowed."
    if node.get("class") == "FUNCTION" and _function(node) in REFUSED:
        return f"The function {_function(node)} is not allowed."
    return ""


def _function(node: dict[str, Any]) -> str:
    return str(node["function_name"]).lower()
