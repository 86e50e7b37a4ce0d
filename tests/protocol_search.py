"""Visit every state of the model of the protocol, and check what has to hold in each.

Breadth first, so that the first trace that breaks an invariant is a shortest one.
"""

from collections import deque
from dataclasses import dataclass

from tests.protocol_model import DENIED, FINAL, SYSTEM, State
from tests.protocol_moves import Protocol


@dataclass(frozen=True)
class Found:
    """The result of a search: an invariant that does not hold, and how to break it."""

    states: int
    broken: str = ""
    trace: tuple[str, ...] = ()
    ends: frozenset[str] = frozenset()
    """The final states of runs that it has reached."""

    def __str__(self) -> str:
        return "\n".join([self.broken, *self.trace])


def search(protocol: Protocol) -> Found:
    """Visit every state; return the first invariant that does not hold, if any."""
    first = protocol.started().canonical()
    came: dict[State, tuple[State | None, str]] = {first: (None, "the run starts")}
    backwards: dict[State, list[State]] = {}
    fresh = deque([first])
    resting: list[State] = []
    while fresh:
        state = fresh.popleft()
        if broken := state.broken or _broken(protocol, state):
            return Found(len(came), broken, _trace(came, state))
        moves = list(protocol.moves(state))
        for move in moves:
            then = move.state.canonical()
            if then not in came:
                came[then] = state, f"{move.actor}: {move.name}"
                fresh.append(then)
            if move.actor in SYSTEM:
                backwards.setdefault(then, []).append(state)
        if state.run in FINAL:
            resting.append(state)
        elif person := protocol.waits_for(state):
            if not any(move.actor == person for move in moves):
                message = f"it waits for the {person}, who can do nothing"
                return Found(len(came), message, _trace(came, state))
            resting.append(state)
    stuck = _stuck(came, backwards, resting)
    if stuck is not None:
        return Found(
            len(came), "it neither ends nor waits for a person", _trace(came, stuck)
        )
    ends = frozenset(state.run for state in resting) & FINAL
    return Found(len(came), ends=ends)


def _broken(protocol: Protocol, state: State) -> str:
    """Return the invariant of a state that does not hold."""
    for index, step in enumerate(state.steps):
        is_denied = step.state in DENIED and not protocol.scenario.may_rerun(index)
        if is_denied and step.effects:
            return f"a step with an effect is {step.state}, as if nothing had happened"
    if state.run == "rolled_back":
        for index in state.completed:
            if not state.steps[protocol.scenario.undo_of(index)].effects:
                return "a run is rolled back, and a step of it is not undone"
    return ""


def _stuck(
    came: dict[State, tuple[State | None, str]],
    backwards: dict[State, list[State]],
    resting: list[State],
) -> State | None:
    """Return a state from which the system alone reaches neither an end nor a person."""
    can = set(resting)
    fresh = list(resting)
    while fresh:
        for before in backwards.get(fresh.pop(), ()):
            if before not in can:
                can.add(before)
                fresh.append(before)
    return next((state for state in came if state not in can), None)


def _trace(
    came: dict[State, tuple[State | None, str]], state: State | None
) -> tuple[str, ...]:
    names: list[str] = []
    while state is not None:
        state, name = came[state]
        names.append(name)
    return tuple(reversed(names))
