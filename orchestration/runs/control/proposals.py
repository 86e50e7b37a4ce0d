"""Propose a run: validate it, pin skill versions, queue a dry run, open its gate."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from approvals.domain.eligibility import exclusions
from approvals.services.gates import require_satisfiable
from audit import services as audit
from execfabric.identity.authority import require
from execfabric.infra import disk
from execfabric.lib import canonical
from execfabric.lib.actor import Actor
from execfabric.lib.ids import parent_trace, trace_id
from execfabric.lib.rights import Right
from orchestration.plans import history as plan_history
from orchestration.plans import selectors as plans
from orchestration.plans.domain import concurrency
from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.plans.domain.references import Scope
from orchestration.plans.domain.rights import PlanRight
from orchestration.plans.domain.rollback import planned_undos
from orchestration.plans.errors import PlanNotPermitted
from orchestration.plans.models import PlanRevision
from orchestration.plans.services import check, saving
from orchestration.plans.services.check import Bound, CheckedPlan
from orchestration.runs import history, selectors
from orchestration.runs.control import dry_runs, rerun_checks, uploads
from orchestration.runs.domain import failure_policy
from orchestration.runs.domain.files import as_ids, with_names
from orchestration.runs.domain.states import FINAL_RUN, RunState
from orchestration.runs.engine import subjects
from orchestration.runs.engine.advance import open_plan_gate
from orchestration.runs.engine.containers import columns_of
from orchestration.runs.engine.locking import lock_run
from orchestration.runs.errors import KeyReused, KeyTooLong, RunNotEnded, StepUnknown
from orchestration.runs.models import Run, StepRun

LONGEST_KEY = 200


@dataclass(frozen=True)
class Origin:
    """What proposes a run in the name of a user, such as a schedule."""

    name: str
    """Stored in the event of the proposal, for example `schedule:<id>`."""
    record: Callable[[Run], None]
    """Called in the transaction that creates the run; an error rolls the run back."""


@dataclass(frozen=True)
class Provenance:
    """What a run was made from, and what it is a part of."""

    template: PlanRevision | None = None
    """The revision that the proposer has edited."""
    parent_trace_id: str = ""
    origin: Origin | None = None
    rerun_of: Run | None = None
    """The finished run that it runs again."""
    rerun_from: str = ""
    """The path of the first step that runs in any case; empty for all of them."""

    def columns(self, revision: PlanRevision) -> dict[str, Any]:
        """Return the columns of a run of `revision`."""
        is_edited = self.template and self.template.pk != revision.pk
        template = self.template if is_edited else None
        return {
            "template": template,
            "parent_trace_id": self.parent_trace_id,
            "rerun_of": self.rerun_of,
            "rerun_from": self.rerun_from,
        }

    def fact(self, run: Run) -> dict[str, Any]:
        """Return what the event of the proposal says about it."""
        origin = self.origin.name if self.origin else ""
        found = {"origin": origin, "parent_trace_id": run.parent_trace_id}
        stated: dict[str, Any] = {name: text for name, text in found.items() if text}
        if run.rerun_of_id:
            rerun = {"rerun_of": str(run.rerun_of_id), "rerun_from": run.rerun_from}
            stated |= {name: text for name, text in rerun.items() if text}
        if run.template is None:
            return stated
        row = run.template
        named = {"plan": row.plan.slug, "revision": row.number, "digest": row.digest}
        return stated | {"template": named}


def propose(
    *,
    text: str,
    inputs: Mapping[str, Any],
    by: Actor,
    at: datetime,
    idempotency_key: str = "",
    template: str = "",
    traceparent: str = "",
) -> Run:
    """Propose a plan and queue its dry run; nothing runs before its gate is approved.

    A request that is repeated with its idempotency key returns the first one's run.
    `template` names the saved plan that was edited, such as `assemble-service@3`;
    `traceparent` is the W3C header of the system that proposes.

    :raises KeyTooLong: when the idempotency key is too long
    :raises KeyReused: when the key was used for another request
    :raises DiskFull: when there is no room for new work
    :raises RightMissing: when `by` may not propose
    :raises PlanInvalid: with every problem in `details["problems"]`
    :raises InputFileGone: when an uploaded file was removed meanwhile
    :raises PlanIdTaken: when another user has just taken the plan id
    :raises TooManyDryRuns: when too many dry runs of `by` are unfinished
    :raises Unsatisfiable: when no one could approve what this proposer proposes
    :raises PlanUnknown: when the template does not exist or is hidden from `by`
    :raises RevisionUnknown: when it does not have the revision
    """
    content = {"text": text, "inputs": dict(inputs)}
    request = _request(
        idempotency_key, content | ({"template": template} if template else {})
    )
    made = Provenance(
        template=plans.named_revision(by, template) if template else None,
        parent_trace_id=parent_trace(traceparent),
    )
    return _propose(text, inputs, request, made, by=by, at=at)


def start(
    *,
    slug: str,
    inputs: Mapping[str, Any],
    by: Actor,
    at: datetime,
    number: int | None = None,
    idempotency_key: str = "",
    origin: Origin | None = None,
    traceparent: str = "",
) -> Run:
    """Propose a run of a saved plan: of a revision, by default of the newest one.

    The errors are those of `propose`, and:

    :raises PlanUnknown: when the plan does not exist or is hidden from `by`
    :raises PlanNotPermitted: when `by` may not start it
    :raises RevisionUnknown: when it does not have the revision
    """
    plan = plans.get(by, slug)
    if not plans.may(by, PlanRight.START, plan):
        raise PlanNotPermitted(plan=slug)
    # Without the text: a repeated request is the same when a newer revision exists.
    content = {"plan": slug, "revision": number, "inputs": dict(inputs)}
    request = _request(idempotency_key, content)
    text = plans.revision(plan, number).source
    made = Provenance(parent_trace_id=parent_trace(traceparent), origin=origin)
    return _propose(text, inputs, request, made, by=by, at=at)


def rerun(
    *,
    run_id: UUID,
    by: Actor,
    at: datetime,
    from_step: str = "",
    inputs: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
    idempotency_key: str = "",
    traceparent: str = "",
) -> Run:
    """Propose the revision of a finished run again, with its inputs or others.

    `inputs` replaces all inputs, and `changes` some of them. The step with the path
    `from_step` and those after it run; the others reuse results that would be the same.
    Without it all steps run. The errors are those of `propose`, and:

    :raises RunUnknown: when the run does not exist, or `by` may not see it
    :raises RunNotEnded: when it has not ended
    :raises StepUnknown: when the plan does not have the step
    :raises RerunStepUnresolved: when the outcome of one of its steps is unknown
    :raises OldAttemptMayLive: when the lost worker of a step may still be running
    :raises RerunOutcomeUnknown: when it would repeat an effect that may have happened,
        of a step that is neither `from_step` nor after it
    """
    original = selectors.get(by, run_id)
    require_ended(original)
    wanted = {"run": str(run_id), "from": from_step}
    request = _request(
        idempotency_key,
        {**wanted, "inputs": inputs and dict(inputs), "changes": dict(changes or {})},
    )
    values = as_ids(original.inputs) if inputs is None else dict(inputs)
    made = Provenance(
        parent_trace_id=parent_trace(traceparent),
        rerun_of=original,
        rerun_from=from_step,
    )
    text = original.revision.source
    return _propose(text, values | dict(changes or {}), request, made, by=by, at=at)


def require_ended(run: Run) -> None:
    """Check that a run can be run again.

    :raises RunNotEnded: when it has not ended
    """
    if run.state not in FINAL_RUN:
        raise RunNotEnded(run=str(run.pk), state=run.state)


def _propose(
    text: str,
    inputs: Mapping[str, Any],
    request: Mapping[str, str],
    made: Provenance,
    *,
    by: Actor,
    at: datetime,
) -> Run:
    require(by, Right.PROPOSE)
    if request and (first := _run_of_key(request, by)):
        return first
    disk.require_space()
    files = uploads.finder(by, at)
    known = made.rerun_of.revision if made.rerun_of else None
    bound = Bound() if known else None
    checked = check.check(
        text=text, inputs=inputs, by=by, files=files, at=at, bound=bound
    )
    document = checked.require_valid()
    if made.rerun_from and made.rerun_from not in checked.paths:
        raise StepUnknown(
            f"The plan does not have a step {made.rerun_from!r}.", step=made.rerun_from
        )
    if made.rerun_of is not None:
        rerun_checks.require_repeatable(made.rerun_of, made.rerun_from)
        named = with_names(checked.inputs, inputs, made.rerun_of.inputs)
        checked = replace(checked, inputs=named)
    author = plans.author_of(document.id, checked.digest)
    written = [row.written_by() for row in known.lineage] if known else []
    included = {row.pk: row for row in plans.included(checked.pins).values()}
    require_satisfiable(
        requirements=subjects.PLAN_REQUIREMENTS,
        excluded=exclusions(
            proposer=by,
            editors=[
                *([author] if author else []),
                *written,
                *(row.written_by() for row in included.values()),
            ],
        ),
    )
    try:
        with transaction.atomic(durable=True):
            run = _create(document, checked, text, request, made, by=by, at=at)
            if made.origin:
                made.origin.record(run)
            return run
    except IntegrityError:
        # The same request was sent twice at once, and the other one was first.
        if request and (first := _run_of_key(request, by)):
            return first
        raise


def _request(key: str, content: Mapping[str, Any]) -> dict[str, str]:
    """Return the columns that recognize a repeated request; empty without a key."""
    if not key:
        return {}
    if len(key) > LONGEST_KEY:
        raise KeyTooLong
    digest = canonical.digest_of("execfabric/proposal/v1", dict(content))
    return {"idempotency_key": key, "request_digest": digest}


def _run_of_key(request: Mapping[str, str], by: Actor) -> Run | None:
    """Return the run that `by` proposed with this key, if any.

    :raises KeyReused: when it was proposed with another request
    """
    run = Run.objects.filter(
        proposer=by.key, idempotency_key=request["idempotency_key"]
    ).first()
    if run and run.request_digest != request["request_digest"]:
        raise KeyReused
    return run


def _create(
    document: PlanDocument,
    checked: CheckedPlan,
    text: str,
    request: Mapping[str, str],
    made: Provenance,
    *,
    by: Actor,
    at: datetime,
) -> Run:
    """Store the run with its steps, its plan gate and its queued dry run."""
    revision = made.rerun_of.revision if made.rerun_of else None
    if revision is None or revision.digest != checked.digest:
        revision, _ = saving.stored(document, checked.digest, text, by=by, at=at)
    run = Run.objects.create(
        revision=revision,
        inputs=dict(checked.inputs),
        pins={key: dict(pin) for key, pin in checked.pins.items()},
        parallel_max=document.at_once,
        rollback_after=_rollback_after(document, checked),
        trace_id=trace_id(),
        proposer=by.key,
        proposer_name=by.name,
        proposer_owner=by.owner_key,
        created_at=at,
        concurrency_key=_key(document, checked),
        **made.columns(revision),
        **request,
    )
    steps = StepRun.objects.bulk_create(_steps(checked, document.by_id, run))
    files = uploads.attach(run)
    included = {key: pin for key, pin in run.pins.items() if "revision_id" in pin}
    audit.open_stream(run.stream)
    change = lock_run(run.id, by=by, at=at)
    change.record(
        "run.proposed",
        {
            "plan": document.id,
            "revision": revision.number,
            "digest": revision.digest,
            "inputs": canonical.digest_of("execfabric/inputs/v1", run.inputs),
            "steps": list(checked.order),
            **({"files": files} if files else {}),
            **made.fact(run),
            **({"plans": included} if included else {}),
        },
        rows=[
            plan_history.PLAN.born(revision.plan),
            plan_history.REVISION.born(revision),
            history.RUN.born(run),
            *map(history.STEP.born, steps),
        ],
    )
    open_plan_gate(change)
    change.close()
    if change.run.state == RunState.AWAITING_APPROVAL:
        dry_runs.queue(checked, run=run, by=by, at=at)
    return change.run


def _rollback_after(document: PlanDocument, checked: CheckedPlan) -> int:
    """Return the number of failures after which a run of the plan is rolled back."""
    return failure_policy.rollback_after(
        document.rollback_after_failures,
        on_failure=document.on_failure,
        has_undo=any(undo.action for undo in planned_undos(document, checked)),
    )


def _key(document: PlanDocument, checked: CheckedPlan) -> str:
    """Return the concurrency key of a run with these inputs."""
    if document.concurrency is None:
        return ""
    return concurrency.resolved(document.concurrency, Scope(checked.inputs, {}))


def _steps(
    checked: CheckedPlan, planned: Mapping[str, StepDocument], run: Run
) -> Iterator[StepRun]:
    for position, key in enumerate(checked.order):
        step, entry = planned[key], checked.entries.get(key)
        action = entry.contract.action(step.action) if entry and step.action else None
        yield StepRun(run=run, key=key, position=position, **columns_of(step, action))
