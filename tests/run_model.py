"""A model of a run: the real decider and tables, without database and worker.

Each step may have any outcome. One test explores the model completely, another at random.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations, product

from approvals.domain.states import GateStatus
from orchestration.plans.domain.graph import Ancestry, Join
from orchestration.runs.domain import decider, outcome
from orchestration.runs.domain.probes import WORKER_LOST, ProbeAnswer, Probed, of_probe
from orchestration.runs.domain.progress import UPSTREAM_FAILED, Progress, StepStatus
from orchestration.runs.domain.states import (
    AT_WORK,
    FINAL_RUN,
    FINAL_STEP,
    HELD,
    RUN,
    STEP_RUN,
    RunEvent,
    RunState,
    StepEvent,
    StepState,
)

R, E, S, T = RunState, RunEvent, StepState, StepEvent

STARTS = (T.RELEASED, T.GATE_OPENED, T.FAILED)
"""What may come of a release: ready, gated, or inputs that cannot be resolved."""
GOOD = frozenset({S.SUCCEEDED, S.SKIPPED_BY_CONDITION})
BAD = frozenset({S.FAILED, S.SKIPPED, S.REJECTED, S.CANCELLED})
PLAIN = {
    decider.Skip: T.SKIPPED,
    decider.Cancel: T.CANCELLED,
    decider.TryAgain: T.RETRIED,
    decider.Revive: T.REVIVED,
}
OPEN = frozenset({S.PENDING, S.GATED, S.WAITING, S.READY, S.RUNNING, S.BACKOFF})
ANSWERS = {
    S.READY: (T.STARTED, T.GATE_VOIDED),
    S.RUNNING: (
        T.SUCCEEDED,
        T.FAILED,
        T.RETRY_LATER,
        T.LEASE_LOST,
        T.NOT_STARTED,
        T.OUTCOME_UNKNOWN,
    ),
    S.BACKOFF: (T.RELEASED,),
    S.WAITING: (T.SUCCEEDED,),
    S.GATED: (T.GATE_APPROVED, T.GATE_REJECTED, T.FAILED),
    S.INDETERMINATE: (T.RESOLVED, T.FAILED, T.NOT_STARTED, T.DID_NOT_HAPPEN),
}
"""What workers, the keeper and people may do to a step."""
_OF_RUNNING = frozenset({S.READY, S.BACKOFF, S.WAITING})
"""The states of steps that nothing moves unless the run is running."""


@dataclass(frozen=True)
class Graph:
    """A plan as far as the decider sees it."""

    parents: tuple[tuple[int, ...], ...]
    rules: tuple[str, ...]
    parallel_max: int = 1
    on_failure: str = "pause"
    conditional: frozenset[int] = frozenset()
    """The steps with a condition, which may be true or false."""
    routers: tuple[int | None, ...] = ()
    """Per step the choose step that chooses it, if there are any."""
    waits: frozenset[int] = frozenset()
    """The steps that only wait for a time, which may have passed."""

    def router(self, index: int) -> int | None:
        return self.routers[index] if self.routers else None

    def targets(self, index: int) -> tuple[int, ...]:
        """Return the steps that a choose step may choose; empty for others."""
        return tuple(n for n, router in enumerate(self.routers) if router == index)


@dataclass(frozen=True)
class State:
    """A run and its steps at one moment."""

    run: RunState
    steps: tuple[StepState, ...]
    patience: int = 1
    """How often a person may still interfere; bounds what is explored."""
    chosen: frozenset[int] = frozenset()
    """The steps that choose steps have chosen."""


class Violation(AssertionError):
    """The decider did what it may not."""


def start(graph: Graph) -> State:
    """Return an approved run before its first step."""
    return State(R.RUNNING, (S.PENDING,) * len(graph.parents))


def progress(graph: Graph, state: State) -> Progress:
    """Return the progress of a run in this state; steps are known by their number."""
    steps = [
        StepStatus(
            key=index,
            name=str(index),
            state=now,
            depends_on=graph.parents[index],
            trigger_rule=rule_of(graph, index)[0],
            error=error_of(now),
            at_least=rule_of(graph, index)[1],
            router=graph.router(index),
            chosen=frozenset(str(n) for n in graph.targets(index) if n in state.chosen),
        )
        for index, now in enumerate(state.steps)
    ]
    return Progress(steps, parallel_max=graph.parallel_max, on_failure=graph.on_failure)


def rule_of(graph: Graph, index: int) -> tuple[str, int]:
    """Return a rule, and the count of `at_least:2`."""
    name, _, count = graph.rules[index].partition(":")
    return name, int(count or 0)


def error_of(state: StepState) -> str:
    """Return the error code of a step; in this model only failures cause a skip."""
    return UPSTREAM_FAILED if state is S.SKIPPED else ""


def due(graph: Graph, state: State) -> Sequence[decider.Action]:
    """Return the next actions of the decider."""
    return decider.next_actions(state.run, progress(graph, state))


def carried_out(
    graph: Graph, state: State, actions: Sequence[decider.Action]
) -> Iterator[State]:
    """Return the states that these actions may lead to."""
    releases = [one.key for one in actions if isinstance(one, decider.Release)]
    for starts in product(*(_starts(graph, key) for key in releases)):
        chosen = dict(zip(releases, starts, strict=True))
        now = state
        for action in actions:
            now = _carried_out(graph, state, now, action, chosen)
        yield now


def _starts(graph: Graph, key: int) -> list[tuple[StepEvent, frozenset[int]]]:
    """Return what may come of a release, with the choice of a choose step."""
    starts = (T.WAIT_STARTED, T.SUCCEEDED) if key in graph.waits else STARTS
    found = [(event, frozenset()) for event in starts]
    if targets := graph.targets(key):
        sizes = range(len(targets) + 1)
        choices = [frozenset(c) for n in sizes for c in combinations(targets, n)]
        found = [(T.FAILED, frozenset()), *((T.SUCCEEDED, each) for each in choices)]
    if key in graph.conditional:
        found.append((T.SKIPPED_BY_CONDITION, frozenset()))
    return found


def _carried_out(
    graph: Graph,
    before: State,
    now: State,
    action: decider.Action,
    chosen: dict[int, tuple[StepEvent, frozenset[int]]],
) -> State:
    match action:
        case decider.Release(key):
            if not satisfied(graph, before, key):
                message = f"step {key} was released before its rule held: {before}"
                raise Violation(message)
            if any(before.steps[one] is not S.SUCCEEDED for one in sure_of(graph)[key]):
                message = f"a plain reference of step {key} has no value: {before}"
                raise Violation(message)
            event, targets = chosen[key]
            return replace(moved(now, key, event), chosen=now.chosen | targets)
        case decider.LeaveOut(key):
            _check_left_out(graph, before, key)
            return moved(now, key, T.SKIPPED_BY_CONDITION)
        case decider.Move(event):
            return replace(now, run=RUN.next(now.run, event))
    return moved(now, action.key, PLAIN[type(action)])


def _check_left_out(graph: Graph, before: State, key: int) -> None:
    """Check that no failure is taken for a condition.

    :raises Violation: when one is
    """
    is_chosen = graph.router(key) is None or key in before.chosen
    if is_chosen and any(before.steps[one] in BAD for one in graph.parents[key]):
        raise Violation(f"a failure before {key} counts as a condition: {before}")


def answers(graph: Graph, state: State) -> Iterator[State]:
    """Return the possible next acts of workers, keeper and people."""
    is_full = not progress(graph, state).may_start()
    for index, now in enumerate(state.steps):
        for event in ANSWERS.get(now, ()):
            if state.run in FINAL_RUN and now is not S.INDETERMINATE:
                continue
            if state.run is not R.RUNNING and now in _OF_RUNNING:
                continue
            if event is T.STARTED and is_full:
                continue
            is_proof = event is T.NOT_STARTED
            done = outcome.of_not_started(state.run) if is_proof else event
            if event is T.DID_NOT_HAPPEN:
                done = _absent(state.run)
            yield moved(state, index, done)
    if state.run is R.AWAITING_APPROVAL:
        known = progress(graph, state)
        for verdict in (GateStatus.APPROVED, GateStatus.REJECTED, GateStatus.EXPIRED):
            yield _all_carried_out(graph, state, outcome.of_plan_gate(verdict, known))
    if state.patience:
        yield from _interfered(graph, state)


@cache
def _absent(run: RunState) -> StepEvent:
    """Return what follows if a probe finds that a step of a lost worker did not happen."""
    probed = Probed(ProbeAnswer.DID_NOT_HAPPEN, "It is not there.")
    counts = {"tries": 1, "max_attempts": 1, "losses": 1}
    found = of_probe(probed, run=run, error=WORKER_LOST, **counts)
    assert found is not None
    return found.event


def _interfered(graph: Graph, state: State) -> Iterator[State]:
    """Return what people may do: pause, cancel, resume, retry, change the plan."""
    less = replace(state, patience=state.patience - 1)
    for event in (E.PAUSE_REQUESTED, E.CANCEL_REQUESTED):
        if RUN.allows(state.run, event):
            yield replace(less, run=RUN.next(state.run, event))
    known = progress(graph, state)
    if RUN.allows(state.run, E.RESUMED):
        yield _all_carried_out(graph, less, outcome.resume(known))
    if state.run is R.RUNNING and S.READY in state.steps:
        voided = moved(less, state.steps.index(S.READY), T.GATE_VOIDED)
        yield replace(voided, run=RUN.next(state.run, E.APPROVAL_VOIDED))
    if state.run is R.PAUSED:
        for failed in known.steps(S.FAILED):
            yield _all_carried_out(graph, less, outcome.try_again([failed], known))


def _all_carried_out(
    graph: Graph, state: State, actions: Iterable[decider.Action]
) -> State:
    for action in actions:
        state = _carried_out(graph, state, state, action, {})
    return state


def moved(state: State, index: int, event: StepEvent) -> State:
    """Return the state after one legal transition of a step."""
    steps = list(state.steps)
    steps[index] = STEP_RUN.next(steps[index], event)
    return replace(state, steps=tuple(steps))


@cache
def sure_of(graph: Graph) -> tuple[tuple[int, ...], ...]:
    """Per step those that its plain references may name, as validation says."""
    keys = range(len(graph.parents))
    edges = {
        str(key): [
            str(one) for one in {*graph.parents[key], graph.router(key)} - {None}
        ]
        for key in keys
    }
    joins = {
        str(key): Join(
            *rule_of(graph, key),
            router="" if graph.router(key) is None else str(graph.router(key)),
            conditional=key in graph.conditional,
            branches=((),) if graph.targets(key) else (),
        )
        for key in keys
    }
    ancestry = Ancestry(edges, [*edges], joins)
    return tuple(
        tuple(one for one in keys if ancestry.succeeded(str(one), str(key)))
        for key in keys
    )


def satisfied(graph: Graph, state: State, index: int) -> bool:
    """Check the trigger rules, written differently from the decider."""
    parents = [state.steps[parent] for parent in graph.parents[index]]
    if graph.router(index) is not None and index not in state.chosen:
        return False
    match graph.rules[index]:
        case "all_success":
            left = [now for now in parents if now is not S.SKIPPED_BY_CONDITION]
            return {S.SUCCEEDED} == {*left} or not parents
        case counted if counted.startswith("at_least"):
            return parents.count(S.SUCCEEDED) >= rule_of(graph, index)[1]
        case "one_success":
            return not parents or S.SUCCEEDED in parents
        case "all_done":
            return FINAL_STEP.issuperset(parents)
    raise ValueError(graph.rules[index])


def check(graph: Graph, state: State) -> None:
    """Check what holds in every state in which the decider has no action.

    :raises Violation: when it does not
    """
    at_work = sum(now in AT_WORK for now in state.steps)
    if state.run is R.RUNNING and not any(now in OPEN for now in state.steps):
        raise Violation(f"the run is stuck: {state}")
    if state.run is R.RUNNING and not any(
        now in OPEN - {S.PENDING} for now in state.steps
    ):
        raise Violation(f"nothing will ever move: {state}")
    if state.run is R.PAUSED and S.RUNNING in state.steps:
        raise Violation(f"paused while a step is running: {state}")
    if state.run in FINAL_RUN and any(now in OPEN for now in state.steps):
        raise Violation(f"it ended with open steps: {state}")
    if state.run is R.SUCCEEDED and not GOOD.issuperset(state.steps):
        raise Violation(f"it succeeded without some step: {state}")
    if graph.parallel_max == 1 and at_work > 1:
        raise Violation(f"two steps at work in a sequential run: {state}")
    if graph.parallel_max and state.steps.count(S.RUNNING) > graph.parallel_max:
        raise Violation(f"more steps running than the plan allows: {state}")
    if graph.parallel_max == 1:
        at_work += sum(now in HELD for now in state.steps)
    if state.run is R.RUNNING and (at_work < (graph.parallel_max or at_work + 1)):
        starved = [
            index
            for index, now in enumerate(state.steps)
            if now is S.PENDING and satisfied(graph, state, index)
        ]
        if starved and not _is_aborting(graph, state):
            raise Violation(f"a free slot is left unused: {state}")


def _is_aborting(graph: Graph, state: State) -> bool:
    """Return True if nothing new starts, because the run is about to end."""
    is_failing = graph.on_failure == "abort" and S.FAILED in state.steps
    return is_failing or S.REJECTED in state.steps
