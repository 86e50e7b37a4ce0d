"""The plan page: write a plan, see what is wrong with it and what it would do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from execfabric.accounts.authority import Right, require
from execfabric.console.http import STATUS, HttpRequest, page, refusals_answered
from execfabric.lib import clock
from execfabric.lib.refusal import Missing, Refusal
from orchestration.plans.domain.dryrun import Report
from orchestration.plans.forms import PlanForm, input_fields
from orchestration.plans.services import check as plans
from orchestration.plans.services.check import Checked

EXAMPLES = Path(__file__).parent / "examples"


@dataclass(frozen=True)
class Line:
    """A line of the plan's text with what is wrong there."""

    number: int
    text: str
    problems: int


@require_safe
@refusals_answered
def plan_new(request: HttpRequest) -> HttpResponse:
    """An empty page, or one with an example plan (`?example=`)."""
    require(request.user.actor(), Right.PROPOSE)
    name = request.GET.get("example", "")
    text = _example(name) if name else ""
    return _plan_page(request, PlanForm(), text=text, example=name)


@require_POST
@refusals_answered
def plan_check(request: HttpRequest) -> HttpResponse:
    """Say everything that is wrong with the plan; nothing is stored."""
    require(request.user.actor(), Right.PROPOSE)
    form = PlanForm(request.POST, request.FILES)
    if not form.is_valid():
        return _plan_page(request, form, text=_typed(request), status=422)
    checked = plans.check(
        text=form.plan_text(),
        inputs=form.given_inputs(),
        by=request.user.actor(),
        at=clock.now(),
    )
    return _plan_page(request, form, text=form.plan_text(), checked=checked)


@require_POST
@refusals_answered
def plan_dry_run(request: HttpRequest) -> HttpResponse:
    """Say what each step would do; nothing is touched."""
    require(request.user.actor(), Right.PROPOSE)
    form = PlanForm(request.POST, request.FILES)
    if not form.is_valid():
        return _plan_page(request, form, text=_typed(request), status=422)
    checked, report = plans.dry_run(
        text=form.plan_text(),
        inputs=form.given_inputs(),
        by=request.user.actor(),
        at=clock.now(),
    )
    return _plan_page(
        request, form, text=form.plan_text(), checked=checked, report=report
    )


def _plan_page(
    request: HttpRequest,
    form: PlanForm,
    *,
    text: str,
    checked: Checked | None = None,
    report: Report | None = None,
    example: str = "",
    status: int = 200,
) -> HttpResponse:
    context = page_context(form, text=text, checked=checked)
    context |= {"report": report.as_json() if report else None, "example": example}
    return page(request, "plans/new.html", context, status=status)
