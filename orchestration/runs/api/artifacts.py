"""API to find artifacts, to read and to change their chains, and to track a run's."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from ninja import Field, Query, Router, Schema, Status

from execfabric.identity.http import ApiRequest, PeopleOnly, page
from execfabric.identity.paging import PageQuery, page_of
from execfabric.lib import clock
from orchestration.runs.control import artifacts
from orchestration.runs.domain.artifacts import MAX_NAME, ArtifactProgress
from orchestration.runs.domain.states import ArtifactState
from orchestration.runs.models import ArtifactVersion, NamedArtifact
from orchestration.runs.pages import artifact_pages, tracker
from orchestration.runs.pages.artifact_pages import ArtifactLineage
from orchestration.runs.pages.tracker import RunArtifacts

router = Router(tags=["artifacts"])
ALL = 10_000
"""Maximum artifacts of a run in one answer."""


class ArtifactQuery(PageQuery):
    """Filters for the list of artifacts."""

    q: Annotated[str, Field(max_length=200)] = ""
    """Words in the names of the artifact, its files and its plan."""
    plan: Annotated[str, Field(max_length=100)] = ""


class ArtifactRow(Schema):
    """An artifact in a list."""

    id: UUID
    plan: str = Field(alias="plan.slug")
    name: str
    current: int | None = Field(None, alias="head_number")
    """The number of the version in use; null if there is none."""
    state: str = Field(alias="newest_state")
    """The state of the newest version."""
    changed_at: datetime = Field(alias="newest_at")
    url: str

    @staticmethod
    def resolve_url(row: NamedArtifact, context: dict[str, Any]) -> str:
        return page(context["request"], "named_artifact", row.pk)


class ArtifactList(Schema):
    """A page of artifacts, the newest first."""

    items: list[ArtifactRow]
    next: UUID | None


class VersionOut(Schema):
    """One version of an artifact."""

    id: UUID
    number: int | None
    """Its place in the chain; null for a draft."""
    state: ArtifactState
    sha256: str = Field(alias="file_id")
    file: str = Field(alias="file_name")
    size: int = Field(alias="file.size")
    supersedes: UUID | None = Field(alias="supersedes_id")
    """The version before it in the chain."""
    forked_from: UUID | None = Field(alias="forked_from_id")
    run_id: UUID = Field(alias="step_run.run_id")
    step: str = Field(alias="step_run.key")
    step_run_id: UUID
    attempt: int = Field(alias="fence")
    created_by: str
    created_by_name: str
    created_at: datetime
    current_at: datetime | None
    """When it became the head of its chain."""
    archived_by_name: str
    archived_at: datetime | None
    archive_reason: str


class SourceOut(Schema):
    """A file that a version was made from, and the version that it was."""

    sha256: str = Field(alias="file.sha256")
    file: str = Field(alias="name")
    version: UUID | None = Field(alias="version.pk", default=None)
    """Null for an uploaded file, and for a version that you may not see."""
    artifact_id: UUID | None = Field(alias="version.artifact_id", default=None)
    artifact: str | None = Field(alias="version.artifact.name", default=None)


class MadeOut(Schema):
    """A version that was made from another one."""

    version: UUID = Field(alias="pk")
    artifact_id: UUID
    artifact: str = Field(alias="artifact.name")
    number: int | None
    state: str


class VersionLineageOut(Schema):
    """What a version was made from, and what was made from it."""

    sources: list[SourceOut]
    made: list[MadeOut]
    more: bool = Field(alias="is_cut")


class ArtifactOut(Schema):
    """An artifact with its newest versions, and the lineage of one of them."""

    id: UUID = Field(alias="artifact.pk")
    plan: str = Field(alias="artifact.plan.slug")
    name: str = Field(alias="artifact.name")
    versions: list[VersionOut]
    more: bool
    version: UUID = Field(alias="shown.pk")
    """The version of `lineage`: the one in use, else the newest one."""
    lineage: VersionLineageOut
    url: str

    @staticmethod
    def resolve_lineage(shown: artifact_pages.ArtifactPage) -> ArtifactLineage:
        return shown.lineage

    @staticmethod
    def resolve_url(shown: artifact_pages.ArtifactPage, context: dict[str, Any]) -> str:
        return page(context["request"], "named_artifact", shown.artifact.pk)


class ArchiveIn(Schema, extra="forbid"):
    """Why a version is taken out of use; by default the one in use."""

    reason: Annotated[str, Field(max_length=artifacts.MAX_REASON)]
    version: UUID | None = None


class ForkIn(Schema, extra="forbid"):
    """The name of another chain; by default in the same plan, with the one in use."""

    name: Annotated[str, Field(max_length=MAX_NAME)]
    plan: Annotated[str, Field(max_length=100)] = ""
    version: UUID | None = None


class TrackedOut(Schema):
    """An artifact that a run is expected to return."""

    name: str
    progress: ArtifactProgress
    step: str = Field(alias="step.key")
    step_run_id: UUID = Field(alias="step.pk")
    versions: list[VersionOut]


class RunArtifactsOut(Schema):
    """The expected artifacts of a run, and how many are done."""

    total: int
    done: int
    items: list[TrackedOut] = Field(alias="artifacts")
    more: int
    """The number of artifacts that are not listed."""


@router.get("/artifacts", response=ArtifactList)
def list_artifacts(request: ApiRequest, query: Query[ArtifactQuery]) -> dict[str, Any]:
    """List the artifacts that you may see, the newest first."""
    rows = artifact_pages.listed(request.auth, text=query.q, plan=query.plan)
    return page_of(rows, query, newest_first=True)


@router.get("/artifacts/{uuid:artifact_id}", response=ArtifactOut)
def get_artifact(
    request: ApiRequest, artifact_id: UUID, version: UUID | None = None
) -> artifact_pages.ArtifactPage:
    """Return an artifact with its versions, and the lineage of one of them."""
    return artifact_pages.view(request.auth, artifact_id, version)


@router.post(
    "/artifacts/{uuid:artifact_id}:archive", response=VersionOut, auth=PeopleOnly()
)
def archive(request: ApiRequest, artifact_id: UUID, body: ArchiveIn) -> ArtifactVersion:
    """Take a version out of use; nothing is deleted."""
    return artifacts.archive(
        artifact_id=artifact_id,
        version_id=body.version,
        reason=body.reason,
        by=request.auth,
        at=clock.now(),
    )


@router.post("/artifacts/{uuid:artifact_id}:fork", response={201: ArtifactOut})
def fork(
    request: ApiRequest, artifact_id: UUID, body: ForkIn
) -> Status[artifact_pages.ArtifactPage]:
    """Begin another artifact with a version, which does not change."""
    version = artifacts.fork(
        artifact_id=artifact_id,
        version_id=body.version,
        name=body.name,
        plan=body.plan,
        by=request.auth,
        at=clock.now(),
    )
    return Status(201, artifact_pages.view(request.auth, version.artifact_id))


@router.get("/runs/{uuid:run_id}/artifacts", response=RunArtifactsOut)
def list_run_artifacts(request: ApiRequest, run_id: UUID) -> RunArtifacts:
    """Return which artifacts a run is expected to return, and which are done."""
    return tracker.tracked(request.auth, run_id, limit=ALL)
