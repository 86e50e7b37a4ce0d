"""Begin and end wait steps; a wait is a row with a time, and no process holds it."""

from datetime import datetime, timedelta
from typing import Any

from execfabric.lib.clock import stamp
from orchestration.plans.domain import waits
from orchestration.plans.domain.document import StepDocument
from orchestration.plans.errors import WaitInvalid
from orchestration.runs.domain.states import StepEvent, StepState
from orchestration.runs.engine import ends, events, scopes
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.models import StepRun


def begin(change: RunChange, step: StepRun, columns: dict[str, Any]) -> None:
    """Let a released step wait; a time in the past ends the wait at once.

    `columns` are those that its release sets.

    :raises EventKeyInvalid: when the key of an event is not a text or a number
    :raises ReferenceUnresolved: when a reference has no value
    :raises WaitInvalid: when a value is not a duration, or not a date and time
    """
    planned = change.plan_step(step)
    if planned.event is not None:
        events.begin(change, step, columns)
        return
    ends_at = _end_of(change, step, planned)
    if ends_at <= change.at:
        _succeed(change, step, ends_at, columns)
        return
    change.move_step(
        step,
        StepEvent.WAIT_STARTED,
        {"until": stamp(ends_at), **columns},
        not_before=ends_at,
        started_at=change.at,
        **columns,
    )


def _end_of(change: RunChange, step: StepRun, planned: StepDocument) -> datetime:
    if waits.times_of(planned):
        planned = waits.resolved(planned, scopes.scope_of(change, step, planned))
    ends_at = waits.moment_of(planned)
    if ends_at is None:
        return change.at + timedelta(seconds=waits.seconds_of(planned) or 0)
    if waits.is_too_late(ends_at, change.at):
        raise WaitInvalid("Cannot wait: until is more than 366 days away.")
    return ends_at


def end_if_due(change: RunChange, step: StepRun) -> bool:
    """End a wait whose time has come; return False if it has not, or the step moved on."""
    ends_at = step.not_before
    if step.state != StepState.WAITING or ends_at is None or ends_at > change.at:
        return False
    if change.plan_step(step).event is not None:
        return events.deliver(change, step) or events.expire(change, step)
    _succeed(change, step, ends_at, {})
    return True


def _succeed(
    change: RunChange, step: StepRun, ends_at: datetime, columns: dict[str, Any]
) -> None:
    ends.succeed(
        change,
        step,
        {"until": stamp(ends_at)},
        columns,
        not_before=None,
        started_at=step.started_at or change.at,
        **columns,
    )
