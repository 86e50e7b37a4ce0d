"""Proposing a plan: from the plan page to the page of its run."""

from django.http import HttpResponse
from django.shortcuts import redirect

from execfabric.accounts.authority import Right, require
from execfabric.console.http import STATUS, HttpRequest, form_on, refusals_answered
from execfabric.lib import clock
from execfabric.lib.refusal import Refusal
from orchestration.plans.forms import PlanForm
from orchestration.plans.views import plan_page
from orchestration.runs.services import proposals


@form_on("plan_new")
@refusals_answered
def plan_propose(request: HttpRequest) -> HttpResponse:
    """Propose what stands on the page; a refusal shows it again, with the reasons."""
    by = request.user.actor()
    require(by, Right.PROPOSE)
    form = PlanForm(request.POST, request.FILES)
    if not form.is_valid():
        return plan_page(request, form, text=form.plan_text(), status=422)
    text, inputs = form.plan_text(), form.given_inputs()
    try:
        run = proposals.propose(text=text, inputs=inputs, by=by, at=clock.now())
    except Refusal as refusal:
        status = STATUS[refusal.kind]
        return plan_page(request, form, text=text, refusal=refusal, status=status)
    return redirect("run", pk=run.pk)
