"""The list of runs, and the page of one: watch, control, download, resolve."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_safe

from audit import selectors as audit
from execfabric.identity.authority import rights_of
from execfabric.lib import clock, ids, numbers
from execfabric.lib.refusal import Missing, Refusal
from execfabric.lib.rights import Right
from execfabric.web.http import (
    HttpRequest,
    first_listed,
    form_on,
    page,
    refusal_response,
    wants_fragment,
)
from execfabric.web.problems import BytesDownload, json_download
from orchestration.plans import selectors as plans
from orchestration.plans.services import comparing
from orchestration.runs import outputs, selectors
from orchestration.runs.control import control
from orchestration.runs.domain.run_status import WAIT_WORDS, WaitKind
from orchestration.runs.domain.states import RunState
from orchestration.runs.models import stream_of
from orchestration.runs.pages import (
    frames,
    run_graph,
    run_page,
    run_waits,
    statuses,
    tracker,
)
from orchestration.runs.pages.frames import Cursor, LivePage
from orchestration.runs.pages.run_list import SHOWN_AS, waiting_for, with_shown_state
from orchestration.runs.pages.run_origin import origin_of, template_of
from orchestration.runs.pages.run_page import ROWS

PAGE = 50
REASON = 500
FILTERS = {
    "state": "shown_state__in",
    "plan": "revision__plan__name__icontains",
    "proposer": "proposer_name__icontains",
}


@require_safe
def runs(request: HttpRequest) -> HttpResponse:
    """List the visible runs, newest first, filtered by the query string."""
    by = request.user.actor()
    filters = {name: request.GET.get(name, "").strip() for name in FILTERS}
    if filters["state"] not in set(RunState):
        filters["state"] = ""
    states = SHOWN_AS.get(filters["state"], (filters["state"],))
    values: dict[str, Any] = filters | {"state": states}
    lookups = {FILTERS[name]: values[name] for name in FILTERS if filters[name]}
    waits = request.GET.get("waiting_for", "")
    kind = WaitKind(waits) if waits in set(WaitKind) else None
    visible = with_shown_state(selectors.visible_to(by))
    matching = visible.filter(**lookups).order_by("-pk")
    if kind is not None:
        matching = matching.filter(waiting_for(kind))
    if before := ids.parsed(request.GET.get("before", "")):
        matching = matching.filter(pk__lt=before)
    rows = list(matching[: PAGE + 1])
    statuses.attach(rows, at=clock.now())
    context = {
        "runs": rows[:PAGE],
        "filters": filters | {"waiting_for": str(kind or "")},
        "is_filtered": bool(lookups) or kind is not None,
        "states": list(RunState),
        "waits": WAIT_WORDS,
        "older": rows[PAGE - 1].pk if len(rows) > PAGE else None,
        "may_propose": Right.PROPOSE in rights_of(by),
        "may_stop": Right.CONTROL in rights_of(by),
    }
    return page(request, "runs/runs.html", context)


@require_safe
def run(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show one view of a run; `?from=` lists later steps."""
    by = request.user.actor()
    live = LivePage.of(pk, request.GET)
    view, first = live.view, first_listed(request)
    steps = range(first, first + ROWS) if view == frames.STEPS else live.listed
    # The cursor is read first: a change meanwhile is then sent twice into the same
    # places, and never missed.
    head = audit.head(stream_of(pk))
    shown = run_page.view(by, pk, at=clock.now(), steps=steps)
    if wants_fragment(request):
        return page(request, "runs/_step_rows.html", {"shown": shown})
    rows = []
    if view == frames.EVENTS:
        last = numbers.whole(request.GET.get("before", ""))
        rows = frames.latest(shown.run, head, before=last)
    context = {
        "shown": shown,
        "title": plans.document(shown.run.revision).name,
        "view": view,
        "cursor": Cursor(head),
        "rows": rows,
        "tracked": tracker.tracked(by, pk) if view == frames.ARTIFACTS else None,
        "graph": run_graph.of_run(shown) if view == frames.GRAPH else None,
        "earlier": rows[0].event.seq if rows and rows[0].event.seq > 1 else None,
        "origin": origin_of(shown.run) if view == frames.PLAN else None,
        "template": template_of(shown.run, by) if view == frames.PLAN else None,
        "may_propose": Right.PROPOSE in rights_of(by),
        "may_see_plan": plans.may_see(by, shown.run.revision.plan),
    }
    return page(request, "runs/run.html", context)


@require_safe
def run_inputs(request: HttpRequest, pk: UUID) -> HttpResponse:
    found = selectors.get(request.user.actor(), pk)
    return json_download(found.inputs, f"inputs-{pk}.json")


@require_safe
def run_output(request: HttpRequest, pk: UUID) -> HttpResponse:
    found = selectors.get(request.user.actor(), pk)
    return json_download(outputs.of_run(found), f"output-{pk}.json")


@require_safe
def run_plan(request: HttpRequest, pk: UUID) -> HttpResponse:
    found = selectors.get(request.user.actor(), pk)
    body = found.revision.source.encode()
    return BytesDownload(body, name=f"plan-{pk}.yaml", content_type="application/yaml")


@require_safe
def run_changes(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show what the proposer changed in the saved plan that the run is written from."""
    by = request.user.actor()
    found = selectors.get(by, pk)
    if found.template is None:
        raise Missing("The plan of this run was not written from another one.")
    context = {
        "run": found,
        "plan": plans.get(by, found.template.plan.slug),
        "before": found.template,
        "after": found.revision,
        "difference": comparing.compare(found.template, found.revision, by=by),
    }
    return page(request, "plans/diff.html", context)


@require_safe
def run_live(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Return the frame after a cursor, for pages without a socket."""
    cursor = frames.parse(request.GET.get("after", ""), request.GET.get("log", ""))
    draw = frames.since if "after" in request.GET else frames.snapshot
    shown = LivePage.of(pk, request.GET)
    frame = draw(shown, cursor, by=request.user.actor(), at=clock.now())
    status = HTTPStatus.OK if frame else HTTPStatus.NO_CONTENT
    response = HttpResponse(frame.html if frame else "", status=status)
    response["Cache-Control"] = "no-store"
    return response


@form_on("run", "pk")
def run_control(request: HttpRequest, pk: UUID, ask: str) -> HttpResponse:
    by, at = request.user.actor(), clock.now()
    reason = request.POST.get("reason", "").strip()[:REASON]
    try:
        if ask == "pause":
            changed = control.pause(run_id=pk, by=by, at=at, reason=reason)
        elif ask == "resume":
            changed = control.resume(run_id=pk, by=by, at=at)
        elif ask == "abort":
            changed = control.abort(run_id=pk, by=by, at=at, reason=reason)
        else:
            changed = control.cancel(run_id=pk, by=by, at=at, reason=reason)
    except Refusal as refusal:
        back = {"back": request.path.rpartition("/")[0]}
        return refusal_response(request, refusal, context=back)
    is_reached = changed.state in run_waits.REACHED[ask]
    add = messages.success if is_reached else messages.warning
    add(request, run_waits.said_of(changed))
    return redirect("run", pk=pk)
