"""The form of an act on a failed step: retry, edit, skip, complete by hand, fall back."""

import json
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods

from execfabric.lib import clock
from execfabric.lib.refusal import Missing, Refusal
from execfabric.web.http import HttpRequest, page
from orchestration.plans.domain.edited_params import params_text, read_params
from orchestration.runs import selectors
from orchestration.runs.control import edits, step_actions
from orchestration.runs.control.step_actions import Request
from orchestration.runs.domain.guided import StepAct
from orchestration.runs.models import StepRun
from orchestration.runs.pages import step_acts, step_page
from orchestration.runs.views.steps import LONGEST_OUTPUT, output_of
from orchestration.skills.execution import blank_output

ACTS: dict[StepAct, Callable[..., StepRun]] = {
    StepAct.RETRY: step_actions.retry,
    StepAct.EDIT: partial(edits.edit, replaces=True),
    StepAct.SKIP: step_actions.skip,
    StepAct.FALLBACK: step_actions.fall_back,
    StepAct.COMPLETE: step_actions.complete,
}


class ActForm(forms.Form):
    """Why a user acts on a failed step, and which failure they saw."""

    reason = forms.CharField(
        max_length=10_000, error_messages={"required": "Enter a reason."}
    )
    generation = forms.IntegerField(
        required=False, min_value=1, max_value=2**31 - 1, widget=forms.HiddenInput
    )


class CompletionForm(ActForm):
    """What a user did by hand."""

    evidence = forms.CharField(
        max_length=10_000,
        error_messages={"required": "Enter how others can check it."},
    )
    output = forms.CharField(required=False, max_length=LONGEST_OUTPUT)

    def clean_output(self) -> dict[str, Any] | None:
        return output_of(self.cleaned_data["output"])


class EditForm(ActForm):
    """The parameters of a step as the user wants them."""

    params = forms.CharField(required=False, max_length=LONGEST_OUTPUT, strip=False)

    def clean_params(self) -> dict[str, Any]:
        params, wrong = read_params(self.cleaned_data["params"])
        if params is None:
            raise forms.ValidationError(wrong)
        return params


FORMS = {StepAct.COMPLETE: CompletionForm, StepAct.EDIT: EditForm}


@require_http_methods(["GET", "HEAD", "POST"])
def step_act(request: HttpRequest, pk: UUID, key: str, verb: str) -> HttpResponse:
    """Show and process the form of an act; a refusal keeps what was typed."""
    by, act = request.user.actor(), StepAct(verb)
    step = step_page.step_view(by, pk, key)
    offers = step_acts.offers_of(step.row, by, foresee=act is StepAct.SKIP)
    is_completion = act is StepAct.COMPLETE
    action = step.action if is_completion else None
    initial = {
        "generation": step.row.generation,
        "output": json.dumps(blank_output(action), indent=2) if action else "",
    }
    if act is StepAct.EDIT and not offers.of(act).why_not:
        initial["params"] = params_text(step.row.run.revision.source, step.row.key)
    form = FORMS.get(act, ActForm)(
        request.POST if request.method == "POST" else None, initial=initial
    )
    context = {
        "run": step.row.run,
        "step": step,
        "offer": offers.of(act),
        "skip": offers.skip,
        "form": form,
        "action": action,
        "is_completion": is_completion,
        "is_edit": act is StepAct.EDIT,
    }
    if not form.is_valid():
        status = HTTPStatus.UNPROCESSABLE_ENTITY if form.is_bound else HTTPStatus.OK
        return page(request, "runs/step_act.html", context, status=status)
    values = form.cleaned_data
    asked = Request(
        step_run_id=step.row.pk,
        reason=values.pop("reason"),
        generation=values.pop("generation"),
        by=by,
        at=clock.now(),
    )
    try:
        ACTS[act](asked, **values)
    except Missing:
        raise
    except Refusal as refusal:
        return page(request, "runs/step_act.html", {**context, "refusal": refusal})
    after = step_acts.sentence_after(selectors.get(by, pk, needs=()))
    messages.success(request, f"{step_acts.DONE[act]} {after}")
    return redirect("run", pk=pk)
