"""The values of the run page, for the page and its socket."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Count

from approvals.domain.states import GateStatus
from approvals.models import Gate
from audit import selectors as audit
from audit.selectors import Event
from execfabric.identity.models import names_of
from execfabric.lib.actor import Actor
from execfabric.lib.refusal import Refusal
from orchestration.plans import selectors as plans
from orchestration.plans.domain.document import StepDocument
from orchestration.runs import selectors
from orchestration.runs.control import recovery
from orchestration.runs.domain.states import FINAL_RUN, FINAL_STEP, RunState, StepState
from orchestration.runs.models import Run, StepRun
from orchestration.runs.pages.event_words import note_of, words_of
from orchestration.runs.pages.run_list import MOVING
from orchestration.runs.pages.run_waits import Wait, controls_of, waits_of

FAILURES_SHOWN = 5
"""Failed steps named at the top of the page."""
EVENTS_SHOWN = 500
"""Events in the list at once; older ones are a link away."""
ROWS = 200
"""Steps in the list at once."""
NO_STEPS = range(0)
FIRST_STEPS = range(ROWS)


@dataclass(frozen=True)
class StepLine:
    """A step in the list."""

    row: StepRun
    step: StepDocument
    version: str
    """The skill version it was approved with; empty for a step without a skill."""
    gate: Gate | None

    @property
    def has_ended(self) -> bool:
        """Return True if the step is final."""
        return StepState(self.row.state) in FINAL_STEP

    @property
    def state(self) -> str:
        """Return the state to show: a step whose approval expired was not rejected."""
        is_rejected = self.row.state == StepState.REJECTED
        if is_rejected and self.gate and self.gate.status == GateStatus.EXPIRED:
            return GateStatus.EXPIRED
        return self.row.state


@dataclass(frozen=True)
class RunView:
    """A run as its page shows it to one reader."""

    run: Run
    on_behalf_of: str
    """For the run of an agent, the name of its owner."""
    steps: list[StepLine]
    states: Counter[str]
    waits: list[Wait]
    more_waits: int
    """How many more things it waits for."""
    controls: dict[str, str]
    """The controls by name, each with why it is off, or ""."""
    has_ended: bool
    may_resolve: bool
    """Return True if the reader may resolve unknown outcomes."""
    failures: list[StepRun]
    """The first failed steps, in the order of the plan."""

    @property
    def total(self) -> int:
        return self.states.total()

    @property
    def done(self) -> int:
        """Return how many steps have succeeded."""
        return self.states[StepState.SUCCEEDED]

    @property
    def progress(self) -> str:
        """Return how many steps are done, failed and left out, as words."""
        steps = "step" if self.total == 1 else "steps"
        others = [
            f"{self.states[state]} {state}"
            for state in (StepState.FAILED, StepState.SKIPPED, StepState.CANCELLED)
            if self.states[state]
        ]
        return ", ".join([f"{self.done} of {self.total} {steps} done", *others])

    @property
    def state(self) -> str:
        """Return the state to show: `gated` if the run only waits for approvals."""
        only_waits = self.states[StepState.GATED] and not any(
            self.states[state] for state in MOVING
        )
        is_running = self.run.state == RunState.RUNNING
        return StepState.GATED if is_running and only_waits else self.run.state

    @property
    def last(self) -> int:
        """Return the number of the last listed step."""
        return self.steps[-1].row.position + 1 if self.steps else 0

    @property
    def following(self) -> int:
        """Return how many steps the next page lists."""
        return min(ROWS, self.total - self.last) if self.steps else 0

    @property
    def waiting(self) -> int:
        """Return how many things wait for people."""
        return sum(1 for wait in self.waits if wait.url) + self.more_waits


@dataclass(frozen=True)
class EventLine:
    """An event in the list."""

    event: Event
    state: str
    """The state whose look it has."""
    words: str
    note: str


def view(
    by: Actor,
    run_id: UUID,
    *,
    at: datetime,
    steps: range = NO_STEPS,
    keys: Collection[str] | None = None,
) -> RunView:
    """Return a run for one reader, with a range of its steps, or only `keys`.

    :raises RunUnknown: when there is none, or `by` may not see it
    """
    listed = NO_STEPS if keys == set() else steps
    run = selectors.get(by, run_id, needs=selectors.PLANNED if listed else ())
    counted = run.steps.order_by().values_list("state").annotate(count=Count("pk"))
    states = Counter(dict(counted))
    may_resolve = not states[StepState.INDETERMINATE] or _may_resolve(run, by)
    waits, more = waits_of(run, states, at, may_resolve=may_resolve)
    failed = run.steps.filter(state=StepState.FAILED).order_by("position")
    unknown = next((wait.key for wait in waits if wait.tone == "odd"), "")
    return RunView(
        run=run,
        on_behalf_of=names_of([run.proposer_owner])[run.proposer_owner],
        steps=_lines(run, listed, keys),
        states=states,
        waits=waits,
        more_waits=more,
        controls=controls_of(run, by, unknown=unknown),
        has_ended=RunState(run.state) in FINAL_RUN,
        may_resolve=may_resolve,
        failures=list(failed.only("key", "error", "run_id")[:FAILURES_SHOWN])
        if states[StepState.FAILED]
        else [],
    )


def _may_resolve(run: Run, by: Actor) -> bool:
    try:
        recovery.require_may_resolve(run, by)
    except Refusal:
        return False
    return True


def _lines(run: Run, listed: range, keys: Collection[str] | None) -> list[StepLine]:
    if not listed:
        return []
    rows = run.steps.filter(position__gte=listed.start, position__lt=listed.stop)
    if keys is not None:
        rows = rows.filter(key__in=keys)
    rows = rows.defer(*selectors.CONTENT).order_by("position")
    gates = selectors.gates_by_id(run, rows)
    document = plans.document(run.revision)
    return [
        StepLine(
            row=row,
            step=document.step(row.key),
            version=run.pins.get(row.key, {}).get("version", ""),
            gate=gates.get(row.gate_id),
        )
        for row in rows
    ]


def events(stream: str, after: int, *, limit: int) -> list[EventLine]:
    """Return the events of a stream after a number, in words."""
    return [
        EventLine(
            event,
            *words_of(event.kind)[:2],
            note_of(audit.envelope(event)["payload"]),
        )
        for event in audit.events_after(stream, after, limit=limit)
    ]
