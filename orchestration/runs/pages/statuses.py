"""Read what runs do now, for any number of runs with the same few queries."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F, Window
from django.db.models.functions import RowNumber

from approvals import selectors as approvals
from approvals.domain.states import OPEN
from approvals.models import INPUT, Gate
from approvals.selectors import StillEligible
from audit import selectors as audit
from execfabric.infra import database
from orchestration.plans.domain.waits import event_text
from orchestration.runs.domain.run_status import (
    RunFacts,
    RunStatus,
    StepCounts,
    WaitingFor,
    WaitKind,
    status_of,
)
from orchestration.runs.domain.states import FINAL_RUN, RunState, StepState
from orchestration.runs.engine import places
from orchestration.runs.models import CONTAINERS, EventWait, Run, StepRun, stream_of

NAMED = 20
"""Steps per run and state that a status names."""
GATES = 200
"""Open gates that the statuses of one page name."""
_STOPPED = frozenset({RunState.PAUSING, RunState.PAUSED})
_PROCEEDING = frozenset({RunState.RUNNING, RunState.QUEUED})
_KINDS = {
    StepState.INDETERMINATE: WaitKind.OUTCOME,
    StepState.FAILED: WaitKind.FAILURE,
    StepState.WAITING: WaitKind.TIME,
    StepState.BACKOFF: WaitKind.RETRY,
    StepState.READY: WaitKind.WORKER,
}
"""What a step in each state makes its run wait for."""
_IN_ANY_STATE = frozenset({StepState.INDETERMINATE, StepState.FAILED})
_COLUMNS = (
    "run_id",
    "key",
    "item",
    "state",
    "seq",
    "generation",
    "not_before",
    "probe_at",
    "started_at",
    "finished_at",
)
# The last part is the time in which at least one step was running: attempts side by side
# count once.
_COUNTED = """
SELECT run_id, state, parent_id IS NULL, count(*),
  count(*) FILTER (WHERE breached_at IS NOT NULL AND finished_at IS NULL), NULL::float8
