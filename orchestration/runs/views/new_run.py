"""The page "New run": write a plan, check it, dry-run it, propose it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_safe

from execfabric.identity.authority import require
from execfabric.lib import clock, ids, numbers
from execfabric.lib.actor import Actor
from execfabric.lib.refusal import Refusal
from execfabric.lib.rights import Right
from execfabric.web import values
from execfabric.web.http import HttpRequest, form_on, page
from execfabric.web.problems import RequestTooLarge
from orchestration.plans import examples
from orchestration.plans import selectors as saved
from orchestration.plans.domain.inputs import FILE_FORMAT
from orchestration.plans.domain.rollback import PlannedUndo, planned_undos
from orchestration.plans.forms import (
    MAX_FILE,
    InputField,
    PlanForm,
    inputs_schema_of,
)
from orchestration.plans.models import PlanRevision
from orchestration.plans.services import check as plans
from orchestration.plans.services import saving
from orchestration.plans.services.check import CheckedPlan
from orchestration.runs import selectors
from orchestration.runs.control import dry_runs, proposals, uploads
from orchestration.runs.domain.files import as_ids
from orchestration.runs.engine.artifacts import CHUNK
from orchestration.runs.engine.incoming import too_large
from orchestration.runs.models import DryRun, Run
from orchestration.runs.pages import run_graph
from orchestration.skills import selectors as skills

FILE_TOO_LARGE = {
    "code": "plan.too_large",
    "message": f"The file is too large (max {MAX_FILE:,} bytes).",
    "limit": MAX_FILE,
}
"""Shown by the page before it sends a file; the form checks the size again."""
MAX_DRAFT = 200
"""Characters of the name of a draft."""
CONTEXT_LINES = 1
"""Lines shown before and after a line with a problem."""
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class Line:
    number: int
    text: str
    is_wrong: bool
    follows_gap: bool


@require_safe
def plan_new(request: HttpRequest) -> HttpResponse:
    """Show an empty page, or one to edit a plan.

    `?example=` names an example, `?skill=` a skill for its first step (`&action=` one of
    its actions), `?plan=` a saved plan (`&revision=` one of its revisions), `?run=` a
    run, whose inputs are filled in too.
    """
    by = request.user.actor()
    require(by, Right.PROPOSE)
    text, inputs = _opened(request.GET, by)
    return plan_page(request, PlanForm(initial={"values": inputs}), text=text)


def _opened(query: QueryDict, by: Actor) -> tuple[str, Mapping[str, Any]]:
    """Return the exact source of the plan to edit, and inputs.

    :raises Missing: when it does not exist or is hidden from `by`
    """
    if name := query.get("example", ""):
        return examples.text(name), {}
    if slug := query.get("skill", ""):
        return examples.with_step(skills.example(by, slug, query.get("action", ""))), {}
    if pk := ids.parsed(query.get("run", "")):
        run = selectors.get(by, pk)
        return run.revision.source, as_ids(run.inputs)
    if slug := query.get("plan", ""):
        number = numbers.whole(query.get("revision", ""))
        return saved.revision(saved.get(by, slug), number).source, {}
    return "", {}


@form_on("plan_new")
def plan_preview(request: HttpRequest) -> HttpResponse:
    """Show what a check finds while the plan is typed; nothing is stored.

    The answer has the fields of the inputs only if they are others than on the page.
    """
    by = request.user.actor()
    require(by, Right.PROPOSE)
    form = PlanForm(request.POST)
    # Nothing typed yet is not an error.
    inputs = (form.input_values() or None) if form.is_valid() else None
    text = form.plan_text()
    files = uploads.finder(by, clock.now())
    checked = (
        plans.check(text=text, inputs=inputs, by=by, files=files)
        if text.strip()
        else None
    )
    context = _context(request, form, text=text, checked=checked)
    is_read = not text.strip() or (checked and checked.document)
    has_new_fields = request.POST.get("shown") != context["shown"]
    context["has_new_fields"] = is_read and has_new_fields
    context["needs_inputs"] = inputs is None and any(
        field.required and not field.value for field in context["fields"]
    )
    return page(request, "runs/_preview.html", context)


@form_on("plan_new")
def plan_check(request: HttpRequest) -> HttpResponse:
    """Show all problems of the plan; only chosen files are stored."""
    by = request.user.actor()
    require(by, Right.PROPOSE)
    form, errors = form_of(request, by, clock.now())
    if not form.is_valid() or errors:
        return plan_page(
            request, form, text=form.plan_text(), file_errors=errors, status=422
        )
    text, inputs = form.plan_text(), form.input_values()
    files = uploads.finder(by, clock.now())
    checked = plans.check(text=text, inputs=inputs, by=by, files=files)
    return plan_page(request, form, text=text, checked=checked)


@form_on("plan_new")
def plan_dry_run(request: HttpRequest) -> HttpResponse:
    """Queue the dry run of the plan in the form, and redirect to its page."""
    return _submitted(request, dry_runs.request, then="dry_run")


@form_on("plan_new")
def plan_propose(request: HttpRequest) -> HttpResponse:
    """Propose the plan in the form; show the form again after a refusal."""
    template = request.POST.get("template", "")
    return _submitted(
        request, partial(proposals.propose, template=template), then="run"
    )


@form_on("plan_new")
def plan_save(request: HttpRequest) -> HttpResponse:
    """Save the plan in the form without a run; show the form again after a refusal."""
    by, at = request.user.actor(), clock.now()
    require(by, Right.PROPOSE)
    form = PlanForm(request.POST, request.FILES)
    form.is_valid()  # what is wrong with the inputs does not matter here
    text = form.plan_text()
    if "file" in form.errors:
        return plan_page(request, form, text=text, status=422)
    try:
        revision = saving.save_plan(text=text, by=by, at=at)
    except Refusal as refusal:
        checked = plans.checked_of(refusal)
        return plan_page(request, form, text=text, checked=checked, refusal=refusal)
    messages.success(
        request, f"Revision {revision.number} of {revision.plan.slug} is saved."
    )
    return redirect("plan", slug=revision.plan.slug)


def _submitted(
    request: HttpRequest, submit: Callable[..., DryRun | Run], *, then: str
) -> HttpResponse:
    by, at = request.user.actor(), clock.now()
    require(by, Right.PROPOSE)
    form, errors = form_of(request, by, at)
    if not form.is_valid() or errors:
        return plan_page(
            request, form, text=form.plan_text(), file_errors=errors, status=422
        )
    text, inputs = form.plan_text(), form.input_values()
    try:
        created = submit(text=text, inputs=inputs, by=by, at=at)
    except Refusal as refusal:
        checked = plans.checked_of(refusal)
        shown = None if checked and then == "dry_run" else refusal
        return plan_page(request, form, text=text, checked=checked, refusal=shown)
    # The page of a dry run is one to edit the plan, so it keeps the template.
    slug, _, number = request.POST.get("template", "").partition("@")
    is_kept = then == "dry_run" and slug
    query = {"plan": slug, "revision": number} if is_kept else None
    return redirect(reverse(then, kwargs={"pk": created.pk}, query=query))


def form_of(
    request: HttpRequest, by: Actor, at: datetime, text: str = ""
) -> tuple[PlanForm, dict[str, str]]:
    """Store the chosen files; return the form with their ids, and what was refused.

    `text` is the plan, if it is not in the form.
    """
    form = PlanForm(request.POST, request.FILES)
    form.is_valid()
    file_ids, errors = {}, {}
    for name, file in form.uploaded(inputs_schema_of(text or form.plan_text())):
        try:
            stored = uploads.store(
                chunks=file.chunks(CHUNK), name=file.name or "", by=by, at=at
            )
            file_ids[name] = str(stored.pk)
        except Refusal as refusal:
            errors[name] = refusal.message
    return (form.with_file_ids(file_ids) if file_ids else form), errors


def plan_page(
    request: HttpRequest,
    form: PlanForm,
    *,
    text: str,
    checked: CheckedPlan | None = None,
    extra: Mapping[str, Any] | None = None,
    refusal: Refusal | None = None,
    file_errors: Mapping[str, str] | None = None,
    status: int = 200,
) -> HttpResponse:
    """Render the page with a plan and the results of its check.

    `extra` goes to the template as it is. `file_errors` has why files were refused, by
    input.
    """
    context = {
        **_context(request, form, text=text, checked=checked, file_errors=file_errors),
        "refusal": refusal,
        "too_large": RequestTooLarge(),
        "file_too_large": FILE_TOO_LARGE,
        "examples": examples.titles(),
        "packs": examples.packs(),
        "draft": _draft(request),
        "template": _template(request),
        # It can be unchecked, and stays so after a refusal.
        "is_from_template": request.method == "GET" or "template" in request.POST,
    }
    return page(request, "runs/new.html", context | dict(extra or {}), status=status)


def _context(
    request: HttpRequest,
    form: PlanForm,
    *,
    text: str,
    checked: CheckedPlan | None,
    file_errors: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return what a check found, and the fields of the inputs."""
    problems = _problems(form, checked)
    fields = with_files(_fields(form, text, checked), request, file_errors or {})
    wanted = "graph" in request.POST
    return {
        "form": form,
        "text": text,
        "checked": checked,
        "problems": problems,
        "excerpt": excerpt(text, problems),
        "fields": fields,
        "shown": " ".join(f"{field.kind}:{field.key}" for field in fields),
        "graph": run_graph.of_check(checked, wanted=wanted) if checked else None,
        "undos": _undos(checked),
        "upload_too_large": too_large(settings.MAX_UPLOAD_BYTES),
    }


