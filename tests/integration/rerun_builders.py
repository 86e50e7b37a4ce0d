"""Build finished runs, and reruns of them."""

from collections.abc import Mapping
from typing import Any

from execfabric.identity.models import User
from execfabric.lib import clock
from orchestration.runs.control import proposals
from orchestration.runs.domain.states import RunState
from orchestration.runs.models import Run, StepRun
from orchestration.runs.worker.work import WorkerContext
from orchestration.trace.services import streams
from tests.builders import (
    approved,
    decided,
    driven,
    end_dry_runs,
    open_gate,
    plan,
    step,
)

WORD = {"type": "object", "properties": {"word": {"type": "string"}}}


def effects(*more: dict[str, Any], **fields: Any) -> str:
    """Return a plan whose first step has an effect and returns a file."""
    return plan(
        step("first", "witness", params={"mark": "first", "file": "a note"}),
        step("second", "echo", after="first", params={"word": "$inputs.word"}),
        step(
            "third",
            "witness",
            after="second",
            params={"mark": "third", "note": "$first.files.note"},
        ),
        *more,
        **{"inputs": WORD} | fields,
    )


def finished(
    text: str, by: User, operator: User, worker: WorkerContext, **inputs: Any
) -> Run:
    """Return a run that a worker has carried out."""
    run = driven(approved(text, by, operator, **inputs), worker)
    errors = [*run.steps.values_list("key", "state", "error")]
    assert run.finished_at, (run.state, run.reason, errors)
    return run


def rerun_of(run: Run, by: User, from_step: str = "", **fields: Any) -> Run:
    """Propose a run again."""
    return proposals.rerun(
        run_id=run.pk, by=by.actor(), at=clock.now(), from_step=from_step, **fields
    )


def rerun(run: Run, by: User, from_step: str = "", **fields: Any) -> Run:
    """Propose a run again; its dry run has finished."""
    made = rerun_of(run, by, from_step, **fields)
    end_dry_runs()
    return made


def with_approval(run: Run, operator: User) -> Run:
    """Return a proposed run, approved unless its approval was carried over."""
    end_dry_runs()
    if run.state == RunState.AWAITING_APPROVAL:
        decided(open_gate(run), operator)
    return run


def run_again(
    run: Run,
    by: User,
    operator: User,
    worker: WorkerContext,
    from_step: str = "",
    **fields: Any,
) -> Run:
    """Return a rerun that is approved and that a worker has carried out."""
    made = with_approval(rerun_of(run, by, from_step, **fields), operator)
    return driven(made, worker)


def reused(run: Run) -> Mapping[str, bool]:
    """Return for each step of a plan whether it has reused a result."""
    rows = StepRun.objects.filter(run=run, parent=None)
    return {row.key: row.reused_from_id is not None for row in rows}


def marks(witness: Any) -> list[str]:
    """Return what steps have written, in order."""
    return [line.split()[0] for line in witness.read()]


def verified(run: Run) -> None:
    """Check that the record of a run explains every row."""
    result = streams.verify_stream(run.stream)
    assert (result.broken, result.differences) == (None, [])
