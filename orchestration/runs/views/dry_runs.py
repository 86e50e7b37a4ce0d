"""The pages of a dry run."""

import json
from collections import Counter
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.views.decorators.http import require_safe
from django_htmx.http import trigger_client_event

from execfabric.identity.authority import require
from execfabric.lib import clock
from execfabric.lib.rights import Right
from execfabric.web.http import HttpRequest, page
from orchestration.plans.domain.dryrun import NOT_RUN, Verdict
from orchestration.plans.forms import PlanForm
from orchestration.plans.services import check as plans
from orchestration.runs import selectors
from orchestration.runs.control import uploads
from orchestration.runs.domain.files import as_ids
from orchestration.runs.models import DryRun
from orchestration.runs.views.new_run import plan_page

MOST_LISTED = 20
"""Maximum number of reasons on a gate page; the full report has all steps."""


@require_safe
def dry_run(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show a dry run: with its plan, or as the report of a proposed run."""
    by = request.user.actor()
    found = selectors.dry_run(by, pk)
    if found.run_id is not None:
        return page(request, "runs/dry_run.html", {"run": found.run, **shown(found)})
    require(by, Right.PROPOSE)
    values = as_ids(found.inputs)
    inputs = json.dumps(values, ensure_ascii=False, indent=1)
    form = PlanForm({"text": found.source, "inputs": inputs if values else ""})
    form.is_valid()
    files = uploads.finder(by, clock.now())
    checked = plans.check(text=found.source, inputs=values, by=by, files=files)
    return plan_page(
        request, form, text=found.source, checked=checked, extra=shown(found)
    )


@require_safe
def dry_run_state(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show the progress of a dry run, as a part of a page that reloads itself."""
    found = selectors.dry_run(request.user.actor(), pk)
    response = page(request, "runs/_dry_run.html", {**shown(found), "is_update": True})
    return (
        trigger_client_event(response, "dry-run-ended") if found.is_ended else response
    )


def shown(row: DryRun | None) -> dict[str, Any]:
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
        "skill_steps": len(report["steps"]) - sum(verdicts[each] for each in NOT_RUN),
        "not_dry_run": reasons.most_common(MOST_LISTED),
    }