def _undos(checked: CheckedPlan | None) -> list[PlannedUndo]:
    if checked is None or checked.document is None:
        return []
    return planned_undos(checked.document, checked)


def _template(request: HttpRequest) -> str:
    """Name the revision of a saved plan that the page has opened, or is empty."""
    if request.method == "POST":
        return request.POST.get("opened", "")[:MAX_DRAFT]
    by, pk = request.user.actor(), ids.parsed(request.GET.get("run", ""))
    if pk:
        revision = selectors.get(by, pk, needs=()).revision
        return _named(revision) if saved.may_see(by, revision.plan) else ""
    if slug := request.GET.get("plan", ""):
        number = numbers.whole(request.GET.get("revision", ""))
        return _named(saved.revision(saved.get(by, slug), number))
    return ""


def _named(revision: PlanRevision) -> str:
    return f"{revision.plan.slug}@{revision.saved_number}"


def _draft(request: HttpRequest) -> str:
    """Name the draft of this page: each plan that is opened has its own."""
    given = request.POST.get("draft") or request.GET.urlencode()
    return given if len(given) <= MAX_DRAFT else ""


def excerpt(text: str, problems: Sequence[Mapping[str, Any]]) -> list[Line]:
    """Return the lines that problems point to, with their neighbours."""
    lines = _LINE_END.split(text)
    wrong = {problem["line"] for problem in problems if problem["line"]}
    near = {
        line + n for line in wrong for n in range(-CONTEXT_LINES, CONTEXT_LINES + 1)
    }
    shown: list[Line] = []
    for number in sorted(near):
        if 0 < number <= len(lines):
            follows_gap = bool(shown) and number > shown[-1].number + 1
            is_wrong = number in wrong
            shown.append(Line(number, lines[number - 1], is_wrong, follows_gap))
    return shown


