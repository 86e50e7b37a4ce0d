"""Find what needs a person in the rows of runs; each source is one function.

To add a kind, add it to the domain with its words, and its function to `SOURCES`.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from approvals import selectors as approvals
from approvals.domain.states import OPEN
from approvals.models import INPUT, Gate
from approvals.selectors import StillEligible
from audit import selectors as audit
from orchestration.plans.domain import fallbacks
from orchestration.runs import selectors
from orchestration.runs.domain.attention import (
    AttentionItem,
    AttentionKind,
    kind_of_failure,
)
from orchestration.runs.domain.states import FINAL_RUN, RunState, StepState
from orchestration.runs.engine.quarantine import DESCRIPTIONS, REPORTED_FAILURES, Duty
from orchestration.runs.models import Run, StepRun, SweepFailure, stream_of

LIMIT = 200
"""Maximum items of one source."""
NO_WORKER_AFTER = timedelta(minutes=1)
"""Time after which a ready step, or a probe, without a worker needs a person."""
_STOPPED = (RunState.PAUSING, RunState.PAUSED)
Source = Callable[["QuerySet[Run]", datetime], Iterator[AttentionItem]]


def _about(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.pk,
        "plan": run.revision.plan.name,
        "proposer": run.proposer,
        "proposer_name": run.proposer_name,
    }


def _of_step(step: StepRun) -> dict[str, Any]:
    return _about(step.run) | {"step": step.label, "address": step.address}


def _steps(runs: "QuerySet[Run]") -> "QuerySet[StepRun]":
    """Return the steps of unfinished runs, with what an item says about them."""
    active = runs.order_by().exclude(state__in=FINAL_RUN).values("pk")
    rows = StepRun.objects.filter(run__in=active)
    rows = rows.select_related("run__revision__plan")
    large = [f"run__{name}" for name in sorted(selectors.LARGE)]
    return rows.defer("output", "files", "item_value", "condition", *large)


def unknown_outcomes(runs: "QuerySet[Run]", at: datetime) -> Iterator[AttentionItem]:
    """Find steps whose outcome is unknown, and no probe asks about it in time."""
    unasked = Q(probe_at=None) | Q(probe_at__lt=at - NO_WORKER_AFTER)
    rows = _steps(runs).filter(unasked, state=StepState.INDETERMINATE)
    found = list(rows.order_by("pk")[:LIMIT])
    moments = audit.moments({(stream_of(row.run_id), row.seq) for row in found})
    for row in found:
        yield AttentionItem(
            kind=AttentionKind.OUTCOME,
            id=f"{row.pk}.{row.generation}",
            text=f"Step “{row.label}” may or may not have taken effect.",
            since=moments.get((stream_of(row.run_id), row.seq)),
            **_of_step(row),
        )


def failed_steps(runs: "QuerySet[Run]", _at: datetime) -> Iterator[AttentionItem]:
    """Find failed steps of paused runs; of a list, the items that failed."""
    members = StepRun.objects.filter(parent=OuterRef("pk"), state=StepState.FAILED)
    inner = members.exclude(key__endswith=fallbacks.SUFFIX)
    rows = _steps(runs).filter(state=StepState.FAILED, run__state__in=_STOPPED)
    rows = rows.exclude(key__endswith=fallbacks.SUFFIX).exclude(Exists(inner))
    for row in rows.order_by("finished_at")[:LIMIT]:
        error = row.error or {}
        yield AttentionItem(
            kind=kind_of_failure(str(error.get("code", ""))),
            id=f"{row.pk}.{row.generation}",
            text=f"Step “{row.label}” failed: {error.get('message', '')}",
            since=row.finished_at,
            **_of_step(row),
        )


def stopped_rollbacks(runs: "QuerySet[Run]", _at: datetime) -> Iterator[AttentionItem]:
    """Find runs whose rollback has stopped, unless users have decided on each undo."""
    left = selectors.undos_left().filter(run=OuterRef("pk"))
    stopped = runs.filter(Exists(left), state=RunState.ROLLBACK_FAILED)
    stopped = stopped.defer(*selectors.LARGE)
    for run in stopped.order_by("finished_at")[:LIMIT]:
        yield AttentionItem(
            kind=AttentionKind.ROLLBACK,
            id=str(run.pk),
            text=run.reason,
            since=run.finished_at,
            **_about(run),
        )


def late(runs: "QuerySet[Run]", _at: datetime) -> Iterator[AttentionItem]:
    """Find runs and steps that have not ended in time."""
    breached = {"breached_at__isnull": False, "finished_at": None}
    unfinished = runs.filter(**breached).exclude(state__in=FINAL_RUN)
    for run in unfinished.defer(*selectors.LARGE).order_by("breached_at")[:LIMIT]:
        yield AttentionItem(
            kind=AttentionKind.LATE,
            id=str(run.pk),
            text=f"The run was due at {run.due_at:%Y-%m-%d %H:%M:%S} UTC.",
            since=run.due_at,
            **_about(run),
        )
    for row in _steps(runs).filter(**breached).order_by("breached_at")[:LIMIT]:
        yield AttentionItem(
            kind=AttentionKind.LATE,
            id=f"{row.pk}.{row.generation}",
            text=f"Step “{row.label}” was due at {row.due_at:%Y-%m-%d %H:%M:%S} UTC.",
            since=row.due_at,
            **_of_step(row),
        )


def sweep_failures(runs: "QuerySet[Run]", _at: datetime) -> Iterator[AttentionItem]:
    """Find runs that the keeper cannot change."""
    failures = {
        row.subject: row
        for row in SweepFailure.objects.filter(failures__gte=REPORTED_FAILURES)[:LIMIT]
    }
    visible = runs.filter(pk__in=failures).exclude(state__in=FINAL_RUN)
    for run in visible.defer(*selectors.LARGE) if failures else ():
        row = failures[run.pk]
        yield AttentionItem(
            kind=AttentionKind.SWEEP,
            id=str(run.pk),
            text=f"Cannot {DESCRIPTIONS[Duty(row.duty)]}: {row.failures} attempts failed."
            " See the keeper's log.",
            since=None,
            **_about(run),
        )


def unsatisfiable_gates(runs: "QuerySet[Run]", at: datetime) -> Iterator[AttentionItem]:
    """Find open approvals for which too few users are left."""
    active = runs.order_by().exclude(state__in=FINAL_RUN)
    gates = Gate.objects.filter(
        status__in=OPEN, expires_at__gt=at, context_id__in=active.values("pk")
    )
    given = approvals.decisions_of(
        gates.defer("subject").order_by("requested_at")[:LIMIT]
    )
    eligible = approvals.still_eligible_of(given) if given else {}
    short = {gate: _short(gate, groups) for gate, groups in eligible.items()}
    stuck = {gate: groups for gate, groups in short.items() if groups}
    rows = runs.filter(pk__in={gate.context_id for gate in stuck})
    by_id = {run.pk: run for run in rows.defer(*selectors.LARGE)} if stuck else {}
    for gate, groups in stuck.items():
        names = ", ".join(f"“{each.group}”" for each in groups)
        what = f"Step “{gate.label}”" if gate.step else "The plan"
        yield AttentionItem(
            kind=AttentionKind.GATE,
            id=str(gate.pk),
            text=f"{what} needs an approval, and too few users of group {names} can give it.",
            since=gate.requested_at,
            step=gate.step,
            gate_id=gate.pk,
            **_about(by_id[gate.context_id]),
        )


def _short(gate: Gate, groups: list[StillEligible]) -> list[StillEligible]:
    """Return the groups with too few users; one answer of any group is enough."""
    short = [each for each in groups if each.have + len(each.people) < each.count]
    is_answerable = gate.subject_kind == INPUT and len(short) < len(groups)
    return [] if is_answerable else short


def without_worker(runs: "QuerySet[Run]", at: datetime) -> Iterator[AttentionItem]:
    """Find ready steps that no worker has claimed for a while, one of each run."""
    running = StepRun.objects.filter(run=OuterRef("run"), state=StepState.RUNNING)
    ready = _steps(runs).filter(state=StepState.READY, run__state=RunState.RUNNING)
    # A run whose places are all taken waits for its own steps.
    idle = ready.filter(~Exists(running)).order_by("run_id", "position")
    rows = list(idle.distinct("run_id")[:LIMIT])
    moments = audit.moments({(stream_of(row.run_id), row.seq) for row in rows})
    for row in rows:
        since = moments.get((stream_of(row.run_id), row.seq))
        if since is not None and at - since >= NO_WORKER_AFTER:
            yield AttentionItem(
                kind=AttentionKind.NO_WORKER,
                id=f"{row.pk}.{row.generation}",
                text=f"Step “{row.label}” is ready, and no worker has taken it.",
                since=since,
                **_of_step(row),
            )


SOURCES: list[Source] = [
    unknown_outcomes,
    failed_steps,
    stopped_rollbacks,
    unsatisfiable_gates,
    sweep_failures,
    late,
    without_worker,
]
