"""Decide what a result, a lost worker, a request or a gate means for a run."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from approvals.domain.states import GateStatus
from orchestration.runs.domain.decider import (
    Action,
    Cancel,
    Move,
    Revive,
    TryAgain,
    unknown_reason,
)
from orchestration.runs.domain.failure_policy import Reaction, own_reaction
from orchestration.runs.domain.progress import UNANSWERED, Progress, StepStatus
from orchestration.runs.domain.results import (
    ABANDONED,
    Failure,
    Finished,
    Lost,
    Result,
)
from orchestration.runs.domain.states import (
    ENDING_RUN,
    FINAL_RUN,
    UNSTARTED,
    AttemptEvent,
    Phase,
    RunEvent,
    RunState,
    StepEvent,
    StepState,
)
from orchestration.skills.domain.contract import EffectClass, RetryRule
from orchestration.skills.domain.outcome import Failed, Retry, Unknown

MAX_LOSSES = 5
"""A step that loses this many workers is taken for the cause, and fails."""
KILL_MARGIN = timedelta(seconds=30)
"""The time after its deadline by which an attempt is certainly killed."""


@dataclass(frozen=True)
class StepOutcome:
    """The next event of a step."""

    event: StepEvent
    error: Failure | Lost | None = None

    def columns(self) -> dict[str, Any]:
        """Return the columns to store; without an error, the last one remains."""
        return {} if self.error is None else {"error": self.error.as_fact()}


@dataclass(frozen=True)
class AttemptOutcome(StepOutcome):
    """The next events of an attempt and its step."""

    attempt: AttemptEvent = AttemptEvent.FAILED
    wait: timedelta | None = None
    """The time until the next attempt."""
    counts: bool = True
    """False if it does not use up one of the step's attempts."""


def of_result(
    result: Result,
    *,
    run: RunState,
    tries: int,
    max_attempts: int,
    rule: RetryRule,
) -> AttemptOutcome:
    if isinstance(result, Finished):
        return AttemptOutcome(StepEvent.SUCCEEDED, attempt=AttemptEvent.SUCCEEDED)
    if isinstance(result, Lost):
        return AttemptOutcome(StepEvent.OUTCOME_UNKNOWN, result, AttemptEvent.LOST)
    if result.killed and run is RunState.CANCELLING:
        return AttemptOutcome(StepEvent.CANCELLED, result)
    if result.again and tries < max_attempts:
        return AttemptOutcome(
            StepEvent.RETRY_LATER, result, wait=_delay(rule, tries=tries)
        )
    return AttemptOutcome(StepEvent.FAILED, result)


def must_be_known(effect_class: str, *, has_fallback: bool, run: RunState) -> bool:
    """Return True if a step may only fail when it is known what its attempts did.

    Its fallback would run next to an effect that may still happen.
    """
    may_fall_back = has_fallback and run not in ENDING_RUN
    return may_fall_back and effect_class != EffectClass.PURE


def if_known(failed: AttemptOutcome, *, earlier_unknown: bool) -> AttemptOutcome:
    """Return the outcome of a failed step for which `must_be_known` is True.

    What its last attempt did says nothing of an earlier one.
    """
    failure = failed.error
    if isinstance(failure, Failure) and (earlier_unknown or failure.ran is None):
        lost = _unknown(failure.code, failure.message)
        return AttemptOutcome(StepEvent.OUTCOME_UNKNOWN, lost, AttemptEvent.LOST)
    return failed


def _delay(rule: RetryRule, *, tries: int) -> timedelta:
    """Return the wait after `tries` failed attempts, at least one."""
    if rule.backoff == "constant":
        return timedelta(seconds=min(rule.initial_s, rule.max_s))
    # 2**60 s exceeds every maximum; the limit keeps the float finite.
    grown = rule.initial_s * 2 ** min(tries - 1, 60)
    return timedelta(seconds=min(grown, rule.max_s))


def of_lost_lease(
    phase: Phase,
    *,
    effect_class: str,
    run: RunState,
    losses: int,
    has_fallback: bool = False,
) -> AttemptOutcome:
    """Decide what follows when a worker stopped renewing its lease.

    `losses` counts the lost attempts of this generation, including this one.
    """
    if phase is not Phase.CLAIMED and not may_rerun(effect_class):
        message = "The worker was lost while the step may have been running."
        lost = Lost("step.worker_lost", message)
        return AttemptOutcome(StepEvent.OUTCOME_UNKNOWN, lost, AttemptEvent.LOST)
    if run is RunState.CANCELLING:
        return AttemptOutcome(StepEvent.CANCELLED, attempt=AttemptEvent.LOST)
    if losses >= MAX_LOSSES:
        message = f"The worker was lost {losses} times. The step may be the cause."
        failure = Failure("step.attempts_exhausted", message, ran=None)
        failed = AttemptOutcome(StepEvent.FAILED, failure, AttemptEvent.LOST)
        if must_be_known(effect_class, has_fallback=has_fallback, run=run):
            return if_known(failed, earlier_unknown=True)
        return failed
    # Losing a worker is not a failure of the step, so it uses up no attempt.
    return AttemptOutcome(StepEvent.LEASE_LOST, attempt=AttemptEvent.LOST, counts=False)


def of_not_started(run: RunState) -> StepEvent:
    """Return the event of a step whose attempt certainly never began.

    Its run may have ended since.
    """
    return StepEvent.CANCELLED if run in FINAL_RUN else StepEvent.NOT_STARTED


