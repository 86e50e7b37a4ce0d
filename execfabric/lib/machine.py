"""State machines as tables of legal transitions."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

from execfabric.lib.refusal import Conflict

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


class IllegalTransition(Conflict):
    """This is not possible in the current state."""

    code = "state.illegal_transition"


class StaleTransition(Conflict):
    """The state has changed. Reload and try again."""

    code = "state.stale_transition"


@dataclass(frozen=True)
class StateMachine(Generic[S, E]):
    """A state machine: rows of (from, event, to)."""

    name: str
    initial: S
    rows: tuple[tuple[S, E, S], ...]
    final: frozenset[S]
    _moves: dict[tuple[S, E], S] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        moves: dict[tuple[S, E], S] = {}
        for source, event, target in self.rows:
            if (source, event) in moves:
                message = f"Duplicate rows for {source} on {event} in {self.name}."
                raise ValueError(message)
            moves[source, event] = target
        object.__setattr__(self, "_moves", moves)

    def next(self, state: S, event: E) -> S:
        """Return the next state.

        :raises IllegalTransition: when the table has no such row
        """
        try:
            return self._moves[state, event]
        except KeyError:
            raise IllegalTransition(
                f"A {self.name} that is {state} cannot be {event}.",
                machine=self.name,
                state=str(state),
                event=str(event),
            ) from None

    def allows(self, state: S, event: E) -> bool:
        """Return True if the table has a row for `state` and `event`."""
        return (state, event) in self._moves
