"""Queues of runs and steps by concurrency key, in the order in which they came.

A row is a place. Its id is taken under one lock, so ids grow in the order of the commits.
What is before a place never grows, and the smallest limit up to it never falls: who holds
a place once keeps it. A run or step takes at most one place and holds no other while it
waits, so no two of them can wait for each other.

The lock is one for all keys: a transaction takes places for several keys in the order of
its steps, and with a lock for each key two of them could wait for each other.
"""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from execfabric.infra import database
from orchestration.runs.models import ConcurrencyPlace

NAMED = 5
"""Runs that a waiting one names."""

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('execfabric/concurrency', 0))"
_COLUMNS = """place.id, place.key,
  (SELECT min(other."limit") FROM runs_concurrencyplace AS other
   WHERE other.key = place.key AND other.id <= place.id),
  place.entered_at,
  (SELECT count(*) FROM runs_concurrencyplace AS other
   WHERE other.key = place.key AND other.id < place.id)"""
_PLACE = f"""
SELECT {_COLUMNS} FROM runs_concurrencyplace AS place
WHERE place.run_id = %s AND place.step_run_id IS NOT DISTINCT FROM %s::uuid
"""
# Readers of the run may not see the others: only steps of the same run have a name.
_BEFORE = f"""
SELECT min(other.id) AS came, other.run_id, coalesce(step.key, '') AS step
FROM runs_concurrencyplace AS other
LEFT JOIN runs_steprun AS step
  ON step.id = other.step_run_id AND step.run_id = place.run_id
WHERE other.key = place.key AND other.id < place.id
GROUP BY other.run_id, step.key ORDER BY came LIMIT {NAMED}
"""
_BEFORE_ONE = f"""
SELECT other.run_id, other.step FROM runs_concurrencyplace AS place
CROSS JOIN LATERAL ({_BEFORE}) AS other WHERE place.id = %s ORDER BY other.came
"""
_FREE = """
SELECT place.run_id, place.step_run_id FROM (
  SELECT *, row_number() OVER queue AS number, min("limit") OVER queue AS smallest
  FROM runs_concurrencyplace
  WINDOW queue AS (PARTITION BY key ORDER BY id)
) AS place
JOIN runs_run AS run ON run.id = place.run_id
LEFT JOIN runs_steprun AS step ON step.id = place.step_run_id
WHERE place.number <= place.smallest AND NOT place.run_id = ANY (%s)
  AND (run.state = 'queued' AND place.step_run_id IS NULL
    OR run.state = ANY ('{running,rolling_back}') AND step.state = 'queued')
ORDER BY place.id LIMIT %s
"""


class QueuePlace(NamedTuple):
    """A place in the queue of a key."""

    id: int
    key: str
    limit: int
    """The smallest limit of this place and of those before it."""
    entered_at: datetime
    before: int
    """The number of others with this key that came before and have not left."""

    @property
    def is_held(self) -> bool:
        return self.before < self.limit

    @property
    def position(self) -> int:
        """Return the position among those that wait, from 1."""
        return self.before - self.limit + 1


def enter(
    run_id: UUID, step_run_id: UUID | None, *, key: str, limit: int, at: datetime
) -> QueuePlace:
    """Take the last place for a key, in a transaction; keep the one it has."""
    place = find(run_id, step_run_id)
    if place is None:
        database.row(_LOCK, [])
        ConcurrencyPlace.objects.create(
            key=key, limit=limit, run_id=run_id, step_run_id=step_run_id, entered_at=at
        )
        place = find(run_id, step_run_id)
    if place is None:
        raise RuntimeError(f"run {run_id} has no place for {key}")
    return place


def find(run_id: UUID, step_run_id: UUID | None) -> QueuePlace | None:
    row = database.row(_PLACE, [run_id, step_run_id])
    return QueuePlace(*row) if row else None


def before(place: QueuePlace) -> list[dict[str, Any]]:
    """Return the first runs that are before a place, and the steps of its own run."""
    return [_named(*row) for row in database.rows(_BEFORE_ONE, [place.id])]


def _named(run_id: UUID, step: str) -> dict[str, Any]:
    return {"run": str(run_id), **({"step": step} if step else {})}


class QueuedItem(NamedTuple):
    """A run or step that waits, and what is before it."""

    step: str
    """The key of the step; empty for the run itself."""
    place: QueuePlace
    before: list[dict[str, Any]]


LISTED = 50
"""Maximum items of one run."""
_QUEUED = f"""
SELECT place.run_id, place.step, {_COLUMNS}, other.run_id, other.step FROM (
  SELECT waiting.*, coalesce(step.key, '') AS step,
    row_number() OVER (PARTITION BY waiting.run_id ORDER BY waiting.id) AS number
  FROM runs_concurrencyplace AS waiting
  LEFT JOIN runs_steprun AS step ON step.id = waiting.step_run_id
  WHERE waiting.run_id = ANY (%s) AND (step.id IS NULL OR step.state = 'queued')
) AS place
CROSS JOIN LATERAL ({_BEFORE}) AS other
WHERE place.number <= {LISTED}
ORDER BY place.id, other.came
"""


def queue_of(run_id: UUID) -> list[QueuedItem]:
    """Return what waits in a run, in order, and for whom."""
    return queues_of([run_id]).get(run_id, [])


def queues_of(run_ids: list[UUID]) -> dict[UUID, list[QueuedItem]]:
    """Return what waits in each of these runs, in order, and for whom."""
    items: dict[int, QueuedItem] = {}
    queues: dict[UUID, list[QueuedItem]] = {}
    for run_id, step, *columns, other, other_step in database.rows(_QUEUED, [run_ids]):
        place = QueuePlace(*columns)
        if place.is_held:
            continue
        if place.id not in items:
            items[place.id] = QueuedItem(step, place, [])
            queues.setdefault(run_id, []).append(items[place.id])
        items[place.id].before.append(_named(other, other_step))
    return queues


def free(*, skip: list[UUID], limit: int) -> list[tuple[UUID, UUID | None]]:
    """Return the runs and steps that wait, and whose place is free now."""
    return [(run, step) for run, step in database.rows(_FREE, [skip, limit])]
