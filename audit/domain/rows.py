"""What an event says of the rows it wrote, and how stored rows are compared with it.

An event names the columns that its transaction set. Folding the events of a stream
in order gives each row as it must be now; any difference is named.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from execfabric.lib import canonical
from execfabric.lib.clock import stamp

LONGEST = 200
"""Characters of a value that an event repeats; of a longer one it has the digest."""

Plain = str | int | bool | None
Place = tuple[str, str]
"""The table of a row and its key."""


@dataclass(frozen=True)
class RowFact:
    """The columns that an event set in one row."""

    table: str
    key: str
    columns: dict[str, Plain]
    new: bool = False
    """Whether the row was inserted: columns left out have their default."""

    def as_json(self) -> dict[str, Any]:
        """The form in an event's body."""
        found = {"table": self.table, "key": self.key, "set": dict(self.columns)}
        return found | {"new": True} if self.new else found


@dataclass(frozen=True)
class Difference:
    """A stored value that is not the recorded one."""

    stream: str
    table: str
    key: str
    column: str
    """Empty when the whole row is missing, or is not in the record."""
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
    """The rows that a stream's events lead to."""

    stream: str
    rows: dict[Place, dict[str, Plain]] = field(default_factory=dict)
    born: set[Place] = field(default_factory=set)
    """Rows whose insertion is recorded, so that every column is known."""
    older: bool = False
    """Whether events from before rows were recorded are among them."""

    def add(self, envelope: Mapping[str, Any]) -> None:
        """Apply one event, in the order of the stream."""
        facts = envelope.get("rows")
        self.older = self.older or facts is None
        for fact in facts or ():
            place = (fact["table"], fact["key"])
            if fact.get("new"):
                self.born.add(place)
                self.rows[place] = {}
            self.rows.setdefault(place, {}).update(fact["set"])

    def differences(
        self,
        table: str,
        stored: Iterable[tuple[str, Mapping[str, Plain]]],
        *,
        defaults: Mapping[str, Plain],
    ) -> Iterator[Difference | None]:
        """Compare the stored rows of a table; None for one that is not covered.

        `stored` has the key and the columns of each row.
        """
        missing = {key for name, key in self.rows if name == table}
        for key, columns in stored:
            missing.discard(key)
            recorded = self.rows.get((table, key))
            if recorded is None:
                unknown = Difference(self.stream, table, key, "", "", "a row")
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
            yield Difference(self.stream, table, key, "", "a row", "")

    def difference(
        self, table: str, key: str, column: str, recorded: object, found: object
    ) -> Difference:
        """Name one column that differs."""
        return Difference(self.stream, table, key, column, repr(recorded), repr(found))


def plain(value: Any) -> Plain:
    """A column's value as an event repeats it; long ones as their digest."""
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


# Made once: this is called for every column of every event.
_BYTES = (bytes, memoryview)
_JSON = (dict, list, float)
