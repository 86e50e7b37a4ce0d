"""The page of a file: what it is, its preview, and where it comes from and goes."""

from dataclasses import dataclass

from execfabric.lib.actor import Actor
from orchestration.runs import selectors
from orchestration.runs.domain import preview
from orchestration.runs.domain.preview import FilePreview
from orchestration.runs.engine import artifacts
from orchestration.runs.errors import ArtifactUnknown
from orchestration.runs.models import Artifact
from orchestration.runs.pages.lineage import Lineage, lineage_of

GONE = "The content is missing in the artifact store. Ask an admin to check it."


@dataclass(frozen=True)
class FilePage:
    file: Artifact
    preview: FilePreview
    lineage: Lineage
    query: str = ""
    """What links to the file add: nothing, because the name is that of any use."""


def view(by: Actor, sha256: str) -> FilePage:
    """Return what the page of a file shows.

    :raises ArtifactUnknown: when it does not exist, or `by` may not see it
    """
    file = selectors.artifact_visible_to(by, sha256)
    return FilePage(file, preview_of(file), lineage_of(by, sha256))


def preview_of(file: Artifact) -> FilePreview:
    try:
        with artifacts.open_artifact(file.sha256) as content:
            start = content.read(preview.START)
    except (ArtifactUnknown, OSError):
        return FilePreview(preview.PreviewKind.NONE, note=GONE)
    return preview.preview_of(file.media_type, file.size, start)
