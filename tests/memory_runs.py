"""A run of the real engine in memory: nothing is read from a database or written.

What decides, releases, expands, closes, retries and falls back is the code of the engine.
Replaced are its reads and writes: stored parameters, gates, places and events.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest import mock
from uuid import UUID, uuid4

from approvals.domain.policy import Demand
from approvals.domain.states import GateStatus
from execfabric.lib.actor import system
from execfabric.lib.refusal import Refusal
from orchestration.plans.domain.document import PlanDocument
from orchestration.plans.domain.gates import demand_of
from orchestration.plans.domain.subplans import order_of
from orchestration.plans.models import PlanRevision
from orchestration.runs.control import answers, control
from orchestration.runs.domain import outcome
from orchestration.runs.domain.results import Finished, Result, result_digest
from orchestration.runs.domain.states import (
    FINAL_STEP,
    Phase,
    RunEvent,
    RunState,
    StepEvent,
    StepState,
)
from orchestration.runs.engine import (
    advance,
    attempts,
    ends,
    events,
    fan_out,
    places,
    queues,
    specs,
    subjects,
    waits,
)
from orchestration.runs.engine.containers import columns_of
from orchestration.runs.engine.loading import LoadedRun
from orchestration.runs.engine.places import QueuePlace
from orchestration.runs.engine.specs import Spec
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.models import Run, StepRun

S, T = StepState, StepEvent
AT = datetime(2026, 1, 1, tzinfo=UTC)
BY = system("test")
ACTION: Any = SimpleNamespace(name="yield", retry=None)
PINNED: Any = SimpleNamespace(contract=None, action=lambda name: None)


WAIT: Any = SimpleNamespace(type="came", key="k", opened_at=AT)


class Unresolved(Refusal):
    """A reference has no value."""

    code = "reference.unresolved"


class MemoryLoaded(LoadedRun):
    """A loaded run whose plans were given to it."""

    plan_digest = ""

    @property
    def document(self) -> PlanDocument:
        return self.run.memory.document

    @property
    def included_documents(self) -> Mapping[str, PlanDocument]:
        return self.run.memory.included


class MemoryChange(RunChange):
    """A change that is not written, and tells its run of each move of a step."""

    def move_step(
        self, step: StepRun, event: StepEvent, *args: Any, **rest: Any
    ) -> None:
        source = StepState(step.state)
        super().move_step(step, event, *args, **rest)
        self.run.memory.observe(step, source, rest.get("condition"))

    def expand(self, container: StepRun, members: Any, *args: Any, **rest: Any) -> None:
        for member in members:
            member.effect_class = self.run.memory.effect
        super().expand(container, members, *args, **rest)
        for member in members:  # no row could be read
            member.output, member.files = None, {}


@dataclass
class MemoryRun:
    """A run, and what workers, the keeper and users can do to it."""

    document: PlanDocument
    included: Mapping[str, PlanDocument]
    inputs: dict[str, Any]
    parallel_max: int
    observe: Callable[[StepRun, StepState, Any], None]
    in_round: Callable[[], None]
    may_build: Callable[[], bool] = lambda: True
    early_event: Callable[[], int | None] = lambda: None
    effect: str = "pure"
    outside: dict[str, int] = field(default_factory=dict)
    """The number of places that other runs hold, by key."""

    def __post_init__(self) -> None:
        self.line: list[tuple[str, int, UUID | None]] = [
            (key, 9, None) for key, count in self.outside.items() for _ in range(count)
        ]
        self.lost: set[UUID] = set()
        self.event: Any = None
        run = Run(
            revision=PlanRevision(),
            created_at=AT,
            state=RunState.RUNNING,
            inputs=self.inputs,
            pins=dict(self._pins(self.document, "")),
            parallel_max=self.parallel_max,
            proposer="user:1",
            proposer_name="Ada",
        )
        run.memory = self
        rows = [
            StepRun(run=run, key=key, position=position,
                    **columns_of(self.document.by_id[key], None))
            for position, key in enumerate(order_of(self.document))
        ]  # fmt: skip
        for row in rows:
            row.effect_class = self.effect
        self.loaded = MemoryLoaded(
            run=run,
            steps={row.id: row for row in rows},
            end=None,
            outside=None,
            approval=None,
            proposer_active=True,
            any_policy=False,
            pinned={"v": PINNED},
        )

    def _pins(self, document: PlanDocument, path: str) -> Iterator[tuple[str, Any]]:
        for step in document.steps:
            here = path + step.id
            if inside := self.included.get(here):
                yield here, {"plan": inside.id, "revision": 1}
                yield from self._pins(inside, f"{here}/")
            elif step.kind == "skill":
                yield here, {"version_id": "v", "action": "yield"}
                yield f"{here}.fallback", {"version_id": "v", "action": "yield"}

    @property
    def state(self) -> RunState:
        return RunState(self.loaded.run.state)

    def steps(self, *states: StepState) -> list[StepRun]:
        return [step for step in self.loaded.steps.values() if step.state in states]

    def name(self, step: StepRun) -> str:
        """Return the place of a step: `each[1]/check.fallback`."""
        if step.parent_id is None:
            return str(step.key)
        around = self.name(self.loaded.steps[step.parent_id])
        if step.key.endswith(".fallback"):
            return f"{around}.fallback"
        return f"{around}/{step.key}" if step.item is None else f"{around}[{step.item}]"

    @contextmanager
    def change(
        self, at: datetime = AT, *, advances: bool = True
    ) -> Iterator[RunChange]:
        change = MemoryChange(loaded=self.loaded, by=BY, at=at)
        yield change
        if advances:
            advance.advance(change)
        # The database does this when the rows are written.
        gone = {S.FALLING_BACK, *FINAL_STEP}
        steps = self.loaded.steps
        self.line = [
            place
            for place in self.line
            if not place[2] or steps[place[2]].state not in gone
        ]

    # Workers and the keeper

    def begin(self) -> None:
        with self.change():
            pass

    def may_start(self, step: StepRun) -> bool:
        return attempts._may_start(MemoryChange(self.loaded, BY, AT), step)

    def startable(self) -> set[UUID]:
        """Return the steps that workers are sent to."""
        return {*self.loaded.progress.startable(100)}

    def start(self, step: StepRun) -> None:
        with self.change() as change:
            attempts._take(change, step, worker="w", session="s")

    def complete(self, step: StepRun, result: Result) -> None:
        with self.change() as change:
            attempts._finish(change, step, result, session="s", log="")

    def lose(self, step: StepRun) -> None:
        """Let the lease of a step expire."""
        end = outcome.of_lost_lease(
            Phase.INTENT,
            effect_class=self.effect,
            run=self.state,
            losses=1,
            has_fallback=self.loaded.planned(step).fallback is not None,
        )
        self.lost.add(step.id)
        tries = step.tries - (not end.counts)
        with self.change() as change:
            change.move_step(step, end.event, tries=tries, **end.columns())

    def not_started(self, step: StepRun) -> None:
        event = outcome.of_not_started(self.state)
        with self.change() as change:
            change.move_step(step, event, tries=step.tries - 1)

    def void(self, step: StepRun) -> None:
        """Find that what would run is not what was approved."""
        with self.change() as change:
            change.move_step(step, T.GATE_VOIDED, tries=0, gate_id=None)

    def fail(self, step: StepRun) -> None:
        """Find that a step cannot start any more."""
        with self.change() as change:
            advance.fail(change, step, Unresolved())

    def time_comes(self, step: StepRun) -> None:
        with self.change(step.not_before or AT) as change:
            if step.state == S.WAITING:
                waits.end_if_due(change, step)
            else:
                change.move_step(step, T.RELEASED)

    def event_comes(self, step: StepRun, n: int) -> None:
        with self.change() as change:
            self.deliver(change, step, n)

    def deliver(self, change: RunChange, step: StepRun, n: int) -> None:
        self.event = event_of(n)
        assert events.deliver(change, step)

    def event_expires(self, step: StepRun) -> None:
        with self.change() as change:
            assert events.expire(change, step)

    def may_be_admitted(self, step: StepRun) -> bool:
        place = self.find(self.loaded.run.id, step.id)
        return self.state is RunState.RUNNING and place is not None and place.is_held

    def admit(self, step: StepRun) -> None:
        with self.change() as change:
            assert queues.admit(change, step.id)

    # Users

    def decide(self, step: StepRun, status: GateStatus) -> None:
        with self.change() as change:
            ends.gate(change, step, status)

    def answer(self, step: StepRun, n: int) -> None:
        with self.change(advances=False) as change:
            gate: Any = SimpleNamespace(id=step.gate_id)
            answers._complete(change, step, gate, {"n": n})

    def resolve(self, step: StepRun, *, happened: bool | None, n: int) -> None:
        end = outcome.of_evidence(happened=happened, evidence="Seen.", by="Ada")
        output = {"n": n}
        columns = {"output": output, "output_digest": result_digest(output, {})}
        with self.change() as change:
            change.move_step(
                step, end.event, **end.columns(), **(columns if happened else {})
            )

    def resume(self) -> None:
        with self.change() as change:
            control._require(change, RunEvent.RESUMED)
            advance.carry_out(outcome.resume(self.loaded.progress), change)

    def request(self, event: RunEvent) -> None:
        """Pause or cancel the run."""
        with self.change() as change:
            control._require(change, event)
            change.move_run(event)

    # Instead of the database

    def enter(
        self, run_id: UUID, step_run_id: UUID, *, key: str, limit: int, at: Any
    ) -> Any:
        if self.find(run_id, step_run_id) is None:
            self.line.append((key, limit, step_run_id))
        return self.find(run_id, step_run_id)

    def find(self, run_id: UUID, step_run_id: UUID | None) -> QueuePlace | None:
        for number, (key, _, owner) in enumerate(self.line):
            if owner == step_run_id:
                same = [each for each in self.line[: number + 1] if each[0] == key]
                limit = min(each[1] for each in same)
                return QueuePlace(number, key, limit, AT, len(same) - 1)
        return None


def event_of(n: int) -> Any:
    """Return an external event with a number in its payload."""
    content = {"type": "came", "key": "k", "payload": {"n": n}}
    digest = events.digest_of(**content)
    return SimpleNamespace(pk="e", sender="user:1", request_digest=digest, **content)


def _build(change: RunChange, step: StepRun) -> Spec:
    if not change.run.memory.may_build():
        raise Unresolved
    demand = demand_of(change.plan_step(step), None, ())
    return Spec(b"{}", "", {}, ACTION, demand if demand.needed else Demand())


def _await_event(change: RunChange, step: StepRun, columns: dict[str, Any]) -> None:
    change.move_step(step, T.WAIT_STARTED, not_before=AT, started_at=AT, **columns)
    n = change.run.memory.early_event()
    if n is not None:
        change.run.memory.deliver(change, step, n)


class _Rows:
    """A model whose queries all find one row."""

    def __init__(self, row: Callable[[], Any]) -> None:
        self.objects, self.get = self, lambda **_: row()
        self.filter = self.select_related = lambda *_, **__: self
        self.first = row


@contextmanager
def without_database(current: Callable[[], MemoryRun]) -> Iterator[None]:
    """Replace what the engine reads and writes by the memory of the `current` run."""
    closed: Any = SimpleNamespace(facts=())

    def gate(*_: Any) -> Any:
        return SimpleNamespace(id=uuid4(), status=GateStatus.REQUESTED)

    original = advance.decider.next_actions

    def next_actions(*args: Any, **rest: Any) -> Any:
        current().in_round()
        return original(*args, **rest)

    replaced = [
        (advance.decider, "next_actions", next_actions),
        (specs, "build", _build),
        (subjects, "of_step", gate),
        (advance.carrying, "open_step_gate", lambda *_: None),
        (advance.approvals, "withdraw", lambda **_: closed),
        (attempts.checks, "approved_spec", _build_again),
        (attempts.selectors, "has_unknown_attempt", lambda s: s.id in current().lost),
        (fan_out.database, "rows", lambda *_: [[0]]),
        (places, "enter", lambda *args, **rest: current().enter(*args, **rest)),
        (places, "find", lambda *args: current().find(*args)),
        (places, "before", lambda place: []),
        (events, "begin", _await_event),
        (events, "EventWait", _Rows(lambda: WAIT)),
        (events, "EventMatch", _Rows(lambda: SimpleNamespace(event=current().event))),
    ]
    with ExitStack() as stack:
        for owner, name, value in replaced:
            stack.enter_context(mock.patch.object(owner, name, value))
        yield


def _build_again(change: RunChange, step: StepRun) -> Spec:
    return Spec(b"{}", "", {}, ACTION, Demand())


def finished(n: int | None) -> Finished:
    """Return the success of an attempt; None leaves the number out."""
    return Finished({} if n is None else {"n": n}, {})
