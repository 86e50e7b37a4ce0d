"""What one reader can do about a failed step, and why not, in words."""

from dataclasses import dataclass
from uuid import UUID

from execfabric.lib.actor import Actor
from execfabric.lib.refusal import Refusal
from orchestration.plans.domain.undo import is_undo
from orchestration.runs import selectors
from orchestration.runs.control import step_actions
from orchestration.runs.control.control import may_control
from orchestration.runs.domain import guided
from orchestration.runs.domain.consequences import Consequences
from orchestration.runs.domain.guided import StepAct
from orchestration.runs.domain.states import FINAL_RUN, RunState, StepState
from orchestration.runs.engine import observing
from orchestration.runs.engine.ends import NAMED, listed
from orchestration.runs.models import Run, StepRun
from orchestration.runs.pages import run_waits

NOT_YOURS = "Only operators, admins and the proposer can do this."
LABELS = {
    StepAct.RETRY: "Retry step",
    StepAct.EDIT: "Edit and retry",
    StepAct.SKIP: "Skip step",
    StepAct.COMPLETE: "Complete by hand",
    StepAct.FALLBACK: "Run fallback",
}
TEXTS = {
    StepAct.RETRY: "Runs the step again, with its inputs resolved again.",
    StepAct.EDIT: "Retries it with other parameters, once another person has approved them.",
    StepAct.SKIP: "Continues without it. The run then ends as partly succeeded.",
    StepAct.COMPLETE: "You did its work yourself, and enter its output.",
    StepAct.FALLBACK: "Runs the fallback that the plan declares for this step.",
}
UNDO_TEXTS = {
    StepAct.RETRY: "Runs the undo again, as it was planned.",
    StepAct.SKIP: "What the step did stays. The rollback then ends as failed.",
    StepAct.COMPLETE: "You undid the step yourself. It counts as compensated.",
    StepAct.FALLBACK: "",
}
DONE = {
    StepAct.RETRY: "Step set to run again.",
    StepAct.EDIT: "Edit stored.",
    StepAct.SKIP: "Step skipped.",
    StepAct.COMPLETE: "Step completed by hand.",
    StepAct.FALLBACK: "Fallback started.",
}


@dataclass(frozen=True)
class Offer:
    """An act on a step, and why it is not possible, or ""."""

    act: StepAct
    why_not: str
    is_undo: bool = False
    """True for an act on an undo, after which its rollback continues."""

    @property
    def label(self) -> str:
        return LABELS[self.act]

    @property
    def text(self) -> str:
        return (TEXTS | UNDO_TEXTS if self.is_undo else TEXTS)[self.act]


@dataclass(frozen=True)
class Offers:
    """The acts on a step for one reader; `skip` is what a skip would lead to."""

    row: StepRun
    acts: list[Offer]
    skip: Consequences | None = None

    @property
    def possible(self) -> list[Offer]:
        return [offer for offer in self.acts if not offer.why_not]

    @property
    def others(self) -> list[Offer]:
        return [offer for offer in self.acts if offer.why_not]

    def of(self, act: StepAct) -> Offer:
        return next(offer for offer in self.acts if offer.act is act)


def is_shown(row: StepRun) -> bool:
    """Return True for a failed step of an open run, or an undo that stopped a rollback."""
    state = RunState(row.run.state)
    if is_undo(row.key):
        return state is RunState.ROLLBACK_FAILED and row.state in guided.STOPPED_UNDO
    return row.state == StepState.FAILED and state not in FINAL_RUN


def offers_of(row: StepRun, by: Actor, *, foresee: bool = False) -> Offers:
    """Return what `by` can do about a step; `foresee` adds what a skip leads to."""
    loaded = observing.observed(row.run)
    undo, state = is_undo(row.key), RunState(row.run.state)
    if undo:
        status = loaded.status_of_undo(loaded.steps[row.pk])
        found = {act: guided.why_not_undo(act, status, state) for act in StepAct}
    else:
        facts = step_actions.facts_of(row.run)
        status = loaded.status(loaded.steps[row.pk])
        found = guided.actions_for(status, loaded.progress, run=facts, kind=row.kind)
    mine = may_control(row.run, by)
    acts = [
        Offer(act, why_not or _hindrance(act, row, by, mine=mine), is_undo=undo)
        for act, why_not in found.items()
    ]
    can_skip = foresee and not undo and not found[StepAct.SKIP]
    skip = observing.consequences_of_skip(row.run, row) if can_skip else None
    return Offers(row, acts, skip)


def _hindrance(act: StepAct, row: StepRun, by: Actor, *, mine: bool) -> str:
    if not mine:
        return NOT_YOURS
    try:
        step_actions.require_safe(act, row, RunState(row.run.state))
        if act is StepAct.COMPLETE:
            step_actions.require_may_complete(row.run, row, by)
    except Refusal as refusal:
        return refusal.message
    return ""


def by_id(by: Actor, step_run_id: UUID) -> Offers:
    """Return what `by` can do about a step run, and what a skip leads to.

    :raises StepUnknown: when it does not exist, or `by` may not see its run
    """
    run_id = selectors.run_of_step(by, step_run_id)
    return offers_of(selectors.step(by, run_id, str(step_run_id)), by, foresee=True)


def sentence_after(run: Run) -> str:
    """Return what the run does after an act, and what keeps it from continuing."""
    failed = run.steps.filter(state=StepState.FAILED, parent=None)
    names = list(failed.order_by("position").values_list("key", flat=True)[: NAMED + 1])
    if RunState(run.state) in run_waits.STOPPED and names:
        return f"The run stays paused. Failed too: {listed(names)}."
    return run_waits.said_of(run)