def was_paused_for(step: str, run: RunState, reason: str) -> bool:
    """Return True if a run is paused only because of this step's unknown outcome."""
    # The second sentence is from older releases.
    reasons = unknown_reason(step), f"Nobody knows whether step {step} had its effect."
    return run in {RunState.PAUSING, RunState.PAUSED} and reason in reasons


def may_rerun(effect_class: str) -> bool:
    """Return True if an interrupted attempt is safe to repeat."""
    return effect_class in {EffectClass.PURE, EffectClass.IDEMPOTENT}


def cut_off(effect_class: str, code: str, message: str) -> Failure | Lost:
    """Return the result of an interrupted attempt that may have begun its effect."""
    if may_rerun(effect_class):
        return Failure(code, message, again=True, ran=None)
    return _unknown(code, message)


def _unknown(code: str, message: str) -> Lost:
    return Lost(code, f"{message} Outcome unknown: the step may have taken effect.")


def of_answer(answer: Failed | Retry | Unknown, effect_class: str) -> Failure | Lost:
    if isinstance(answer, Retry):
        return Failure(answer.code, answer.message, again=True, ran=False)
    if isinstance(answer, Unknown):
        return cut_off(effect_class, answer.code, answer.message)
    return Failure(answer.code, answer.message, ran=not answer.before_effect)


def over_limit(effect_class: str, code: str, message: str) -> Failure | Lost:
    """Return the result of an attempt that exceeded a limit and was killed."""
    if may_rerun(effect_class):
        # Another attempt would exceed the limit again.
        return Failure(code, message, ran=None)
    return cut_off(effect_class, code, message)


def killed_by(begun: datetime, *, timeout_s: float) -> datetime:
    """Return when a lost attempt is certainly killed."""
    return begun + timedelta(seconds=timeout_s) + KILL_MARGIN


def resume(
    progress: Progress, *, failures: int = 0, rollback_after: int = 0
) -> list[Action]:
    """Resume a run, and retry the failures that paused it.

    If it has failed too often, the decider rolls it back instead.
    """
    failed = progress.roots(StepState.FAILED)
    paused_by = [
        step
        for step in failed
        if own_reaction(step.on_error, progress.on_failure) is Reaction.PAUSE
    ]
    if rollback_after and failures >= rollback_after:
        paused_by = []
    # It may have happened, and may still happen.
    paused_by = [step for step in paused_by if not progress.is_abandoned(step)]
    return [Move(RunEvent.RESUMED), *try_again(paused_by, progress)]


def try_again(failed: Iterable[StepStatus], progress: Progress) -> list[Action]:
    """Retry failed steps, and revive those skipped because of a failure.

    A container retries its members when its turn comes. The decider skips a step again
    whose own failed dependency is not retried.
    """
    retried = [TryAgain(step.key) for step in failed]
    return [*retried, *(revive(progress) if retried else [])]


def revive(progress: Progress) -> list[Action]:
    """Revive the steps of the plan that were skipped because of a failure."""
    skipped = progress.skipped_by_failure()
    roots = (step for step in skipped if progress.container(step) is None)
    return [Revive(step.key) for step in roots]


def of_evidence(*, happened: bool | None, evidence: str, by: str) -> StepOutcome:
    """Return what follows from a person's finding; None if no one can find out."""
    if happened:
        return StepOutcome(StepEvent.RESOLVED)
    if happened is None:
        message = f"{by} gave up to find out if it happened: {evidence}"
        return StepOutcome(StepEvent.FAILED, Failure(ABANDONED, message, ran=None))
    message = f"{by} reported that it did not happen: {evidence}"
    failure = Failure("step.did_not_happen", message, ran=False)
    return StepOutcome(StepEvent.FAILED, failure)


def of_step_gate(status: GateStatus, *, is_approval_step: bool) -> StepOutcome:
    """Return the event of a gated step; an approval step succeeds once approved."""
    if status is GateStatus.APPROVED:
        event = StepEvent.SUCCEEDED if is_approval_step else StepEvent.GATE_APPROVED
        return StepOutcome(event)
    failure = Failure(*_NO_STEP[status], ran=False)
    return StepOutcome(StepEvent.GATE_REJECTED, failure)


def of_plan_gate(status: GateStatus, progress: Progress) -> list[Action]:
    """Start a run, or end one whose plan is not approved.

    Running steps finish first.
    """
    if status is GateStatus.APPROVED:
        return [Move(RunEvent.APPROVED)]
    end = _NO_PLAN[status]
    if progress.count(StepState.RUNNING):
        return [Move(RunEvent.CANCEL_REQUESTED, end.reason)]
    return [*(Cancel(step.key) for step in progress.steps(*UNSTARTED)), end]


def of_unanswered_input() -> StepOutcome:
    """Return the event of an input step that no one has answered in time."""
    message = "No one answered in time. Resume the run to ask again."
    return StepOutcome(StepEvent.FAILED, Failure("input.expired", message, ran=False))


_NO_STEP = {
    GateStatus.REJECTED: (
        "gate.rejected",
        "The step was rejected. This attempt did not run.",
    ),
    GateStatus.EXPIRED: (
        UNANSWERED,
        "The approval expired. This attempt did not run.",
    ),
}
_NO_PLAN = {
    GateStatus.REJECTED: Move(RunEvent.REJECTED, "The plan was rejected."),
    GateStatus.EXPIRED: Move(RunEvent.EXPIRED, "The approval of the plan expired."),
}