FROM runs_steprun WHERE run_id = ANY (%s) GROUP BY 1, 2, 3
UNION ALL
SELECT worked.run_id, '', false, 0, 0, (
  SELECT sum(extract(epoch FROM upper(part) - lower(part)))::float8
  FROM unnest(worked.parts) AS part
) FROM (
  SELECT step.run_id, range_agg(tstzrange(
    attempt.started_at, greatest(attempt.started_at, coalesce(attempt.ended_at, %s))
  )) AS parts
  FROM runs_attempt AS attempt JOIN runs_steprun AS step ON step.id = attempt.step_run_id
  WHERE step.run_id = ANY (%s) GROUP BY step.run_id
) AS worked
"""


@dataclass
class StepRows:
    """The step runs of one run, in numbers, and the first ones that matter."""

    states: Counter[str] = field(default_factory=Counter)
    """The number of step runs per state, with items."""
    roots: Counter[str] = field(default_factory=Counter)
    """The number of steps of the plan per state."""
    late: int = 0
    """The number of unfinished step runs that are late."""
    worked_s: float = 0.0
    steps: list[StepRun] = field(default_factory=list)
    waits: list[WaitingFor] = field(default_factory=list)


def attach(runs: Collection[Any], *, at: datetime) -> None:
    """Give each run its status, as `run.shown_status`."""
    statuses = of_runs(runs, at=at)
    for run in runs:
        run.shown_status = statuses[run.pk]


def of_runs(
    runs: Collection[Run],
    *,
    at: datetime,
    counts: dict[UUID, StepRows] | None = None,
    eligible: Mapping[Gate, list[StillEligible]] | None = None,
) -> dict[UUID, RunStatus]:
    """Return what each run does now.

    A caller that knows them passes `counts`, those of `count`, and `eligible`, the open
    gates with those who can decide them.
    """
    rows = count(runs, at=at) if counts is None else counts
    active = {run.pk: run for run in runs if run.state not in FINAL_RUN}
    _add_steps(rows, active)
    if eligible is None:
        eligible = _eligible(rows, active)
    _add_gates(rows, eligible)
    _add_places(rows, active)
    moments = _moments(rows, active)
    return {run.pk: _status(run, rows[run.pk], moments, at=at) for run in runs}


def count(runs: Iterable[Run], *, at: datetime) -> dict[UUID, StepRows]:
    """Count the step runs of each run."""
    rows = {run.pk: StepRows() for run in runs}
    ids = [*rows]
    counted = database.rows(_COUNTED, [ids, at, ids]) if ids else []
    for run_id, state, is_of_plan, number, late, worked_s in counted:
        of_run = rows[run_id]
        if number:
            of_run.states[state] += number
            of_run.roots[state] += number if is_of_plan else 0
        of_run.late += late
        of_run.worked_s += worked_s or 0.0
    return rows


def _add_steps(rows: Mapping[UUID, StepRows], active: Mapping[UUID, Run]) -> None:
    """Read the first steps in each state that says what their run does."""
    named = {StepState.RUNNING, *_KINDS}
    of = [pk for pk in active if named & rows[pk].states.keys()]
    if not of:
        return
    number = Window(
        RowNumber(),
        partition_by=[F("run_id"), F("state")],
        order_by=F("position").asc(),
    )
    # A container fails because of a member, and a fallback replaces its step.
    steps = StepRun.objects.filter(run__in=of, state__in=named)
    steps = steps.exclude(state=StepState.FAILED, kind__in=CONTAINERS)
    for step in steps.annotate(number=number).filter(number__lte=NAMED).only(*_COLUMNS):
        rows[step.run_id].steps.append(step)


def _eligible(
    rows: Mapping[UUID, StepRows], active: Mapping[UUID, Run]
) -> dict[Gate, list[StillEligible]]:
    """Return the open gates of the runs that have one, and who can decide them."""
    of = [
        pk
        for pk, run in active.items()
        if run.state == RunState.AWAITING_APPROVAL or rows[pk].states[StepState.GATED]
    ]
    if not of:
        return {}
    gates = Gate.objects.filter(context_id__in=of, status__in=OPEN).defer("subject")
    given = approvals.decisions_of(gates.order_by("requested_at", "pk")[:GATES])
    return approvals.still_eligible_of(given)


def _add_gates(
    rows: Mapping[UUID, StepRows], eligible: Mapping[Gate, list[StillEligible]]
) -> None:
    """Add which approvals and answers are missing."""
    for gate, groups in eligible.items():
        missing = [(each.group, each.count - each.have) for each in groups]
        is_answer = gate.subject_kind == INPUT
        rows[gate.context_id].waits.append(
            WaitingFor(
                kind=WaitKind.ANSWER if is_answer else WaitKind.APPROVAL,
                step=gate.step and gate.label,
                groups=tuple((group, count) for group, count in missing if count > 0),
                since=gate.requested_at,
                until=gate.expires_at,
            )
        )


def _add_places(rows: Mapping[UUID, StepRows], active: Mapping[UUID, Run]) -> None:
    """Read which runs and steps wait for a place, and for whom."""
    of = [
        pk
        for pk, run in active.items()
        if run.state == RunState.QUEUED or rows[pk].states[StepState.QUEUED]
    ]
    for run_id, items in (places.queues_of(of) if of else {}).items():
        for item in items:
            rows[run_id].waits.append(
                WaitingFor(
                    kind=WaitKind.PLACE,
                    step=item.step,
                    name=item.place.key,
                    run=item.before[0]["run"] if item.before else "",
                    since=item.place.entered_at,
                )
            )


def _moments(
    rows: Mapping[UUID, StepRows], active: Mapping[UUID, Run]
) -> dict[tuple[str, int], datetime]:
    """Return when each run, and each step that it waits for, came into its state."""
    keys = {(run.stream, run.seq) for run in active.values() if run.state in _STOPPED}
    keys |= {
        (stream_of(step.run_id), step.seq)
        for each in rows.values()
        for step in each.steps
        if step.state in {StepState.INDETERMINATE, StepState.READY, StepState.BACKOFF}
    }
    return audit.moments(keys) if keys else {}


def _status(
    run: Run,
    rows: StepRows,
    moments: Mapping[tuple[str, int], datetime],
    *,
    at: datetime,
) -> RunStatus:
    running = [step for step in rows.steps if step.state == StepState.RUNNING]
    facts = RunFacts(
        state=RunState(run.state),
        proposed_at=run.created_at,
        finished_at=run.finished_at,
        counts=StepCounts(rows.roots),
        waits=[*_stop(run, rows, moments), *_of_steps(run, rows, moments), *rows.waits],
        running=[(step.label, step.started_at) for step in running],
        running_count=rows.states[StepState.RUNNING],
        worked_s=rows.worked_s,
    )
    return status_of(facts, at=at)


def _stop(
    run: Run, rows: StepRows, moments: Mapping[tuple[str, int], datetime]
) -> list[WaitingFor]:
    """Return the wait of a run that a user has paused."""
    is_explained = rows.states[StepState.FAILED] or rows.states[StepState.INDETERMINATE]
    if run.state not in _STOPPED or is_explained:
        return []
    since = moments.get((run.stream, run.seq))
    return [WaitingFor(kind=WaitKind.RESUME, since=since)]


def _of_steps(
    run: Run, rows: StepRows, moments: Mapping[tuple[str, int], datetime]
) -> list[WaitingFor]:
    """Return what the steps wait for; a stopped run waits for users only."""
    state = RunState(run.state)
    awaited = _awaited(rows.steps)
    waits = []
    for step in rows.steps:
        kind = _KINDS.get(StepState(step.state))
        if step.probe_at is not None:
            kind = WaitKind.PROBE
        if kind is None or (
            step.state not in _IN_ANY_STATE and state not in _PROCEEDING
        ):
            continue
        if kind is WaitKind.FAILURE and state not in _STOPPED:
            continue
        name = awaited.get(step.pk, "")
        moved_at = moments.get((stream_of(step.run_id), step.seq))
        is_wait = kind is WaitKind.TIME
        waits.append(
            WaitingFor(
                kind=WaitKind.EVENT if name else kind,
                step=step.label,
                name=name,
                since=step.finished_at or (step.started_at if is_wait else moved_at),
                until=step.not_before,
            )
        )
    return waits


def _awaited(steps: Iterable[StepRun]) -> dict[UUID, str]:
    """Return the events that these steps wait for, in words."""
    waiting = [step.pk for step in steps if step.state == StepState.WAITING]
    rows = EventWait.objects.filter(
        step_run__in=waiting, generation=F("step_run__generation")
    )
    found = rows if waiting else ()
    return {row.step_run_id: event_text(row.type, row.key) for row in found}
