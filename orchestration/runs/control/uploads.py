"""Store uploaded files, use them as inputs of runs, and remove those not used."""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.files.storage import default_storage
from django.db.models import ProtectedError, QuerySet

from execfabric.identity.authority import require
from execfabric.infra import database, disk
from execfabric.lib import ids
from execfabric.lib.actor import Actor
from execfabric.lib.rights import Right
from orchestration.runs import selectors
from orchestration.runs.domain.files import (
    facts_of,
    name_flaw,
    reference,
    references_in,
)
from orchestration.runs.engine import artifacts, incoming
from orchestration.runs.engine.incoming import Received
from orchestration.runs.errors import (
    ArtifactUnknown,
    InputFileGone,
    TooManyUploads,
    UploadNameInvalid,
)
from orchestration.runs.models import Artifact, InputFile, Run, Upload

RETRY_AFTER = 3600
BATCH = 50
log = logging.getLogger(__name__)
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"


def store(*, chunks: Iterable[bytes], name: str, by: Actor, at: datetime) -> Upload:
    """Store an uploaded file; the same bytes with the same name are one upload.

    :raises RightMissing: when `by` may not propose
    :raises DiskFull: when there is no room for new work
    :raises UploadNameInvalid: when the name cannot be used for a file
    :raises UploadTooLarge: when it exceeds the limit
    :raises UploadEmpty: when it has no bytes
    :raises TooManyUploads: when too many uploads of `by` are unused
    :raises ArtifactNotStored: when the store is full or cannot be written
    """
    require(by, Right.PROPOSE)
    disk.require_space()
    _check_name(name)
    with incoming.received(chunks) as received, artifacts.locked(received.sha256):
        return _stored(received, name, by=by, at=at)


def _stored(received: Received, name: str, *, by: Actor, at: datetime) -> Upload:
    facts = facts_of(name, received.size)
    expires_at = at + timedelta(hours=settings.UPLOAD_HOURS)
    same = Upload.objects.filter(
        actor=by.key, artifact_id=received.sha256, name=name
    ).first()
    if same is None:
        _require_room(by, at)
        incoming.adopt(received, facts, at)
        return Upload.objects.create(
            artifact_id=received.sha256,
            actor=by.key,
            actor_owner=by.owner_key,
            name=name,
            media_type=facts["media_type"],
            created_at=at,
            expires_at=expires_at,
        )
    incoming.adopt(received, facts, at)
    same.expires_at = max(same.expires_at, expires_at)
    Upload.objects.filter(pk=same.pk).update(expires_at=same.expires_at)
    return same


def _check_name(name: str) -> None:
    if flaw := name_flaw(name):
        raise UploadNameInvalid(f"Cannot upload the file: {flaw}. Rename it.")


def _require_room(by: Actor, at: datetime) -> None:
    # Two uploads at once must not both take the last free place.
    database.row(_LOCK, [f"upload:{by.key}"])
    limit = settings.UPLOADS_PER_ACTOR
    unused = Upload.objects.filter(
        actor=by.key, expires_at__gt=at, artifact__input_files=None
    )
    if unused.count() >= limit:
        message = (
            f"Cannot upload the file: {limit} of your uploads are unused (max {limit})."
            f" They are removed {settings.UPLOAD_HOURS} hours after they were uploaded."
        )
        raise TooManyUploads(message, retry_after=RETRY_AFTER, limit=limit)


def _mine(by: Actor, at: datetime) -> QuerySet[Upload]:
    uploads = selectors.uploads_of(by).filter(expires_at__gt=at)
    return uploads.select_related("artifact")


def finder(by: Actor, at: datetime) -> Callable[[str], dict[str, Any] | None]:
    """Return a function that returns the reference of a file id, or None.

    A file id is the id of an upload of `by`, or the SHA-256 of any file that they may
    read.
    """

    def find(file_id: str) -> dict[str, Any] | None:
        if upload_id := ids.parsed(file_id):
            upload = _mine(by, at).filter(pk=upload_id).first()
            return reference_of(upload) if upload else None
        upload = _mine(by, at).filter(artifact=file_id).order_by("-created_at").first()
        if upload is not None:
            return reference_of(upload)
        try:
            artifact = selectors.artifact_visible_to(by, file_id)
        except ArtifactUnknown:
            return None
        return reference(file_id, artifact.name, artifact.size)

    return find


def reference_of(upload: Upload) -> dict[str, Any]:
    return reference(upload.artifact_id, upload.name, upload.artifact.size)


def attach(run: Run) -> dict[str, str]:
    """Add the files of a new run in the caller's transaction; return their digests.

    :raises InputFileGone: when one was removed since the plan was checked
    """
    files = {name: file["sha256"] for name, file in references_in(run.inputs)}
    for sha256 in sorted(set(files.values())):
        with artifacts.locked(sha256):
            is_stored = default_storage.exists(artifacts.storage_path(sha256))
            if not is_stored or not Artifact.objects.filter(pk=sha256).exists():
                raise InputFileGone(sha256=sha256)
    InputFile.objects.bulk_create(
        InputFile(run=run, artifact_id=sha256, name=name)
        for name, sha256 in files.items()
    )
    return files


def prolong(inputs: Mapping[str, Any], *, by: Actor, at: datetime) -> None:
    """Give uploads that a dry run needs their full time again."""
    digests = {file["sha256"] for _, file in references_in(inputs)}
    if digests:
        until = at + timedelta(hours=settings.UPLOAD_HOURS)
        uploads = _mine(by, at).filter(artifact__in=digests, expires_at__lt=until)
        Upload.objects.filter(pk__in=uploads.values("pk")).update(expires_at=until)


def sweep(at: datetime) -> int:
    """Remove expired uploads, and the bytes that no run and no other upload needs."""
    expired = Upload.objects.filter(expires_at__lte=at).order_by("expires_at")
    rows = expired.values_list("pk", "artifact_id")[:BATCH]
    removed = 0
    for upload, sha256 in rows:
        try:
            removed += _removed(upload, sha256, at)
        except (OSError, ProtectedError):
            # The others must go, or one bad file would fill the disk.
            log.exception("Cannot remove the upload %s.", upload)
    incoming.remove_abandoned(at)
    return removed


def _removed(upload_id: UUID, sha256: str, at: datetime) -> bool:
    with artifacts.locked(sha256):
        # Checked again under the lock: it may have been prolonged.
        row = Upload.objects.filter(pk=upload_id, expires_at__lte=at)
        count, _ = row.delete()
        if count:
            incoming.remove_unused(sha256)
        return bool(count)
