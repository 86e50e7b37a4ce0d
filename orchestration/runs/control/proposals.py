"""Propose a run: validate it, pin skill versions, queue a dry run, open its gate."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max

from approvals.domain.subject import exclusions
from approvals.services import require_satisfiable
from audit import services as audit
from execfabric.identity.authority import require
from execfabric.infra import disk
from execfabric.lib import canonical
from execfabric.lib.actor import Actor
from execfabric.lib.ids import trace_id
from execfabric.lib.rights import Right
from orchestration.plans import history as plan_history
from orchestration.plans.domain.document import PlanDocument, StepDocument, normal_form
from orchestration.plans.models import Plan, PlanRevision
from orchestration.plans.services import check
from orchestration.plans.services.check import Checked
from orchestration.runs import history
from orchestration.runs.control import dry_runs
from orchestration.runs.engine import subjects
from orchestration.runs.engine.advance import open_plan_gate
from orchestration.runs.engine.transitions import lock_run
from orchestration.runs.errors import KeyReused, KeyTooLong
from orchestration.runs.models import Run, StepRun

LONGEST_KEY = 200


def propose(
    *,
    text: str,
    inputs: Mapping[str, Any],
    by: Actor,
    at: datetime,
    idempotency_key: str = "",
) -> Run:
    """Propose a plan and queue its dry run; nothing runs before its gate is approved.

    A request that is repeated with its idempotency key returns the first one's run.

    :raises KeyTooLong: when the idempotency key is too long
    :raises KeyReused: when the key was used for another request
    :raises DiskFull: when there is no room for new work
    :raises RightMissing: when `by` may not propose
    :raises PlanInvalid: with every problem in `details["problems"]`
    :raises TooManyDryRuns: when too many dry runs of `by` are unfinished
    :raises Unsatisfiable: when no one could approve what this proposer proposes
    """
    require(by, Right.PROPOSE)
    request = _request(idempotency_key, text, inputs)
    if request and (first := _run_of_key(request, by)):
        return first
    disk.require_space()
    checked = check.check(text=text, inputs=inputs, by=by)
    document = checked.require_valid()
    require_satisfiable(
        requirements=subjects.PLAN_REQUIREMENTS, excluded=exclusions(proposer=by)
    )
    try:
        with transaction.atomic(durable=True):
            return _create(document, checked, text, request, by=by, at=at)
    except IntegrityError:
        # The same request was sent twice at once, and the other one was first.
        if request and (first := _run_of_key(request, by)):
            return first
        raise


def _request(key: str, text: str, inputs: Mapping[str, Any]) -> dict[str, str]:
    """Return the columns that recognize a repeated request; empty without a key."""
    if not key:
        return {}
    if len(key) > LONGEST_KEY:
        raise KeyTooLong
    content = {"text": text, "inputs": dict(inputs)}
    digest = canonical.digest_of("execfabric/proposal/v1", content)
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
    checked: Checked,
    text: str,
    request: Mapping[str, str],
    *,
    by: Actor,
    at: datetime,
) -> Run:
    """Store the run with its steps, its plan gate and its queued dry run."""
    revision = _revision(document, checked.digest, text, by=by, at=at)
    run = Run.objects.create(
        revision=revision,
        inputs=dict(checked.inputs),
        pins={key: dict(pin) for key, pin in checked.pins.items()},
        parallel_max=document.parallel.max or 0 if document.parallel else 1,
        trace_id=trace_id(),
        proposer=by.key,
        proposer_name=by.name,
        proposer_owner=by.owner_key,
        created_at=at,
        **request,
    )
    steps = StepRun.objects.bulk_create(_steps(checked, document.by_id(), run))
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
    dry_runs.queue(checked, run=run, by=by, at=at)
    return change.run


def _revision(
    document: PlanDocument, digest: str, text: str, *, by: Actor, at: datetime
) -> PlanRevision:
    """Return the stored revision of this content; it keeps its first author."""
    plan, _ = Plan.objects.get_or_create(
        slug=document.id, defaults={"name": document.name, "created_at": at}
    )
    plan = Plan.objects.select_for_update().get(pk=plan.pk)
    stored = plan.revisions.filter(digest=digest).first()
    if stored is not None:
        return stored
    newest = plan.revisions.aggregate(newest=Max("number"))["newest"] or 0
    return PlanRevision.objects.create(
        plan=plan,
        number=newest + 1,
        body=canonical.dumps(normal_form(document)),
        digest=digest,
        source=text,
        author=by.key,
        author_name=by.name,
        author_owner=by.owner_key,
        created_at=at,
    )


def _steps(
    checked: Checked, planned: Mapping[str, StepDocument], run: Run
) -> Iterator[StepRun]:
    for position, key in enumerate(checked.order):
        step, entry = planned[key], checked.entries.get(key)
        action = entry.contract.action(step.action) if entry and step.action else None
        rule = step.retry or (action.retry if action else None)
        yield StepRun(
            run=run,
            key=key,
            position=position,
            kind=step.kind,
            effect_class=str(action.effect_class) if action else "pure",
            max_attempts=rule.attempts if rule else 1,
        )
