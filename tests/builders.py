"""Test data: plans as text, runs in a wanted state, and a worker that works inline."""

import atexit
import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from approvals.models import Gate
from execfabric.identity.models import User
from execfabric.lib import clock
from execfabric.lib.actor import system
from execfabric.lib.ids import span_id
from orchestration.plans.domain.rights import PlanRight
from orchestration.plans.services import rights
from orchestration.runs.control import dry_runs, gates, proposals
from orchestration.runs.domain.results import Finished, Result
from orchestration.runs.domain.states import FINAL_DRY_RUN, StepState
from orchestration.runs.engine import attempts, loading
from orchestration.runs.engine.attempts import Lease
from orchestration.runs.engine.loading import RunCache
from orchestration.runs.models import DryRun, Run, StepRun
from orchestration.runs.worker import dry_run_work, work
from orchestration.runs.worker.work import WorkerContext
from orchestration.skills.execution import Runner
from orchestration.skills.services import secrets

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
OPEN = ("requested", "partial")
DONE = Finished({}, {})
CACHED_RUNS = loading.CACHED_RUNS
"""How many runs a worker of a test remembers; with none it always locks the run."""
CACHE = RunCache(0)
"""What `claimed` and `completed` remember of their runs."""


def step(key: str, action: str = "echo", **fields: Any) -> dict[str, Any]:
    """Build a step of the laboratory skill; `after` is short for dependsOn."""
    made: dict[str, Any] = {"id": key, "skill": "lab", "action": action}
    if after := fields.pop("after", None):
        made["dependsOn"] = after if isinstance(after, list) else [after]
    return made | fields


def plan(*steps: dict[str, Any], **fields: Any) -> str:
    """Return the text of a plan with these steps."""
    made = {"id": "lab-plan", "name": "Laboratory plan", **fields, "steps": list(steps)}
    return json.dumps({"plan": made})


def chain(length: int, action: str = "echo") -> str:
    """Build a plan of a chain of steps."""
    keys = [f"s{number}" for number in range(length)]
    return plan(
        *(
            step(key, action, after=keys[index - 1] if index else None)
            for index, key in enumerate(keys)
        )
    )


def proposed(text: str, by: User, inputs: Mapping[str, Any] | None = None) -> Run:
    """Propose a run; its plan gate is open and its dry run has finished."""
    run = proposals.propose(
        text=text, inputs=inputs or {}, by=by.actor(), at=clock.now()
    )
    end_dry_runs()
    return run


def may_start(who: User, plan_id: str = "lab-plan") -> None:
    """Let a user propose runs of a plan that another one owns."""
    rights.grant(
        slug=plan_id,
        right=PlanRight.START,
        user=who.get_username(),
        by=system("test"),
        at=clock.now(),
    )


def end_dry_runs() -> None:
    """Carry out every queued dry run, as a worker does; wait for those others have."""
    until = time.monotonic() + 60
    unfinished = DryRun.objects.exclude(state__in=FINAL_DRY_RUN)
    while unfinished.exists():
        assert time.monotonic() < until, "a dry run does not end"
        queued = dry_runs.next_queued()
        if queued is None or not carried_out(queued):
            time.sleep(0.05)


def carried_out(dry_run_id: UUID) -> bool:
    """Carry out one dry run in this process, in a runner that all tests share."""
    secrets.open_here()
    home = _dry_home()
    return dry_run_work.carry_out(
        dry_run_id=dry_run_id,
        worker="test-worker",
        runner=dry_runner(),
        workdir=home / "work",
    )


@cache
def _dry_home() -> Path:
    home = Path(tempfile.mkdtemp(prefix="execfabric-test-dry-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return home


@cache
def dry_runner() -> Runner:
    """Return the runner that carries out dry runs in this process."""
    runner = Runner(home=_dry_home() / "home")
    atexit.register(runner.kill)
    return runner


def open_gate(run: Run, step_key: str = "") -> Gate:
    """Return the open gate of a run, or of one of its steps."""
    return Gate.objects.get(context_id=run.id, step=step_key, status__in=OPEN)


def decided(gate: Gate, by: User, *, approve: bool = True, comment: str = "") -> Gate:
    """Decide a gate on what it shows, and return it."""
    return gates.decide(
        gate_id=gate.id,
        by=by.actor(),
        approve=approve,
        digest=bytes(gate.digest).hex(),
        comment=comment or ("" if approve else "Not like this."),
        channel="api",
        at=clock.now(),
    )


def approved(text: str, by: User, operator: User, **inputs: Any) -> Run:
    """Propose a run and approve its plan; its first step is ready."""
    run = proposed(text, by, inputs)
    decided(open_gate(run), operator)
    run.refresh_from_db()
    return run


def a_worker(name: str = "test-worker") -> WorkerContext:
    """Make this process a worker with its own folder."""
    secrets.open_here()
    home = Path(tempfile.mkdtemp(prefix="execfabric-test-"))
    return WorkerContext(name=name, home=home, cache=RunCache(CACHED_RUNS))


def driven(run: Run, worker: WorkerContext) -> Run:
    """Return the run after a worker has done all that is ready."""
    while ready := run.steps.filter(state=StepState.READY).first():
        work.work(step_run_id=ready.id, context=worker)
    run.refresh_from_db()
    return run


def claimed(run: Run, key: str, worker: str = "doomed") -> Lease | None:
    """Claim a ready step, and do nothing else."""
    ready = run.steps.get(key=key)
    return attempts.claim(
        step_run_id=ready.id,
        worker=worker,
        session=span_id(),
        at=clock.now(),
        cache=CACHE,
    )


def completed(lease: Lease | None, result: Result = DONE) -> Lease | None:
    """Report the result of an attempt; return the attempt that its worker takes next."""
    assert lease is not None
    return attempts.complete(
        lease,
        result,
        worker="test-worker",
        session=span_id(),
        at=clock.now(),
        cache=CACHE,
    )


def states(run: Run) -> dict[str, str]:
    """Return the state of each step by key; a list counts, not its items."""
    rows = StepRun.objects.filter(run=run).order_by("-position")
    return dict(rows.values_list("key", "state"))


def outputs(run: Run) -> dict[str, Any]:
    """Return the output of each step by key; a list counts, not its items."""
    rows = StepRun.objects.filter(run=run).order_by("-position")
    return dict(rows.values_list("key", "output"))
