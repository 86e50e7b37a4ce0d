"""Index the steps of a run, so that a move costs only its children."""

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any, NamedTuple

from orchestration.runs.domain.due import Due
from orchestration.runs.domain.members import Counted, Group, Members, Order, counted
from orchestration.runs.domain.results import ABANDONED
from orchestration.runs.domain.states import FINAL_STEP, UNSTARTED, StepEvent, StepState

UNANSWERED = "gate.expired"
UPSTREAM_FAILED = "step.upstream_failed"
FALLBACK_FAILED = "step.fallback_failed"
NO_FALLBACK = frozenset(
    {FALLBACK_FAILED, "step.condition_failed", "step.content_changed"}
    | {"step.conditions_too_slow", ABANDONED}
)
"""Error codes of failed steps whose fallback does not run: it has failed too, the step
was perhaps not to run at all, or what was approved is no longer what is stored."""
_SKIPPED_BY_FAILURE = frozenset({UPSTREAM_FAILED, "step.skipped"})
"""Error codes of steps skipped because of a failure; older releases used the second."""

Key = Any
"""Identifies a step run; opaque and hashable."""


class StepStatus(NamedTuple):
    """A step run as the decider sees it."""

    key: Key
    name: str
    """The step's id in the plan, with its item, for messages."""
    state: StepState
    depends_on: tuple[Key, ...] = ()
    """The steps that its trigger rule counts."""
    trigger_rule: str = "all_success"
    error: str = ""
    """The code of its stored error."""
    at_least: int = 0
    """The number of successes that the rule `at_least` needs."""
    router: Key = None
    """The choose step that chooses it."""
    chosen: frozenset[str] = frozenset()
    """The names of the steps that this choose step has chosen."""
    parent: Key = None
    """The container that it is a member of, or the step whose fallback it is."""
    group: Group | None = None
    """For a container, how its members decide its state."""
    has_fallback: bool = False
    on_error: str = ""


@dataclass(slots=True, eq=False)
class _Node:
    order: Order
    view: StepStatus
    children: list["_Node"] = field(default_factory=list)
    chosen: list["_Node"] = field(default_factory=list)
    """The steps that this choose step chooses from."""
    router: "_Node | None" = None
    finished: int = 0
    """The number of parents in a final state."""
    succeeded: int = 0
    left_out: int = 0
    """The number of parents that a condition has skipped."""
    due: Due | None = None
    container: "_Node | None" = None
    """The container of a member, or the step whose fallback this is."""
    fallback: "_Node | None" = None
    members: "Members[_Node] | None" = None
    counted: Counted | None = None
    """What its container counts it as."""


