"""The one statement that writes a change of a run; `runs_commit` is in the migrations.

Who may write what is decided in `transitions`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError

from audit import services as audit
from audit.services import End, Fact
from execfabric import database
from execfabric.lib.actor import Actor
from execfabric.lib.machine import StaleTransition
from orchestration.runs.models import Run

MISSED = "XF001"
"""The SQLSTATE when a row is not in the state that was read."""
CHANGED = "XF002"
"""The SQLSTATE when the run was written by hand, or what it depends on has changed."""

_COMMIT = f"SELECT runs_commit({', '.join(['%s'] * 14)})"

Record = dict[str, Any]
"""Columns of a row by name."""


@dataclass
class Written:
    """What a change writes, beside its events."""

    specs: list[Record] = field(default_factory=list)
    ended: list[Record] = field(default_factory=list)
    """Attempts that end: the columns that are set, and those that name the attempt."""
    steps: list[Record] = field(default_factory=list)
    """The columns that are set; `was` and `held` are the state and the fence read."""
    attempts: list[Record] = field(default_factory=list)
    """Attempts that begin."""
    run: list[Record] = field(default_factory=list)
    """At most one: the columns that are set; `was` is the state read."""

    def as_json(self) -> str:
        """The form that the statement takes."""
        return json.dumps(vars(self), default=_plain)


@dataclass(frozen=True)
class Seen:
    """What a run was when it was read: a change made without a lock compares it."""

    version: int
    outside: int | None


def commit(
    run: Run,
    facts: Sequence[Fact],
    written: Written,
    *,
    end: End,
    seen: Seen | None,
    by: Actor,
    at: datetime,
) -> tuple[End, int] | None:
    """Write a change and its events after `end`, all or nothing.

    `seen` is compared for a run that is not locked. Returned are the new end of the
    stream and the run's version; None when the run is not as it was read.

    :raises StaleTransition: when a row is not in the state that was read
    """
    events, after = audit.chained(
        run.stream, facts, end=end, by=by, at=at, trace_id=run.trace_id
    )
    values = [
        run.id,
        run.stream,
        end.seq,
        end.hash,
        after.hash,
        seen.version if seen else None,
        seen.outside if seen else None,
        at,
        by.key,
        by.name,
        run.trace_id,
        events,
        written.as_json(),
        float(settings.LEASE_SECONDS),
    ]
    try:
        found = database.row(_COMMIT, values)
    except DatabaseError as error:
        code = database.sqlstate(error)
        if code == CHANGED:
            return None
        if code == MISSED:
            raise StaleTransition(expected=database.detail(error)) from None
        raise
    version = found[0] if found else None
    return None if version is None else (after, version)


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    message = f"a {type(value).__name__} is no column's value"
    raise TypeError(message)
