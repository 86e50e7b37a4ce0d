"""What a run waits for, and the controls of its page."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse

from approvals import selectors as approvals
from approvals.models import Gate
from approvals.selectors import StillEligible
from execfabric.lib.actor import Actor
from orchestration.runs import selectors
from orchestration.runs.control.control import may_control
from orchestration.runs.domain.states import (
    FINAL_RUN,
    RUN,
    RunEvent,
    RunState,
    StepState,
)
from orchestration.runs.domain.sweeping import DESCRIPTIONS, REPORTED_FAILURES, Duty
from orchestration.runs.models import Run, StepRun, SweepFailure

WAITS = 50
"""The most things to list that the run waits for."""
NOW = {
    RunState.AWAITING_APPROVAL: "The run is waiting for approval of its plan.",
    RunState.RUNNING: "The run is running.",
    RunState.PAUSING: "Pause requested. Running steps finish first.",
    RunState.PAUSED: "The run is paused. Resume it to continue.",
    RunState.CANCELLING: "Cancellation requested. Running steps finish first.",
    RunState.CANCELLED: "The run is cancelled.",
}
"""The message for the state of a run after a request to pause, resume or cancel it."""
STOPPED = {RunState.PAUSING, RunState.PAUSED}
TROUBLED = {StepState.INDETERMINATE, StepState.BACKOFF}
REACHED = {
    "pause": STOPPED,
    "resume": set(RunState) - STOPPED,
    "cancel": {RunState.CANCELLING, RunState.CANCELLED},
}
"""The states that each control leads to."""


def said_of(run: Run) -> str:
    """Describe the state of a run in a sentence, with its reason."""
    state = RunState(run.state)
    reason = f" {run.reason}" if run.reason and state != RunState.RUNNING else ""
    word = state.replace("_", " ")
    return NOW.get(state, f"The run has ended: {word}.") + reason


@dataclass(frozen=True)
class Wait:
    """Something that the run waits for, and who can resolve it."""

    tone: str
    icon: str
    text: str
    who: str = ""
    url: str = ""
    link: str = ""
    key: str = ""


def waits_of(
    run: Run, states: Counter[str], at: datetime, *, may_resolve: bool = False
) -> tuple[list[Wait], int]:
    """Return what the run waits for, and how many more things than listed.

    `states` counts its steps per state; `may_resolve` is the reader's right to resolve
    unknown outcomes.
    """
    found: list[Wait] = []
    if run.state in STOPPED:
        text = run.reason or "The run is paused."
        who = "An operator, an admin or the proposer can resume or cancel it."
        found.append(Wait("wait", "pause", text, who, key="paused"))
    failures = SweepFailure.objects.filter(
        subject=run.pk, failures__gte=REPORTED_FAILURES
    )
    if RunState(run.state) not in FINAL_RUN and (failure := failures.first()):
        found.append(_wait_for_keeper(failure))
    troubled = run.steps.filter(state__in=TROUBLED).defer(*selectors.CONTENT)
    is_troubled = TROUBLED & states.keys()
    steps = list(troubled.order_by("position")[:WAITS]) if is_troubled else []
    unknown = [step for step in steps if step.state == StepState.INDETERMINATE]
    found += [_wait_for_outcome(run, step, is_linked=may_resolve) for step in unknown]
    gates = selectors.open_gates(run)
    given = approvals.decisions_of(gates[:WAITS])
    eligible = approvals.still_eligible_of(given) if given else {}
    found += [_wait_for_gate(gate, groups) for gate, groups in eligible.items()]
    for step in steps:
        if step.state == StepState.BACKOFF and step.not_before and step.not_before > at:
            text = f"Step “{step.key}” is retried at {step.not_before:%H:%M:%S} UTC."
            found.append(Wait("wait", "retry", text, key=step.key))
    unlisted = gates.count() - WAITS if len(given) == WAITS else 0
    return found[:WAITS], max(0, len(found) - WAITS) + unlisted


def _wait_for_keeper(failure: SweepFailure) -> Wait:
    text = f"Cannot {DESCRIPTIONS[Duty(failure.duty)]}: {failure.failures} attempts failed."
    again = f" The keeper retries at {failure.retry_at:%H:%M:%S} UTC."
    who = "Ask an administrator to check the keeper's log."
    return Wait("wait", "retry", text + again, who, key="keeper")


def _wait_for_outcome(run: Run, step: StepRun, *, is_linked: bool) -> Wait:
    url = reverse("step_resolve", args=[run.pk, step.key]) if is_linked else ""
    text = f"Outcome unknown: step “{step.key}” may or may not have taken effect."
    who = "An operator or admin who did not propose the run must record the outcome."
    return Wait("odd", "unknown", text, who, url, "Resolve outcome", step.key)


def _wait_for_gate(gate: Gate, seats: list[StillEligible]) -> Wait:
    who = "Still needed: " + "; ".join(
        f"{group.group} {group.have} of {group.count}"
        + (f" ({', '.join(group.people)})" if group.people else " (no one can decide)")
        for group in seats
        if group.have < group.count
    )
    asked = f"Step “{gate.label}”" if gate.step else "The plan"
    url = reverse("gate", args=[gate.pk])
    text = f"{asked} is waiting for approval."
    return Wait("wait", "hand", text, who, url, "View approval", gate.step or "plan")


def controls_of(run: Run, by: Actor, *, unknown: str) -> dict[str, str]:
    """Return the controls by name, each with why it is off, or "".

    `unknown` is the key of a step with an unknown outcome, if any.
    """
    state = RunState(run.state)
    asked = {
        "pause": (RunEvent.PAUSE_REQUESTED, "The run is not running."),
        "resume": (RunEvent.RESUMED, "The run is not paused."),
        "cancel": (RunEvent.CANCEL_REQUESTED, "The run has ended."),
    }
    mine = may_control(run, by)
    found = {}
    for name, (event, why_not) in asked.items():
        why = "" if mine else "Only operators, admins and the proposer can do this."
        if state in FINAL_RUN:
            why = "The run has ended."
        elif not RUN.allows(state, event):
            is_ending = state == RunState.CANCELLING
            why = "The run is being cancelled." if is_ending else why_not
        elif name == "resume" and unknown:
            why = f"First resolve the outcome of step “{unknown}”."
        found[name] = why
    return found
