"""The values of the run page, for the page and its socket."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Coalesce

from approvals.domain.states import GateStatus
from approvals.models import Gate
from audit import selectors as audit
from audit.selectors import Event
from execfabric.identity.authority import rights_of
from execfabric.identity.models import names_of
from execfabric.lib.actor import Actor
from execfabric.lib.refusal import Refusal
from execfabric.lib.rights import Right
from orchestration.plans import selectors as plans
from orchestration.plans.domain.document import StepDocument
from orchestration.plans.domain.fallbacks import SUFFIX
from orchestration.plans.domain.subplans import SEPARATOR
from orchestration.runs import selectors
from orchestration.runs.control import recovery, rollback
from orchestration.runs.domain.run_status import RunStatus, shown_state
from orchestration.runs.domain.states import FINAL_RUN, FINAL_STEP, RunState, StepState
from orchestration.runs.models import Run, StepRun
from orchestration.runs.pages import (
    failures,
    items,
    rollback_report,
    run_edits,
    run_result,
    statuses,
)
from orchestration.runs.pages.event_words import note_of, words_of
from orchestration.runs.pages.failures import FailedStep
from orchestration.runs.pages.items import ItemCounts
from orchestration.runs.pages.rollback_report import RollbackReport
from orchestration.runs.pages.run_edits import RunEdit
from orchestration.runs.pages.run_result import RunResult
from orchestration.runs.pages.run_waits import (
    ROLLBACK,
    Wait,
    controls_of,
    eligible_of,
    waits_of,
)

EVENTS_SHOWN = 500
"""Maximum events in the list; a link leads to older events."""
RERUNS = 5
"""Maximum reruns that the page links to."""
ROWS = 200
"""Maximum steps in the list."""
NO_STEPS = range(0)
FIRST_STEPS = range(ROWS)


@dataclass(frozen=True)
class StepLine:
    row: StepRun
    step: StepDocument
    version: str
    """The skill version it was approved with; empty for a step without a skill."""
    gate: Gate | None
    items: ItemCounts | None = field(default=None, kw_only=True)
    """The counts of its items, if it has any."""

    @property
    def has_ended(self) -> bool:
        return StepState(self.row.state) in FINAL_STEP

    @property
    def state(self) -> str:
        """Return the state to show: a step whose approval expired was not rejected."""
        if self.row.state == StepState.GATED and self.row.kind == "input":
            return "asking"
        if self.row.probe_at is not None:
            return "checking"
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
    """The number of step runs per state, with items."""
    status: RunStatus
    waits: list[Wait]
    more_waits: int
    controls: dict[str, str]
    """The controls by name, with the reason if a control is disabled, or ""."""
    has_ended: bool
    may_resolve: bool
    failures: list[FailedStep]
    result: RunResult | None
    """What a finished run returned; None before its end."""
    reruns: list[UUID]
    """The newest runs that run it again."""
    may_rerun: bool
    edits: list[RunEdit]
    """The edits of its plan, newest first."""
    rollback: RollbackReport | None = None
    may_roll_back: bool = False
    """True if the reader may preview and begin a rollback now."""

    @property
    def has_rollback_wait(self) -> bool:
        """Return True if what the run waits for already links to its rollback."""
        return any(wait.key == ROLLBACK for wait in self.waits)

    @property
    def total(self) -> int:
        return self.status.counts.total

    @property
    def done(self) -> int:
        return self.status.counts.done

    @property
    def progress(self) -> str:
        """Return how many steps are done, failed and skipped, as text."""
        return self.status.counts.words("step")

    @property
    def state(self) -> str:
        """Return the state to show: what the run waits for if it only waits."""
        return shown_state(RunState(self.run.state), frozenset(self.states))

    @property
    def last(self) -> int:
        places = [line.row.position for line in self.steps if not line.row.is_added]
        return places[-1] + 1 if places else 0

    @property
    def following(self) -> int:
        """Return how many steps the next page lists."""
        return min(ROWS, self.total - self.last) if self.steps else 0

    @property
    def waiting(self) -> int:
        """Return the number of items that wait for a user."""
        return sum(1 for wait in self.waits if wait.url) + self.more_waits


@dataclass(frozen=True)
class EventLine:
    event: Event
    state: str
    words: str
    note: str
    label: str = ""
    """The step with the index of its item, `each [3]`, or with its path, `sub/make`."""
    is_of_item: bool = False
    """True for an item of a list, and for a step of a sub-plan."""
    root: str = ""
    """The step of the plan itself that the event belongs to."""


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
    has_ended = RunState(run.state) in FINAL_RUN
    counts = statuses.count([run], at=at)
    states = counts[run.pk].states
    has_unknown = states[StepState.INDETERMINATE] > 0
    may_resolve = not (has_unknown and hindrance(run, by))
    eligible = eligible_of(run)
    waits, more = waits_of(
        run,
        states,
        at,
        eligible=eligible,
        may_resolve=may_resolve,
        late_steps=counts[run.pk].late,
    )
    unknown = next((wait.key for wait in waits if wait.tone == "odd"), "")
    return RunView(
        run=run,
        on_behalf_of=names_of([run.proposer_owner])[run.proposer_owner],
        steps=_lines(run, listed, keys),
        states=states,
        status=statuses.of_runs([run], at=at, counts=counts, eligible=eligible)[run.pk],
        waits=waits,
        more_waits=more,
        controls=controls_of(run, by, unknown=unknown),
        has_ended=has_ended,
        reruns=list(selectors.reruns_of(by, run)[:RERUNS]) if has_ended else [],
        may_rerun=has_ended and Right.PROPOSE in rights_of(by),
        edits=run_edits.of_run(run) if run.revision.parent_id else [],
        rollback=rollback_report.of_run(run),
        may_roll_back=rollback.may_begin(run, by),
        may_resolve=may_resolve,
        failures=failures.of_run(run) if states[StepState.FAILED] else [],
        result=run_result.of_run(run, by) if has_ended else None,
    )


def hindrance(run: Run, by: Actor) -> Refusal | None:
    """Return why this person cannot resolve an outcome of the run, or None."""
    try:
        recovery.require_may_resolve(run, by)
    except Refusal as refusal:
        return refusal
    return None


def _listed(prefix: str, listed: range) -> Q:
    """Return the steps of the plan in a range of positions, or their fallbacks."""
    names = {
        "parent": None,
        "position__gte": listed.start,
        "position__lt": listed.stop,
    }
    rows = Q(**{f"{prefix}{name}": value for name, value in names.items()})
    return rows & Q(key__endswith=SUFFIX, item=None) if prefix else rows


def _lines(run: Run, listed: range, keys: Collection[str] | None) -> list[StepLine]:
    if not listed:
        return []
    rows = run.steps.filter(_listed("", listed) | _listed("parent__", listed))
    if keys is not None:
        rows = rows.filter(key__in=keys)
    place = Coalesce("parent__position", "position")
    rows = rows.defer(*selectors.CONTENT).order_by(place, "position")
    gates = selectors.gates_by_id(run, rows)
    counts = items.counts_of(run, rows)
    document = plans.document(run.revision)
    return [
        StepLine(
            row=row,
            step=document.by_key[row.key],
            version=run.pins.get(row.key, {}).get("version", ""),
            gate=gates.get(row.gate_id),
            items=counts.get(row.pk),
        )
        for row in rows
    ]


def events(stream: str, after: int, *, limit: int) -> list[EventLine]:
    """Return the events of a stream after a number, in words."""
    return [_event_line(e) for e in audit.events_after(stream, after, limit=limit)]


def _event_line(event: Event) -> EventLine:
    payload = audit.envelope(event)["payload"]
    facts = payload if isinstance(payload, dict) else {}
    item, path = facts.get("item"), str(facts.get("path", ""))
    label = path or (event.step if item is None else f"{event.step} [{item}]")
    root = path.partition(SEPARATOR)[0].partition(" ")[0] or event.step
    words = words_of(event.kind)[:2]
    is_part = item is not None or bool(path)
    return EventLine(event, *words, note_of(payload), label, is_part, root)
