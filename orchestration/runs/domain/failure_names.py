"""Name what went wrong: the failure that an event of the audit log stands for.

The names follow from stored events and errors; nothing is recorded twice.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple


class FailureName(StrEnum):
    TIMED_OUT = "TimedOut"  # something took too long
    ROUTING_FAILED = "RoutingFailed"  # it could not be decided whether a step runs
    FAILED = "Failed"  # an attempt, a step or a run failed otherwise
    COORDINATOR_HALTED = "CoordinatorHalted"  # the keeper could not change a run
    ESCALATED = "Escalated"  # only a person can say what happened
    TERMINATED = "Terminated"  # a user ended it


class FailureRule(NamedTuple):
    """Which events have a name: those of these kinds, with one of the codes if any."""

    name: FailureName
    kinds: tuple[str, ...]
    codes: tuple[str, ...] = ()


_ENDS = ("step.failed", "step.retry_later", "step.fell_back")
TIMEOUTS = ("step.timed_out", "command.timed_out", "input.expired", "wait.expired")
"""The error codes of what took too long; its event has `elapsed_ms`."""
RULES = (
    FailureRule(FailureName.ESCALATED, ("step.outcome_unknown",)),
    FailureRule(FailureName.TIMED_OUT, _ENDS, TIMEOUTS),
    FailureRule(
        FailureName.ROUTING_FAILED,
        _ENDS,
        ("step.condition_failed", "step.conditions_too_slow"),
    ),
    FailureRule(FailureName.FAILED, (*_ENDS, "run.failed")),
    FailureRule(
        FailureName.TIMED_OUT,
        ("run.sla_breached", "step.sla_breached", "run.expired", "gate.expired"),
    ),
    FailureRule(FailureName.COORDINATOR_HALTED, ("run.sweep_failed",)),
    FailureRule(FailureName.TERMINATED, ("run.cancelled", "step.cancelled")),
)
"""The first rule that fits gives the name."""


def name_of(kind: str, payload: Mapping[str, Any]) -> FailureName | None:
    """Return the name of the failure that an event is; None if it is not one."""
    error = payload.get("error")
    code = error.get("code", "") if isinstance(error, dict) else ""
    fits = (
        rule.name
        for rule in RULES
        if kind in rule.kinds and (not rule.codes or code in rule.codes)
    )
    return next(fits, None)
