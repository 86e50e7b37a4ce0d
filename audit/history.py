"""Which columns of a model are history, and a row as events record it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.db.models import Model, QuerySet

from audit.domain.rows import Plain, RowFact, plain
from execfabric.lib import canonical


@dataclass(frozen=True)
class Table:
    """A table whose rows the record covers.

    Every column is compared except those that `exempt` names with the reason, so a
    column that is added later is covered from the start.
    """

    model: type[Model]
    key: tuple[str, ...]
    """The columns that name a row, and never change."""
    exempt: Mapping[str, str]

    @property
    def name(self) -> str:
        """The table's name in the database."""
        return self.model._meta.db_table

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that are compared."""
        names = (field.attname for field in self.model._meta.concrete_fields)
        return tuple(n for n in names if n not in self.exempt and n not in self.key)

    @cached_property
    def defaults(self) -> dict[str, Plain]:
        """What a column has that nobody set."""
        blank = self.model()
        return {name: plain(getattr(blank, name)) for name in self.columns}

    def key_of(self, row: Model) -> str:
        """The key of a row as text."""
        return ":".join([str(getattr(row, name)) for name in self.key])

    def born(self, row: Model) -> RowFact:
        """A row that is inserted."""
        values = {name: getattr(row, name) for name in self.columns}
        return self.inserted(self.key_of(row), values)

    def inserted(self, key: str, values: Mapping[str, Any]) -> RowFact:
        """Return a row that is inserted with these values and else with defaults."""
        defaults, columns = self.defaults, self.set(key, values).columns
        chosen = {n: v for n, v in columns.items() if v != defaults[n]}
        return RowFact(self.name, key, chosen, new=True)

    def changed(self, row: Model, values: Mapping[str, Any]) -> RowFact:
        """Columns of a row that are set to these values."""
        return self.set(self.key_of(row), values)

    def set(self, key: str, values: Mapping[str, Any]) -> RowFact:
        """Columns that are set in the row of that key."""
        known = self.defaults
        chosen = {n: plain(v) for n, v in values.items() if n in known}
        return RowFact(self.name, key, chosen)

    def stored(self, rows: "QuerySet[Any]") -> Iterator[tuple[str, dict[str, Plain]]]:
        """The key and the columns of each row, as they are stored now."""
        wanted = {*self.key, *self.columns}
        fields = self.model._meta.concrete_fields
        found = rows.only(*(f.name for f in fields if f.attname in wanted))
        for row in found.iterator(chunk_size=500):
            yield self.key_of(row), {name: _stored(row, name) for name in self.columns}


def _stored(row: Model, name: str) -> Plain:
    try:
        return plain(getattr(row, name))
    except canonical.NotCanonical as error:
        return f"not canonical: {error}"
