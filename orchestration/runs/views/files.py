"""The page of a file, its download, and its content in a sandbox."""

from csp.constants import SELF
from csp.decorators import csp_update
from django.http import HttpResponse
from django.views.decorators.http import require_safe

from execfabric.lib import ids
from execfabric.web.http import HttpRequest, page
from execfabric.web.problems import FileDownload, FramedPdf, SandboxedFile
from orchestration.runs import selectors
from orchestration.runs.domain.preview import FRAMED, PreviewKind
from orchestration.runs.engine import artifacts
from orchestration.runs.errors import ArtifactNotShown
from orchestration.runs.models import Artifact
from orchestration.runs.pages import artifact_pages, file_page


@require_safe
@csp_update({"frame-src": [SELF]})  # type: ignore[arg-type]  # typed for one argument
def artifact(request: HttpRequest, sha256: str) -> HttpResponse:
    """Show a file: its preview, and the steps that returned or received it."""
    by = request.user.actor()
    shown = file_page.view(by, sha256)
    versions = artifact_pages.versions_with(by, sha256)
    context = {"shown": shown, "file": shown.file, "versions": versions}
    return page(request, "runs/file.html", context)


@require_safe
def artifact_download(request: HttpRequest, sha256: str) -> FileDownload:
    """Download a file that a visible run reads or has written.

    It has the name of the version in `?version=`, as on the page of an artifact.
    """
    found = _file(request, sha256)
    body = artifacts.open_artifact(sha256)
    response = FileDownload(body, name=found.name, sha256=sha256)
    response["Cache-Control"] = "no-store"
    return response


@require_safe
def artifact_view(request: HttpRequest, sha256: str) -> SandboxedFile:
    """Return an image, a web page or a PDF file as it is, for a frame of a page.

    Images and web pages have no scripts and no origin. The type is that of the name in
    the version `?version=`, so that the frame is what the page expects.

    :raises ArtifactNotShown: when it is none of these, or too large
    """
    found = _file(request, sha256)
    kind = file_page.preview_of(found).kind
    if kind not in FRAMED:
        raise ArtifactNotShown
    body = artifacts.open_artifact(sha256)
    if kind is PreviewKind.PDF:
        return FramedPdf(body, sha256=sha256)
    return SandboxedFile(body, sha256=sha256, content_type=found.media_type)


def _file(request: HttpRequest, sha256: str) -> Artifact:
    """Return a visible file, with its name in a visible version if one is given."""
    by = request.user.actor()
    if version := ids.parsed(request.GET.get("version", "")):
        return artifact_pages.file_as(by, sha256, version)
    return selectors.artifact_visible_to(by, sha256)
