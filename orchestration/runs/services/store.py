"""The statements of the hot path, in SQL: a run is loaded and written in few round trips.

Reads of one moment and writes of one change each go out in one pipeline
(PostgreSQL's, by psycopg), so that a chain of steps does not wait for the network
between statements. Who may write what is decided in `transitions`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from approvals.selectors import ANY_POLICY, APPROVED_SUBJECT
from audit.services import LOCK_END, End
from execfabric import database
from execfabric.lib.machine import StaleTransition
from orchestration.plans.models import PlanRevision
from orchestration.runs.models import Attempt, Run, StepRun, stream_of
from orchestration.skills.selectors import PINNED, Pinned, pinned_from

LEASE_END = "clock_timestamp() + %s * interval '1 s'"

_RUN_FIELDS = [
    field.attname for field in Run._meta.concrete_fields if field.name != "dry_run"
]
_STEP_FIELDS = [
    field.attname
    for field in StepRun._meta.concrete_fields
    if field.name not in {"output", "files"}
]
_REVISION_FIELDS = ["id", "plan_id", "number", "body", "digest", "author",
                    "author_name", "author_owner", "created_at"]  # fmt: skip
_JSON = {"inputs", "pins", "error", "result"}


def _columns(prefix: str, names: Sequence[str]) -> str:
    return ", ".join(f"{prefix}.{name}" for name in names)


_LOAD_RUN = (
    f"SELECT {_columns('run', _RUN_FIELDS)}, {_columns('revision', _REVISION_FIELDS)}"
    " FROM runs_run AS run JOIN plans_planrevision AS revision"
    " ON revision.id = run.revision_id WHERE run.id = %s FOR UPDATE OF run"
)
_LOAD_STEPS = (
    f"SELECT {_columns('step', _STEP_FIELDS)} FROM runs_steprun AS step"
    " WHERE step.run_id = %s ORDER BY step.position"
)
_LOAD_APPROVED = f"{APPROVED_SUBJECT} (SELECT gate_id FROM runs_run WHERE id = %s)"
_LOAD_PINNED = (
    f"{PINNED} (SELECT (pin.value ->> 'version_id')::uuid FROM runs_run AS run,"
    " jsonb_each(run.pins) AS pin WHERE run.id = %s)"
)
_ATTEMPT_FIELDS = ["step_run_id", "fence", "generation", "worker", "phase", "spec_id",
                   "session_id", "started_at", "intent_at", "ended_at", "result"]  # fmt: skip
_ADD_ATTEMPT = (
    f"INSERT INTO runs_attempt ({', '.join(_ATTEMPT_FIELDS)})"
    f" VALUES ({', '.join(['%s'] * len(_ATTEMPT_FIELDS))})"
)
_END_ATTEMPT = (
    "UPDATE runs_attempt SET phase = %s, ended_at = %s, result = %s"
    " WHERE step_run_id = %s AND fence = %s AND phase IN ('claimed', 'intent')"
)
_KEEP_SPEC = (
    "INSERT INTO runs_execspec (digest, body) VALUES (%s, %s) ON CONFLICT DO NOTHING"
)


@dataclass(frozen=True)
class Write:
    """One statement of a change; `expect` names what must have been hit, if anything."""

    statement: str
    values: Sequence[Any]
    expect: str = ""


@dataclass(frozen=True)
class Loaded:
    """A run under its lock, and what stood in the database at that moment."""

    run: Run
    steps: list[StepRun]
    end: End | None
    """The end of its stream, locked; None before its first event."""
    approved: bytes | None
    """What its plan gate was approved for; None when it is not approved."""
    any_policy: bool
    pinned: dict[str, Pinned]
    """The skill versions that its steps are bound to, by id."""


def load(run_id: UUID) -> Loaded | None:
    """Lock a run and read it with all that an attempt is checked against.

    Outputs and files are read on demand. Each statement sees what was committed when
    it starts, so those behind the lock see what its last holder wrote.
    """
    run_row, step_rows, end, approved, policy, pinned = database.pipelined(
        [
            (_LOAD_RUN, [run_id]),
            (_LOAD_STEPS, [run_id]),
            (LOCK_END, [stream_of(run_id)]),
            (_LOAD_APPROVED, [run_id]),
            (ANY_POLICY, []),
            (_LOAD_PINNED, [run_id]),
        ]
    )
    row = run_row.fetchone()
    if row is None:
        return None
    count = len(_RUN_FIELDS)
    run = _instance(Run, _RUN_FIELDS, row[:count])
    run.revision = _instance(PlanRevision, _REVISION_FIELDS, row[count:])
    ended, subject = end.fetchone(), approved.fetchone()
    return Loaded(
        run=run,
        steps=[_instance(StepRun, _STEP_FIELDS, one) for one in step_rows.fetchall()],
        end=End(int(ended[0]), bytes(ended[1])) if ended else None,
        approved=bytes(subject[0]) if subject else None,
        any_policy=policy.fetchone() is not None,
        pinned=pinned_from(pinned.fetchall()),
    )


def write(writes: Sequence[Write], *, then: Sequence[database.Statement] = ()) -> None:
    """Send statements in one pipeline, and behind them those of the record.

    :raises StaleTransition: when one that must hit a row did not
    """
    sent = [(item.statement, item.values) for item in writes]
    if not sent and not then:
        return
    done = database.pipelined([*sent, *then])
    for item, result in zip(writes, done, strict=False):
        if item.expect and result.rowcount != 1:
            raise StaleTransition(expected=item.expect)


def update(
    table: str,
    key: UUID,
    fields: dict[str, Any],
    *,
    state: str,
    fence: int | None = None,
    lease_seconds: int = 0,
) -> Write:
    """A compare-and-swap: the row changes only if it still is in `state` (and fence).

    With `lease_seconds`, `lease_until` becomes that far from the database's now.
    """
    assigned = [f"{name} = %s" for name in fields if name != "lease_until"]
    values = [_value(v) for name, v in fields.items() if name != "lease_until"]
    if "lease_until" in fields:
        assigned.append(f"lease_until = {LEASE_END if lease_seconds else 'NULL'}")
        values += [lease_seconds] if lease_seconds else []
    where = "id = %s AND state = %s" + ("" if fence is None else " AND fence = %s")
    values += [key, state] + ([] if fence is None else [fence])
    statement = f"UPDATE {table} SET {', '.join(assigned)} WHERE {where}"
    return Write(statement, values, expect=state)


def add_attempt(attempt: Attempt) -> Write:
    """Insert an attempt as it is now."""
    values = [_value(getattr(attempt, name)) for name in _ATTEMPT_FIELDS]
    return Write(_ADD_ATTEMPT, values)


def end_attempt(
    step_run_id: UUID, fence: int, *, phase: str, ended_at: datetime, result: Any
) -> Write:
    """Say how an attempt ended."""
    values = [phase, ended_at, _value(result), step_run_id, fence]
    return Write(_END_ATTEMPT, values, expect="live attempt")


def keep_spec(digest: str, body: bytes) -> Write:
    """Insert the bytes of an action, unless they are there already."""
    return Write(_KEEP_SPEC, [digest, body])


def _instance(model: Any, names: Sequence[str], row: Sequence[Any]) -> Any:
    values = [
        json.loads(value) if name in _JSON and isinstance(value, str) else value
        for name, value in zip(names, row, strict=True)
    ]
    return model.from_db(connection.alias, names, values)


def _value(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value
