"""The page of a step, its values and log, and the form that resolves its outcome."""

import json
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_safe

from execfabric.lib import canonical, clock, numbers
from execfabric.lib.refusal import Missing, Refusal
from execfabric.web.http import HttpRequest, first_listed, page, wants_fragment
from execfabric.web.problems import BytesDownload, json_download
from orchestration.runs import selectors
from orchestration.runs.control import recovery
from orchestration.runs.domain.states import RunState
from orchestration.runs.pages import (
    log_lines,
    logs,
    run_page,
    run_waits,
    step_acts,
    step_page,
)
from orchestration.skills.execution import blank_output

LONGEST_OUTPUT = 200_000
FINDINGS = {"yes": True, "no": False, "abandon": None}
AFTER_FAILURE = {
    "pause": "Resuming the run retries it.",
    "continue": "After a resume, the run continues without this step.",
    "abort": "After a resume, the run ends as failed.",
    "rollback": "After a resume, the run is rolled back.",
}
"""The effect of a resume after the failure, by `onFailure` of the plan."""

AFTER_ABANDONING = {"pause": AFTER_FAILURE["continue"]}


class ResolutionForm(forms.Form):
    """The form for the outcome of a step, as found by an operator."""

    happened = forms.TypedChoiceField(
        choices=[("yes", "Yes"), ("no", "No"), ("abandon", "Unknown")],
        coerce=FINDINGS.__getitem__,
    )
    evidence = forms.CharField(
        max_length=10_000,
        error_messages={"required": "Enter how you know the outcome."},
    )
    output = forms.CharField(required=False, max_length=LONGEST_OUTPUT)

    def clean_output(self) -> dict[str, Any] | None:
        """Read the output if the step took effect."""
        text = self.cleaned_data["output"]
        return output_of(text) if self.cleaned_data.get("happened") else None


def output_of(text: str) -> dict[str, Any] | None:
    """Return the output in a text; None if the text is empty.

    :raises ValidationError: when it is not a JSON object
    """
    if not text.strip():
        return None
    try:
        value = canonical.loads(text.strip().encode("utf-8", "surrogatepass"))
    except canonical.NotCanonical as error:
        raise forms.ValidationError(error.message) from error
    if not isinstance(value, dict):
        raise forms.ValidationError("The output is not a JSON object.")
    return value


@require_http_methods(["GET", "HEAD", "POST"])
def step_resolve(request: HttpRequest, pk: UUID, key: str) -> HttpResponse:
    """Show and process the form that resolves an unknown outcome."""
    by = request.user.actor()
    step = step_page.step_view(by, pk, key)
    run, action = step.row.run, step.action
    blank = json.dumps(blank_output(action), indent=2) if action else ""
    posted = request.POST if request.method == "POST" else None
    form = ResolutionForm(posted, initial={"output": blank})
    context = {
        "run": run,
        "step": step,
        "form": form,
        "action": action,
        "log": logs.view_of(step.row.pk),
        "hindrance": run_page.hindrance(run, by),
        "after_failure": AFTER_FAILURE[step.on_failure],
        "after_abandoning": (AFTER_FAILURE | AFTER_ABANDONING)[step.on_failure],
        "is_paused": run.state in {RunState.PAUSED, RunState.PAUSING},
    }
    if not form.is_valid():
        status = HTTPStatus.UNPROCESSABLE_ENTITY if form.is_bound else HTTPStatus.OK
        return page(request, "runs/resolve.html", context, status=status)
    try:
        recovery.resolve(
            step_run_id=step.row.pk, **form.cleaned_data, by=by, at=clock.now()
        )
    except Refusal as refusal:
        return page(request, "runs/resolve.html", {**context, "refusal": refusal})
    after = run_waits.said_of(selectors.get(by, pk, needs=()))
    messages.success(request, f"Outcome recorded. {after}")
    return redirect("run", pk=pk)


@require_safe
def step(request: HttpRequest, pk: UUID, key: str) -> HttpResponse:
    """Show the details of a step, as a fragment or as a page."""
    by = request.user.actor()
    found = step_page.step_view(by, pk, key, first=first_listed(request))
    context = {"run": found.row.run, "step": found, "items": found.page}
    if step_acts.is_shown(found.row):
        context["offers"] = step_acts.offers_of(found.row, by)
    if wants_fragment(request) and request.GET.get("part") == "items" and found.page:
        return page(request, "runs/_items.html", context)
    if wants_fragment(request) and request.GET.get("part") == "body":
        return page(request, "runs/_step_body.html", context)
    context["log"] = logs.view_of(found.row.pk)
    template = "runs/_step_open.html" if wants_fragment(request) else "runs/step.html"
    return page(request, template, context)


@require_safe
def step_value(request: HttpRequest, pk: UUID, key: str, part: str) -> HttpResponse:
    """Download one value of a step as canonical JSON."""
    found = step_page.step_view(request.user.actor(), pk, key)
    undo = (found.undo or {}).get("params")
    values = {"params": found.params, "output": found.row.output, "undo": undo}
    value = values[part]
    if value is None:
        raise Missing(f"Step {key!r} has no {part}.")
    return json_download(value, f"{key}-{part}.json")


@require_safe
def step_lines(request: HttpRequest, pk: UUID, key: str) -> HttpResponse:
    """Show the log of a step by lines, with a search; `?follow` shows its last lines."""
    found = step_page.step_view(request.user.actor(), pk, key)
    is_following = "follow" in request.GET
    shown = log_lines.page_of(
        found.row.pk,
        line=numbers.whole(request.GET.get("line", "")),
        first=first_listed(request),
        query=request.GET.get("q", ""),
        hit=numbers.whole(request.GET.get("hit", "")) or 1,
        last=is_following,
    )
    context = {
        "run": found.row.run,
        "step": found,
        "log": shown,
        "is_following": is_following and not found.has_ended,
    }
    if not wants_fragment(request):
        return page(request, "runs/log.html", context)
    if request.GET.get("seen") == str(shown.end) and not found.has_ended:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    return page(request, "runs/_log_lines.html", context)


@require_safe
def step_log(request: HttpRequest, pk: UUID, key: str) -> HttpResponse:
    """Download the stored log of a step as plain text."""
    row = selectors.step(request.user.actor(), pk, key)
    text = "".join(logs.pieces(row.pk))
    return BytesDownload(
        text.encode(), name=f"{key}.log", content_type="text/plain; charset=utf-8"
    )
