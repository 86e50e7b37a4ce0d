"""Edit the parameters of a failed step: a new revision of the plan of its paused run.

Everything is checked before anything changes. The run then waits for the approval of the
new revision, and retries the step once it has it.
"""

from collections.abc import Mapping
from typing import Any

from approvals.domain.eligibility import exclusions
from approvals.services.gates import require_satisfiable
from execfabric.infra import disk
from execfabric.lib import canonical
from execfabric.lib.canonical import NotCanonical
from orchestration.plans import selectors as plans
from orchestration.plans.domain.document import PlanDocument, normal_form
from orchestration.plans.domain.edited_params import with_params
from orchestration.plans.domain.plan_text import NotEditable
from orchestration.plans.domain.subplans import joined, name_of, placed
from orchestration.plans.models import EDITED, PlanRevision
from orchestration.plans.services import check
from orchestration.plans.services.check import Bound, CheckedPlan
from orchestration.runs import selectors
from orchestration.runs.control import dry_runs, step_actions
from orchestration.runs.control.step_actions import Request
from orchestration.runs.domain.files import FILE, as_ids, references_in
from orchestration.runs.domain.guided import StepAct
from orchestration.runs.domain.states import RunState
from orchestration.runs.engine import edits, observing, subjects
from orchestration.runs.errors import (
    EditChangesNothing,
    EditNotWritable,
    PlanEditedSince,
)
from orchestration.runs.models import Run, StepRun


def edit(
    request: Request, params: Mapping[str, Any], *, replaces: bool = False
) -> StepRun:
    """Ask to retry a failed step with other parameters.

    `params` changes some parameters, or all of them if it `replaces` them. They are as
    the plan writes them, with references.

    :raises EditChangesNothing: when the step has these parameters already
    :raises EditNotWritable: when the text of the plan cannot say that
    :raises PlanEditedSince: when another user was faster
    :raises PlanInvalid: with every problem of the edited plan
    :raises Unsatisfiable: when no one could approve the edit
    :raises OldAttemptMayLive: when its last worker may still be running
    :raises TooManyDryRuns: when too many dry runs of `by` are unfinished
    :raises Refusal: see `step_actions.acting` and `specs.build`
    """
    run, step = _seen(request)
    document = plans.document(run.revision)
    known = document.by_id[step.key].params
    wanted = dict(params) if replaces else {**known, **params}
    text = _edited_text(run, step.key, known, wanted)
    disk.require_space()
    checked = _checked(run, document, text)
    _require_approvers(run, request)
    with step_actions.acting(StepAct.EDIT, request) as (change, row):
        if change.run.revision_id != run.revision_id:
            raise PlanEditedSince
        step_actions.require_safe(StepAct.EDIT, row, RunState(change.run.state))
        revision = _stored(run, row, checked, text, request)
        edits.begin(change, row, revision)
        dry_runs.queue(checked, run=change.run, by=request.by, at=request.at)
        return row


def _seen(request: Request) -> tuple[Run, StepRun]:
    """Return the step as it is now; the change looks again, under the lock."""
    run_id = step_actions.require_may_act(request)
    run = selectors.get(request.by, run_id)
    step = run.steps.get(pk=request.step_run_id)
    step_actions.require_legal(StepAct.EDIT, observing.observed(run), step)
    return run, step


def _edited_text(
    run: Run, key: str, known: Mapping[str, Any], params: Mapping[str, Any]
) -> str:
    try:
        if canonical.dumps(dict(params)) == canonical.dumps(dict(known)):
            raise EditChangesNothing
        return with_params(run.revision.source, key, params)
    except (NotEditable, NotCanonical) as error:
        raise EditNotWritable from error


def _checked(run: Run, document: PlanDocument, text: str) -> CheckedPlan:
    """Return the valid edited plan, bound to what the run is bound to.

    It is checked with the rights of the run's proposer, in whose name it runs.
    """
    files = {file["sha256"]: {FILE: file} for _, file in references_in(run.inputs)}
    checked = check.check(
        text=text,
        inputs=as_ids(run.inputs),
        by=run.proposed_by(),
        files=files.get,
        bound=_bound(run, document),
    )
    checked.require_valid()
    if {key: dict(pin) for key, pin in checked.pins.items()} != run.pins:
        raise EditNotWritable(
            "Cannot edit the step: the plan could not be bound to the skill versions of"
            " the run again. Propose the edited plan as a new run."
        )
    return checked


def _bound(run: Run, document: PlanDocument) -> Bound:
    """Return the versions and revisions that the run has where the plan names none."""
    versions: dict[str, str] = {}
    revisions: dict[str, int] = {}
    for each in placed(document, plans.included_documents(run.pins)):
        for key in each.plan.with_fallbacks([each.step.id]):
            step, pin = each.plan.by_key[key], run.pins.get(joined(each.around, key))
            if not pin:
                continue
            if step.kind == "plan":
                slug, number = name_of(step.plan)
                if number is None:
                    revisions[slug] = pin["revision"]
            elif step.version is None:
                versions[step.skill] = pin["version"]
    return Bound(versions, revisions)


def _require_approvers(run: Run, request: Request) -> None:
    """Check that enough users could approve the edit, without its author.

    :raises Unsatisfiable: with the groups that lack approvers
    """
    others = subjects.excluded_from(run)
    mine = exclusions(proposer=run.proposed_by(), editors=[request.by])
    require_satisfiable(
        requirements=subjects.PLAN_REQUIREMENTS, excluded=[*others, *mine]
    )


def _stored(
    run: Run, step: StepRun, checked: CheckedPlan, text: str, request: Request
) -> PlanRevision:
    return PlanRevision.objects.create(
        plan=run.revision.plan,
        number=EDITED,
        body=canonical.dumps(normal_form(checked.require_valid())),
        digest=checked.digest,
        source=text,
        author=request.by.key,
        author_name=request.by.name,
        author_owner=request.by.owner_key,
        created_at=request.at,
        parent=run.revision,
        edited_in=run.pk,
        edited_step=step.key,
        edit_reason=request.reason,
    )
