"""Service levels: when a run or a step has to have ended, and whether it is late.

The time of a run counts from the approval of its plan, that of a step from its release.
Everything counts, also the time in which it waits for people.
"""

from datetime import datetime, timedelta
from typing import Any, Protocol


class Promised(Protocol):
    """A run or a step that has to have ended at some time."""

    @property
    def due_at(self) -> datetime | None: ...

    @property
    def breached_at(self) -> datetime | None:
        """When it was first found to be late."""


def on_move(
    now: Promised, *, starts: bool, ends: bool, sla_s: float | None, at: datetime
) -> dict[str, Any]:
    """Return the columns that a move sets: a due time, or the breach of one.

    What ends too late is a breach, also if the keeper did not look in between.
    """
    if starts and sla_s is not None and now.due_at is None:
        return {"due_at": at + timedelta(seconds=sla_s)}
    return {"breached_at": at} if ends and is_late(now, at) else {}


def is_late(now: Promised, at: datetime) -> bool:
    """Return True for a breach that is not recorded yet."""
    return now.due_at is not None and now.breached_at is None and at > now.due_at


def fact(now: Promised, *, sla_s: float | None, at: datetime) -> dict[str, Any]:
    """Return the payload of the event of a breach."""
    due_at = now.due_at or at
    elapsed = at - due_at + timedelta(seconds=sla_s or 0)
    late_s = (at - due_at).total_seconds()
    return {
        "due_at": due_at.isoformat(),
        "sla_s": sla_s,
        "elapsed_ms": round(elapsed.total_seconds() * 1000),
        "message": f"It is {late_s:.1f} s past its service level of {sla_s:g} s.",
    }
