"""Count the members of a container: the items of a list, or the steps of a sub-plan.

A container runs nothing itself. It is expanded while its members run, and its state at
the end follows from theirs.
"""

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

from orchestration.runs.domain.states import (
    AT_WORK,
    DELEGATED,
    FINAL_STEP,
    HELD,
    StepEvent,
    StepState,
)

SKIPPED_BY_USER = "step.skipped_by_user"
"""The error code of a failed step that a user has skipped."""

Order = tuple[int, ...]
"""The place of a step: that of its container, then its number in it."""

_TAKES_SLOT = AT_WORK | DELEGATED | {StepState.EXPANDED}
"""States of members that count for `max`."""


class Counted(NamedTuple):
    """What a member counts as."""

    state: StepState
    work: StepState
    """The state that counts for `max`: that of its fallback once this has started."""
    is_excused: bool = False
    """True if a user skipped it, so that its container can succeed without it."""


def counted(state: StepState, error: str, fallback: StepState | None) -> Counted:
    """Return what a member with this error code counts as.

    `fallback` is the state of its fallback.

    The fallback of a member runs in its place. While it waits for a user, or for another
    step with its concurrency key, it takes no place: that step may be a member too.
    """
    if state in DELEGATED and fallback in AT_WORK | HELD:
        return Counted(state, fallback)
    is_excused = state is StepState.SKIPPED and error == SKIPPED_BY_USER
    return Counted(state, state, is_excused)


class Group(NamedTuple):
    """How the members of a container decide its state."""

    join: str = "all"
    """The members that must succeed: `all`, `any` or `at_least`."""
    at_least: int = 0
    stop: bool = False
    """True if no member starts after one has failed."""
    max: int = 0
    """The number of members that may run at once; 0 for no limit."""
    is_plan: bool = False
    """True if the members are the steps of a sub-plan."""


class _Placed(Protocol):
    order: Order


N = TypeVar("N", bound=_Placed)


@dataclass(slots=True, eq=False)
class Members(Generic[N]):
    """The members of one container, by what matters for its state."""

    group: Group
    nodes: list[N] = field(default_factory=list)
    unfinished: int = 0
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    """Members that were skipped because of a failure."""
    excused: int = 0
    """Failed members that a user has skipped."""
    ended: int = 0
    """Members that were cancelled or rejected."""
    running: int = 0
    at_work: int = 0
    waiting_slots: int = 0
    """Pending members that may be released now; they count as if they ran."""
    queue: list[Order] = field(default_factory=list)
    """Pending members that wait until another one has finished, if `max` limits them."""

    @property
    def total(self) -> int:
        return len(self.nodes)

    @property
    def is_stopped(self) -> bool:
        return self.group.stop and self.failed > 0

    @property
    def may_run(self) -> bool:
        """True if one more ready member may be claimed."""
        return not self.group.max or self.running < self.group.max

    def add(self, node: N) -> None:
        self.nodes.append(node)

    def count(self, counted: Counted, sign: int) -> None:
        """Count a member that has come into a state, or left it."""
        state, work, is_excused = counted
        self.unfinished += sign * (state not in FINAL_STEP)
        self.succeeded += sign * (state is StepState.SUCCEEDED)
        self.failed += sign * (state is StepState.FAILED)
        self.skipped += sign * (state is StepState.SKIPPED and not is_excused)
        self.excused += sign * is_excused
        self.ended += sign * (state in {StepState.CANCELLED, StepState.REJECTED})
        self.running += sign * (work is StepState.RUNNING)
        self.at_work += sign * (work in _TAKES_SLOT)

    def admitted(self) -> list[Order]:
        """Take the members from the queue that may be released now."""
        free = self.group.max - self.at_work - self.waiting_slots
        taken = self.queue[: max(free, 0)]
        del self.queue[: len(taken)]
        self.waiting_slots += len(taken)
        return taken

    def withdraw(self, node: N) -> bool:
        """Forget a member that is no longer due; return False if it was admitted."""
        place = bisect_left(self.queue, node.order)
        if self.queue[place : place + 1] == [node.order]:
            del self.queue[place]
            return True
        self.waiting_slots -= 1
        return False

    def verdict(self) -> StepEvent:
        """Return the event of a container whose members have finished."""
        if self._is_met():
            return StepEvent.SUCCEEDED
        was_ended = self.ended and not self.failed and not self.skipped
        return StepEvent.CANCELLED if was_ended else StepEvent.FAILED

    def _is_met(self) -> bool:
        # In a sub-plan, steps after an excused one are skipped because of it.
        is_complete = not self.skipped or bool(self.group.is_plan and self.excused)
        none_lost = not self.failed and not self.ended and is_complete
        match self.group.join:
            case "all":
                return none_lost
            case "any":
                return self.succeeded > 0 or (none_lost and not self.excused)
            case _:
                return self.succeeded >= self.group.at_least
