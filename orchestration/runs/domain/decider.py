"""What should happen next in a run: a pure function of its steps' states."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from orchestration.runs.domain.states import (
    AT_WORK,
    FINAL_STEP,
    HELD,
    RunEvent,
    RunState,
    StepState,
)


class StepView(NamedTuple):
    """What the decider knows of a step. Steps come in topological order."""

    key: str
    state: StepState
    depends_on: tuple[str, ...] = ()
    trigger_rule: str = "all_success"
    unanswered: bool = False
    """Rejected because nobody answered in time, not because somebody said no."""


@dataclass(frozen=True)
class Snapshot:
    """What the decider knows of a run."""

    state: RunState
    steps: Sequence[StepView]
    parallel_max: int = 1
    """How many steps may be at work at once: 1 one after the other, 0 no bound."""
    on_failure: str = "pause"


@dataclass(frozen=True)
class Release:
    """The step's turn has come: resolve its inputs, gate it or make it ready."""

    key: str


@dataclass(frozen=True)
class Skip:
    """The step's rule can no longer be satisfied."""

    key: str
    reason: str


@dataclass(frozen=True)
class Cancel:
    """The step has not started and will not."""

    key: str


@dataclass(frozen=True)
class Move:
    """The run itself moves."""

    event: RunEvent
    reason: str = ""


@dataclass(frozen=True)
class Drain:
    """Nothing new starts; what is running is waited for."""


Action = Release | Skip | Cancel | Move | Drain

_STOPPING = frozenset({RunState.PAUSING, RunState.PAUSED})
_NO_WORKER = frozenset({StepState.PENDING, StepState.READY, StepState.BACKOFF})


def next_actions(run: Snapshot) -> list[Action]:
    """Every action that is due now, in order; empty when all that is left is to wait.

    The caller carries the actions out and asks again until nothing is due.
    """
    if run.state is RunState.CANCELLING:
        return _cancelling(run)
    if run.state in _STOPPING:
        return _stopping(run)
    if run.state is not RunState.RUNNING:
        return []
    return _refused(run) or _troubled(run) or _going_on(run)


def _cancelling(run: Snapshot) -> list[Action]:
    waiting = _NO_WORKER | {StepState.GATED}
    actions: list[Action] = [Cancel(s.key) for s in run.steps if s.state in waiting]
    if not actions and not _any(run, {StepState.RUNNING}):
        actions.append(Move(RunEvent.CANCELLED))
    return actions


def _stopping(run: Snapshot) -> list[Action]:
    if _any(run, {StepState.RUNNING}):
        return []
    if run.state is RunState.PAUSING:
        return [Move(RunEvent.PAUSED)]
    return _refused(run)


def _refused(run: Snapshot) -> list[Action]:
    """A no, or silence, ends the run once nothing of it is at work any more."""
    refused = [step for step in run.steps if step.state is StepState.REJECTED]
    if not refused:
        return []
    open_ = _NO_WORKER | {StepState.GATED}
    actions: list[Action] = [Cancel(s.key) for s in run.steps if s.state in open_]
    if actions or _any(run, {StepState.RUNNING}):
        return actions or [Drain()]
    first = refused[0]
    if first.unanswered:
        return [
            Move(RunEvent.EXPIRED, f"Nobody answered for step {first.key} in time.")
        ]
    return [Move(RunEvent.REJECTED, f"Step {first.key} was not approved.")]


def _troubled(run: Snapshot) -> list[Action]:
    """An unknown outcome always asks; a failure does what the plan says."""
    unknown = [s.key for s in run.steps if s.state is StepState.INDETERMINATE]
    if unknown:
        reason = f"Nobody knows whether step {unknown[0]} had its effect."
        return [Move(RunEvent.PAUSE_REQUESTED, reason)]
    failed = [step.key for step in run.steps if step.state is StepState.FAILED]
    if not failed or run.on_failure == "continue":
        return []
    reason = f"Step {failed[0]} failed."
    if run.on_failure == "pause":
        return [Move(RunEvent.PAUSE_REQUESTED, reason)]
    open_ = _NO_WORKER | {StepState.GATED}
    skipped: list[Action] = [
        Skip(s.key, f"Step {failed[0]} failed and the plan says abort.")
        for s in run.steps
        if s.state is StepState.PENDING
    ]
    skipped += [
        Cancel(s.key)
        for s in run.steps
        if s.state in open_ and s.state is not StepState.PENDING
    ]
    if skipped or _any(run, {StepState.RUNNING}):
        return skipped or [Drain()]
    return [Move(RunEvent.FAILED, reason)]


def _going_on(run: Snapshot) -> list[Action]:
    states = {step.key: step.state for step in run.steps}
    free = _free_places(run)
    actions: list[Action] = []
    for step in run.steps:
        if step.state is not StepState.PENDING:
            continue
        verdict = _rule(step, [states[key] for key in step.depends_on])
        if verdict is None:
            continue
        if not verdict:
            actions.append(Skip(step.key, _why_not(step)))
        elif free > 0:
            actions.append(Release(step.key))
            free -= 1
    if actions or not all(step.state in FINAL_STEP for step in run.steps):
        return actions
    return [_end(run)]


def _free_places(run: Snapshot) -> int:
    """Steps that may be released now; a held step keeps its place.

    Otherwise an answered gate could put more steps to work than the plan allows.
    """
    busy = sum(step.state in AT_WORK | HELD for step in run.steps)
    return len(run.steps) if run.parallel_max == 0 else run.parallel_max - busy


def _rule(step: StepView, parents: Sequence[StepState]) -> bool | None:
    """Whether the trigger rule holds (True), never will (False), or may yet (None)."""
    if not parents:
        return True
    done = [state in FINAL_STEP for state in parents]
    good = [state is StepState.SUCCEEDED for state in parents]
    if step.trigger_rule == "all_done":
        return True if all(done) else None
    if step.trigger_rule == "one_success":
        if any(good):
            return True
        return False if all(done) else None
    if all(good):
        return True
    bad = any(d and not g for d, g in zip(done, good, strict=True))
    return False if bad else None


def _why_not(step: StepView) -> str:
    return f"Its rule {step.trigger_rule} can no longer be satisfied."


def _end(run: Snapshot) -> Move:
    good = [step.state is StepState.SUCCEEDED for step in run.steps]
    failed = [step.key for step in run.steps if step.state is StepState.FAILED]
    if not failed:
        return Move(RunEvent.SUCCEEDED)
    reason = f"Failed: {', '.join(failed)}."
    event = RunEvent.PARTIALLY_SUCCEEDED if any(good) else RunEvent.FAILED
    return Move(event, reason)


def _any(run: Snapshot, states: set[StepState]) -> bool:
    return any(step.state in states for step in run.steps)
