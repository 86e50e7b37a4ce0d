"""Schedules: the list, one schedule with its firings, its form, pause and delete."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_safe

from execfabric.identity.authority import rights_of
from execfabric.lib import clock
from execfabric.lib.refusal import Missing, Refusal
from execfabric.lib.rights import Right
from execfabric.web.http import HttpRequest, form_on, page
from orchestration.plans import selectors as plans
from orchestration.plans.forms import PlanForm, inputs_schema_of
from orchestration.plans.models import Plan
from orchestration.plans.services.check import checked_of
from orchestration.triggers import selectors
from orchestration.triggers.domain import cron
from orchestration.triggers.errors import TriggerNotManaged
from orchestration.triggers.forms import CATCH_UP, OVERLAP, ScheduleForm, initial_of
from orchestration.triggers.models import Schedule
from orchestration.triggers.services import schedules as service
from orchestration.triggers.views.common import (
    DONE,
    LISTED,
    REVISIONS,
    choose_plan,
    slug_of,
)

FIRINGS = 50
ACTS = {"pause": service.pause, "resume": service.resume, "delete": service.delete}


@require_safe
def schedules(request: HttpRequest) -> HttpResponse:
    """List the visible schedules by name; those of one plan with `?plan=`."""
    by, slug = request.user.actor(), request.GET.get("plan", "")[:100]
    rows = selectors.schedules_visible_to(by).order_by("name", "pk")
    if slug:
        rows = rows.filter(plan__slug=slug)
    context = {
        "schedules": rows[:LISTED],
        "plan": slug,
        "may_propose": Right.PROPOSE in rights_of(by),
    }
    return page(request, "triggers/schedules.html", context)


@require_safe
def schedule(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show a schedule, its next five firings, and its last ones."""
    return _schedule_page(request, pk)


@require_http_methods(["GET", "HEAD", "POST"])
def schedule_new(request: HttpRequest) -> HttpResponse:
    """Choose a plan, then fill in the form of its schedule."""
    if slug := slug_of(request):
        return _form_page(request, plans.get(request.user.actor(), slug), None)
    return choose_plan(request)


@require_http_methods(["GET", "HEAD", "POST"])
def schedule_edit(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Change a schedule, which then belongs to the user who changes it."""
    by = request.user.actor()
    row = selectors.schedule(by, pk)
    if not selectors.may_manage(by, row):
        return _schedule_page(request, pk, refusal=TriggerNotManaged())
    return _form_page(request, plans.get(by, row.plan.slug), row)


@require_safe
def schedule_next(request: HttpRequest) -> HttpResponse:
    """Return the next five firings of an expression, as a fragment."""
    shown = _preview(request.GET.get("cron", ""), request.GET.get("tz", ""))
    return page(request, "triggers/_next.html", {"preview": shown})


@form_on("schedule", "pk")
def schedule_act(request: HttpRequest, pk: UUID, act: str) -> HttpResponse:
    """Pause, resume or delete a schedule."""
    try:
        row = ACTS[act](schedule_id=pk, by=request.user.actor(), at=clock.now())
    except Refusal as refusal:
        return _schedule_page(request, pk, refusal=refusal)
    messages.success(request, f"The schedule {row.name} was {DONE[act]}.")
    return redirect("schedules") if act == "delete" else redirect("schedule", pk=pk)


@dataclass(frozen=True)
class SchedulePreview:
    """The next firings of an expression, or why there are none."""

    cron: str
    zone: str
    times: Sequence[datetime] = ()
    refusal: Refusal | None = None


def _preview(expression: str, zone: str) -> SchedulePreview:
    expression, zone = " ".join(expression.split()), zone.strip() or "UTC"
    if not expression:
        return SchedulePreview(expression, zone)
    try:
        times = cron.preview(expression, zone, after=clock.now())
    except Refusal as refusal:
        return SchedulePreview(expression, zone, refusal=refusal)
    return SchedulePreview(expression, zone, times)


def _schedule_page(
    request: HttpRequest, pk: UUID, *, refusal: Refusal | None = None
) -> HttpResponse:
    by = request.user.actor()
    row = selectors.schedule(by, pk)
    firings = selectors.latest_firings(row, FIRINGS)
    context = {
        "schedule": row,
        "plan_is_visible": plans.may_see(by, row.plan),
        "preview": _preview(row.cron, row.zone),
        "open_run": selectors.open_run(row) if row.overlap == "wait" else None,
        "catch_up": CATCH_UP[row.catch_up],  # type: ignore[index]
        "overlap": OVERLAP[row.overlap],  # type: ignore[index]
        "firings": firings,
        "may_manage": selectors.may_manage(by, row),
        "may_trace": Right.TRACE in rights_of(by),
        "refusal": refusal,
    }
    return page(request, "triggers/schedule.html", context)


def _form_page(request: HttpRequest, plan: Plan, row: Schedule | None) -> HttpResponse:
    """Show the form; save a sent one unless it asks for a preview."""
    revisions = plans.latest_revisions(plan, REVISIONS)
    initial = initial_of(row) if row else {}
    if request.method != "POST":
        form = ScheduleForm(None, revisions=revisions, initial=initial)
        return _form(request, plan, row, form)
    form = ScheduleForm(request.POST, revisions=revisions, initial=initial)
    inputs = PlanForm(request.POST)
    is_valid = form.is_valid() and inputs.is_valid()
    if not is_valid or request.POST.get("act") == "preview":
        status = 200 if request.POST.get("act") == "preview" else 422
        return _form(request, plan, row, form, inputs=inputs, status=status)
    try:
        saved = _saved(request, plan, row, form, inputs)
    except Missing:
        raise
    except Refusal as refusal:
        return _form(request, plan, row, form, inputs=inputs, refusal=refusal)
    messages.success(request, f"The schedule {saved.name} was saved.")
    return redirect("schedule", pk=saved.pk)


def _saved(
    request: HttpRequest,
    plan: Plan,
    row: Schedule | None,
    form: ScheduleForm,
    inputs: PlanForm,
) -> Schedule:
    by, at = request.user.actor(), clock.now()
    settings = form.settings(inputs.input_values())
    if row is None:
        return service.create(slug=plan.slug, settings=settings, by=by, at=at)
    return service.change(
        schedule_id=row.pk,
        settings=settings,
        version=form.cleaned_data["version"],
        by=by,
        at=at,
    )


def _form(
    request: HttpRequest,
    plan: Plan,
    row: Schedule | None,
    form: ScheduleForm,
    *,
    inputs: PlanForm | None = None,
    refusal: Refusal | None = None,
    status: int = 200,
) -> HttpResponse:
    number = getattr(form, "cleaned_data", form.initial).get("revision")
    revision = plans.revision(plan, number)
    checked = checked_of(refusal)
    problems = checked.problems if checked else ()
    inputs = inputs or PlanForm(initial={"values": row.inputs if row else {}})
    fields = inputs.fields_of(inputs_schema_of(revision.source), problems)
    # A schedule cannot hold a file.
    fields = [field for field in fields if field.widget != "file"]
    in_fields = {field.key for field in fields}
    context = {
        "plan": plan,
        "schedule": row,
        "form": form,
        "inputs": inputs,
        "document": plans.document(revision),
        "fields": fields,
        "problems": [item for item in problems if item.input not in in_fields],
        "preview": _preview(_value(form, "cron"), _value(form, "tz")),
        "zones": sorted(cron.zones()),
        "refusal": refusal,
    }
    return page(request, "triggers/edit.html", context, status=status)


def _value(form: ScheduleForm, name: str) -> str:
    return str(form[name].value() or "")
