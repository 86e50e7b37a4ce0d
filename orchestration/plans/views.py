"""The plan page: write a plan, and see what is wrong with it.

Proposing it and its dry run are views of runs, which draw the same page.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from execfabric.identity.authority import require
from execfabric.lib.refusal import Missing, Refusal
from execfabric.lib.rights import Right
from execfabric.web.http import HttpRequest, form_on, page
from execfabric.web.problems import RequestTooLarge
from orchestration.plans.forms import (
    LARGEST_FILE,
    InputField,
    PlanForm,
    input_fields,
    inputs_asked_for,
)
from orchestration.plans.services import check as plans
from orchestration.plans.services.check import Checked

EXAMPLES = Path(__file__).parent / "examples"
FILE_TOO_LARGE = {
    "code": "plan.too_large",
    "message": f"A plan has at most {LARGEST_FILE:,} bytes; this file has more.",
    "limit": LARGEST_FILE,
}
"""Said by the page itself, before a file is sent; the form says it afterwards."""
AROUND = 1
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
    """An empty page, or one with an example plan (`?example=`)."""
    require(request.user.actor(), Right.PROPOSE)
    name = request.GET.get("example", "")
    return plan_page(request, PlanForm(), text=_example(name) if name else "")


@form_on("plan_new")
def plan_check(request: HttpRequest) -> HttpResponse:
    """Say everything that is wrong with the plan; nothing is stored."""
    by = request.user.actor()
    require(by, Right.PROPOSE)
    form = PlanForm(request.POST, request.FILES)
    if not form.is_valid():
        return plan_page(request, form, text=form.plan_text(), status=422)
    text, inputs = form.plan_text(), form.given_inputs()
    checked = plans.check(text=text, inputs=inputs, by=by)
    return plan_page(request, form, text=text, checked=checked)


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
    """The page with a text in it, and what is known about that text.

    `extra` goes to the template as it is.
    """
    problems = _problems(form, checked, refusal)
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
        "examples": [file.stem for file in _examples()],
    }
    return page(request, "plans/new.html", context | dict(extra or {}), status=status)


def excerpt(text: str, problems: Sequence[Mapping[str, Any]]) -> list[Line]:
    """The lines that problems point to, with their neighbours."""
    lines = _LINE_END.split(text)
    wrong = {int(p["line"]) for p in problems if p.get("line")}
    near = {n + d for n in wrong for d in range(-AROUND, AROUND + 1)}
    found: list[Line] = []
    for number in sorted(near):
        if 0 < number <= len(lines):
            gap = bool(found) and number > found[-1].number + 1
            found.append(Line(number, lines[number - 1], number in wrong, gap))
    return found


def _problems(
    form: PlanForm, checked: Checked | None, refusal: Refusal | None
) -> list[dict[str, Any]]:
    found = [*form.errors.get_json_data().get("file", ())]
    found += checked.problems if checked else ()
    if refusal is not None:
        found += refusal.details.get("problems", ())
    return [_problem(problem) for problem in found]


def _problem(problem: Any) -> dict[str, Any]:
    names = ("code", "message", "step", "line", "column", "severity")
    if isinstance(problem, Mapping):
        return {name: problem.get(name) for name in names}
    return {name: getattr(problem, name, None) for name in names}


def _fields(form: PlanForm, text: str, checked: Checked | None) -> list[InputField]:
    """A field for each input; none beside inputs that could not be read as text."""
    if "inputs" in form.errors:
        return []
    document = checked.document if checked else None
    schema = document.inputs_schema if document else inputs_asked_for(text)
    return input_fields(schema, form.given_inputs() if form.is_bound else None)


def _examples() -> list[Path]:
    return sorted(EXAMPLES.glob("*.yaml"))


def _example(name: str) -> str:
    """An example's text; only what the folder lists can be named."""
    for file in _examples():
        if file.stem == name:
            return file.read_text(encoding="utf-8")
    raise Missing(f"There is no example plan {name}.")
