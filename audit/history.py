"""Describe rows for events, and list the columns that are verified."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django.db.models import Model, QuerySet

from audit.domain.rows import Plain, RowFact, plain
from execfabric.lib import canonical


@dataclass(frozen=True)
class Table:
    """A table whose rows are recorded in events.

    Every column is compared, except those in `exempt`, which maps a column to the
    reason. So a new column is covered by default.
    """

    model: type[Model]
    exempt: Mapping[str, str] = field(default_factory=dict)
    key: tuple[str, ...] = ("id",)
    """The columns that identify a row and never change."""

    @property
    def name(self) -> str:
        return self.model._meta.db_table

    @cached_property
    def columns(self) -> tuple[str, ...]:
        names = (field.attname for field in self.model._meta.concrete_fields)
        return tuple(n for n in names if n not in self.exempt and n not in self.key)

    @cached_property
    def defaults(self) -> dict[str, Plain]:
        blank = self.model()
        return {name: plain(getattr(blank, name)) for name in self.columns}

    def key_of(self, row: Model) -> str:
        return ":".join([str(getattr(row, name)) for name in self.key])

    def born(self, row: Model) -> RowFact:
        values = {name: getattr(row, name) for name in self.columns}
        return self.inserted(self.key_of(row), values)

    def inserted(self, key: str, values: Mapping[str, Any]) -> RowFact:
        """Record the insertion of these values; other columns have their default."""
        defaults, columns = self.defaults, self.set(key, values).columns
        chosen = {n: v for n, v in columns.items() if v != defaults[n]}
        return RowFact(self.name, key, chosen, new=True)

    def changed(self, row: Model, values: Mapping[str, Any]) -> RowFact:
        return self.set(self.key_of(row), values)

    def set(self, key: str, values: Mapping[str, Any]) -> RowFact:
        chosen = {n: plain(v) for n, v in values.items() if n in self.defaults}
        return RowFact(self.name, key, chosen)

    def stored(self, rows: "QuerySet[Any]") -> Iterator[tuple[str, dict[str, Plain]]]:
        names = {*self.key, *self.columns}
        fields = self.model._meta.concrete_fields
        rows = rows.only(*(f.name for f in fields if f.attname in names))
        for row in rows.iterator(chunk_size=500):
            yield self.key_of(row), {name: _stored(row, name) for name in self.columns}


def _stored(row: Model, name: str) -> Plain:
    try:
        return plain(getattr(row, name))
    except canonical.NotCanonical as error:
        return f"not canonical: {error}"
