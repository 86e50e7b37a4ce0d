"""Answers for the plan editor: problems, words to complete, and the form view."""

from django.http import HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from execfabric.identity.authority import require
from execfabric.lib.rights import Right
from execfabric.web.http import HttpRequest, form_on, page
from orchestration.plans.domain.form_actions import KINDS
from orchestration.plans.forms import PlanForm
from orchestration.plans.services import check, form_view
from orchestration.plans.services.vocabulary import saved_plans, vocabulary


@form_on("plan_new")
def plan_problems(request: HttpRequest) -> JsonResponse:
    """Return the problems of the plan in the form; nothing is stored."""
    by = request.user.actor()
    require(by, Right.PROPOSE)
    form = PlanForm(request.POST)
    inputs = form.input_values() if form.is_valid() else None
    checked = check.check(text=form.plan_text(), inputs=inputs, by=by)
    # A problem of an input is shown at the input's field.
    problems = [each.as_json() for each in checked.problems if not each.input]
    return JsonResponse({"problems": problems}, headers={"Cache-Control": "no-store"})


@form_on("plan_new")
def plan_form(request: HttpRequest) -> HttpResponse:
    """Apply a change of the form view to the text; nothing is stored."""
    form, posted = PlanForm(request.POST), request.POST
    form.is_valid()
    act, _, argument = posted.get("act", "").partition(":")
    values = {
        name: posted.getlist(name) for name in posted if name.startswith("field:")
    }
    change = form_view.FormChange(posted.get("open", ""), values, act, argument)
    view = form_view.form_view(
        text=form.plan_text(), change=change, by=request.user.actor()
    )
    return page(request, "plans/_form.html", {"view": view, "kinds": KINDS})


@require_safe
def plan_vocabulary(request: HttpRequest) -> JsonResponse:
    """Return the skills and saved plans that the user may put into a plan."""
    by = request.user.actor()
    words = {"skills": vocabulary(by=by), "plans": saved_plans(by=by)}
    return JsonResponse(words, headers={"Cache-Control": "no-store"})
