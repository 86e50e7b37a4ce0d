"""Begin and end changes of runs, under the lock of the run or from a cached copy.

`locked_change` locks and reads the run first; `optimistic_change` starts from a worker's
cached copy, without a lock.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from django.db import connection, transaction

from execfabric.infra import database
from execfabric.lib.actor import Actor
from orchestration.runs.engine.loading import LoadedRun, RunCache, load, refresh
from orchestration.runs.engine.transitions import LockRequired, RunChange
from orchestration.runs.errors import DispatchStopped, RunUnknown, StepUnknown

T = TypeVar("T")
ALL_STEPS = ("",)
"""The stops of a change that must not start a step."""
TRIES = 3
"""Optimistic tries before the lock: other workers may change the run."""


@contextmanager
def locked_change(run_id: UUID, *, by: Actor, at: datetime) -> Iterator[RunChange]:
    """Lock a run for one transaction, and write the change at its end.

    Durable, because no effect may follow an intent that can still be rolled back. The
    lock order everywhere is the end of the stream, the run, a gate.

    :raises RunUnknown: when the run does not exist
    """
    database.leave_transaction()
    with transaction.atomic(durable=True):
        change = lock_run(run_id, by=by, at=at)
        yield change
        change.close()


def lock_run(
    run_id: UUID, *, by: Actor, at: datetime, cached: LoadedRun | None = None
) -> RunChange:
    """Lock and load a run for a change that the caller closes in its transaction."""
    loaded = load(run_id, cached)
    if loaded is None:
        raise RunUnknown(run=str(run_id))
    return RunChange(loaded=loaded, by=by, at=at)


def optimistic_change(
    run_id: UUID,
    act: Callable[[RunChange], T],
    *,
    by: Actor,
    at: datetime,
    cache: RunCache,
) -> T:
    """Change a run from a worker's cached copy, without a lock if that is possible.

    `act` is called again if the run has changed since, and under the lock if it requires
    that, so it must have no effect except on its change. After an exception, or if the
    answer to a commit is lost, the run is no longer cached.

    :raises RunUnknown: when the run does not exist
    """
    database.leave_transaction()
    cached = cache.pop(run_id)
    tries = 0 if connection.in_atomic_block else TRIES
    while cached is not None and tries:
        change = RunChange(loaded=cached, by=by, at=at, is_locked=False)
        try:
            result = act(change)
            if change.close():
                cache.put(cached)
                cache.taken += 1
                return result
        except (LockRequired, StepUnknown):
            # The copy may be older than the step: then the result would be lost.
            change.undo()
            break
        change.undo()
        cache.refused += 1
        tries -= 1
        if not (tries and refresh(cached, lock=False)):
            break
    try:
        change, result = _locked_act(run_id, act, by=by, at=at, cached=cached)
    except DispatchStopped:
        # A stop was set after the run was read: the step ends, and no other starts.
        return _locked_act(run_id, act, by=by, at=at, stops=ALL_STEPS)[1]
    cache.put(change.loaded)
    return result


def _locked_act(
    run_id: UUID,
    act: Callable[[RunChange], T],
    *,
    by: Actor,
    at: datetime,
    cached: LoadedRun | None = None,
    stops: Collection[str] = (),
) -> tuple[RunChange, T]:
    with transaction.atomic(durable=True):
        change = lock_run(run_id, by=by, at=at, cached=cached)
        change.loaded.stops = stops or change.loaded.stops
        result = act(change)
        change.close()
    return change, result
