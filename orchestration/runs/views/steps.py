"""One step of a run: its details, its values, its log, and what happened to it."""

from http import HTTPStatus
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_http_methods, require_safe

from execfabric.console.http import (
    STATUS,
    HttpRequest,
    page,
    refusals_answered,
    wants_fragment,
)
from execfabric.http import json_download
from execfabric.lib import clock
from execfabric.lib.refusal import Refusal
from orchestration.runs import selectors
from orchestration.runs.domain.states import RunState
from orchestration.runs.services import (
    logs,
    recovery,
    run_page,
    run_waits,
    step_page,
)


class ResolutionForm(forms.Form):
    """What a person found where nobody could know."""

    happened = forms.ChoiceField(choices=[("yes", "Yes"), ("no", "No")])
    evidence = forms.CharField(
        max_length=10_000, error_messages={"required": "Say how you know."}
    )


@require_http_methods(["GET", "HEAD", "POST"])
@refusals_answered
def step_resolve(request: HttpRequest, pk: UUID, key: str) -> HttpResponse:
    """Say what happened to a step whose outcome nobody knows."""
    by = request.user.actor()
    step = step_page.step_view(by, pk, key)
    form = ResolutionForm(request.POST if request.method == "POST" else None)
    context = {
        "run": step.row.run,
        "step": step,
        "form": form,
        "may_resolve": run_page.may_resolve(by),
        "is_paused": step.row.run.state in {RunState.PAUSED, RunState.PAUSING},
    }
    if request.method != "POST" or not form.is_valid():
        bad = request.method == "POST"
        status = HTTPStatus.UNPROCESSABLE_ENTITY if bad else HTTPStatus.OK
        return page(request, "runs/resolve.html", context, status=status)
    try:
        recovery.resolve(
            step_run_id=step.row.pk,
            happened=form.cleaned_data["happened"] == "yes",
            evidence=form.cleaned_data["evidence"],
            by=by,
            at=clock.now(),
        )
    except Refusal as refusal:
        context["refusal"] = refusal
        return page(request, "runs/resolve.html", context, status=STATUS[refusal.kind])
    after = run_waits.said_of(selectors.outline(by, pk))
    messages.success(request, f"Outcome recorded. {after}")
    return redirect("run", pk=pk)


@require_safe
@refusals_answered
def step(request: HttpRequest, pk: UUID, key: str) -> HttpResponse:
    """The details of a step: a fragment for its run's page, or a page of its own."""
    by = request.user.actor()
    found = step_page.step_view(by, pk, key)
    context = {"run": found.row.run, "step": found}
    if wants_fragment(request) and request.GET.get("part") == "body":
        return page(request, "runs/_step_body.html", context)
    context["log"] = logs.view_of(found.row.pk)
    fragment = wants_fragment(request)
    template = "runs/_step_open.html" if fragment else "runs/step.html"
    return page(request, template, context)


@require_safe
@refusals_answered
def step_value(request: HttpRequest, pk: UUID, key: str, part: str) -> HttpResponse:
    """One whole value of a step as canonical JSON."""
    value = step_page.step_value(request.user.actor(), pk, key, part)
    return json_download(value, f"{key}-{part}.json")


@require_safe
@refusals_answered
def step_log(request: HttpRequest, pk: UUID, key: str) -> StreamingHttpResponse:
    """All that is stored of what a step has written, as plain text."""
    row = selectors.step(request.user.actor(), pk, key).step_run
    response = StreamingHttpResponse(
        logs.pieces(row.pk), content_type="text/plain; charset=utf-8"
    )
    response["Content-Disposition"] = content_disposition_header(
        as_attachment=True, filename=f"{key}.log"
    )
    response["Cache-Control"] = "no-store"
    return response
