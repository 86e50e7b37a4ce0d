"""A model of users who act on failed steps: the real decider, without a database.

Unlike `run_model` it has lists, sub-plans and fallbacks. Their members are there from the
start, and the containers are expanded; a fallback is added when its step fails.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from orchestration.runs.domain import decider, guided, outcome
from orchestration.runs.domain.guided import OpenFailures, StepAct
from orchestration.runs.domain.members import SKIPPED_BY_USER
from orchestration.runs.domain.progress import UPSTREAM_FAILED, Progress, StepStatus
from orchestration.runs.domain.states import (
    FINAL_RUN,
    FINAL_STEP,
    RUN,
    STEP_RUN,
    RunEvent,
    RunState,
    StepEvent,
    StepState,
)

R, E, S, T = RunState, RunEvent, StepState, StepEvent
REFUSED = "lab.refused"
UNDECIDED = "step.condition_failed"
FALLBACK_FAILED = "step.fallback_failed"
EVENTS = {
    decider.Skip: T.SKIPPED,
    decider.LeaveOut: T.SKIPPED_BY_CONDITION,
    decider.Cancel: T.CANCELLED,
    decider.TryAgain: T.RETRIED,
    decider.Revive: T.REVIVED,
    decider.Reopen: T.REOPENED,
}
ABSENT = "absent"
"""Marks a fallback that has not been added to the run."""
ERRORS = {T.SKIPPED: UPSTREAM_FAILED, T.SKIPPED_BY_USER: SKIPPED_BY_USER}
ACTS = {
    StepAct.SKIP: T.SKIPPED_BY_USER,
    StepAct.COMPLETE: T.COMPLETED_BY_HAND,
    StepAct.FALLBACK: T.FELL_BACK,
}
WORKS = {S.READY, S.RUNNING}


class Violation(AssertionError):
    """A user's act did what it may not."""


@dataclass(frozen=True)
class World:
    """A run and its steps, each with its state and error, at one moment."""

    run: RunState
    steps: tuple[tuple[StepState, str], ...]
    patience: int
    reason: str = ""


@dataclass(frozen=True)
class Shape:
    """The steps of a run, and how it fails."""

    steps: tuple[StepStatus, ...]
    on_failure: str = "pause"
    parallel_max: int = 1

    def start(self, patience: int) -> World:
        fallbacks = {self.fallback_of(step.key) for step in self.steps}
        steps = [(s.state, ABSENT if s.key in fallbacks else "") for s in self.steps]
        return World(R.RUNNING, tuple(steps), patience)

    def progress(self, world: World) -> Progress:
        rows = zip(self.steps, world.steps, strict=True)
        steps = [
            step._replace(state=now, error=code)
            for step, (now, code) in rows
            if code != ABSENT
        ]
        limits = {"parallel_max": self.parallel_max, "on_failure": self.on_failure}
        progress = Progress(steps, **limits)
        for step in progress.steps(S.FALLING_BACK):
            # A loaded run has no fallback that is over; here each one is loaded.
            progress.moved(step.key, step.state)
        return progress

    def index(self, key: str) -> int:
        return next(n for n, step in enumerate(self.steps) if step.key == key)

    def view(self, world: World, key: str) -> StepStatus:
        index = self.index(key)
        state, error = world.steps[index]
        return self.steps[index]._replace(state=state, error=error)

    def moved(
        self, world: World, key: str, event: StepEvent, error: str | None = None
    ) -> World:
        """Return the world after one legal move of a step."""
        steps, index = [*world.steps], self.index(key)
        state = STEP_RUN.next(steps[index][0], event)
        steps[index] = state, ERRORS.get(event, "") if error is None else error
        return replace(world, steps=tuple(steps))

    def fallback_of(self, key: str) -> str | None:
        found = (s.key for s in self.steps if s.parent == key)
        return next(found, None) if self.steps[self.index(key)].has_fallback else None


def carried_out(
    shape: Shape, world: World, actions: Iterable[decider.Action]
) -> list[World]:
    """Return the worlds that these actions may lead to."""
    worlds = [world]
    for action in actions:
        worlds = [then for now in worlds for then in _one(shape, now, action)]
    return worlds


def _one(shape: Shape, world: World, action: decider.Action) -> list[World]:
    match action:
        case decider.Move(event, reason):
            kept = reason or (world.reason if event is E.PAUSED else "")
            return [replace(world, run=RUN.next(world.run, event), reason=kept)]
        case decider.Release(key):
            ready = shape.moved(world, key, T.RELEASED)
            undecided = shape.moved(world, key, T.FAILED, UNDECIDED)
            return (
                [ready, undecided] if shape.view(world, key).has_fallback else [ready]
            )
        case decider.Close(key, event):
            error = REFUSED if event is T.FAILED else ""
            return [shape.moved(world, key, event, error)]
        case decider.FallBack(key):
            return [_fell_back(shape, world, key)]
        case decider.EndFallback(key):
            return [_fallback_ended(shape, world, key)]
        case _:
            return [shape.moved(world, action.key, EVENTS[type(action)])]


