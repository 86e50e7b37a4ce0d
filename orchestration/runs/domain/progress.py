"""Index the steps of a run, so that a move costs only its children."""

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from orchestration.runs.domain.states import FINAL_STEP, StepState

UNANSWERED = "gate.expired"
UPSTREAM_FAILED = "step.upstream_failed"
_SKIPPED_BY_FAILURE = frozenset({UPSTREAM_FAILED, "step.skipped"})
"""Error codes of steps skipped because of a failure; older releases used the second."""

Key = Any
"""Identifies a step run; opaque and hashable."""


class StepStatus(NamedTuple):
    """A step run as the decider sees it."""

    key: Key
    name: str
    """The step's id in the plan, for messages."""
    state: StepState
    depends_on: tuple[Key, ...] = ()
    trigger_rule: str = "all_success"
    error: str = ""
    """The code of its stored error."""


@dataclass(slots=True, eq=False)
class _Node:
    position: int
    view: StepStatus
    children: list["_Node"] = field(default_factory=list)
    finished: int = 0
    """The number of parents in a final state."""
    succeeded: int = 0
    holds: bool | None = None
    """True if the trigger rule is met, False if it never will be, else None."""


class Progress:
    """The steps of a run by state, and the pending ones whose turn has come.

    All lists are in plan order, which is the order of adding.
    """

    def __init__(
        self,
        steps: Iterable[StepStatus],
        *,
        parallel_max: int = 1,
        on_failure: str = "pause",
    ) -> None:
        self.parallel_max = parallel_max
        """The number of steps that may run at once; 0 for no limit."""
        self.on_failure = on_failure
        self.unfinished = 0
        self._nodes: list[_Node] = []
        self._by_key: dict[Key, _Node] = {}
        self._in_state: dict[StepState, list[int]] = {state: [] for state in StepState}
        self._due: dict[bool, list[int]] = {True: [], False: []}
        for step in steps:
            self.add(step)

    def add(self, step: StepStatus) -> None:
        """Add a step at the end, after its parents."""
        node = _Node(len(self._nodes), step)
        self._nodes.append(node)
        self._by_key[step.key] = node
        for key in step.depends_on:
            parent = self._by_key[key]
            parent.children.append(node)
            _count(node, parent.view, 1)
        insort(self._in_state[step.state], node.position)
        self.unfinished += step.state not in FINAL_STEP
        self._consider(node)

    def moved(self, key: Key, state: StepState, error: str = "") -> None:
        """Set the state of a step and the code of its error."""
        node = self._by_key[key]
        before, now = node.view, node.view._replace(state=state, error=error)
        _remove(self._in_state[before.state], node.position)
        insort(self._in_state[state], node.position)
        self.unfinished += (before.state in FINAL_STEP) - (state in FINAL_STEP)
        node.view = now
        self._consider(node)
        for child in node.children:
            _count(child, before, -1)
            _count(child, now, 1)
            self._consider(child)

    def count(self, *states: StepState) -> int:
        return sum(len(self._in_state[state]) for state in states)

    def first(self, state: StepState) -> StepStatus | None:
        positions = self._in_state[state]
        return self._nodes[positions[0]].view if positions else None

    def steps(self, *states: StepState) -> list[StepStatus]:
        positions = sorted(
            position for state in states for position in self._in_state[state]
        )
        return [self._nodes[position].view for position in positions]

    def releasable(self, limit: int) -> list[StepStatus]:
        """Return the first pending steps whose trigger rule is met."""
        positions = self._due[True][: max(limit, 0)]
        return [self._nodes[position].view for position in positions]

    def unsatisfiable(self) -> list[StepStatus]:
        """Return the pending steps whose trigger rule can no longer be met."""
        return [self._nodes[position].view for position in self._due[False]]

    def may_start(self) -> bool:
        """Return True if one more ready step may be claimed."""
        running = self.count(StepState.RUNNING)
        return self.parallel_max == 0 or running < self.parallel_max

    def startable(self, limit: int) -> list[Key]:
        """Return the first ready steps that may be claimed."""
        if self.parallel_max:
            limit = min(limit, self.parallel_max - self.count(StepState.RUNNING))
        ready = self._in_state[StepState.READY][: max(limit, 0)]
        return [self._nodes[position].view.key for position in ready]

    def skipped_by_failure(self) -> list[StepStatus]:
        """Return the steps skipped because of a failure, not of a condition."""
        skipped = self.steps(StepState.SKIPPED)
        return [step for step in skipped if step.error in _SKIPPED_BY_FAILURE]

    def _consider(self, node: _Node) -> None:
        holds = _rule(node) if node.view.state is StepState.PENDING else None
        if holds is node.holds:
            return
        if node.holds is not None:
            _remove(self._due[node.holds], node.position)
        if holds is not None:
            insort(self._due[holds], node.position)
        node.holds = holds


def _rule(node: _Node) -> bool | None:
    """Return True if the trigger rule is met, False if it never will be, else None."""
    parents = len(node.view.depends_on)
    all_finished = node.finished == parents
    match node.view.trigger_rule:
        case "all_done":
            return True if all_finished else None
        case "one_success" if parents:
            return True if node.succeeded else (False if all_finished else None)
        case _ if node.succeeded == parents:
            return True
    return False if node.finished > node.succeeded else None


def _count(child: _Node, parent: StepStatus, sign: int) -> None:
    child.finished += sign * (parent.state in FINAL_STEP)
    child.succeeded += sign * (parent.state is StepState.SUCCEEDED)


def _remove(positions: list[int], position: int) -> None:
    del positions[bisect_left(positions, position)]
