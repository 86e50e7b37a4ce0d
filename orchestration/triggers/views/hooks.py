"""Webhooks: the list, one webhook with its deliveries, its form, its secret."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_safe

from execfabric.identity import http
from execfabric.identity.authority import rights_of
from execfabric.lib import clock, numbers
from execfabric.lib.refusal import Missing, Refusal
from execfabric.lib.rights import Right
from execfabric.web.http import HttpRequest, form_on, page
from orchestration.plans import selectors as plans
from orchestration.plans.forms import inputs_schema_of
from orchestration.plans.models import Plan
from orchestration.triggers import selectors
from orchestration.triggers.errors import TriggerNotManaged
from orchestration.triggers.forms import UNKNOWN_VERSION, HookForm, initial_of_hook
from orchestration.triggers.models import Hook
from orchestration.triggers.services import hooks as service
from orchestration.triggers.views.common import (
    DONE,
    LISTED,
    REVISIONS,
    choose_plan,
    slug_of,
)

DELIVERIES = 50
ACTS = {"pause": service.pause, "resume": service.resume, "delete": service.delete}


@require_safe
def hooks(request: HttpRequest) -> HttpResponse:
    """List the visible webhooks by name."""
    by = request.user.actor()
    rows = selectors.hooks_visible_to(by).order_by("name", "pk")
    may_propose = Right.PROPOSE in rights_of(by)
    context = {"hooks": rows[:LISTED], "may_propose": may_propose}
    return page(request, "triggers/hooks.html", context)


@require_safe
def hook(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show a webhook and its last deliveries."""
    return _hook_page(request, pk)


@require_http_methods(["GET", "HEAD", "POST"])
def hook_new(request: HttpRequest) -> HttpResponse:
    """Choose a plan, then fill in the form of its webhook."""
    if slug := slug_of(request):
        return _form_page(request, plans.get(request.user.actor(), slug), None)
    return choose_plan(request, is_hook=True)


@require_http_methods(["GET", "HEAD", "POST"])
def hook_edit(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Change a webhook; only its owner can."""
    by = request.user.actor()
    row = selectors.hook(by, pk)
    if not selectors.may_rotate(by, row):
        refused = TriggerNotManaged("Only the owner may change a webhook.")
        return _hook_page(request, pk, refusal=refused)
    return _form_page(request, plans.get(by, row.plan.slug), row)


@form_on("hook", "pk")
def hook_rotate(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Make a new secret and show it once."""
    version = numbers.whole(request.POST.get("version", ""))
    try:
        _, secret = service.rotate(
            hook_id=pk,
            version=UNKNOWN_VERSION if version is None else version,
            by=request.user.actor(),
            at=clock.now(),
        )
    except Refusal as refusal:
        return _hook_page(request, pk, refusal=refusal)
    return _hook_page(request, pk, secret=secret)


@form_on("hook", "pk")
def hook_act(request: HttpRequest, pk: UUID, act: str) -> HttpResponse:
    """Pause, resume or delete a webhook."""
    try:
        row = ACTS[act](hook_id=pk, by=request.user.actor(), at=clock.now())
    except Refusal as refusal:
        return _hook_page(request, pk, refusal=refusal)
    messages.success(request, f"The webhook {row.name} was {DONE[act]}.")
    return redirect("hooks") if act == "delete" else redirect("hook", pk=pk)


def _hook_page(
    request: HttpRequest, pk: UUID, *, secret: str = "", refusal: Refusal | None = None
) -> HttpResponse:
    by = request.user.actor()
    row = selectors.hook(by, pk)
    context = {
        "hook": row,
        "address": http.page(request, "hook_deliver", row.pk),
        "secret": secret,
        "plan_is_visible": plans.may_see(by, row.plan),
        "deliveries": selectors.latest_deliveries(row, DELIVERIES),
        "old_is_valid": row.has_old_secret(clock.now()),
        "may_manage": selectors.may_manage(by, row),
        "may_rotate": selectors.may_rotate(by, row),
        "may_trace": Right.TRACE in rights_of(by),
        "refusal": refusal,
    }
    return page(request, "triggers/hook.html", context)


def _form_page(request: HttpRequest, plan: Plan, row: Hook | None) -> HttpResponse:
    """Show the form; save a sent one."""
    sent = request.POST if request.method == "POST" else None
    revisions = plans.latest_revisions(plan, REVISIONS)
    initial = initial_of_hook(row) if row else {}
    form = HookForm(sent, revisions=revisions, initial=initial)
    if not form.is_valid():
        return _form(request, plan, form, row=row, status=422 if form.is_bound else 200)
    try:
        return _saved(request, plan, form, row)
    except Missing:
        raise
    except Refusal as refusal:
        return _form(request, plan, form, row=row, refusal=refusal)


def _saved(
    request: HttpRequest, plan: Plan, form: HookForm, row: Hook | None
) -> HttpResponse:
    """Create a webhook and show its secret, or change it."""
    by, at, settings = request.user.actor(), clock.now(), form.settings()
    if row is None:
        made, secret = service.create(slug=plan.slug, settings=settings, by=by, at=at)
        return _hook_page(request, made.pk, secret=secret)
    row = service.change(
        hook_id=row.pk,
        settings=settings,
        version=form.cleaned_data["version"],
        by=by,
        at=at,
    )
    messages.success(request, f"The webhook {row.name} was saved.")
    return redirect("hook", pk=row.pk)


def _form(
    request: HttpRequest,
    plan: Plan,
    form: HookForm,
    *,
    row: Hook | None = None,
    refusal: Refusal | None = None,
    status: int = 200,
) -> HttpResponse:
    revision = plans.revision(plan)
    schema = inputs_schema_of(revision.source) or {}
    context = {
        "plan": plan,
        "form": form,
        "hook": row,
        "document": plans.document(revision),
        "names": list(schema.get("properties", {})),
        "refusal": refusal,
    }
    return page(request, "triggers/hook_edit.html", context, status=status)
