"""Foresee what a run does after a user skips a failed step."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from orchestration.runs.domain import decider, guided, outcome
from orchestration.runs.domain.guided import StepAct
from orchestration.runs.domain.members import SKIPPED_BY_USER
from orchestration.runs.domain.progress import (
    UPSTREAM_FAILED,
    Key,
    Progress,
    StepStatus,
)
from orchestration.runs.domain.states import (
    AT_WORK,
    HELD,
    STEP_RUN,
    RunState,
    StepState,
)

_STATE = {
    decider.LeaveOut: StepState.SKIPPED_BY_CONDITION,
    decider.Skip: StepState.SKIPPED,
    decider.TryAgain: StepState.PENDING,
    decider.Revive: StepState.PENDING,
    decider.Reopen: StepState.EXPANDED,
    decider.Cancel: StepState.CANCELLED,
    decider.FallBack: StepState.SUCCEEDED,
    decider.EndFallback: StepState.SUCCEEDED,
}
"""What becomes of a step, if everything that starts succeeds."""
_WORKING = AT_WORK | HELD


@dataclass(frozen=True)
class Consequences:
    """What follows for other steps, if those that run succeed and conditions hold."""

    runs: tuple[str, ...]
    """The steps that still run."""
    skipped: tuple[str, ...]
    """The steps that are skipped, because they need the skipped one."""
    without: tuple[str, ...]
    """The steps that run without a value of the skipped one."""
    fails: tuple[str, ...]
    """The lists and sub-plans that fail although the step is skipped."""


def of_skip(
    progress: Progress, key: Key, *, readers: Collection[Key] = ()
) -> Consequences:
    """Return what follows if a user skips a failed step.

    `readers` are the steps that refer to it. Other failed steps are taken for retried.
    The progress cannot be used afterwards: it is moved to the end of the run.
    """
    before = {each.key: each for each in progress.steps(*StepState)}
    target = before[key]
    progress.on_failure, progress.parallel_max = "continue", 0
    course = _Course(progress)
    course.retry_others(target)
    progress.moved(key, StepState.SKIPPED, SKIPPED_BY_USER)
    course.carry_out(guided.following(StepAct.SKIP, target, progress))
    course.run_to_end()
    after = [each for each in progress.steps(*StepState) if each.key != key]
    changed = [each for each in after if each.state is not before[each.key].state]
    runs = [each for each in changed if each.state is StepState.SUCCEEDED]
    return Consequences(
        runs=_names(runs),
        skipped=_names(each for each in changed if each.state is StepState.SKIPPED),
        without=_names(each for each in runs if each.key in readers),
        fails=_names(each for each in after if each.state is StepState.FAILED),
    )


def _names(steps: Iterable[StepStatus]) -> tuple[str, ...]:
    return tuple(each.name for each in steps)


class _Course:
    """The rest of a run in which every step that starts succeeds."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._chosen: dict[Key, set[str]] = defaultdict(set)
        for step in progress.steps(*StepState):
            if step.router is not None:
                self._chosen[step.router].add(step.name)

    def retry_others(self, target: StepStatus) -> None:
        progress = self._progress
        around = {each.key for each in guided.containers_of(target, progress)}
        for step in progress.steps(StepState.FAILED):
            owner = progress.container(step)
            is_fallback = owner is not None and owner.group is None
            if not (is_fallback or step.key == target.key or step.key in around):
                progress.moved(step.key, StepState.PENDING)
        self.carry_out(outcome.revive(progress))

    def run_to_end(self) -> None:
        while True:
            actions = decider.next_actions(RunState.RUNNING, self._progress)
            if actions and not isinstance(actions[0], decider.Move):
                self.carry_out(actions)
                continue
            working = self._progress.steps(*_WORKING)
            if not working:
                return
            for step in working:
                self._succeed(step.key)

    def carry_out(self, actions: Iterable[decider.Action]) -> None:
        for action in actions:
            match action:
                case decider.Move() | decider.Enter():
                    pass
                case decider.Release(key):
                    self._succeed(key)
                case decider.Close(key, event):
                    state = STEP_RUN.next(StepState.EXPANDED, event)
                    self._progress.moved(key, state)
                case _:
                    state = _STATE[type(action)]
                    error = UPSTREAM_FAILED if state is StepState.SKIPPED else ""
                    self._progress.moved(action.key, state, error)

    def _succeed(self, key: Key) -> None:
        """Let a step succeed; a choose step chooses everything it can choose."""
        chosen = frozenset(self._chosen.get(key, ()))
        self._progress.moved(key, StepState.SUCCEEDED, chosen=chosen)
