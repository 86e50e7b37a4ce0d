"""The statements by which a change is written, sent as one.

Who may write what is decided in `transitions`.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from execfabric import database
from execfabric.database import Write
from execfabric.lib.machine import StaleTransition
from orchestration.runs.models import Attempt

LEASE_END = "clock_timestamp() + %s * interval '1 s'"

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


def write(writes: Sequence[Write], *, commit: bool = False) -> str:
    """Send a change's statements, and its commit; returned is its rows' version.

    :raises StaleTransition: when one that must hit a row did not
    """
    if not writes:
        return ""
    try:
        return database.together(writes, commit=commit)
    except database.Missed as missed:
        raise StaleTransition(expected=missed.what) from None


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
    return Write(statement, values, hits=1, what=state)


def add_attempt(attempt: Attempt) -> Write:
    """Insert an attempt as it is now."""
    values = [_value(getattr(attempt, name)) for name in _ATTEMPT_FIELDS]
    return Write(_ADD_ATTEMPT, values)


def end_attempt(
    step_run_id: UUID, fence: int, *, phase: str, ended_at: datetime, result: Any
) -> Write:
    """Say how an attempt ended."""
    values = [phase, ended_at, _value(result), step_run_id, fence]
    return Write(_END_ATTEMPT, values, hits=1, what="live attempt")


def keep_spec(digest: str, body: bytes) -> Write:
    """Insert the bytes of an action, unless they are there already."""
    return Write(_KEEP_SPEC, [digest, body])


def _value(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value
