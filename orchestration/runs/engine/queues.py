"""Let runs and steps take places for their concurrency keys, or wait for one."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from execfabric.lib.clock import stamp
from orchestration.plans.domain import concurrency
from orchestration.plans.domain.concurrency import ConcurrencyDocument
from orchestration.plans.domain.undo import is_undo
from orchestration.runs.domain.states import (
    PROCEEDING,
    RunEvent,
    RunState,
    StepEvent,
    StepState,
)
from orchestration.runs.engine import places, scopes
from orchestration.runs.engine.places import QueuePlace
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.errors import ConcurrencyKeyInvalid
from orchestration.runs.models import CONTAINERS, Run, StepRun


def needs_place(run: Run) -> bool:
    """Return True if a run has a concurrency key and no place for it yet."""
    return bool(run.concurrency_key) and run.admitted_at is None


def enter_run(change: RunChange) -> None:
    """Take a place for a run that is about to start; without one it is queued."""
    change.require_lock()
    run, wanted = change.run, change.loaded.document.concurrency
    limit = wanted.max if wanted else 1
    key = run.concurrency_key
    place = places.enter(run.id, None, key=key, limit=limit, at=change.at)
    if place.is_held:
        change.admit(run, _fact(place))
    else:
        fact = _waiting(place)
        change.move_run(RunEvent.QUEUED, fact["reason"], fact)


def may_be_released(
    change: RunChange, step: StepRun, columns: Mapping[str, Any]
) -> bool:
    """Return True if a step has the place that it needs; otherwise queue it.

    `columns` are those that its release sets.

    :raises ConcurrencyKeyInvalid: when its key cannot be used
    :raises ReferenceUnresolved: when a reference in its key has no value
    """
    wanted = _wanted(change, step)
    if wanted is None or step.kind in CONTAINERS:
        return True
    change.require_lock()
    if step.admitted_at is not None and places.find(change.run.id, step.id):
        return True
    limit = wanted.max
    key = _key_of_undone(change, step) or _key(change, step, wanted)
    place = places.enter(change.run.id, step.id, key=key, limit=limit, at=change.at)
    if place.is_held:
        change.admit(step, _fact(place), concurrency_key=key)
        return True
    change.move_step(
        step,
        StepEvent.QUEUED,
        {**_waiting(place), **columns},
        concurrency_key=key,
        admitted_at=None,
        **columns,
    )
    return False


def _wanted(change: RunChange, step: StepRun) -> ConcurrencyDocument | None:
    """Return the concurrency key that a step needs a place for.

    An undo needs that of the step that it undoes, or that of its run if this has left its
    own place.
    """
    if not is_undo(step.key):
        return change.plan_step(step).concurrency
    own = change.plan_step(change.loaded.owner(step)).concurrency
    of_run = change.loaded.document.concurrency
    if own is None and of_run and places.find(change.run.id, None) is None:
        return of_run
    return own


def _key_of_undone(change: RunChange, step: StepRun) -> str:
    """Return the key with the values with which the step of an undo ran, or ""."""
    if not is_undo(step.key):
        return ""
    return change.loaded.owner(step).concurrency_key or change.run.concurrency_key


def _key(change: RunChange, step: StepRun, wanted: ConcurrencyDocument) -> str:
    scope = scopes.of_value(change, step, wanted.key)
    key = concurrency.resolved(wanted, scope)
    if reason := concurrency.flaw(key):
        raise ConcurrencyKeyInvalid(
            f"Cannot start the step: its concurrency key {reason}. Change the key in the"
            " plan, or the step that returns its value."
        )
    return key


def admit(change: RunChange, step_run_id: UUID | None) -> bool:
    """Let a queued run or step proceed if it has its place now."""
    step = change.step(step_run_id) if step_run_id else None
    run_state, queued = change.run.state, RunState.QUEUED
    is_waiting = run_state == queued
    if step is not None:
        is_waiting = run_state in PROCEEDING and step.state == StepState.QUEUED
    place = places.find(change.run.id, step_run_id) if is_waiting else None
    if place is None or not place.is_held:
        return False
    waited = change.at - place.entered_at
    fact = _fact(place) | {"waited_s": round(waited.total_seconds(), 3)}
    if step is None:
        change.move_run(RunEvent.ADMITTED, "", fact, admitted_at=change.at)
    else:
        change.move_step(step, StepEvent.ADMITTED, fact, admitted_at=change.at)
    return True


def _fact(place: QueuePlace) -> dict[str, Any]:
    return {"key": place.key, "max": place.limit, "entered_at": stamp(place.entered_at)}


def _waiting(place: QueuePlace) -> dict[str, Any]:
    """Return the payload of the event of a run or step that waits, with for whom."""
    others = places.before(place)
    reason = (
        f"Waiting for {_named(others, place.before)} to end: at most {place.limit} at a"
        f" time with the concurrency key {place.key!r}."
    )
    return {
        **_fact(place),
        "position": place.position,
        "waits_for": others,
        "reason": reason,
    }


def _named(others: Sequence[Mapping[str, str]], before: int) -> str:
    # All of them may have left since the place was read. The keeper sees that.
    if not others:
        return "others"
    name = f"run {others[0]['run']}"
    if step := others[0].get("step"):
        name = f"step {step} of {name}"
    more = before - 1
    return f"{name} and {more} other{'s' if more > 1 else ''}" if more else name
