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
from execfabric.lib.refusal import Refusal
from execfabric.lib.rights import Right
from execfabric.web.http import (
    HttpRequest,
    first_listed,
    form_on,
    page,
    refusal_response,
    wants_fragment,
)
from execfabric.web.problems import BytesDownload, FileDownload, json_download
from orchestration.plans import selectors as plans
from orchestration.runs import selectors
from orchestration.runs.control import control
from orchestration.runs.domain.states import RunState
from orchestration.runs.engine import artifacts
from orchestration.runs.models import stream_of
from orchestration.runs.pages import frames, run_page, run_waits
from orchestration.runs.pages.frames import Cursor
from orchestration.runs.pages.run_list import WAITING, with_shown_state
from orchestration.runs.pages.run_page import NO_STEPS, ROWS

PAGE = 50
REASON = 500


FILTERS = {
    "state": "shown_state",
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
    lookups: dict[str, Any] = {
        FILTERS[name]: value for name, value in filters.items() if value
    }
    if filters["state"] == RunState.AWAITING_APPROVAL:
        del lookups["shown_state"]
        lookups["shown_state__in"] = WAITING
    visible = with_shown_state(selectors.visible_to(by))
    matching = visible.filter(**lookups).order_by("-pk")
    if before := ids.parsed(request.GET.get("before", "")):
        matching = matching.filter(pk__lt=before)
    rows = list(matching[: PAGE + 1])
    context = {
        "runs": rows[:PAGE],
        "filters": filters,
        "is_filtered": bool(lookups),
        "states": list(RunState),
        "older": rows[PAGE - 1].pk if len(rows) > PAGE else None,
        "may_propose": Right.PROPOSE in rights_of(by),
    }
    return page(request, "runs/runs.html", context)


@require_safe
def run(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show the steps, the events or the plan of a run; `?from=` lists later steps."""
    by = request.user.actor()
    view = frames.view_of(request.GET)
    first = first_listed(request)
    steps = range(first, first + ROWS) if view == frames.STEPS else NO_STEPS
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
        "earlier": rows[0].event.seq if rows and rows[0].event.seq > 1 else None,
    }
    return page(request, "runs/run.html", context)


@require_safe
def run_inputs(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Download the inputs of a run as canonical JSON."""
    found = selectors.get(request.user.actor(), pk)
    return json_download(found.inputs, f"inputs-{pk}.json")


@require_safe
def run_plan(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Download the source of the plan of a run."""
    found = selectors.get(request.user.actor(), pk)
    body = found.revision.source.encode()
    return BytesDownload(body, name=f"plan-{pk}.yaml", content_type="application/yaml")


@require_safe
def run_live(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Return the frame after a cursor, for pages without a socket."""
    view = frames.view_of(request.GET)
    cursor = frames.parse(request.GET.get("after", ""), request.GET.get("log", ""))
    steps = frames.window(request.GET.get("shown", ""))
    by, at = request.user.actor(), clock.now()
    if "after" in request.GET:
        frame = frames.since(by, pk, cursor, view=view, at=at, steps=steps)
    else:
        frame = frames.snapshot(by, pk, cursor, view=view, at=at, steps=steps)
    status = HTTPStatus.OK if frame else HTTPStatus.NO_CONTENT
    response = HttpResponse(frame.html if frame else "", status=status)
    response["Cache-Control"] = "no-store"
    return response


@form_on("run", "pk")
def run_control(request: HttpRequest, pk: UUID, ask: str) -> HttpResponse:
    """Pause, resume or cancel a run."""
    by, at = request.user.actor(), clock.now()
    reason = request.POST.get("reason", "").strip()[:REASON]
    try:
        if ask == "pause":
            changed = control.pause(run_id=pk, by=by, at=at, reason=reason)
        elif ask == "resume":
            changed = control.resume(run_id=pk, by=by, at=at)
        else:
            changed = control.cancel(run_id=pk, by=by, at=at, reason=reason)
    except Refusal as refusal:
        back = {"back": request.path.rpartition("/")[0]}
        return refusal_response(request, refusal, context=back)
    is_reached = changed.state in run_waits.REACHED[ask]
    add = messages.success if is_reached else messages.warning
    add(request, run_waits.said_of(changed))
    return redirect("run", pk=pk)


@require_safe
def artifact(request: HttpRequest, sha256: str) -> FileDownload:
    """Download a file that a visible run reads or has written."""
    found = selectors.artifact_visible_to(request.user.actor(), sha256)
    body = artifacts.open_artifact(sha256)
    response = FileDownload(body, name=found.name, sha256=sha256)
    response["Cache-Control"] = "no-store"
    return response
