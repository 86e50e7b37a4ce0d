"""What the table of a state machine says as a whole."""

from typing import Any

from execfabric.lib.machine import StateMachine


def states(machine: StateMachine[Any, Any]) -> frozenset[Any]:
    """Return the states of all rows, and the initial one."""
    ends = ({source, target} for source, _, target in machine.rows)
    return frozenset({machine.initial}).union(*ends)


def reachable(machine: StateMachine[Any, Any]) -> frozenset[Any]:
    """Return the states that can be reached from the initial one."""
    seen: set[Any] = set()
    fresh = {machine.initial}
    while fresh:
        seen |= fresh
        fresh = {to for source, _, to in machine.rows if source in seen} - seen
    return frozenset(seen)
