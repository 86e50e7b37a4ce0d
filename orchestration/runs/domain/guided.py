"""Decide what a user may do about a failed step, and what follows for the run.

Each function is pure. `actions_for` says which acts are legal now, and why others are
not; `following` returns what an act changes besides the step itself.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from orchestration.runs.domain import failure_policy, outcome
from orchestration.runs.domain.decider import (
    Action,
    Revive,
    TryAgain,
    is_skipped_by_failure,
)
from orchestration.runs.domain.failure_policy import Reaction
from orchestration.runs.domain.progress import FALLBACK_FAILED, Progress, StepStatus
from orchestration.runs.domain.results import ABANDONED
from orchestration.runs.domain.rollback import NOT_POSSIBLE
from orchestration.runs.domain.states import FINAL_RUN, RunState, StepState


class StepAct(StrEnum):
    """What a user may do about a failed step."""

    RETRY = "retry"
    EDIT = "edit"
    SKIP = "skip"
    COMPLETE = "complete"
    FALLBACK = "fallback"


VERBS = {
    StepAct.RETRY: "retry the step",
    StepAct.EDIT: "edit the step",
    StepAct.SKIP: "skip the step",
    StepAct.COMPLETE: "complete the step by hand",
    StepAct.FALLBACK: "run the fallback",
}
STOPPED_UNDO = frozenset({StepState.FAILED, StepState.REJECTED, StepState.CANCELLED})
"""States of an undo that a user can act on."""
_OPEN_RUN = frozenset({RunState.RUNNING, RunState.PAUSING, RunState.PAUSED})
_FAILED_REASON = re.compile(r"Step \S+ failed\.")
"""The reason that the decider writes when a failure pauses a run."""
_EDIT_ELSEWHERE = "Edit the plan, and propose it as a new run."
_BY_HAND = {
    "approval": "It asks for an approval. Retry it to ask again.",
    "input": "It asks for values. Retry it to ask again, and answer its form.",
    "wait": "It waits for a time or an event. Retry it to wait again, or skip it.",
    "choose": "It chooses other steps. Retry it, or skip it.",
    "for_each": "It runs for each item of a list. Complete its failed items instead.",
    "plan": "It runs a saved plan. Complete its failed steps instead.",
}


@dataclass(frozen=True)
class OpenFailures:
    """What decides whether a user may still act on the failures of a run."""

    state: RunState
    failures: int = 0
    rollback_after: int = 0
    """The number of failures after which the run is rolled back; 0 for never."""


def actions_for(
    step: StepStatus, progress: Progress, *, run: OpenFailures, kind: str
) -> dict[StepAct, str]:
    """Return each act with the reason why it is not legal now, or "" if it is.

    `kind` is that of the step run.
    """
    return {act: why_not(act, step, progress, run=run, kind=kind) for act in StepAct}


def why_not(
    act: StepAct, step: StepStatus, progress: Progress, *, run: OpenFailures, kind: str
) -> str:
    """Return why an act on a step is not legal now, or ""."""
    if reason := _not_now(step, run.state) or _decided(progress, run):
        return reason
    above = [*containers_of(step, progress)]
    if reason := _not_inside(above):
        return reason
    if act is StepAct.COMPLETE:
        return _BY_HAND.get(kind, "")
    if act is StepAct.SKIP:
        return ""
    if act is StepAct.EDIT and (reason := _no_edit(run.state, kind, above)):
        return reason
    return _no_start(act, step, progress, above)


def why_not_undo(act: StepAct, undo: StepStatus, run: RunState) -> str:
    """Return why an act on an undo is not legal now, or ""."""
    if act is StepAct.FALLBACK:
        return "An undo has no fallback."
    if act is StepAct.EDIT:
        return "It is an undo, which runs exactly as it was planned."
    if undo.state is StepState.INDETERMINATE:
        return "Its outcome is unknown. Resolve the outcome first."
    if undo.state not in STOPPED_UNDO:
        return f"The undo has not failed: it is {_words(undo.state)}."
    if run is not RunState.ROLLBACK_FAILED:
        return f"The run is {_words(run)}."
    return _no_undo_act(act, undo)


def _no_undo_act(act: StepAct, undo: StepStatus) -> str:
    if undo.state is StepState.CANCELLED and act is not StepAct.RETRY:
        return "It never began. Retry it."
    if undo.error == ABANDONED and act is not StepAct.COMPLETE:
        return "Its outcome was abandoned: the step counts as not undone."
    if undo.error == NOT_POSSIBLE and act is StepAct.RETRY:
        return "It could not be prepared. Continue the rollback, and check its preview."
    return ""


def _no_edit(run: RunState, kind: str, above: Sequence[StepStatus]) -> str:
    """Return why the parameters of a step cannot be edited, or ""."""
    if above:
        name, group = above[0].name, above[0].group
        if group and group.is_plan:
            return f"It is part of the saved plan of step {name}. {_EDIT_ELSEWHERE}"
        return f"It is an item of step {name}, and all items have its parameters. {_EDIT_ELSEWHERE}"
    if kind != "skill":
        return (
            f"Only the parameters of a single action can be edited. {_EDIT_ELSEWHERE}"
        )
    if run is RunState.RUNNING:
        return "The run is running. Pause it first."
    if run is not RunState.PAUSED:
        return f"The run is {_words(run)}. Wait until it is paused."
    return ""


def _no_start(
    act: StepAct, step: StepStatus, progress: Progress, above: Sequence[StepStatus]
) -> str:
    """Return why a retry or a fallback cannot start, or ""."""
    if step.error == ABANDONED:
        return "Its outcome was abandoned: it may have taken effect. Skip it instead."
    if progress.is_abandoned(step):
        return (
            "All that failed in it was abandoned. Skip it, or what was abandoned in it."
        )
    if act is StepAct.FALLBACK and (reason := _no_fallback(step)):
        return reason
    if _reopened(step, progress) is None:
        return (
            f"Other parts of step {above[0].name} failed too. Skip or complete them"
            f" first, or retry step {above[-1].name}, which retries all of them."
        )
    return ""


def _not_now(step: StepStatus, run: RunState) -> str:
    """Return why nothing can be done about a step in this state of the run, or ""."""
    if run in FINAL_RUN:
        return f"The run has ended ({_words(run)})."
    if step.state is StepState.INDETERMINATE:
        return "Its outcome is unknown. Resolve the outcome first."
    if step.state is not StepState.FAILED:
        return f"The step has not failed: it is {_words(step.state)}."
    if run not in _OPEN_RUN:
        return f"The run is {_words(run)}."
    return ""


def _decided(progress: Progress, run: OpenFailures) -> str:
    """Return why the plan leaves no choice after the failures of the run, or ""."""
    reaction = failure_policy.reaction_to(
        (step.on_error for step in progress.roots(StepState.FAILED)),
        on_failure=progress.on_failure,
        failures=run.failures,
        rollback_after=run.rollback_after,
    )
    if reaction is Reaction.ROLLBACK:
        how = "" if run.state is RunState.RUNNING else " Resume the run to begin."
        return f"The plan rolls the run back after this failure.{how}"
    if reaction is Reaction.ABORT and run.state is RunState.RUNNING:
        return "The plan aborts on failures, and the run is about to end."
    return ""


def _not_inside(above: Sequence[StepStatus]) -> str:
    """Return why nothing can be done about a step inside these containers, or ""."""
    if above and above[0].group is None:
        return f"It is the fallback of step {above[0].name}. Choose for that step."
    for container in above:
        if container.state is StepState.EXPANDED:
            break
        if container.state is not StepState.FAILED:
            state = _words(container.state)
            return f"Step {container.name}, which it is a part of, is {state}."
    return ""


def _no_fallback(step: StepStatus) -> str:
    if step.group is not None:
        return "Only the items or steps inside it have fallbacks."
    if not step.has_fallback:
        return "The plan declares no fallback for this step."
    if step.error == FALLBACK_FAILED:
        return "Its fallback has already run, and failed too."
    return ""


def _words(state: RunState | StepState) -> str:
    return state.replace("_", " ")


def containers_of(step: StepStatus, progress: Progress) -> Iterator[StepStatus]:
    """Iterate over what a step is a part of, from the inside.

    The first is the step itself that failed, if this one is its fallback.
    """
    container = progress.container(step)
    while container is not None:
        yield container
        container = progress.container(container)


def following(act: StepAct, step: StepStatus, progress: Progress) -> list[Action]:
    """Return what follows for other steps after an act, which has moved the step.

    A list or sub-plan that failed only because of this step is retried: it keeps its
    other members, and ends again when all of them have finished. A retry of a step
    inside it is part of that.
    """
    reopened = _reopened(step, progress)
    if reopened is None:
        return []
    is_retried = act is StepAct.RETRY or reopened.key != step.key
    retried = [TryAgain(reopened.key)] if is_retried else []
    container = progress.container(reopened)
    if container is not None:
        # What a failure inside has stopped can run again; the decider skips the rest.
        stopped = filter(is_skipped_by_failure, progress.members(container.key))
        return [*retried, *(Revive(each.key) for each in stopped)]
    if act is StepAct.SKIP and not retried:
        return []
    return [*retried, *outcome.revive(progress)]


def _reopened(step: StepStatus, progress: Progress) -> StepStatus | None:
    """Return the outermost container that failed only because of a step.

    It is the step itself if its container has not finished, and None if another member
    keeps a container from going on.
    """
    inner = step
    for container in containers_of(step, progress):
        others = [
            each
            for each in progress.members(container.key)
            if each.state is StepState.FAILED and each.key != inner.key
        ]
        if container.state is StepState.EXPANDED:
            is_stopped = container.group is not None and container.group.stop
            return None if is_stopped and others else inner
        if others:
            return None
        inner = container
    return inner


def may_go_on(
    run: RunState, reason: str, progress: Progress, *, proposer_active: bool
) -> bool:
    """Return True if a run that a failure has paused has no failure left.

    A run that a user has paused stays paused until a user resumes it.
    """
    is_paused = run in {RunState.PAUSING, RunState.PAUSED}
    return bool(
        is_paused
        and _FAILED_REASON.fullmatch(reason)
        and proposer_active
        and progress.first_failed() is None
        and progress.first(StepState.INDETERMINATE) is None
    )
