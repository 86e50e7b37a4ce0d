"""Each failure under each policy with each action, as `docs/failures.md` lists them.

With `EXECFABRIC_WRITE_FAILURES=1` they write the page instead of comparing it.
"""

import os
from collections.abc import Callable, Mapping
from datetime import timedelta

import pytest

from approvals.models import Gate
from execfabric.identity.models import User
from execfabric.lib import clock
from execfabric.lib.refusal import Refusal
from orchestration.runs.control import (
    control,
    proposals,
    recovery,
    step_actions,
)
from orchestration.runs.control.step_actions import Request
from orchestration.runs.domain import outcome
from orchestration.runs.domain.states import StepState
from orchestration.runs.keeper import sweep
from orchestration.runs.models import Attempt, Run, StepRun
from orchestration.runs.pages.run_page import StepLine
from orchestration.runs.worker import work
from orchestration.runs.worker.work import WorkerContext
from tests.builders import approved, claimed, decided, driven, open_gate
from tests.database import record_attempts
from tests.failure_matrix import (
    HEAD,
    ITSELF,
    KINDS,
    PAGE,
    POLICIES,
    Cell,
    Kind,
    Results,
    heading,
    page,
    table,
    table_on,
)
from tests.integration.rollback_builders import rolled_back

pytestmark = [
    pytest.mark.django_db(transaction=True),
    # Who may approve what the operator does.
    pytest.mark.usefixtures("registry", "witness", "second_operator"),
]
WRITES = bool(os.environ.get("EXECFABRIC_WRITE_FAILURES"))
FOUND: dict[str, Results] = {}
REASON = "Tried by a test."
DAYS = timedelta(days=40)
Action = Callable[[StepRun, User], object]


def resolving(*, happened: bool | None) -> Action:
    """Return an action that resolves an unknown outcome."""
    return lambda step, by: recovery.resolve(
        step_run_id=step.pk,
        happened=happened,
        evidence="Looked at the target.",
        by=by.actor(),
        at=clock.now(),
    )


def acting(act: Callable[..., object], **fields: str) -> Action:
    """Return an action on a failed step."""
    return lambda step, by: act(
        Request(step.pk, REASON, by.actor(), clock.now()), **fields
    )


def controlling(act: Callable[..., object], **fields: str) -> Action:
    """Return an action on the run of a step."""
    return lambda step, by: act(
        run_id=step.run_id, by=by.actor(), at=clock.now(), **fields
    )


ACTIONS: Mapping[str, Action] = {
    "Resume the run": controlling(control.resume),
    "Retry": acting(step_actions.retry),
    "Skip": acting(step_actions.skip),
    "Complete by hand": acting(step_actions.complete, evidence="Done by hand."),
    "Run fallback": acting(step_actions.fall_back),
    "Resolve as happened": resolving(happened=True),
    "Resolve as not happened": resolving(happened=False),
    "Abandon the outcome": resolving(happened=None),
    "Roll back": lambda step, by: rolled_back(step.run, by, reason=REASON),
    "Abort the run": controlling(control.abort, reason=REASON),
    "Cancel the run": controlling(control.cancel),
    "Run again": controlling(proposals.rerun),
}


def fail(
    kind: Kind, policy: str, people: tuple[User, User], worker: WorkerContext
) -> StepRun:
    """Return the failed step of a run in which nothing more happens by itself."""
    run = approved(kind.plan(policy), *people)
    if kind.how in {"lost", "dead", "poison"}:
        driven_once(run, worker)
        for _ in range(outcome.MAX_LOSSES if kind.how == "poison" else 1):
            lose_worker(run)
    settled(run, worker)
    if kind.how == "rejected":
        decided(open_gate(run, "middle"), people[1], approve=False)
    if kind.how == "expired":
        sweep.sweep(at=clock.now() + DAYS)
    if kind.how == "undo" and policy != "rollback":
        rolled_back(run, people[1])
    settled(run, worker)
    # A slow machine must not reach the deadline of a lost attempt by itself.
    ago = DAYS if kind.how == "dead" else timedelta(minutes=-10)
    record_attempts(ago, Attempt.objects.filter(step_run__run=run))
    return run.steps.get(key=kind.step, item=kind.item)


def driven_once(run: Run, worker: WorkerContext) -> None:
    """Let a worker do the first step and nothing after it."""
    worker.is_ending = True
    work.work(step_run_id=run.steps.get(key="first").pk, context=worker)
    worker.is_ending = False


def lose_worker(run: Run) -> None:
    """Let the worker of the step be killed, and its lease expire."""
    claimed(run, "middle")
    StepRun.objects.filter(run=run, key="middle").update(
        lease_until=clock.now() - timedelta(minutes=1)
    )
    sweep.sweep(at=clock.now())


def settled(run: Run, worker: WorkerContext) -> Run:
    """Return a run when nothing more happens by itself."""
    while driven(run, worker).steps.filter(state=StepState.BACKOFF).exists():
        sweep.sweep(at=clock.now() + timedelta(minutes=5))
    return run


def cell(step: StepRun) -> Cell:
    step = StepRun.objects.select_related("run").get(pk=step.pk)
    gate = Gate.objects.filter(pk=step.gate_id).first()
    return Cell((step.run.state, StepLine(step, None, "", gate).state))


def tried(action: Action, step: StepRun, by: User) -> Cell:
    """Return what an action leads to."""
    try:
        made = action(step, by)
    except Refusal as refusal:
        return Cell(refusal=f"{refusal.message} `{refusal.code}`")
    is_new = isinstance(made, Run) and made.pk != step.run_id
    return Cell((made.state,)) if is_new else cell(step)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_failure_leads_to_what_the_page_says(kind, proposer, operator, worker):
    found = {}
    for policy in POLICIES:
        failed: StepRun | None = None
        for name, action in ACTIONS.items():
            failed = failed or fail(kind, policy, (proposer, operator), worker)
            before = found[policy, ITSELF] = cell(failed)
            after = found[policy, name] = tried(action, failed, operator)
            if after.refusal:
                # It has changed nothing, so the next action can use the same run.
                assert cell(failed) == before
            else:
                failed = None

    FOUND[kind.name] = found
    if not WRITES:
        assert table(found) == table_on(PAGE.read_text(), kind)


def test_the_page_has_all_failures():
    if WRITES:
        PAGE.write_text(page(FOUND))
    text = PAGE.read_text()
    assert text.startswith(HEAD)
    assert all(heading(kind) in text for kind in KINDS)
    assert text.count("\n## ") == len(KINDS)
