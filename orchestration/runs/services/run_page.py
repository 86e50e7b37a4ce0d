"""What the run page shows, as plain values; page and socket draw from the same."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.urls import reverse

from approvals import selectors as approvals
from approvals.models import Gate
from approvals.selectors import StillEligible
from audit import selectors as audit
from execfabric.accounts.authority import Right, rights_of
from execfabric.lib import canonical
from execfabric.lib.actor import Actor
from orchestration.runs import selectors
from orchestration.runs.domain.states import (
    FINAL_RUN,
    FINAL_STEP,
    RUN,
    RunEvent,
    RunState,
    StepState,
)
from orchestration.runs.models import Run, StepRun
from orchestration.runs.selectors import RunDetail, StepDetail
from orchestration.runs.services import event_words, specs
from orchestration.runs.services.control import may_control

DONE = (StepState.SUCCEEDED, StepState.SKIPPED)
EVENTS_SHOWN = 500
"""Events in the list at once; older ones are a link away."""


@dataclass(frozen=True)
class Wait:
    """Something that the run waits for, and who can end that."""

    tone: str
    icon: str
    text: str
    who: str = ""
    url: str = ""
    link: str = ""
    key: str = ""


@dataclass(frozen=True)
class Control:
    """A thing one can do with a run, or why not now."""

    name: str
    why_not: str

    @property
    def enabled(self) -> bool:
        """Whether it can be asked for now."""
        return not self.why_not


@dataclass(frozen=True)
class StepView:
    """A step as its row and its body show it."""

    detail: StepDetail
    params: Any
    is_resolved: bool
    """Whether the params are the very values that run, or still hold references."""
    undo: dict[str, Any] | None
    happened: str
    """For an error: whether anything ran."""
    advice: str

    @property
    def row(self) -> StepRun:
        """The step run."""
        return self.detail.step_run

    @property
    def has_ended(self) -> bool:
        """Whether nothing more of it will happen by itself."""
        return StepState(self.row.state) in FINAL_STEP

    @property
    def title(self) -> str:
        """What people call the step."""
        return self.detail.step.name or self.row.key


@dataclass(frozen=True)
class RunView:
    """A run as its page shows it, for one reader."""

    detail: RunDetail
    steps: list[StepView]
    states: Counter[str]
    waits: list[Wait]
    controls: dict[str, Control]
    has_ended: bool

    @property
    def total(self) -> int:
        """How many steps the run has."""
        return self.states.total()

    @property
    def done(self) -> int:
        """How many of them need nothing more."""
        return sum(self.states[state] for state in DONE)

    @property
    def summary(self) -> str:
        """Where the run stands, in a few words for screen readers."""
        waiting = sum(1 for wait in self.waits if wait.url)
        people = f", {waiting} waiting for people" if waiting else ""
        steps = "step" if self.total == 1 else "steps"
        return f"{self.done} of {self.total} {steps} done{people}"


@dataclass(frozen=True)
class EventView:
    """An event of the run's stream as a line of the list."""

    stream: str
    seq: int
    kind: str
    at: datetime
    actor: str
    actor_name: str
    step: str
    state: str
    """The state whose look it has."""
    words: str
    note: str


def view(
    by: Actor, run_id: UUID, *, at: datetime, keys: Collection[str] | None = None
) -> RunView:
    """A run for one reader; of its steps only `keys`, where given.

    :raises RunUnknown: when there is none, or `by` may not see it
    """
    detail = selectors.detail(by, run_id, keys=keys)
    run = detail.run
    return RunView(
        detail=detail,
        steps=[_step(found) for found in detail.steps],
        states=Counter(row.state for row in detail.rows),
        waits=list(_waits(detail, at)),
        controls=_controls(run, by),
        has_ended=RunState(run.state) in FINAL_RUN,
    )


def step_view(by: Actor, run_id: UUID, key: str) -> StepView:
    """One step for one reader.

    :raises RunUnknown: when there is no such run for `by`
    :raises StepUnknown: when the run has no such step
    """
    return _step(selectors.step(by, run_id, key))


def events(stream: str, after: int, *, limit: int) -> list[EventView]:
    """The events of a stream behind a cursor, in words."""
    return [
        EventView(
            stream=stream,
            seq=event.seq,
            kind=event.kind,
            at=event.at,
            actor=event.actor,
            actor_name=event.actor_name,
            step=event.step,
            state=event_words.words_of(event.kind)[0],
            words=event_words.words_of(event.kind)[1],
            note=event_words.note_of(audit.envelope(event)["payload"]),
        )
        for event in audit.events_after(stream, after, limit=limit)
    ]


