"""The list of artifacts, and the page of one: read, archive, fork."""

from uuid import UUID

from csp.constants import SELF
from csp.decorators import csp_update
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_safe

from execfabric.lib import clock, ids
from execfabric.lib.refusal import Missing, Refusal
from execfabric.web.http import HttpRequest, form_on, page, refusal_response
from orchestration.runs.control import artifacts
from orchestration.runs.pages import artifact_pages

PAGE = 50


@require_safe
def named_artifacts(request: HttpRequest) -> HttpResponse:
    """List the visible artifacts, newest first, filtered by `?q=` and `?plan=`."""
    by = request.user.actor()
    text = request.GET.get("q", "").strip()[:200]
    plan = request.GET.get("plan", "").strip()[:100]
    rows = artifact_pages.listed(by, text=text, plan=plan)
    if after := ids.parsed(request.GET.get("after", "")):
        rows = rows.filter(pk__lt=after)
    found = list(rows[: PAGE + 1])
    context = {
        "artifacts": found[:PAGE],
        "text": text,
        "plan": plan,
        "following": found[PAGE - 1].pk if len(found) > PAGE else None,
    }
    return page(request, "runs/artifacts.html", context)


@require_safe
@csp_update({"frame-src": [SELF]})  # type: ignore[arg-type]  # typed for one argument
def named_artifact(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show an artifact: its versions, and content and lineage of one (`?version=`)."""
    version = ids.parsed(request.GET.get("version", ""))
    shown = artifact_pages.view(request.user.actor(), pk, version)
    context = {"shown": shown, "file": artifact_pages.file_of(shown.shown)}
    return page(request, "runs/artifact.html", context)


@form_on("named_artifact", "pk")
def artifact_archive(request: HttpRequest, pk: UUID) -> HttpResponse:
    version = _version(request)
    try:
        artifacts.archive(
            artifact_id=pk,
            version_id=version,
            reason=request.POST.get("reason", "").strip(),
            by=request.user.actor(),
            at=clock.now(),
        )
    except Refusal as refusal:
        return _refused(request, refusal, pk, version)
    messages.success(request, "Version archived. Its file is still stored.")
    return redirect(_page_of(pk, version))


@form_on("named_artifact", "pk")
def artifact_fork(request: HttpRequest, pk: UUID) -> HttpResponse:
    version = _version(request)
    try:
        fork = artifacts.fork(
            artifact_id=pk,
            version_id=version,
            name=request.POST.get("name", "").strip(),
            plan=request.POST.get("plan", "").strip(),
            by=request.user.actor(),
            at=clock.now(),
        )
    except Refusal as refusal:
        return _refused(request, refusal, pk, version)
    messages.success(request, "Artifact forked. This is the first version of the fork.")
    return redirect("named_artifact", pk=fork.artifact_id)


def _version(request: HttpRequest) -> UUID:
    """Return the version that the form is about, so that it is never another one."""
    version = ids.parsed(request.POST.get("version", ""))
    if version is None:
        raise Missing
    return version


def _refused(
    request: HttpRequest, refusal: Refusal, pk: UUID, version: UUID
) -> HttpResponse:
    context = {"back": _page_of(pk, version)}
    return refusal_response(request, refusal, context=context)


def _page_of(pk: UUID, version: UUID) -> str:
    return f"{reverse('named_artifact', args=[pk])}?version={version}"
