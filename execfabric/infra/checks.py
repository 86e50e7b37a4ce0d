"""Conditions for check constraints of tables that are written often.

The server parses every check of a table again at each write, so they are kept short:
`state IN (...)` is a list of constants with a cast each, an array is one constant.
"""

from collections.abc import Iterable

from django.db.models import BooleanField, F, Func
from django.db.models.lookups import Exact, IsNull


def is_one_of(column: str, values: Iterable[object]) -> Func:
    """Hold where the text in `column` is one of these plain words."""
    words = ",".join(sorted(str(value) for value in values))
    return _holds(column, f"= ANY ('{{{words}}}'::text[])")


def is_not_blank(column: str) -> Func:
    """Hold where there is text in `column`."""
    return _holds(column, "<> ''")


def is_set(column: str) -> IsNull:
    """Hold where `column` is not null."""
    return IsNull(F(column), rhs=False)


def iff(one: Func | IsNull, other: Func) -> Exact:
    """Hold where both conditions hold, or neither."""
    return Exact(one, other)


def _holds(column: str, condition: str) -> Func:
    template = f"(%(expressions)s {condition})"
    return Func(F(column), template=template, output_field=BooleanField())
