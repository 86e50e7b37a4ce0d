"""Write runs, steps and attempts: `runs_commit` is an SQL function of the migrations."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
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
from orchestration.runs.errors import DispatchStopped
from orchestration.runs.models import Run, StepRun

MISSED = "XF001"
"""The SQLSTATE when a row is no longer in the state that was read."""
CHANGED = "XF002"
"""The SQLSTATE when run data or outside data changed without an event."""

STOPPED = "XF003"
"""The SQLSTATE when a stop covers a step that would start."""

_COMMIT = f"SELECT runs_commit({', '.join(['%s'] * 14)})"

_RENEW = """
UPDATE runs_steprun AS step SET lease_until = clock_timestamp() + %s * interval '1 s'
FROM runs_run AS run
WHERE step.id = %s AND step.fence = %s AND step.state = 'running'
  AND run.id = step.run_id
RETURNING run.state
"""

_IS_CALLED_OFF = """
SELECT run.state = 'cancelling' OR EXISTS (
  SELECT FROM runs_stop WHERE lifted_at IS NULL AND skill IN ('', %s))
FROM runs_steprun AS step JOIN runs_run AS run ON run.id = step.run_id WHERE step.id = %s
"""

Record = dict[str, Any]
"""Columns of a row by name."""
RunVersions = tuple[int, int | None]
"""The versions of the run, and of data it depends on, when read."""


@dataclass
class PendingWrites:
    """The rows that a change writes; the SQL function uses the same names."""

    specs: list[Record] = field(default_factory=list)
    born: list[Record] = field(default_factory=list)
    """Added step runs with all columns."""
    ended: list[Record] = field(default_factory=list)
    """Ended attempts: the key and the new columns."""
    steps: dict[UUID, Record] = field(default_factory=dict)
    """New columns by step run; `was` and `held` are the state and fence that were read."""
    attempts: list[Record] = field(default_factory=list)
    """New attempts."""
    run: Record = field(default_factory=dict)
    """New columns; `was` is the state that was read."""

    def as_json(self) -> str:
        """Return the argument of the SQL function."""
        # orjson: about five times as fast as json on the path of every step.
        parts = {name: part for name, part in vars(self).items() if part}
        if self.steps:
            parts["steps"] = {str(pk): columns for pk, columns in self.steps.items()}
        return orjson.dumps(parts).decode()


def commit(
    run: Run,
    facts: Sequence[Fact],
    written: PendingWrites,
    *,
    end: End,
    versions: RunVersions | None,
    by: Actor,
    at: datetime,
) -> tuple[End, int] | None:
    """Write a change and its events after `end`; return the new end and run version.

    `versions` are compared for a run that is not locked. Return None if such a run has
    changed since it was read.

    :raises StaleTransition: when a row is no longer in the state that was read, or a
        locked run has changed
    :raises DispatchStopped: when a stop covers a step that would start
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
        *(versions or (None, None)),
        at,
        by.key,
        by.name,
        run.trace_id,
        events,
        written.as_json(),
        float(settings.LEASE_SECONDS),
    ]
    try:
        row = database.row(_COMMIT, values)
    except DatabaseError as error:
        code = database.sqlstate(error)
        if code == CHANGED or (code == STOPPED and versions is not None):
            return None
        if code == STOPPED:
            raise DispatchStopped from None
        if code == MISSED:
            raise StaleTransition(expected=database.detail(error)) from None
        raise
    if row and row[0] is not None:
        return after, row[0]
    if versions is None:
        raise StaleTransition(run=str(run.id), seq=end.seq)
    return None


def merged(released: Fact, started: Fact) -> Fact:
    """Return the events "released" and "started" of a step as one."""
    source = {"from": released.payload["from"]}
    columns = started.rows[0].columns
    columns.update(released.rows[0].columns | columns)
    return replace(started, payload=released.payload | started.payload | source)


def renew_lease(step_run_id: UUID, fence: int) -> str | None:
    """Renew the lease of an attempt; return the run's state, or None if it was lost."""
    row = database.row(_RENEW, [settings.LEASE_SECONDS, step_run_id, fence])
    return row[0] if row else None


def is_called_off(step_run_id: UUID, skill: str) -> bool:
    """Return True if a claimed step should not begin: its run ends, or it is stopped."""
    row = database.row(_IS_CALLED_OFF, [skill, step_run_id])
    return row is not None and row[0]


def note_hints(step_run_ids: Iterable[UUID], *, at: datetime) -> None:
    StepRun.objects.filter(pk__in=step_run_ids).update(hinted_at=at)
