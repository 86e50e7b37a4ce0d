"""Record written rows in events, and compare stored rows with them.

An event has the columns that its transaction set. Applying the events of a stream in
order gives each row as it must be stored.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from execfabric.lib import canonical
from execfabric.lib.clock import stamp

LONGEST = 200
"""Characters of a value in an event; a longer value is recorded by its digest."""

Plain = str | int | bool | None


@dataclass(frozen=True)
class RowFact:
    table: str
    key: str
    columns: dict[str, Plain]
    new: bool = False
    """True if the row is inserted; other columns have their default."""

    def as_json(self) -> dict[str, Any]:
        fact = {"table": self.table, "key": self.key, "set": dict(self.columns)}
        return fact | {"new": True} if self.new else fact


@dataclass(frozen=True)
class RowDifference:
    """A stored value that differs from the recorded one."""

    stream: str
    table: str
    key: str
    column: str
    """Empty if the whole row is missing, or is not recorded."""
    recorded: str
    found: str

    def __str__(self) -> str:
        where = f"{self.table}.{self.column}" if self.column else self.table
        return (
            f"{where} of {self.key}: recorded {self.recorded or 'nothing'},"
            f" found {self.found or 'nothing'}"
        )


@dataclass
class Replay:
    """The rows as the events of a stream record them."""

    stream: str
    rows: dict[str, dict[str, dict[str, Plain]]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    """The recorded columns by table and key."""
    born: set[tuple[str, str]] = field(default_factory=set)
    """Table and key of rows whose insertion is recorded, so every column is known."""
    older: bool = False
    """True if some events are older than the recording of rows."""

    def add(self, envelope: Mapping[str, Any]) -> None:
        """Apply one event, in the order of the stream."""
        facts = envelope.get("rows")
        self.older = self.older or facts is None
        for fact in facts or ():
            table, key = fact["table"], fact["key"]
            if fact.get("new"):
                self.born.add((table, key))
                self.rows[table][key] = {}
            self.rows[table].setdefault(key, {}).update(fact["set"])

    def differences(
        self,
        table: str,
        stored: Iterable[tuple[str, Mapping[str, Plain]]],
        *,
        defaults: Mapping[str, Plain],
    ) -> Iterator[RowDifference | None]:
        """Compare the stored rows of a table; yield None for each uncovered row.

        `stored` has the key and the columns of each row.
        """
        missing = set(self.rows[table])
        for key, columns in stored:
            missing.discard(key)
            recorded = self.rows[table].get(key)
            if recorded is None:
                unknown = RowDifference(self.stream, table, key, "", "", "a row")
                yield None if self.older else unknown
                continue
            if (table, key) in self.born:
                recorded = {**defaults, **recorded}
            elif len(recorded) < len(columns):
                yield None
            for name, value in columns.items():
                if name in recorded and recorded[name] != value:
                    yield self.difference(table, key, name, recorded[name], value)
        for key in sorted(missing):
            yield RowDifference(self.stream, table, key, "", "a row", "")

    def difference(
        self, table: str, key: str, column: str, recorded: object, found: object
    ) -> RowDifference:
        return RowDifference(
            self.stream, table, key, column, repr(recorded), repr(found)
        )


def plain(value: Any) -> Plain:
    """Return a value of a column as events record it; a long one as its digest."""
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, _BYTES):
        return f"sha256:{hashlib.sha256(value).hexdigest()}"
    is_json = isinstance(value, _JSON)
    text = canonical.dumps(value).decode() if is_json else str(value)
    if len(text) <= LONGEST:
        return text
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


# Module constants, because `plain` runs for every column of every event.
_BYTES = (bytes, memoryview)
_JSON = (dict, list, float)
