"""The statements that write runs, steps and attempts; `runs_commit` is in the migrations.

Who may write what is decided in `transitions`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings
from django.db import DatabaseError

from audit import services as audit
from audit.services import End, Fact
from execfabric.infra import database
from execfabric.lib.actor import Actor
from execfabric.lib.machine import StaleTransition
from orchestration.runs.models import Run, StepRun

MISSED = "XF001"
"""The SQLSTATE when a row is not in the state that was read."""
CHANGED = "XF002"
"""The SQLSTATE when the run was written by hand, or what it depends on has changed."""

_COMMIT = f"SELECT runs_commit({', '.join(['%s'] * 14)})"

_RENEW = """
UPDATE runs_steprun AS step SET lease_until = clock_timestamp() + %s * interval '1 s'
FROM runs_run AS run
WHERE step.id = %s AND step.fence = %s AND step.state = 'running'
  AND run.id = step.run_id
RETURNING run.state
"""

Record = dict[str, Any]
"""Columns of a row by name."""


@dataclass
class Written:
    """What a change writes, beside its events."""

    specs: list[Record] = field(default_factory=list)
    born: list[Record] = field(default_factory=list)
    """Step runs that are added, with all their columns."""
    ended: list[Record] = field(default_factory=list)
    """Attempts that end: the columns that are set, and those that name the attempt."""
    steps: dict[str, Record] = field(default_factory=dict)
    """By id, the columns that are set; `was` and `held` are the state and the fence read."""
    attempts: list[Record] = field(default_factory=list)
    """Attempts that begin."""
    run: Record = field(default_factory=dict)
    """The columns that are set; `was` is the state read."""

    def as_json(self) -> str:
        """Return the form that the statement takes, without what is empty."""
        found = {name: part for name, part in vars(self).items() if part}
        return orjson.dumps(found).decode()


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


def renew_lease(step_run_id: UUID, fence: int) -> str | None:
    """Renew the lease of an attempt; return its run's state, None if it was lost."""
    row = database.row(_RENEW, [settings.LEASE_SECONDS, step_run_id, fence])
    return row[0] if row else None


def note_hints(step_run_ids: Iterable[UUID], *, at: datetime) -> None:
    """Note that workers are notified of ready steps again."""
    StepRun.objects.filter(pk__in=step_run_ids).update(hinted_at=at)
