"""The page "New run": write a plan, check it, dry-run it, propose it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_safe

from execfabric.identity.authority import require
from execfabric.lib import clock
from execfabric.lib.refusal import Refusal
from execfabric.lib.rights import Right
from execfabric.web.http import HttpRequest, form_on, page
from execfabric.web.problems import STATUS, RequestTooLarge
from orchestration.plans import examples
from orchestration.plans.errors import PlanInvalid
from orchestration.plans.forms import (
    MAX_FILE,
    InputField,
    PlanForm,
    input_fields,
    inputs_schema_of,
)
from orchestration.plans.services import check as plans
from orchestration.plans.services.check import Checked
from orchestration.runs.control import dry_runs, proposals
from orchestration.runs.models import DryRun, Run

FILE_TOO_LARGE = {
    "code": "plan.too_large",
    "message": f"The file is too large (max {MAX_FILE:,} bytes).",
    "limit": MAX_FILE,
}
"""Shown by the page itself, before a file is sent; the form checks it again."""
CONTEXT_LINES = 1
"""Lines shown before and after one with a problem."""
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class Line:
    """A line of the plan's text near a problem."""

    number: int
    text: str
    is_wrong: bool
    follows_gap: bool


@require_safe
def plan_new(request: HttpRequest) -> HttpResponse:
    """Show an empty page, or one with an example plan (`?example=`)."""
    require(request.user.actor(), Right.PROPOSE)
    name = request.GET.get("example", "")
    return plan_page(request, PlanForm(), text=examples.text(name) if name else "")


@form_on("plan_new")
def plan_check(request: HttpRequest) -> HttpResponse:
    """Show everything that is wrong with the plan; nothing is stored."""
    by = request.user.actor()
    require(by, Right.PROPOSE)
    form = PlanForm(request.POST, request.FILES)
    if not form.is_valid():
        return plan_page(request, form, text=form.plan_text(), status=422)
    text, inputs = form.plan_text(), form.input_values()
    checked = plans.check(text=text, inputs=inputs, by=by)
    return plan_page(request, form, text=text, checked=checked)


@form_on("plan_new")
def plan_dry_run(request: HttpRequest) -> HttpResponse:
    """Queue the dry run of what is on the page, and go to the page that shows it."""
    return _submitted(request, dry_runs.request, then="dry_run")


@form_on("plan_new")
def plan_propose(request: HttpRequest) -> HttpResponse:
    """Propose what is on the page; a refusal shows it again, with the reasons."""
    return _submitted(request, proposals.propose, then="run")


def _submitted(
    request: HttpRequest, submit: Callable[..., DryRun | Run], *, then: str
) -> HttpResponse:
    by, at = request.user.actor(), clock.now()
    require(by, Right.PROPOSE)
    form = PlanForm(request.POST, request.FILES)
    if not form.is_valid():
        return plan_page(request, form, text=form.plan_text(), status=422)
    text, inputs = form.plan_text(), form.input_values()
    try:
        created = submit(text=text, inputs=inputs, by=by, at=at)
    except Refusal as refusal:
        checked = None
        if isinstance(refusal, PlanInvalid):
            checked = plans.check(text=text, inputs=inputs, by=by)
            if then == "dry_run":
                return plan_page(request, form, text=text, checked=checked)
        status = STATUS[refusal.kind]
        return plan_page(
            request, form, text=text, checked=checked, refusal=refusal, status=status
        )
    return redirect(then, pk=created.pk)


def plan_page(
    request: HttpRequest,
    form: PlanForm,
    *,
    text: str,
    checked: Checked | None = None,
    extra: Mapping[str, Any] | None = None,
    refusal: Refusal | None = None,
    status: int = 200,
) -> HttpResponse:
    """Render the page with a plan, and what is known about it.

    `extra` goes to the template as it is.
    """
    problems = _problems(form, checked)
    context = {
        "form": form,
        "text": text,
        "checked": checked,
        "refusal": refusal,
        "problems": problems,
        "excerpt": excerpt(text, problems),
        "fields": _fields(form, text, checked),
        "too_large": RequestTooLarge(),
        "file_too_large": FILE_TOO_LARGE,
        "examples": examples.titles(),
    }
    return page(request, "runs/new.html", context | dict(extra or {}), status=status)


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


def _problems(form: PlanForm, checked: Checked | None) -> list[Mapping[str, Any]]:
    """Return the problems to list; those of an input name it instead of a line."""
    problems: list[Mapping[str, Any]] = [
        {"step": None, "line": None, "column": None, "severity": None, **error}
        for error in form.errors.get_json_data().get("file", ())
    ]
    for problem in checked.problems if checked else ():
        line = None if problem.input else problem.line
        problems.append({**problem.as_json(), "line": line, "input": problem.input})
    return problems


def _fields(form: PlanForm, text: str, checked: Checked | None) -> list[InputField]:
    """Return a field for each input; none beside inputs that could not be read."""
    if "inputs" in form.errors:
        return []
    document = checked.document if checked else None
    schema = document.inputs_schema if document else inputs_schema_of(text)
    problems = checked.problems if checked else ()
    errors = {problem.input: problem.message for problem in problems if problem.input}
    return input_fields(schema, form.input_values() if form.is_bound else {}, errors)
