"""From the plan page on: propose what is on it, or dry-run it and read the report."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_safe

from execfabric.identity.authority import require
from execfabric.lib import clock
from execfabric.lib.refusal import Refusal
from execfabric.lib.rights import Right
from execfabric.web.http import HttpRequest, form_on, page
from execfabric.web.problems import STATUS
from orchestration.plans.domain.dryrun import Verdict
from orchestration.plans.errors import PlanInvalid
from orchestration.plans.forms import PlanForm
from orchestration.plans.services import check as plans
from orchestration.plans.views import plan_page
from orchestration.runs import selectors
from orchestration.runs.control import dry_runs, proposals
from orchestration.runs.models import DryRun, Run

MOST_LISTED = 20
"""Reasons that a gate page lists; the full report has all steps."""


@form_on("plan_new")
def plan_dry_run(request: HttpRequest) -> HttpResponse:
    """Queue the dry run of what is on the page; its own address shows it again."""
    return _asked(request, dry_runs.request, then="dry_run")


@form_on("plan_new")
def plan_propose(request: HttpRequest) -> HttpResponse:
    """Propose what is on the page; a refusal shows it again, with the reasons."""
    return _asked(request, proposals.propose, then="run")


def _asked(
    request: HttpRequest, ask: Callable[..., DryRun | Run], *, then: str
) -> HttpResponse:
    by, at = request.user.actor(), clock.now()
    require(by, Right.PROPOSE)
    form = PlanForm(request.POST, request.FILES)
    if not form.is_valid():
        return plan_page(request, form, text=form.plan_text(), status=422)
    text, inputs = form.plan_text(), form.given_inputs()
    try:
        made = ask(text=text, inputs=inputs, by=by, at=at)
    except Refusal as refusal:
        if then == "dry_run" and isinstance(refusal, PlanInvalid):
            checked = plans.check(text=text, inputs=inputs, by=by)
            return plan_page(request, form, text=text, checked=checked)
        status = STATUS[refusal.kind]
        return plan_page(request, form, text=text, refusal=refusal, status=status)
    return redirect(then, pk=made.pk)


@require_safe
def dry_run(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show a dry run: with the plan it is of, or as the report of a proposed run."""
    by = request.user.actor()
    found = selectors.dry_run(by, pk)
    if found.run_id is not None:
        return page(request, "runs/dry_run.html", {"run": found.run, **shown(found)})
    require(by, Right.PROPOSE)
    inputs = json.dumps(found.inputs, ensure_ascii=False, indent=1)
    form = PlanForm({"text": found.source, "inputs": inputs if found.inputs else ""})
    form.is_valid()
    checked = plans.check(text=found.source, inputs=found.inputs, by=by)
    return plan_page(
        request, form, text=found.source, checked=checked, extra=shown(found)
    )


@require_safe
def dry_run_state(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The part of a page that shows how far a dry run is; it asks again by itself."""
    found = selectors.dry_run(request.user.actor(), pk)
    return page(request, "runs/_dry_run.html", {**shown(found), "is_update": True})


def shown(row: DryRun | None) -> dict[str, Any]:
    """Return what the templates of a dry run need."""
    report = (row.report if row else None) or {"steps": [], "would_fail": []}
    verdicts = Counter(step["verdict"] for step in report["steps"])
    reasons = Counter(
        step["summary"]
        for step in report["steps"]
        if step["verdict"] == Verdict.NOT_DRY_RUN
    )
    return {
        "dry_run": row,
        "failing": {one["step"] for one in report["would_fail"]},
        "covered": verdicts[Verdict.COVERED],
        "skill_steps": len(report["steps"]) - verdicts[Verdict.APPROVAL],
        "not_dry_run": reasons.most_common(MOST_LISTED),
    }
