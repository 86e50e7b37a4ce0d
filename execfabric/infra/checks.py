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
    return _condition(column, "<> ''")


def is_set(column: str) -> IsNull:
    return IsNull(F(column), rhs=False)


def has_result(column: str, *, result: bool) -> Func:
    """Require `result` in the JSON object in `column`."""
    word = str(result).lower()
    return _of_json(column, f"coalesce(%(expressions)s ->> 'result' = '{word}', false)")


def has_key(column: str, key: str) -> Func:
    """Require a key in the JSON object in `column`."""
    return _of_json(column, f"(%(expressions)s -> '{key}' IS NOT NULL)")


def is_pair(first: str, one: object, second: str, other: object) -> Func:
    """Require two columns to have these texts."""
    return Func(
        F(first),
        F(second),
        arg_joiner=" || ' ' || ",
        template=f"(%(expressions)s = '{one} {other}')",
        output_field=BooleanField(),
    )


def is_kind_with(kind: object, column: str) -> Func:
    """Require a row to be of a kind and to have a value in a column."""
    return Func(
        F("kind"),
        F(column),
        arg_joiner=f" = '{kind}' AND ",
        template="(%(expressions)s IS NOT NULL)",
        output_field=BooleanField(),
    )


def _of_json(column: str, template: str) -> Func:
    return Func(F(column), template=template, output_field=BooleanField())


def iff(one: Func | IsNull, other: Func | IsNull) -> Exact:
    return Exact(one, other)


def _condition(column: str, condition: str) -> Func:
    template = f"(%(expressions)s {condition})"
    return Func(F(column), template=template, output_field=BooleanField())
