"""Saved plans: the list, one plan with its runs, starting it, its revisions, rights."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_safe

from execfabric.identity.authority import require, rights_of
from execfabric.lib import clock, ids, numbers
from execfabric.lib.refusal import Missing, Refusal
from execfabric.lib.rights import Right
from execfabric.web.http import HttpRequest, form_on, page
from execfabric.web.problems import STATUS, BytesDownload
from orchestration.plans import selectors
from orchestration.plans.domain.rights import PlanRight
from orchestration.plans.forms import GrantForm, PlanForm, inputs_schema_of
from orchestration.plans.services import check, comparing, rights
from orchestration.runs import selectors as runs
from orchestration.runs.control import proposals, uploads
from orchestration.runs.domain.files import as_ids
from orchestration.runs.engine.incoming import too_large
from orchestration.runs.models import Run
from orchestration.runs.pages import run_graph, statuses
from orchestration.runs.pages.run_list import with_shown_state
from orchestration.runs.views.new_run import form_of, with_files

PAGE = 50
LAST_RUNS = 3
"""Runs of each plan in the list."""
RUNS = 10
"""Runs on the page of a plan."""
REVISIONS = 50
STEPS = 200
"""Steps that the page of a plan lists; its source has all."""


@require_safe
def plans(request: HttpRequest) -> HttpResponse:
    """List the visible plans by id, filtered by `?q=`."""
    by, text = request.user.actor(), request.GET.get("q", "").strip()
    matching = selectors.search(selectors.visible_to(by), text[:200])
    if after := request.GET.get("after", ""):
        matching = matching.filter(slug__gt=after)
    rows = list(matching[: PAGE + 1])
    listed = rows[:PAGE]
    latest = _latest(request, [row.pk for row in listed], LAST_RUNS)
    owners = selectors.owner_names(listed)
    context = {
        "plans": [(row, owners[row.pk], latest[row.pk]) for row in listed],
        "text": text,
        "following": listed[-1].slug if len(rows) > PAGE else "",
        "may_propose": Right.PROPOSE in rights_of(by),
    }
    return page(request, "plans/plans.html", context)


@require_safe
def plan(request: HttpRequest, slug: str) -> HttpResponse:
    """Show a plan: its newest revision, or another one (`?revision=`).

    `?run=` is a run to start again: its revision, with its inputs filled in.
    """
    number, inputs = numbers.whole(request.GET.get("revision", "")), None
    if pk := ids.parsed(request.GET.get("run", "")):
        run = runs.get(request.user.actor(), pk)
        if run.revision.plan.slug != slug:
            raise Missing
        number, inputs = run.revision.saved_number, as_ids(run.inputs)
    return _page(request, slug, number, inputs=inputs)


@form_on("plan", "slug")
def plan_start(request: HttpRequest, slug: str) -> HttpResponse:
    """Propose a run of the revision that the form shows."""
    by, at = request.user.actor(), clock.now()
    require(by, Right.PROPOSE)
    number = numbers.whole(request.POST.get("revision", ""))
    revision = selectors.revision(selectors.get(by, slug), number)
    form, errors = form_of(request, by, at, revision.source)
    if not form.is_valid() or errors:
        return _page(request, slug, number, form=form, file_errors=errors, status=422)
    try:
        run = proposals.start(
            slug=slug, inputs=form.input_values(), number=revision.number, by=by, at=at
        )
    except Missing:
        raise
    except Refusal as refusal:
        return _page(request, slug, number, form=form, refusal=refusal)
    return redirect("run", pk=run.pk)


@form_on("plan", "slug")
def plan_start_preview(request: HttpRequest, slug: str) -> HttpResponse:
    """Show which steps the typed inputs leave out; nothing is stored."""
    by = request.user.actor()
    number = numbers.whole(request.POST.get("revision", ""))
    revision = selectors.revision(selectors.get(by, slug), number)
    form = PlanForm(request.POST)
    inputs = form.input_values() if form.is_valid() else None
    files = uploads.finder(by, clock.now())
    checked = check.check(text=revision.source, inputs=inputs, by=by, files=files)
    return page(request, "plans/_start_preview.html", {"checked": checked})


@form_on("plan", "slug")
def plan_rights(request: HttpRequest, slug: str) -> HttpResponse:
    """Give a right on a plan to a user or a group, or take it back."""
    form = GrantForm(request.POST)
    if not form.is_valid():
        return _page(request, slug, None, grant_form=form, status=422)
    change = rights.revoke if form.is_revocation else rights.grant
    try:
        change(slug=slug, **form.grant(), by=request.user.actor(), at=clock.now())
    except Missing:
        raise
    except Refusal as refusal:
        status = STATUS[refusal.kind]
        return _page(
            request, slug, None, grant_form=form, grant_refusal=refusal, status=status
        )
    messages.success(request, form.confirmation)
    return redirect("plan", slug=slug)


@require_safe
def plan_source(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """Download a revision exactly as its author wrote it."""
    plan_row = selectors.get(request.user.actor(), slug)
    body = selectors.revision(plan_row, number).source.encode()
    name = f"{slug}-{number}.yaml"
    return BytesDownload(body, name=name, content_type="application/yaml")


@require_safe
def plan_diff(request: HttpRequest, slug: str, before: int, after: int) -> HttpResponse:
    """Show what differs between two revisions, by step."""
    by = request.user.actor()
    plan_row = selectors.get(by, slug)
    old, new = (selectors.revision(plan_row, number) for number in (before, after))
    context = {
        "plan": plan_row,
        "before": old,
        "after": new,
        "difference": comparing.compare(old, new, by=by),
        "revisions": selectors.latest_revisions(plan_row, REVISIONS),
    }
    return page(request, "plans/diff.html", context)


def _page(
    request: HttpRequest,
    slug: str,
    number: int | None,
    *,
    form: PlanForm | None = None,
    inputs: Mapping[str, Any] | None = None,
    refusal: Refusal | None = None,
    file_errors: Mapping[str, str] | None = None,
    status: int = 200,
    **grants: Any,
) -> HttpResponse:
    by = request.user.actor()
    plan_row = selectors.get(by, slug)
    revision = selectors.revision(plan_row, number)
    document = selectors.document(revision)
    compared = comparing.compared(revision, by=by)
    form = form or PlanForm(initial={"values": inputs or {}})
    checked = check.checked_of(refusal)
    problems = checked.problems if checked else ()
    # As written: the stored document has its keys in the order of canonical JSON.
    schema = inputs_schema_of(revision.source) or document.inputs_schema
    fields = form.fields_of(schema, problems)
    in_fields = {field.key for field in fields}
    may_propose = Right.PROPOSE in rights_of(by)
    may_start = may_propose and selectors.may(by, PlanRight.START, plan_row)
    latest = _latest(request, [plan_row.pk], RUNS)[plan_row.pk]
    statuses.attach(latest, at=clock.now())
    context = {
        "plan": plan_row,
        "revision": revision,
        "document": document,
        "owner": selectors.owner_key(plan_row),
        "owner_name": selectors.owner_name(plan_row),
        "steps": [(step, compared.steps[step.id]) for step in document.steps[:STEPS]],
        "more_steps": max(0, len(document.steps) - STEPS),
        "revisions": selectors.latest_revisions(plan_row, REVISIONS),
        "uses": selectors.containing(by, plan_row),
        "graph": run_graph.of_plan(document, compared, wanted="graph" in request.GET),
        "graph_url": f"?revision={revision.number}&graph=all#graph",
        "runs": latest,
        "asks_inputs": any(step.when or step.choose for step in document.steps),
        "may_propose": may_propose,
        "may_start": may_start,
        "form": form,
        "fields": with_files(fields, request, file_errors or {}),
        "upload_too_large": too_large(settings.MAX_UPLOAD_BYTES),
        "problems": [item for item in problems if item.input not in in_fields],
        "refusal": refusal,
        "may_grant": selectors.may_grant(by, plan_row),
        "grants": selectors.grants(plan_row),
        "grant_form": GrantForm(),
        **grants,
    }
    return page(request, "plans/plan.html", context, status=status)


def _latest(
    request: HttpRequest, plan_ids: list[UUID], count: int
) -> dict[UUID, list[Run]]:
    """Return the newest visible runs of each plan."""
    latest: dict[UUID, list[Run]] = defaultdict(list)
    newest = runs.latest_of_plans(request.user.actor(), plan_ids, count)
    for run in with_shown_state(newest):
        latest[run.revision.plan_id].append(run)
    return latest
