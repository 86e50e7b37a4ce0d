"""Decide what the answer of a probe means for a step whose outcome is unknown."""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from orchestration.runs.domain.outcome import MAX_LOSSES, StepOutcome
from orchestration.runs.domain.results import Failure
from orchestration.runs.domain.states import FINAL_RUN, RunState, StepEvent

SECONDS = 20.0
"""The time limit of a probe, or that of its action if that is shorter."""
LEASE = timedelta(seconds=60)
"""The time after which another worker asks again: its worker was lost."""
TRIES = 3
WORKER_LOST = "step.worker_lost"


class ProbeAnswer(StrEnum):
    """What a probe says about an attempt whose outcome is unknown."""

    HAPPENED = "happened"
    DID_NOT_HAPPEN = "did_not_happen"
    CANNOT_TELL = "cannot_tell"


@dataclass(frozen=True)
class Probed:
    """The answer of a probe, and how it knows."""

    answer: ProbeAnswer
    evidence: str
    output: dict[str, Any] = field(default_factory=dict)
    log: str = ""


@dataclass(frozen=True)
class ProbeOutcome(StepOutcome):
    """The next event of a step that was probed."""

    counts: bool = True
    """False if its attempt does not use up one of the step's attempts."""


def of_probe(
    probed: Probed,
    *,
    run: RunState,
    error: str,
    tries: int,
    max_attempts: int,
    losses: int,
) -> ProbeOutcome | None:
    """Return what follows from the answer of a probe; None if a person has to decide.

    `error` is the code with which the outcome became unknown, `losses` counts the lost
    attempts of this generation.
    """
    if probed.answer is ProbeAnswer.HAPPENED:
        return ProbeOutcome(StepEvent.RESOLVED)
    if probed.answer is not ProbeAnswer.DID_NOT_HAPPEN:
        return None
    if run in FINAL_RUN:
        return ProbeOutcome(StepEvent.CANCELLED)
    # Losing a worker is not a failure of the step, so it uses up no attempt.
    was_lost = error == WORKER_LOST and losses < MAX_LOSSES
    if was_lost or tries < max_attempts:
        return ProbeOutcome(StepEvent.DID_NOT_HAPPEN, counts=not was_lost)
    message = f"A check of the target found that it did not happen: {probed.evidence}"
    failure = Failure("step.did_not_happen", message, ran=False)
    return ProbeOutcome(StepEvent.FAILED, failure)
