"""The list of artifacts, and the page of one: its versions and their lineage."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery

from execfabric.identity.authority import rights_of
from execfabric.lib.actor import Actor
from execfabric.lib.rights import Right
from orchestration.plans import selectors as plans
from orchestration.plans.domain.rights import PlanRight
from orchestration.runs import selectors
from orchestration.runs.control.artifacts import may_archive
from orchestration.runs.domain.preview import FilePreview
from orchestration.runs.domain.states import ArtifactState
from orchestration.runs.errors import ArtifactUnknown
from orchestration.runs.models import (
    Artifact,
    ArtifactSource,
    ArtifactVersion,
    NamedArtifact,
)
from orchestration.runs.pages.file_page import preview_of

VERSIONS = 100
"""Maximum versions that a page lists, the newest first."""
LINKED = 100
"""Maximum versions listed on each side of the lineage."""


@dataclass(frozen=True)
class SourceFile:
    """A file that a version was made from."""

    file: Artifact
    name: str
    version: ArtifactVersion | None
    """The version that it was, if the reader may see it."""
    is_readable: bool
    """True if the reader may open the file."""


@dataclass(frozen=True)
class ArtifactLineage:
    """What one version was made from, and what was made from it."""

    sources: list[SourceFile]
    made: list[ArtifactVersion]
    is_cut: bool = False


@dataclass(frozen=True)
class ArtifactPage:
    artifact: NamedArtifact
    versions: list[ArtifactVersion]
    """The newest versions first."""
    more: bool
    shown: ArtifactVersion
    """The version whose content and lineage are shown."""
    lineage: ArtifactLineage
    may_archive: bool
    may_fork: bool
    fork_plan: str
    """The plan that a fork is first offered: its own, if the reader may edit it."""

    @cached_property
    def preview(self) -> FilePreview:
        """The start of the file; it is read only if it is shown."""
        return preview_of(file_of(self.shown))

    @property
    def query(self) -> str:
        """Return what links to the file add, so that it has the name it has here."""
        return f"?version={self.shown.pk}"


def listed(by: Actor, *, text: str = "", plan: str = "") -> QuerySet[NamedArtifact]:
    """Return the visible artifacts, newest first, with facts of their versions.

    `text` filters by words in the names of the artifact, its files and its plan.
    """
    rows = selectors.artifacts_visible_to(by)
    if plan:
        rows = rows.filter(plan__slug=plan)
    visible = selectors.versions_visible_to(by)
    for word in text.split():
        files = visible.filter(file_name__icontains=word).values("artifact")
        in_plan = Q(name__icontains=word) | Q(plan__slug__icontains=word)
        rows = rows.filter(in_plan | Q(pk__in=files))
    newest = visible.filter(artifact=OuterRef("pk")).order_by("-pk")
    head = newest.filter(state__in=selectors.IN_USE)
    return rows.annotate(
        newest_state=Subquery(newest.values("state")[:1]),
        newest_at=Subquery(newest.values("created_at")[:1]),
        newest_file=Subquery(newest.values("file_name")[:1]),
        head_number=Subquery(head.values("number")[:1]),
        head_state=Subquery(head.values("state")[:1]),
    ).order_by("-pk")


def view(by: Actor, artifact_id: UUID, version_id: UUID | None = None) -> ArtifactPage:
    """Return an artifact with one version, by default the current or newest one.

    :raises ChainUnknown: when it does not exist, or `by` may not see it
    """
    artifact = selectors.named_artifact(by, artifact_id)
    versions = versions_of(by, artifact)
    shown = _chosen(by, artifact, versions, version_id)
    return ArtifactPage(
        artifact=artifact,
        versions=versions[:VERSIONS],
        more=len(versions) > VERSIONS,
        shown=shown,
        lineage=lineage_of(by, shown),
        may_archive=shown.state != ArtifactState.ARCHIVED and may_archive(shown, by),
        may_fork=shown.state != ArtifactState.ARCHIVED
        and Right.PROPOSE in rights_of(by),
        fork_plan=artifact.plan.slug
        if plans.may(by, PlanRight.EDIT, artifact.plan)
        else "",
    )


def versions_of(by: Actor, artifact: NamedArtifact) -> list[ArtifactVersion]:
    """Return the newest visible versions, at most one more than a page lists.

    A fork of a fork does not name its origin to those who may not see that one.
    """
    visible = selectors.versions_visible_to(by)
    rows = visible.filter(artifact=artifact)
    related = (
        "supersedes",
        "forked_from__artifact",
        "step_run__run__revision__plan",
    )
    found = list(rows.select_related(*related).order_by("-pk")[: VERSIONS + 1])
    origins = visible.in_bulk([row.forked_from_id for row in found])
    for row in found:
        if row.forked_from_id not in origins:
            row.forked_from = None
    return found


def file_of(version: ArtifactVersion) -> Artifact:
    """Return the file of a version, with the name that it has there."""
    return selectors.as_named(version.file, version.file_name)


def file_as(by: Actor, sha256: str, version_id: UUID) -> Artifact:
    """Return a file, with the name that it has in a visible version.

    :raises ArtifactUnknown: when `by` may not see this version, or it is another file
    """
    rows = selectors.versions_visible_to(by).filter(file=sha256, pk=version_id)
    version = rows.first()
    if version is None:
        raise ArtifactUnknown(sha256=sha256)
    return file_of(version)


def lineage_of(by: Actor, version: ArtifactVersion) -> ArtifactLineage:
    """Return what a version was made from, and what was made from it."""
    visible = selectors.versions_visible_to(by)
    sources = _sources_of(version)
    origins = visible.in_bulk([row.source_id for row in sources if row.source_id])
    readable = selectors.readable_files(by, [row.file_id for row in sources])
    made = list(
        visible.filter(pk__in=_made_from(version))
        .select_related("step_run__run__revision__plan")
        .order_by("-pk")[: LINKED + 1]
    )
    return ArtifactLineage(
        sources=[
            SourceFile(
                file=row.file,
                name=row.name,
                version=origins.get(row.source_id) if row.source_id else None,
                is_readable=row.file_id in readable,
            )
            for row in sources[:LINKED]
        ],
        made=made[:LINKED],
        is_cut=max(len(sources), len(made)) > LINKED,
    )


def _sources_of(version: ArtifactVersion) -> list[ArtifactSource]:
    """Return what a version was made from, at most one more than a page lists.

    A fork was made from the version that it was forked from.
    """
    # Read here: the caller may have hidden the origin from its reader.
    origin = ArtifactVersion.objects.filter(forks=version.pk).first()
    if origin is not None:
        name = origin.file_name
        return [ArtifactSource(file=version.file, name=name, source=origin)]
    rows = ArtifactSource.objects.filter(step_run=version.step_run_id)
    rows = rows.filter(fence=version.fence).select_related("file")
    return list(rows.order_by("name", "pk")[: LINKED + 1])


def _made_from(version: ArtifactVersion) -> QuerySet[Any, Any]:
    """Return the ids of the versions that were made from one, and of its forks."""
    sources = ArtifactSource.objects.filter(
        source=version, step_run=OuterRef("step_run"), fence=OuterRef("fence")
    )
    rows = ArtifactVersion.objects.order_by()
    made = rows.filter(Exists(sources), forked_from=None).values("pk")
    return made.union(rows.filter(forked_from=version).values("pk"), all=True)


def versions_with(by: Actor, sha256: str) -> list[ArtifactVersion]:
    """Return the visible versions that are a file, the newest first."""
    rows = selectors.versions_visible_to(by).filter(file=sha256)
    return list(rows.order_by("-pk")[:LINKED])


def _chosen(
    by: Actor,
    artifact: NamedArtifact,
    versions: Sequence[ArtifactVersion],
    version_id: UUID | None,
) -> ArtifactVersion:
    if version_id is not None:
        return selectors.artifact_version(by, artifact.pk, version_id)
    # It may be older than all the versions that the page lists.
    rows = selectors.versions_visible_to(by).filter(artifact=artifact)
    return rows.filter(state__in=selectors.IN_USE).first() or versions[0]