def _problems(form: PlanForm, checked: CheckedPlan | None) -> list[Mapping[str, Any]]:
    """Return the problems to list; those of an input name it instead of a line."""
    problems: list[Mapping[str, Any]] = [
        {"step": None, "line": None, "column": None, "severity": None, **error}
        for error in form.errors.get_json_data().get("file", ())
    ]
    for problem in checked.problems if checked else ():
        line = None if problem.input else problem.line
        problems.append({**problem.as_json(), "line": line, "input": problem.input})
    return problems


def with_files(
    fields: Sequence[InputField], request: HttpRequest, errors: Mapping[str, str]
) -> list[InputField]:
    """Add the uploaded file of each input that is one, and why it was refused."""
    find = uploads.finder(request.user.actor(), clock.now())
    found = {
        field.key: values.file_of(find(field.value))
        for field in fields
        if field.kind == FILE_FORMAT and field.value
    }
    return [
        replace(
            field,
            file=found.get(field.key),
            error=errors.get(field.key, field.error),
        )
        for field in fields
    ]


def _fields(form: PlanForm, text: str, checked: CheckedPlan | None) -> list[InputField]:
    """Return a field for each input; none if the inputs could not be read."""
    if "inputs" in form.errors:
        return []
    document = checked.document if checked else None
    schema = document.inputs_schema if document else inputs_schema_of(text)
    return form.fields_of(schema, checked.problems if checked else ())