def _fallback_ended(shape: Shape, world: World, key: str) -> World:
    state = shape.view(world, shape.fallback_of(key)).state
    event = {S.SUCCEEDED: T.SUCCEEDED, S.CANCELLED: T.CANCELLED}.get(state, T.FAILED)
    return shape.moved(world, key, event, FALLBACK_FAILED if event is T.FAILED else "")


def _fell_back(shape: Shape, world: World, key: str) -> World:
    world = shape.moved(world, key, T.FELL_BACK)
    fallback = shape.fallback_of(key)
    if shape.view(world, fallback).state is S.FAILED:
        return shape.moved(world, fallback, T.RETRIED)
    steps = [*world.steps]
    steps[shape.index(fallback)] = S.PENDING, ""
    return replace(world, steps=tuple(steps))


def decided(shape: Shape, world: World) -> Sequence[decider.Action]:
    return decider.next_actions(world.run, shape.progress(world))


def answers(shape: Shape, world: World) -> Iterator[World]:
    """Return the possible next acts of workers, and of users."""
    progress = shape.progress(world)
    for step in progress.steps(S.READY, S.RUNNING, S.INDETERMINATE):
        if step.state is S.READY:
            if world.run is R.RUNNING and progress.may_claim(step.key):
                yield shape.moved(world, step.key, T.STARTED)
        elif step.state is S.RUNNING:
            yield shape.moved(world, step.key, T.SUCCEEDED)
            yield shape.moved(world, step.key, T.FAILED, REFUSED)
            if step.name == "odd":
                yield shape.moved(world, step.key, T.OUTCOME_UNKNOWN)
        elif world.run not in FINAL_RUN:
            yield shape.moved(world, step.key, T.RESOLVED)
            yield shape.moved(world, step.key, T.FAILED, REFUSED)
    if world.patience:
        less = replace(world, patience=world.patience - 1)
        yield from _asked(shape, less, progress)


def _asked(shape: Shape, world: World, progress: Progress) -> Iterator[World]:
    """Return what follows each request of a user."""
    for event in (E.PAUSE_REQUESTED, E.CANCEL_REQUESTED, E.ABORT_REQUESTED):
        if RUN.allows(world.run, event):
            yield replace(world, run=RUN.next(world.run, event), reason="By a user.")
    if RUN.allows(world.run, E.RESUMED):
        yield from carried_out(shape, world, outcome.resume(progress))
    for step in progress.steps(*S):
        kind = "skill" if step.group is None else "for_each"
        acts = guided.actions_for(
            step, progress, run=OpenFailures(world.run), kind=kind
        )
        for act in (act for act, why_not in acts.items() if not why_not):
            if act is StepAct.EDIT:
                continue  # the run stops for its approval, and then it is a retry
            yield from acted(shape, world, step, act)


def acted(
    shape: Shape, world: World, step: StepStatus, act: StepAct
) -> Iterator[World]:
    """Carry out an act of a user as the service does."""
    if act is StepAct.FALLBACK:
        world = _fell_back(shape, world, step.key)
    elif act is not StepAct.RETRY:
        world = shape.moved(world, step.key, ACTS[act])
    following = guided.following(act, step, shape.progress(world))
    for then in carried_out(shape, world, following):
        yield from _continued(shape, then)


def _continued(shape: Shape, world: World) -> Iterator[World]:
    if world.run is R.RUNNING:
        yield world
        return
    while actions := decided(shape, world):
        [world] = carried_out(shape, world, actions)
    if guided.may_go_on(
        world.run, world.reason, shape.progress(world), proposer_active=True
    ):
        world = replace(world, run=RUN.next(world.run, E.RESUMED), reason="")
    yield world


def check(shape: Shape, world: World) -> None:
    """Check what holds in every world.

    :raises Violation: when it does not
    """
    progress = shape.progress(world)
    steps = progress.steps(*S)
    for step in steps:
        around = guided.containers_of(step, progress)
        closed = [each for each in around if each.state in FINAL_STEP]
        if step.state in WORKS and closed:
            raise Violation(f"{step.name} runs in a finished {closed[0].name}: {world}")
    excused = [step for step in steps if step.error == SKIPPED_BY_USER]
    failed = progress.roots(S.FAILED)
    if world.run is R.SUCCEEDED and (excused or failed):
        raise Violation(f"it succeeded although a failed step was skipped: {world}")
    unfinished = [s for s in steps if s.state not in FINAL_STEP | {S.INDETERMINATE}]
    unknown = progress.count(S.INDETERMINATE)
    if world.run in FINAL_RUN and not unknown and unfinished:
        raise Violation(f"it ended with open steps: {world}")


def check_move(before: World, after: World) -> None:
    """Check that no step that succeeded, or that a user skipped, ever moves again.

    :raises Violation: when one does
    """
    for (was, code), (now, _) in zip(before.steps, after.steps, strict=True):
        is_done = was is S.SUCCEEDED or code == SKIPPED_BY_USER
        if is_done and now is not was:
            raise Violation(f"a finished step moved: {before} -> {after}")
