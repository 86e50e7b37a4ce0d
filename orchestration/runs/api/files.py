"""API to upload files as inputs, and to follow files through runs."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated
from uuid import UUID

from ninja import Field, Path, Query, Router, Schema, Status

from execfabric.identity.http import ApiRequest
from execfabric.lib import clock
from orchestration.runs import selectors
from orchestration.runs.control import uploads
from orchestration.runs.engine.artifacts import CHUNK
from orchestration.runs.errors import UploadMalformed
from orchestration.runs.models import Upload
from orchestration.runs.pages.lineage import Lineage, lineage_of

router = Router(tags=["artifacts"])
BYTES = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {
                "schema": {"type": "string", "format": "binary", "minLength": 1}
            }
        },
    }
}


class FileOut(Schema):
    """An uploaded file; `id` is its value as an input."""

    id: UUID
    name: str
    media_type: str
    size: int = Field(alias="artifact.size")
    sha256: str = Field(alias="artifact_id")
    expires_at: datetime
    """When it is removed, unless a run uses it."""


@router.post("/files", response={201: FileOut}, openapi_extra=BYTES)
def upload(
    request: ApiRequest,
    name: Annotated[str, Query(min_length=1, max_length=255)],
) -> Status[Upload]:
    """Upload the body of the request as a file, to use its id as an input.

    The same bytes with the same name return the same id.
    """
    if request.content_type == "multipart/form-data":
        raise UploadMalformed
    stored = uploads.store(
        chunks=_chunks(request), name=name, by=request.auth, at=clock.now()
    )
    return Status(201, stored)


def _chunks(request: ApiRequest) -> Iterator[bytes]:
    while chunk := request.read(CHUNK):
        yield chunk


class LinkedFileOut(Schema):
    """A file next to another one in a lineage."""

    sha256: str
    name: str
    size: int


class LinkedStepOut(Schema):
    """A step that returned or received a file, with the files on its other side."""

    run_id: UUID = Field(alias="step.run_id")
    step: str = Field(alias="step.key")
    state: str = Field(alias="step.state")
    files: list[LinkedFileOut]


class RunInputOut(Schema):
    """A run that was proposed with the file, and the name of the input."""

    run_id: UUID = Field(alias="run.pk")
    state: str = Field(alias="run.state")
    name: str


class LineageOut(Schema):
    """Where a file comes from and where it goes, in the newest 20 runs that have it."""

    inputs: list[RunInputOut]
    producers: list[LinkedStepOut]
    """The steps that returned it, each with the files that it received."""
    receivers: list[LinkedStepOut]
    """The steps that received it, each with the files that it returned."""
    more: bool = Field(alias="is_cut")


@router.get("/artifacts/{sha256}/lineage", response=LineageOut)
def get_lineage(
    request: ApiRequest, sha256: Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
) -> Lineage:
    """Return the runs and steps of visible runs that returned or received a file."""
    selectors.artifact_visible_to(request.auth, sha256)
    return lineage_of(request.auth, sha256)
