"""DuckDB in a locked configuration: it reads its sources and no other files."""

import errno
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from orchestration.skills.builtin.data import duck_rules
from orchestration.skills.domain.outcome import File

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


class BadQuery(Exception):
    """The query or its sources are invalid."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Column:
    """Name and DuckDB type of a column."""

    name: str
    type: str


@contextmanager
def opened(
    sources: Mapping[str, Sequence[File]], workdir: Path, memory: str = MEMORY
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database in memory with a view of each source and no other access.

    :raises BadQuery: when a source cannot be read
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
            _view(connection, name, files)
        yield connection
    except duckdb.OutOfMemoryException as error:
        raise BadQuery(
            "data.memory",
            f"The query needs more than {memory} of memory. Use fewer rows or columns.",
        ) from error
    except duckdb.Error as error:
        message = _without_places(str(error), sources, workdir)
        if "File too large" in message:
            raise OSError(errno.EFBIG, "the result or its spill") from error
        raise BadQuery("data.sql", message) from error
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

    :raises BadQuery: when it is not exactly one query that reads only them
    """
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        message = "The SQL must be exactly one SELECT. It may start with WITH."
        raise BadQuery("data.not_a_query", message)
    if refused := duck_rules.refusal(connection, sql, sources):
        raise BadQuery("data.not_allowed", refused)
    described = connection.execute(f"DESCRIBE {_bare(sql)}").fetchall()
    return [Column(name=row[0], type=row[1]) for row in described]


def write(
    connection: duckdb.DuckDBPyConnection, sql: str, path: Path, kind: str
) -> int:
    """Write the result of a checked query to a file; return its number of rows."""
    target = f"COPY ({_bare(sql)}\n) TO {_text(str(path))} ({FORMATS[kind]})"
    counted: tuple[Any, ...] | None = connection.execute(target).fetchone()
    return int(counted[0]) if counted else 0


def quoted(name: str) -> str:
    """Quote a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _view(
    connection: duckdb.DuckDBPyConnection, name: str, files: Sequence[File]
) -> None:
    if not files:
        raise BadQuery("data.no_file", f"The source {name!r} has no file.")
    readers = {_reader(file) for file in files}
    if len(readers) != 1:
        raise BadQuery(
            "data.mixed",
            f"The files of the source {name!r} have different formats. Use one format.",
        )
    reader = readers.pop()
    options = ", union_by_name = true" if len(files) > 1 else ""
    if reader == "read_csv" and files[0].name.lower().endswith(".gz"):
        options += ", compression = 'gzip'"
    paths = _list([str(file.path) for file in files])
    connection.execute(
        f"CREATE VIEW {quoted(name)} AS SELECT * FROM {reader}({paths}{options})"  # noqa: S608 - quoted above
    )


def _reader(file: File) -> str:
    name = file.name.lower()
    for suffix, reader in READERS.items():
        if name.endswith(suffix):
            return reader
    known = ", ".join(READERS)
    raise BadQuery(
        "data.kind", f"Cannot read {file.name!r}: unknown file format. Use {known}."
    )


def _bare(sql: str) -> str:
    return sql.strip().rstrip(";")


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _list(values: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"
