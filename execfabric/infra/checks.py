"""Short conditions for the check constraints of hot tables.

Postgres parses every check of a table at each write. `state IN (...)` has a cast for
each constant; an array is one constant.
"""

from collections.abc import Iterable

from django.db.models import BooleanField, F, Func
from django.db.models.lookups import Exact, IsNull


def is_one_of(column: str, values: Iterable[object]) -> Func:
    """Require the text in `column` to be one of `values`."""
    words = ",".join(sorted(str(value) for value in values))
    return _condition(column, f"= ANY ('{{{words}}}'::text[])")


def is_not_blank(column: str) -> Func:
    """Require text in `column`."""
    return _condition(column, "<> ''")


def is_set(column: str) -> IsNull:
    """Require `column` to be set."""
    return IsNull(F(column), rhs=False)


def iff(one: Func | IsNull, other: Func) -> Exact:
    """Require both conditions, or neither."""
    return Exact(one, other)


def _condition(column: str, condition: str) -> Func:
    template = f"(%(expressions)s {condition})"
    return Func(F(column), template=template, output_field=BooleanField())