def may_resolve(by: Actor) -> bool:
    """Whether `by` may say what happened where nobody could know."""
    return Right.CONTROL in rights_of(by)


def _step(found: StepDetail) -> StepView:
    row, planned = found.step_run, found.step
    params, is_resolved = planned.params, False
    if row.spec is not None:
        value = canonical.loads(bytes(row.spec.body))
        params, is_resolved = value.get("params", value.get("context", {})), True
    happened, advice = _after_error(row, found)
    return StepView(
        detail=found,
        params=params,
        is_resolved=is_resolved,
        undo=specs.undo_of(planned, found.contract) if found.contract else None,
        happened=happened,
        advice=advice,
    )


def _after_error(row: StepRun, found: StepDetail) -> tuple[str, str]:
    """Whether anything ran, and what to do, as sentences."""
    if not row.error:
        return "", ""
    ran = row.error.get("ran")
    pure = row.effect_class == "pure"
    if ran is None and row.state == StepState.INDETERMINATE:
        happened = "Nobody can know from here whether it happened."
        return happened, "Look at the target, then say what you found."
    if row.state == StepState.BACKOFF:
        return "", "It is tried again by itself."
    if ran is None:
        happened = (
            "Whether it ran to its end is not known; running it again is harmless."
        )
    elif not ran:
        happened = "Nothing was changed: it failed before its effect began."
    elif pure:
        happened = "It ran and changed nothing: this action only reads."
    else:
        happened = "It ran, so parts of its effect may be there."
    if row.state != StepState.FAILED:
        return happened, ""
    undo = " Look at its target first." if ran and not pure else ""
    advice = f"Mend the cause.{undo} While the run is paused, resuming tries it again."
    return happened, advice if found.action else ""


def _waits(detail: RunDetail, at: datetime) -> list[Wait]:
    """What stands between this run and its end, in the order in which it matters."""
    run = detail.run
    found: list[Wait] = []
    if run.state in {RunState.PAUSED, RunState.PAUSING}:
        text = run.reason or "The run is paused."
        who = "An operator, an admin or the proposer can resume or cancel it."
        found.append(Wait("wait", "pause", text, who, key="paused"))
    given = approvals.decisions_of(gate for gate in detail.gates if gate.is_open)
    eligible = approvals.still_eligible_of(given) if given else {}
    found += [_wait_for_gate(gate, groups) for gate, groups in eligible.items()]
    for step in detail.rows:
        if step.state == StepState.INDETERMINATE:
            url = reverse("step_resolve", args=[run.pk, step.key])
            text = f"Nobody knows whether “{step.key}” happened."
            who = "An operator or admin has to find out."
            found.append(
                Wait("odd", "unknown", text, who, url, "Say what happened", step.key)
            )
        elif step.state != StepState.BACKOFF or step.not_before is None:
            continue
        elif step.not_before > at:
            text = f"“{step.key}” is tried again at {step.not_before:%H:%M:%S} UTC."
            found.append(Wait("wait", "retry", text, key=step.key))
    return found


def _wait_for_gate(gate: Gate, seats: list[StillEligible]) -> Wait:
    who = "Still needed: " + "; ".join(
        f"{group.group} {group.have} of {group.count}"
        + (f" ({', '.join(group.people)})" if group.people else " (nobody can)")
        for group in seats
        if group.have < group.count
    )
    text = (
        f"“{gate.label}” waits for approval"
        if gate.step
        else "The plan waits for approval"
    )
    url = reverse("gate", args=[gate.pk])
    return Wait("wait", "hand", text, who, url, "Open the gate", gate.step or "plan")


def _controls(run: Run, by: Actor) -> dict[str, Control]:
    asked = {
        "pause": (RunEvent.PAUSE_REQUESTED, "The run is not running."),
        "resume": (RunEvent.RESUMED, "The run is not paused."),
        "cancel": (RunEvent.CANCEL_REQUESTED, "The run has ended."),
    }
    mine = may_control(run, by)
    found = {}
    for name, (event, why_not) in asked.items():
        if RunState(run.state) in FINAL_RUN:
            why = "The run has ended."
        elif not RUN.allows(RunState(run.state), event):
            why = (
                "It is being cancelled."
                if run.state == RunState.CANCELLING
                else why_not
            )
        else:
            why = "" if mine else "Only operators, admins and the proposer may do this."
        found[name] = Control(name, why)
    return found
