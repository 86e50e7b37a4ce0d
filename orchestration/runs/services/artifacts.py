"""Files between steps: kept by content, handed out by digest, never by name."""

import hashlib
import mimetypes
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db import transaction

from orchestration.runs.errors import ArtifactCorrupt, ArtifactTooLarge, ArtifactUnknown
from orchestration.runs.models import Artifact, ArtifactUse

CHUNK = 1 << 20
PLAIN = "application/octet-stream"


def keep(
    files: Mapping[str, Path | Sequence[Path]], *, step_run_id: UUID, at: datetime
) -> dict[str, Any]:
    """Store what a handler yielded; return the references that later steps get.

    A name with one path gives one reference, a name with a list gives a list.

    :raises ArtifactTooLarge: when a file is over the limit
    """
    kept: dict[str, Any] = {}
    for name, given in files.items():
        if isinstance(given, Path):
            kept[name] = _keep_one(given, name, step_run_id=step_run_id, at=at)
        else:
            kept[name] = [
                _keep_one(path, name, step_run_id=step_run_id, at=at) for path in given
            ]
    return kept


def local_paths(files: Iterable[Mapping[str, Any]]) -> dict[str, Path]:
    """Where the bytes of each file lie on this host, checked against their digest.

    :raises ArtifactUnknown: when the store has no such file
    :raises ArtifactCorrupt: when its bytes are not the recorded ones
    """
    paths = {}
    for reference in files:
        sha256 = str(reference["sha256"])
        place = _place(sha256)
        if not default_storage.exists(place):
            raise ArtifactUnknown(sha256=sha256)
        path = Path(default_storage.path(place))
        found = _digest(path)
        if found != sha256:
            raise ArtifactCorrupt(expected=sha256, found=found)
        paths[sha256] = path
    return paths


def open_artifact(sha256: str) -> "File[bytes]":
    """The stored bytes, opened for reading. Who may read is the selector's business.

    :raises ArtifactUnknown: when the store has no such file
    """
    place = _place(sha256)
    if not default_storage.exists(place):
        raise ArtifactUnknown(sha256=sha256)
    return default_storage.open(place)


def _keep_one(
    path: Path, name: str, *, step_run_id: UUID, at: datetime
) -> dict[str, Any]:
    size = path.stat().st_size
    if size > settings.MAX_ARTIFACT_BYTES:
        raise ArtifactTooLarge(
            f"The file {path.name} has {size} bytes; at most"
            f" {settings.MAX_ARTIFACT_BYTES} are allowed.",
            size=size,
        )
    sha256 = _digest(path)
    place = _place(sha256)
    if not default_storage.exists(place):
        with path.open("rb") as source:
            default_storage.save(place, File(source))
    media_type = mimetypes.guess_type(path.name)[0] or PLAIN
    with transaction.atomic():
        artifact, _ = Artifact.objects.get_or_create(
            sha256=sha256,
            defaults={
                "name": path.name,
                "media_type": media_type,
                "size": size,
                "producer_id": step_run_id,
                "created_at": at,
            },
        )
        ArtifactUse.objects.get_or_create(
            artifact=artifact, step_run_id=step_run_id, name=f"{name}/{path.name}"
        )
    return {
        "$file": {
            "sha256": sha256,
            "name": path.name,
            "size": size,
            "media_type": media_type,
        }
    }


def _place(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}"


def _digest(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
