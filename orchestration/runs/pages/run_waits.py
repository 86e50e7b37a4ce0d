"""List what a run waits for, and the controls of its page."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import F
from django.urls import reverse

from approvals import selectors as approvals
from approvals.models import INPUT, Gate
from approvals.selectors import StillEligible
from execfabric.lib.actor import Actor
from orchestration.plans.domain.waits import event_text
from orchestration.runs import selectors
from orchestration.runs.control.control import may_control
from orchestration.runs.control.stops import holding
from orchestration.runs.domain.states import (
    FINAL_RUN,
    RUN,
    RunEvent,
    RunState,
    StepState,
)
from orchestration.runs.engine import places
from orchestration.runs.engine.places import QueuedItem
from orchestration.runs.engine.quarantine import DESCRIPTIONS, REPORTED_FAILURES, Duty
from orchestration.runs.models import EventWait, Run, StepRun, Stop, SweepFailure

ROLLBACK = "rollback"
"""The key of the item that links to a stopped rollback."""
WAITS = 50
"""Maximum items in the list of what the run waits for."""
NOW = {
    RunState.AWAITING_APPROVAL: "The run is waiting for approval of its plan.",
    RunState.QUEUED: "The run is approved and queued.",
    RunState.RUNNING: "The run is running.",
    RunState.PAUSING: "Pause requested. Running steps finish first.",
    RunState.PAUSED: "The run is paused. Resume it to continue.",
    RunState.CANCELLING: "Cancellation requested. Running steps finish first.",
    RunState.CANCELLED: "The run is cancelled.",
    RunState.ABORTING: "The run is aborted. Running steps finish first.",
    RunState.ROLLING_BACK: "The run is being rolled back.",
    RunState.ROLLED_BACK: "The run is rolled back.",
    RunState.ROLLBACK_FAILED: "The rollback has stopped.",
}
"""The message for the state of a run after a request to pause, resume or cancel it."""
STOPPED = {RunState.PAUSING, RunState.PAUSED}
ENDING = {
    RunState.CANCELLING: "The run is being cancelled.",
    RunState.ABORTING: "The run is being aborted.",
}
TROUBLED = {StepState.INDETERMINATE, StepState.BACKOFF, StepState.WAITING}
REACHED = {
    "pause": STOPPED,
    "resume": set(RunState) - STOPPED,
    "cancel": {RunState.CANCELLING, RunState.CANCELLED},
    "abort": {RunState.ABORTING, RunState.FAILED},
}
"""The states that each control leads to."""
_STEP_FAILED = re.compile(r"Step \S+ failed\.")
"""The reason that the decider writes; people write their own."""


def said_of(run: Run) -> str:
    state = RunState(run.state)
    if run.gate_before is not None:
        return "Nothing runs until another person has approved the edit."
    reason = f" {run.reason}" if run.reason and state != RunState.RUNNING else ""
    word = state.replace("_", " ")
    return NOW.get(state, f"The run has ended: {word}.") + reason


@dataclass(frozen=True)
class Wait:
    """An item that the run waits for, and who can resolve it."""

    tone: str
    icon: str
    text: str
    who: str = ""
    url: str = ""
    link: str = ""
    key: str = ""


def waits_of(
    run: Run,
    states: Counter[str],
    at: datetime,
    *,
    eligible: Mapping[Gate, list[StillEligible]] | None = None,
    may_resolve: bool = False,
    late_steps: int = 0,
) -> tuple[list[Wait], int]:
    """Return the items that the run waits for, and the number left out.

    `states` counts its steps per state; `eligible` are its first open gates, and who can
    decide them; `may_resolve` is the reader's right to resolve
    unknown outcomes; `late_steps` is the number of unfinished steps that are late.
    """
    eligible = eligible_of(run) if eligible is None else eligible
    found = [
        *_held_by_stops(run, states),
        *_late(run, late_steps),
        *_edit(run),
        *_stopped_rollback(run),
    ]
    if run.state == RunState.QUEUED or states[StepState.QUEUED]:
        found += [_wait_for_place(each) for each in places.queue_of(run.pk)]
    if run.state in STOPPED:
        text = run.reason or "The run is paused."
        if states[StepState.FAILED] and _STEP_FAILED.fullmatch(text):
            text = "The run is paused because a step failed."  # which is listed too
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
    found += [_wait_for_gate(gate, groups) for gate, groups in eligible.items()]
    awaited = _awaited(steps)
    for step in steps:
        if step.state == StepState.BACKOFF and step.not_before and step.not_before > at:
            text = f"Step “{step.label}” is retried at {step.not_before:%H:%M:%S} UTC."
            found.append(Wait("wait", "retry", text, key=step.key))
        if step.state == StepState.WAITING:
            found.append(_wait_of_step(step, awaited.get(step.pk)))
    return found[:WAITS], max(0, len(found) - WAITS) + _unlisted(run, eligible)


def _unlisted(run: Run, eligible: Mapping[Gate, list[StillEligible]]) -> int:
    """Return the number of open gates besides the first ones."""
    is_full = len(eligible) == WAITS
    return selectors.open_gates(run).count() - WAITS if is_full else 0


def eligible_of(run: Run) -> dict[Gate, list[StillEligible]]:
    """Return the first open gates of a run, and who can decide them."""
    given = approvals.decisions_of(selectors.open_gates(run)[:WAITS])
    return approvals.still_eligible_of(given) if given else {}


def _stopped_rollback(run: Run) -> list[Wait]:
    is_stopped = run.state == RunState.ROLLBACK_FAILED
    if not is_stopped or not selectors.undos_left().filter(run=run).exists():
        return []
    text = "The rollback needs an operator."
    who = "Fix the cause, then continue it; or skip the failed undo, or do it by hand."
    url = reverse("run_rollback", args=[run.pk])
    return [Wait("bad", "retry", text, who, url, "Continue rollback", ROLLBACK)]


def _awaited(steps: list[StepRun]) -> dict[UUID, EventWait]:
    """Return the events that these steps wait for."""
    waiting = [step.pk for step in steps if step.state == StepState.WAITING]
    rows = EventWait.objects.filter(
        step_run__in=waiting, generation=F("step_run__generation")
    )
    return {row.step_run_id: row for row in rows} if waiting else {}


def _wait_of_step(step: StepRun, event: EventWait | None) -> Wait:
    until = _moment(step.not_before)
    text = f"Step “{step.key}” waits until {until}."
    if event is not None:
        name = event_text(event.type, event.key)
        text = f"Step “{step.key}” waits for {name} until {until}."
    return Wait("wait", "clock", text, key=step.key)


def _moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "unknown"


def _wait_for_place(waiting: QueuedItem) -> Wait:
    what = f"Step “{waiting.step}”" if waiting.step else "The run"
    place = waiting.place
    text = f"{what} waits for a place with the concurrency key “{place.key}”."
    others = "; ".join(
        f"step {other['step']} of run {other['run']}"
        if "step" in other
        else f"run {other['run']}"
        for other in waiting.before
    )
    who = f"Place {place.position} in the queue, at most {place.limit} at a time."
    who += f" Waiting for {others}."
    return Wait("wait", "clock", text, who, key=f"queue-{waiting.step or 'run'}")


def _edit(run: Run) -> Iterator[Wait]:
    """Say that an edit of the run waits for its approval."""
    if run.gate_before is not None:
        step = run.revision.edited_step
        text = f"Step “{step}” was edited. Nothing runs until the edit is approved."
        who = "If it is not approved, the run is paused as before the edit."
        yield Wait("wait", "clock", text, who, key="edited")


def _late(run: Run, late_steps: int) -> list[Wait]:
    """Return what has not ended in time and is not finished yet."""
    found = []
    if run.breached_at and run.due_at and run.finished_at is None:
        text = f"The run is late: it was due at {run.due_at:%Y-%m-%d %H:%M:%S} UTC."
        found.append(Wait("bad", "clock", text, key="late"))
    if late_steps:
        late = run.steps.filter(breached_at__isnull=False, finished_at__isnull=True)
        for step in late.defer(*selectors.CONTENT).order_by("position")[:WAITS]:
            due = f"{step.due_at:%Y-%m-%d %H:%M:%S} UTC"
            text = f"Step “{step.label}” is late: it was due at {due}."
            found.append(Wait("bad", "clock", text, key=f"late-{step.key}"))
    return found


def _held_by_stops(run: Run, states: Counter[str]) -> list[Wait]:
    """Return the active stops that keep a ready step of the run from starting."""
    if not states[StepState.READY]:
        return []
    who = "An operator or admin can lift the stop."
    return [
        Wait("bad", "no", _stopped(stop), who, reverse("stops"), "Stops", "stop")
        for stop in holding(run)
    ]


def _stopped(stop: Stop) -> str:
    if not stop.skill:
        return f"All steps are stopped, so none starts. {stop.reason}"
    return (
        f"The skill {stop.skill} is stopped, so its steps do not start. {stop.reason}"
    )


def _wait_for_keeper(failure: SweepFailure) -> Wait:
    text = f"Cannot {DESCRIPTIONS[Duty(failure.duty)]}: {failure.failures} attempts failed."
    again = f" The keeper retries at {failure.retry_at:%H:%M:%S} UTC."
    who = "Ask an admin to check the keeper's log."
    return Wait("wait", "retry", text + again, who, key="keeper")


def _wait_for_outcome(run: Run, step: StepRun, *, is_linked: bool) -> Wait:
    url = reverse("step_resolve", args=[run.pk, step.address]) if is_linked else ""
    text = f"Outcome unknown: step “{step.label}” may or may not have taken effect."
    who = "An operator or admin who did not propose the run must record the outcome."
    if step.probe_at is not None:
        text = f"Checking whether step “{step.label}” happened."
        who = "A worker asks its target. An operator or admin who did not propose the run can record the outcome meanwhile."
    elif evidence := (step.probe_record or {}).get("evidence"):
        text += f" A check could not tell: {evidence}"
    return Wait("odd", "unknown", text, who, url, "Resolve outcome", step.label)


def _wait_for_gate(gate: Gate, seats: list[StillEligible]) -> Wait:
    who = "Still needed: " + "; ".join(
        f"{group.group} {group.have} of {group.count}"
        + (f" ({', '.join(group.people)})" if group.people else " (no one can decide)")
        for group in seats
        if group.have < group.count
    )
    asked = f"Step “{gate.label}”" if gate.step else "The plan"
    url = reverse("gate", args=[gate.pk])
    if gate.subject_kind == INPUT:
        names = [name for group in seats for name in group.people]
        who = f"Can answer: {', '.join(names) or 'no one'}"
        text = f"{asked} is waiting for an answer."
        return Wait("wait", "pencil", text, who, url, "Open the form", gate.step)
    text = f"{asked} is waiting for approval."
    return Wait("wait", "hand", text, who, url, "View approval", gate.step or "plan")


def controls_of(run: Run, by: Actor, *, unknown: str) -> dict[str, str]:
    """Return the controls by name, with the reason if one is disabled, or "".

    `unknown` is the key of a step with an unknown outcome, if any.
    """
    state = RunState(run.state)
    asked = {
        "pause": (RunEvent.PAUSE_REQUESTED, "The run is not running."),
        "resume": (RunEvent.RESUMED, "The run is not paused."),
        "cancel": (RunEvent.CANCEL_REQUESTED, "The run has ended."),
        "abort": (RunEvent.ABORT_REQUESTED, "The run has not started."),
    }
    mine = may_control(run, by)
    found = {}
    for name, (event, why_not) in asked.items():
        why = "" if mine else "Only operators, admins and the proposer can do this."
        if state in FINAL_RUN:
            why = "The run has ended."
        elif not RUN.allows(state, event):
            why = ENDING.get(state, why_not)
        elif name == "resume" and unknown:
            why = f"First resolve the outcome of step “{unknown}”."
        found[name] = why
    return found
