"""What a result, a loss, a request or a verdict means for attempt, step and run."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from orchestration.runs.domain.decider import (
    UNSTARTED,
    Action,
    Cancel,
    Move,
    Revive,
    TryAgain,
    unknown_reason,
)
from orchestration.runs.domain.progress import UNANSWERED, Progress, StepView
from orchestration.runs.domain.results import Failure, Finished, Lost, Result
from orchestration.runs.domain.states import (
    FINAL_RUN,
    AttemptEvent,
    Phase,
    RunEvent,
    RunState,
    StepEvent,
    StepState,
)
from orchestration.skills.domain.contract import EffectClass, RetryRule
from orchestration.skills.domain.outcome import Failed, Retry, Unknown

MOST_LOSSES = 5
"""A step whose workers die more often than this is taken for the cause."""
KILL_MARGIN = timedelta(seconds=30)
"""How long after its deadline an attempt may take to be killed."""
REFUSED = "gate.rejected"


class Verdict(StrEnum):
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


@dataclass(frozen=True)
class StepOutcome:
    event: StepEvent
    error: Failure | Lost | None = None

    def columns(self) -> dict[str, Any]:
        """Return what is stored with the step; without an error, the last one stays."""
        return {} if self.error is None else {"error": self.error.as_fact()}


@dataclass(frozen=True)
class Ended(StepOutcome):
    """What becomes of a step whose attempt has ended."""

    attempt: AttemptEvent = AttemptEvent.FAILED
    wait: timedelta | None = None
    """How long until the next attempt."""
    counts: bool = True
    """Whether it was one of the step's attempts."""


def of_result(
    result: Result,
    *,
    run: RunState,
    tries: int,
    max_attempts: int,
    rule: RetryRule,
) -> Ended:
    """Decide what follows from the result that the worker of an attempt reports."""
    if isinstance(result, Finished):
        return Ended(StepEvent.SUCCEEDED, attempt=AttemptEvent.SUCCEEDED)
    if isinstance(result, Lost):
        return Ended(StepEvent.OUTCOME_UNKNOWN, result, AttemptEvent.LOST)
    if result.killed and run is RunState.CANCELLING:
        return Ended(StepEvent.CANCELLED, result)
    if result.again and tries < max_attempts:
        return Ended(StepEvent.RETRY_LATER, result, wait=_delay(rule, tries=tries))
    return Ended(StepEvent.FAILED, result)


def _delay(rule: RetryRule, *, tries: int) -> timedelta:
    """Return how long to wait after so many attempts have failed, at least one."""
    if rule.backoff == "constant":
        return timedelta(seconds=min(rule.initial_s, rule.max_s))
    # 2**60 s is beyond every maximum; the cap keeps the float finite.
    grown = rule.initial_s * 2 ** min(tries - 1, 60)
    return timedelta(seconds=min(grown, rule.max_s))


def of_lost_lease(
    phase: Phase, *, effect_class: str, run: RunState, losses: int
) -> Ended:
    """Decide what follows when a worker stopped renewing its lease.

    `losses` counts the attempts of this generation that were lost, this one included.
    """
    if phase is not Phase.CLAIMED and not may_rerun(effect_class):
        message = "Its worker was lost after it may have begun."
        lost = Lost("step.worker_lost", message)
        return Ended(StepEvent.OUTCOME_UNKNOWN, lost, AttemptEvent.LOST)
    if run is RunState.CANCELLING:
        return Ended(StepEvent.CANCELLED, attempt=AttemptEvent.LOST)
    if losses >= MOST_LOSSES:
        message = f"Its worker was lost {losses} times; the step may be the cause."
        failure = Failure("step.attempts_exhausted", message, ran=None)
        return Ended(StepEvent.FAILED, failure, AttemptEvent.LOST)
    # A lost worker is not the step's failure, so it costs none of its attempts.
    return Ended(StepEvent.LEASE_LOST, attempt=AttemptEvent.LOST, counts=False)


def of_not_started(run: RunState) -> StepEvent:
    """Decide what becomes of a step when it is proven that its attempt never began.

    Its outcome may have been taken for unknown, and its run may have ended since.
    """
    return StepEvent.CANCELLED if run in FINAL_RUN else StepEvent.NOT_STARTED


