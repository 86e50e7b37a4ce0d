"""DuckDB, locked in: it reads the files it was given and knows no other place."""

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
    """The query or its sources are not right; the message says where."""

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
    """A database in memory with one view per source, and no way out of it.

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
        paths = [str(file.path) for given in sources.values() for file in given]
        connection.execute("SET python_enable_replacements = false")
        connection.execute(f"SET allowed_paths = {_list(paths)}")
        connection.execute(f"SET allowed_directories = {_list([str(workdir)])}")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        for name, given in sources.items():
            _view(connection, name, given)
        yield connection
    except duckdb.OutOfMemoryException as error:
        raise BadQuery("data.memory", f"The query needs over {memory}.") from error
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
    """A message of DuckDB with the names of files in place of their paths."""
    names = {str(file.path): file.name for given in sources.values() for file in given}
    names[str(workdir)] = "."
    for path in sorted(names, key=len, reverse=True):
        message = message.replace(path, names[path])
    return message


def columns(
    connection: duckdb.DuckDBPyConnection, sql: str, sources: Collection[str]
) -> list[Column]:
    """The columns that a query over the sources would give, without running it.

    :raises BadQuery: when it is not exactly one query that reads only them
    """
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        message = "The SQL must be exactly one SELECT; it may start with WITH."
        raise BadQuery("data.not_a_query", message)
    if refused := duck_rules.refusal(connection, sql, sources):
        raise BadQuery("data.not_allowed", refused)
    described = connection.execute(f"DESCRIBE {_bare(sql)}").fetchall()
    return [Column(name=row[0], type=row[1]) for row in described]


def write(
    connection: duckdb.DuckDBPyConnection, sql: str, path: Path, kind: str
) -> int:
    """Run a query that `columns` has accepted into a file; how many rows it has."""
    target = f"COPY ({_bare(sql)}\n) TO {_text(str(path))} ({FORMATS[kind]})"
    counted: tuple[Any, ...] | None = connection.execute(target).fetchone()
    return int(counted[0]) if counted else 0


def quoted(name: str) -> str:
    """A name as an identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'


def _view(
    connection: duckdb.DuckDBPyConnection, name: str, given: Sequence[File]
) -> None:
    if not given:
        raise BadQuery("data.no_file", f"The source {name} has no file.")
    readers = {_reader(file) for file in given}
    if len(readers) != 1:
        raise BadQuery("data.mixed", f"The files of {name} are of different kinds.")
    reader = readers.pop()
    options = ", union_by_name = true" if len(given) > 1 else ""
    if reader == "read_csv" and given[0].name.lower().endswith(".gz"):
        options += ", compression = 'gzip'"
    paths = _list([str(file.path) for file in given])
    connection.execute(
        f"CREATE VIEW {quoted(name)} AS SELECT * FROM {reader}({paths}{options})"  # noqa: S608 - quoted above
    )


def _reader(file: File) -> str:
    name = file.name.lower()
    for suffix, reader in READERS.items():
        if name.endswith(suffix):
            return reader
    known = ", ".join(READERS)
    raise BadQuery("data.kind", f"{file.name}: only {known} can be read.")


def _bare(sql: str) -> str:
    return sql.strip().rstrip(";")


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _list(values: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"
