"""Propose a run: validate it, bind it to skill versions, queue its dry run, ask people."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Max

from approvals.domain.subject import exclusions
from approvals.services import require_satisfiable
from audit import services as audit
from execfabric.infra import disk
from execfabric.lib import canonical
from execfabric.lib.actor import Actor
from execfabric.lib.ids import trace_id
from orchestration.plans import history as plan_history
from orchestration.plans.domain.document import PlanDocument, StepDocument, normal_form
from orchestration.plans.models import Plan, PlanRevision
from orchestration.plans.services import check
from orchestration.plans.services.check import Checked
from orchestration.runs import history
from orchestration.runs.control import dry_runs
from orchestration.runs.engine import subjects
from orchestration.runs.engine.advance import open_plan_gate
from orchestration.runs.engine.transitions import open_change
from orchestration.runs.models import Run, StepRun


def propose(*, text: str, inputs: Mapping[str, Any], by: Actor, at: datetime) -> Run:
    """Propose a plan: nothing runs before its gate is approved.

    Its dry run is queued in the same transaction.

    :raises DiskFull: when there is no room for new work
    :raises RightMissing: when `by` may not propose
    :raises PlanInvalid: with every problem in `details["problems"]`
    :raises TooManyDryRuns: when too many dry runs of `by` have not ended
    :raises Unsatisfiable: when nobody could approve what this proposer proposes
    """
    disk.require_space()
    checked = check.check(text=text, inputs=inputs, by=by)
    document = checked.require_valid()
    require_satisfiable(
        requirements=subjects.PLAN_REQUIREMENTS, excluded=exclusions(proposer=by)
    )
    with transaction.atomic(durable=True):
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
        )
        steps = StepRun.objects.bulk_create(_steps(checked, document.by_id(), run))
        audit.open_stream(run.stream)
        opened = open_change(run.id, by=by, at=at)
        opened.record(
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
        open_plan_gate(opened)
        opened.close()
        dry_runs.queue(checked, run=run, by=by, at=at)
        return opened.run


def _revision(
    document: PlanDocument, digest: str, text: str, *, by: Actor, at: datetime
) -> PlanRevision:
    """Return the stored revision of this content; its first author stays its author."""
    plan, _ = Plan.objects.get_or_create(
        slug=document.id, defaults={"name": document.name, "created_at": at}
    )
    plan = Plan.objects.select_for_update().get(pk=plan.pk)
    known = plan.revisions.filter(digest=digest).first()
    if known is not None:
        return known
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