def was_paused_for(step: str, run: RunState, reason: str) -> bool:
    """Return True if a run is paused only because of this step's unknown outcome."""
    is_paused = run in {RunState.PAUSING, RunState.PAUSED}
    return is_paused and reason == unknown_reason(step)


def may_rerun(effect_class: str) -> bool:
    """Return True if an attempt that was cut off may simply be repeated."""
    return effect_class in {EffectClass.PURE, EffectClass.IDEMPOTENT}


def cut_off(effect_class: str, code: str, message: str) -> Failure | Lost:
    """Return the result of an attempt that was cut off and may have begun its effect."""
    if may_rerun(effect_class):
        return Failure(code, message, again=True, ran=None)
    return Lost(code, f"{message} Whether it had its effect is not known.")


def of_answer(answer: Failed | Retry | Unknown, effect_class: str) -> Failure | Lost:
    """Return the result of an attempt whose handler says that it did not succeed."""
    if isinstance(answer, Retry):
        return Failure(answer.code, answer.message, again=True, ran=False)
    if isinstance(answer, Unknown):
        return cut_off(effect_class, answer.code, answer.message)
    return Failure(answer.code, answer.message, ran=not answer.before_effect)


def over_limit(effect_class: str, code: str, message: str) -> Failure | Lost:
    """Return the result of an attempt that was killed because of what it used."""
    if may_rerun(effect_class):
        # It would use too much again.
        return Failure(code, message)
    return cut_off(effect_class, code, message)


def killed_by(begun: datetime, *, timeout_s: float) -> datetime:
    """Return when a lost attempt has certainly been killed."""
    return begun + timedelta(seconds=timeout_s) + KILL_MARGIN


def resume(progress: Progress) -> list[Action]:
    """Go on with a run; the failures that paused it are tried again."""
    paused_by = progress.steps(StepState.FAILED)
    if progress.on_failure != "pause":
        paused_by = []
    return [Move(RunEvent.RESUMED), *try_again(paused_by, progress)]


def try_again(failed: Iterable[StepView], progress: Progress) -> list[Action]:
    """Try failed steps again, with what was skipped because of a failure.

    A step skipped because of another failure is skipped again by the decider.
    """
    retried = [TryAgain(step.key) for step in failed]
    skipped = progress.skipped_by_failure() if retried else []
    return [*retried, *(Revive(step.key) for step in skipped)]


def of_evidence(*, happened: bool, evidence: str, by: str) -> StepOutcome:
    """Settle a step whose outcome was unknown."""
    if happened:
        return StepOutcome(StepEvent.RESOLVED)
    message = f"{by} found that it did not happen: {evidence}"
    failure = Failure("step.did_not_happen", message, ran=False)
    return StepOutcome(StepEvent.FAILED, failure)


def of_step_gate(verdict: Verdict, *, only_asks: bool) -> StepOutcome:
    """Decide what becomes of a gated step; one that only asks is done when approved."""
    if verdict is Verdict.APPROVED:
        done = StepEvent.SUCCEEDED if only_asks else StepEvent.GATE_APPROVED
        return StepOutcome(done)
    return StepOutcome(StepEvent.GATE_REJECTED, _NO_STEP[verdict])


def of_plan_gate(verdict: Verdict, progress: Progress) -> list[Action]:
    """Start a run, or end one whose plan has no approval (any more).

    A step that is running is waited for.
    """
    if verdict is Verdict.APPROVED:
        return [Move(RunEvent.APPROVED)]
    end = _NO_PLAN[verdict]
    if progress.count(StepState.RUNNING):
        return [Move(RunEvent.CANCEL_REQUESTED, end.reason)]
    return [*(Cancel(step.key) for step in progress.steps(*UNSTARTED)), end]


_NO_STEP = {
    Verdict.REJECTED: Failure(REFUSED, "People said no.", ran=False),
    Verdict.EXPIRED: Failure(UNANSWERED, "Nobody answered in time.", ran=False),
}
_NO_PLAN = {
    Verdict.REJECTED: Move(RunEvent.REJECTED, "The plan was not approved."),
    Verdict.EXPIRED: Move(RunEvent.EXPIRED, "Nobody answered for the plan in time."),
}
