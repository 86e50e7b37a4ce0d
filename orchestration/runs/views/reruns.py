"""Run a finished run again, and compare it with the rerun."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_safe

from execfabric.identity.authority import require
from execfabric.lib import clock
from execfabric.lib.refusal import Missing, Refusal
from execfabric.lib.rights import Right
from execfabric.web.http import HttpRequest, page
from execfabric.web.problems import STATUS
from orchestration.plans import selectors as plans
from orchestration.plans.forms import PlanForm, inputs_schema_of
from orchestration.plans.services import check
from orchestration.runs import selectors
from orchestration.runs.control import proposals
from orchestration.runs.domain.files import as_ids
from orchestration.runs.domain.states import StepState
from orchestration.runs.engine import unknown
from orchestration.runs.engine.incoming import too_large
from orchestration.runs.errors import KeyReused, KeyTooLong
from orchestration.runs.models import Run
from orchestration.runs.pages import comparison
from orchestration.runs.views.new_run import form_of, with_files

UNFINISHED = {StepState.FAILED, StepState.REJECTED, StepState.CANCELLED}
"""States of the step that the form suggests to start from."""
FIRST = "first"
"""The name of the field with the first step."""
KEY = "key"
"""The name of the hidden field that makes two clicks one request."""


@require_http_methods(["GET", "HEAD", "POST"])
def run_rerun(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show and process the form that runs a finished run again."""
    by, at = request.user.actor(), clock.now()
    require(by, Right.PROPOSE)
    run = selectors.get(by, pk)
    if request.method != "POST":
        proposals.require_ended(run)
        form = PlanForm(initial={"values": as_ids(run.inputs)})
        return _page(request, run, form, first=_suggested(run))
    first = request.POST.get(FIRST, "")
    form, errors = form_of(request, by, at, run.revision.source)
    if not form.is_valid() or errors:
        return _page(request, run, form, first=first, file_errors=errors, status=422)
    try:
        made = proposals.rerun(
            run_id=pk,
            by=by,
            at=at,
            from_step=first,
            inputs=form.input_values(),
            idempotency_key=request.POST.get(KEY, ""),
        )
    except Missing:
        raise
    except Refusal as refusal:
        status = STATUS[refusal.kind]
        return _page(request, run, form, first=first, refusal=refusal, status=status)
    return redirect("run", pk=made.pk)


@require_safe
def run_compare(request: HttpRequest, pk: UUID, other: UUID) -> HttpResponse:
    """Show what differs between two runs, differences first."""
    compared = comparison.compare(request.user.actor(), pk, other)
    context = {"compared": compared, "sides": (compared.before, compared.after)}
    return page(request, "runs/compare.html", context)


def _suggested(run: Run) -> str:
    """Return the first step of the plan that did not succeed, or ""."""
    rows = run.steps.filter(parent=None, state__in=UNFINISHED).order_by("position")
    return rows.values_list("key", flat=True).first() or ""


def _key(request: HttpRequest, refusal: Refusal | None) -> str:
    """Return the key of the next request; one that was used for another is replaced."""
    sent = "" if isinstance(refusal, KeyReused | KeyTooLong) else request.POST.get(KEY)
    return sent or str(uuid4())


def _page(
    request: HttpRequest,
    run: Run,
    form: PlanForm,
    *,
    first: str,
    refusal: Refusal | None = None,
    file_errors: Mapping[str, str] | None = None,
    status: int = 200,
) -> HttpResponse:
    document = plans.document(run.revision)
    checked = check.checked_of(refusal)
    problems = checked.problems if checked else ()
    # As written: the stored document has its keys in the order of canonical JSON.
    schema = inputs_schema_of(run.revision.source) or document.inputs_schema
    fields = form.fields_of(schema, problems)
    in_fields = {field.key for field in fields}
    context: dict[str, Any] = {
        "run": run,
        "document": document,
        "first": first,
        "steps": run.steps.filter(parent=None)
        .order_by("position")
        .only("key", "state"),
        "form": form,
        "fields": with_files(fields, request, file_errors or {}),
        "upload_too_large": too_large(settings.MAX_UPLOAD_BYTES),
        "problems": [item for item in problems if item.input not in in_fields],
        "key": _key(request, refusal),
        "unknown": unknown.paths_of(run),
        "refusal": refusal,
    }
    return page(request, "runs/rerun.html", context, status=status)