class Progress:
    """The steps of a run by state, and the pending ones whose turn has come.

    All lists are in plan order, which is the order of adding; the members of a container
    come directly after it.
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
        self._nodes: dict[Order, _Node] = {}
        self._by_key: dict[Key, _Node] = {}
        self._in_state: dict[StepState, list[Order]] = {s: [] for s in StepState}
        self._due: dict[Due, list[Order]] = {due: [] for due in Due}
        self._roots = count()
        for step in steps:
            self.add(step)

    def add(self, step: StepStatus) -> None:
        """Add a step at the end, after its parents, or as the last of its container."""
        container = self._by_key[step.parent] if step.parent is not None else None
        members = container.members if container else None
        if container and members:
            order: Order = (*container.order, members.total)
        elif container:
            order = (*container.order, 0)
        else:
            order, container = (next(self._roots),), None
        node = _Node(order, step, container=container)
        if container and not members:
            container.fallback = node
        if step.group is not None:
            node.members = Members(step.group)
        self._nodes[order] = node
        self._by_key[step.key] = node
        for key in step.depends_on:
            parent = self._by_key[key]
            parent.children.append(node)
            _count(node, parent.view, 1)
        if step.router is not None:
            node.router = self._by_key[step.router]
            node.router.chosen.append(node)
        insort(self._in_state[step.state], order)
        self.unfinished += step.state not in FINAL_STEP
        if members:
            members.add(node)
        self._count_member(_in_place_of(node))
        self._consider(node)

    def moved(
        self,
        key: Key,
        state: StepState,
        error: str = "",
        chosen: frozenset[str] = frozenset(),
    ) -> None:
        """Set the state of a step, the code of its error, and what it has chosen."""
        node = self._by_key[key]
        before = node.view
        now = before._replace(state=state, error=error, chosen=chosen)
        _remove(self._in_state[before.state], node.order)
        insort(self._in_state[state], node.order)
        self.unfinished += (before.state in FINAL_STEP) - (state in FINAL_STEP)
        node.view = now
        self._consider(node)
        for child in node.children:
            _count(child, before, -1)
            _count(child, now, 1)
            self._consider(child)
        for child in node.chosen:
            self._consider(child)
        if node.fallback is not None:
            self._consider(node.fallback)
        if node.container is not None:
            self._count_member(_in_place_of(node))
            self._consider(node.container)

    def count(self, *states: StepState) -> int:
        return sum(len(self._in_state[state]) for state in states)

    def first(self, state: StepState) -> StepStatus | None:
        orders = self._in_state[state]
        return self._nodes[orders[0]].view if orders else None

    def first_failed(self) -> StepStatus | None:
        """Return the first failed step outside containers that no user has left behind."""
        failed = self.roots(StepState.FAILED)
        return next((step for step in failed if not self._is_left_behind(step)), None)

    def _is_left_behind(self, step: StepStatus) -> bool:
        is_pause = (step.on_error or self.on_failure) == "pause"
        return is_pause and self.is_abandoned(step)

    def is_abandoned(self, step: StepStatus) -> bool:
        """Return True for a failed step that was abandoned, or all that failed in it."""
        if step.state is not StepState.FAILED or step.error == ABANDONED:
            return step.state is StepState.FAILED
        failed = [m for m in self.members(step.key) if m.state is StepState.FAILED]
        return bool(failed) and all(map(self.is_abandoned, failed))

    def steps(self, *states: StepState) -> list[StepStatus]:
        orders = sorted(order for state in states for order in self._in_state[state])
        return [self._nodes[order].view for order in orders]

    def roots(self, *states: StepState) -> list[StepStatus]:
        """Return the steps in these states that are not members of a container."""
        return [step for step in self.steps(*states) if self.container(step) is None]

    def container(self, step: StepStatus) -> StepStatus | None:
        """Return the container that a step is a member of."""
        return node.view if (node := self._by_key[step.key].container) else None

    def members(self, key: Key) -> list[StepStatus]:
        """Return the members of a container; empty for any other step."""
        members = self._by_key[key].members
        return [node.view for node in members.nodes] if members else []

    def releasable(self, limit: int) -> list[StepStatus]:
        """Return the first pending steps whose trigger rule is met."""
        orders = self._due[Due.RELEASE][: max(limit, 0)]
        return [self._nodes[order].view for order in orders]

    def unsatisfiable(self) -> list[StepStatus]:
        """Return the pending steps that a failure keeps from ever starting."""
        return self._views(Due.FAILURE_SKIP)

    def left_out(self) -> list[StepStatus]:
        """Return the pending steps that conditions keep from ever starting."""
        return self._views(Due.CONDITION_SKIP)

    def stopped(self) -> list[StepStatus]:
        """Return the members that do not start because another one has failed."""
        return self._views(Due.STOP)

    def closable(self) -> list[tuple[StepStatus, StepEvent]]:
        """Return the containers whose members have finished, with their events."""
        nodes = [self._nodes[order] for order in self._due[Due.CLOSE]]
        return [(n.view, n.members.verdict()) for n in nodes if n.members]

    def falling_back(self) -> list[StepStatus]:
        """Return the failed steps whose fallback has to start."""
        return self._views(Due.FALL_BACK)

    def fallen_back(self) -> list[StepStatus]:
        """Return the steps whose fallback has finished."""
        return self._views(Due.END_FALLBACK)

    def fallback_of(self, key: Key) -> StepStatus | None:
        return node.view if (node := self._by_key[key].fallback) else None

    def _views(self, due: Due) -> list[StepStatus]:
        return [self._nodes[order].view for order in self._due[due]]

    def may_start(self) -> bool:
        """Return True if one more ready step may be claimed."""
        running = self.count(StepState.RUNNING)
        return self.parallel_max == 0 or running < self.parallel_max

    def may_claim(self, key: Key) -> bool:
        """Return True if this ready step may be claimed besides those that run."""
        return self.may_start() and _may_run(self._by_key[key])

    def startable(self, limit: int) -> list[Key]:
        """Return the first ready steps that may be claimed."""
        if self.parallel_max:
            limit = min(limit, self.parallel_max - self.count(StepState.RUNNING))
        nodes = (self._nodes[order] for order in self._in_state[StepState.READY])
        ready = (node.view.key for node in nodes if _may_run(node))
        return [*islice(ready, max(limit, 0))]

    def skipped_by_failure(self) -> list[StepStatus]:
        """Return the steps skipped because of a failure, not of a condition."""
        skipped = self.steps(StepState.SKIPPED)
        return [step for step in skipped if step.error in _SKIPPED_BY_FAILURE]

    def _count_member(self, node: _Node) -> None:
        """Count a member that has moved or was added, and consider its container."""
        container = node.container
        members = container.members if container else None
        if container is None or members is None:
            return
        was_stopped = members.is_stopped
        if node.counted is not None:
            members.count(node.counted, -1)
        fallback = node.fallback.view.state if node.fallback else None
        node.counted = counted(node.view.state, node.view.error, fallback)
        members.count(node.counted, 1)
        if members.is_stopped is not was_stopped:
            for other in members.nodes:
                self._consider(other)
        self._admit(members)
        self._consider(container)

    def _consider(self, node: _Node) -> None:
        due = _due(node)
        if due is node.due:
            return
        members = node.container.members if node.container else None
        limited = members if members and members.group.max else None
        was_queued = node.due is Due.RELEASE and limited and limited.withdraw(node)
        if node.due is not None and not was_queued:
            _remove(self._due[node.due], node.order)
        node.due = due
        if due is Due.RELEASE and limited:
            insort(limited.queue, node.order)
            self._admit(limited)
        elif due is not None:
            insort(self._due[due], node.order)

    def _admit(self, members: "Members[_Node]") -> None:
        """Let as many members be due for release as may run besides those that do."""
        for order in members.admitted():
            insort(self._due[Due.RELEASE], order)


def _may_run(node: _Node) -> bool:
    container = _in_place_of(node).container
    members = container.members if container else None
    return members is None or members.may_run


def _in_place_of(node: _Node) -> _Node:
    """Return the step whose fallback this is; any other step itself."""
    owner = node.container
    return owner if owner is not None and owner.fallback is node else node


def _due(node: _Node) -> Due | None:
    """Return what a step is due for."""
    state, container = node.view.state, node.container
    if state is StepState.EXPANDED:
        is_done = node.members is not None and not node.members.unfinished
        return Due.CLOSE if is_done else None
    if node.view.has_fallback and state in {StepState.FAILED, StepState.FALLING_BACK}:
        return _due_to_fall_back(node)
    is_stopped = container and container.members and container.members.is_stopped
    if is_stopped and state in UNSTARTED:
        return Due.STOP
    return _due_if_pending(node) if state is StepState.PENDING else None


def _due_to_fall_back(node: _Node) -> Due | None:
    if node.view.state is StepState.FAILED:
        return None if node.view.error in NO_FALLBACK else Due.FALL_BACK
    is_over = node.fallback is not None and node.fallback.view.state in FINAL_STEP
    return Due.END_FALLBACK if is_over else None


def _due_if_pending(node: _Node) -> Due | None:
    """Return what a pending step is due for; its choose step is asked first.

    The answer must not depend on which parent finishes first, or one plan would end in
    different ways: while a parent may still fail, no condition skips the step.
    """
    container = node.container
    if container is not None and container.fallback is node:
        is_due = container.view.state is StepState.FALLING_BACK
        return Due.RELEASE if is_due else None
    if node.router is not None:
        choice = _choice(node.router.view, node.view.name)
        if choice is not Due.RELEASE:
            return choice
    return _rule(node)


def _choice(router: StepStatus, name: str) -> Due | None:
    if router.state not in FINAL_STEP:
        return None
    if router.state is StepState.SUCCEEDED and name in router.chosen:
        return Due.RELEASE
    is_left_out = router.state in {StepState.SUCCEEDED, StepState.SKIPPED_BY_CONDITION}
    return Due.CONDITION_SKIP if is_left_out else Due.FAILURE_SKIP


def _rule(node: _Node) -> Due | None:
    """Return what the trigger rule says, by the successes that it still can get."""
    parents = len(node.view.depends_on)
    all_finished = node.finished == parents
    failed = node.finished - node.succeeded - node.left_out
    match node.view.trigger_rule:
        case "all_done":
            return Due.RELEASE if all_finished else None
        case "one_success":
            needed = min(1, parents)
        case "at_least":
            needed = node.view.at_least
        case _:
            return _all_success(node, failed=failed, all_finished=all_finished)
    if node.succeeded >= needed:
        return Due.RELEASE
    if failed and failed + node.left_out > parents - needed:
        return Due.FAILURE_SKIP
    if not all_finished:
        return None
    return Due.FAILURE_SKIP if failed else Due.CONDITION_SKIP


def _all_success(node: _Node, *, failed: int, all_finished: bool) -> Due | None:
    if failed:
        return Due.FAILURE_SKIP
    if not all_finished:
        return None
    has_parents = bool(node.view.depends_on)
    return Due.RELEASE if node.succeeded or not has_parents else Due.CONDITION_SKIP


def _count(child: _Node, parent: StepStatus, sign: int) -> None:
    child.finished += sign * (parent.state in FINAL_STEP)
    child.succeeded += sign * (parent.state is StepState.SUCCEEDED)
    child.left_out += sign * (parent.state is StepState.SKIPPED_BY_CONDITION)


def _remove(orders: list[Order], order: Order) -> None:
    del orders[bisect_left(orders, order)]
