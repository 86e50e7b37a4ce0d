"""The list of runs, and the page of one: watch, control, download, resolve."""

from dataclasses import dataclass
from http import HTTPStatus
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from audit import selectors as audit
from execfabric.accounts.authority import Right, rights_of
from execfabric.console.http import (
    STATUS,
    HttpRequest,
    page,
    refusal_response,
    refusals_answered,
)
from execfabric.http import FileDownload
from execfabric.lib import clock
from execfabric.lib.refusal import Refusal
from orchestration.runs import selectors
from orchestration.runs.domain.states import RunState
from orchestration.runs.models import Run, stream_of
from orchestration.runs.services import (
    artifacts,
    control,
    frames,
    recovery,
    run_page,
    verification,
)
from orchestration.runs.services.frames import Cursor

PAGE = 50
REASON = 500
ASKED = {
    "pause": "Pause requested: what is at work finishes first.",
    "resume": "The run goes on.",
    "cancel": "Cancel requested: what is at work finishes first.",
}


@dataclass(frozen=True)
class Filters:
    """What the address asks of the list."""

    state: str = ""
    plan: str = ""
    proposer: str = ""

    @property
    def any(self) -> bool:
        """Whether anything is filtered."""
        return bool(self.state or self.plan or self.proposer)

    def of(self, runs: QuerySet[Run]) -> QuerySet[Run]:
        """The runs that match."""
        if self.state:
            runs = runs.filter(state=self.state)
        if self.plan:
            runs = runs.filter(revision__plan__name__icontains=self.plan)
        if self.proposer:
            runs = runs.filter(proposer_name__icontains=self.proposer)
        return runs


class ResolutionForm(forms.Form):
    """What a person found where nobody could know."""

    happened = forms.ChoiceField(choices=[("yes", "Yes"), ("no", "No")])
    evidence = forms.CharField(
        max_length=10_000, error_messages={"required": "Say how you know."}
    )


@require_safe
@refusals_answered
def runs(request: HttpRequest) -> HttpResponse:
    """The runs that one may see, newest first, filtered by the address."""
    by = request.user.actor()
    filters = _filters(request.GET)
    found = filters.of(selectors.visible_to(by)).order_by("-pk")
    if before := _uuid(request.GET.get("before", "")):
        found = found.filter(pk__lt=before)
    rows = list(found[: PAGE + 1])
    context = {
        "runs": rows[:PAGE],
        "filters": filters,
        "states": list(RunState),
        "older": _older(request.GET, rows),
        "may_propose": Right.PROPOSE in rights_of(by),
    }
    return page(request, "runs/runs.html", context)


@require_safe
@refusals_answered
def run(request: HttpRequest, pk: UUID) -> HttpResponse:
    """One run: its steps, its events or its plan."""
    by = request.user.actor()
    wanted = request.GET.get("view", frames.STEPS)
    view = wanted if wanted in frames.VIEWS else frames.STEPS
    # The cursor is read before what it stands for: a change between the two is
    # then sent once more into the same places, and never missed.
    head = audit.head(stream_of(pk))
    tails = selectors.log_tails(pk, {}) if view == frames.STEPS else {}
    keys = None if view == frames.STEPS else ()
    shown = run_page.view(by, pk, at=clock.now(), keys=keys)
    rows = []
    if view == frames.EVENTS:
        before = request.GET.get("before", "")
        last = int(before) if before.isdecimal() else None
        rows = frames.latest(shown.detail.run, head, before=last)
    context = {
        "shown": shown,
        "view": view,
        "cursor": Cursor(head, {place: tail.end for place, tail in tails.items()}),
        "tails": tails,
        "rows": rows,
        "earlier": rows[0].seq if rows and rows[0].seq > 1 else None,
    }
    return page(request, "runs/run.html", context)


@require_safe
@refusals_answered
def run_live(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The frame behind a cursor, for pages whose socket does not hold."""
    wanted = request.GET.get("view", "")
    view = wanted if wanted in frames.VIEWS else frames.STEPS
    cursor = frames.parse(request.GET.get("after", ""), request.GET.get("log", ""))
    by, at = request.user.actor(), clock.now()
    if "after" in request.GET:
        frame = frames.since(by, pk, cursor, view=view, at=at)
    else:
        frame = frames.snapshot(by, pk, cursor, view=view, at=at)
    status = HTTPStatus.OK if frame else HTTPStatus.NO_CONTENT
    response = HttpResponse(frame.html if frame else "", status=status)
    response["Cache-Control"] = "no-store"
    return response


@require_safe
@refusals_answered
def run_verified(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Whether the run's stream is as it was written."""
    found = selectors.get(request.user.actor(), pk)
    verified = verification.verify_now(found.stream)
    context = {"run": found, "verified": verified, "long": verified is None}
    return page(request, "runs/_verification.html", context)


@require_POST
@refusals_answered
def run_control(request: HttpRequest, pk: UUID, ask: str) -> HttpResponse:
    """Ask for a pause, a resumption or the end of a run."""
    by, at = request.user.actor(), clock.now()
    reason = request.POST.get("reason", "").strip()[:REASON]
    try:
        if ask == "pause":
            control.pause(run_id=pk, by=by, at=at, reason=reason)
        elif ask == "resume":
            control.resume(run_id=pk, by=by, at=at)
        else:
            control.cancel(run_id=pk, by=by, at=at, reason=reason)
    except Refusal as refusal:
        back = {"back": request.path.rpartition("/")[0]}
        return refusal_response(request, refusal, context=back)
    messages.success(request, ASKED[ask])
    return redirect("run", pk=pk)


@require_http_methods(["GET", "HEAD", "POST"])
@refusals_answered
def step_resolve(request: HttpRequest, pk: UUID, key: str) -> HttpResponse:
    """Say what happened to a step whose outcome nobody knows."""
    by = request.user.actor()
    step = run_page.step_view(by, pk, key)
    form = ResolutionForm(request.POST if request.method == "POST" else None)
    context = {
        "run": selectors.get(by, pk),
        "step": step,
        "form": form,
        "may_resolve": run_page.may_resolve(by),
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
    messages.success(request, "Your word is on record.")
    return redirect("run", pk=pk)


@require_safe
@refusals_answered
def step_log(request: HttpRequest, pk: UUID, key: str) -> StreamingHttpResponse:
    """All that a step has written, as plain text."""
    row = run_page.step_view(request.user.actor(), pk, key).row
    response = StreamingHttpResponse(
        selectors.log_pieces(row), content_type="text/plain; charset=utf-8"
    )
    response["Cache-Control"] = "no-store"
    return response


@require_safe
@refusals_answered
def artifact(request: HttpRequest, sha256: str) -> FileDownload:
    """A file that a visible run yielded or was given, always as a download."""
    found = selectors.artifact_visible_to(request.user.actor(), sha256)
    response = FileDownload(
        artifacts.open_artifact(sha256),
        as_attachment=True,
        filename=found.name,
        content_type="application/octet-stream",
    )
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _filters(query: QueryDict) -> Filters:
    state = query.get("state", "")
    return Filters(
        state=state if state in set(RunState) else "",
        plan=query.get("plan", "").strip(),
        proposer=query.get("proposer", "").strip(),
    )


def _older(query: QueryDict, rows: list[Run]) -> str:
    """The address of the next page; empty on the last."""
    if len(rows) <= PAGE:
        return ""
    following = query.copy()
    following["before"] = str(rows[PAGE - 1].pk)
    return following.urlencode()


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
