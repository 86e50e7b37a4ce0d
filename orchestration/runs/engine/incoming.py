"""Receive uploaded bytes into the content store, and remove what no run uses.

Bytes are written to a draft while they are hashed, so that an upload of any size needs
one pass and little memory. Nothing is visible before the draft is complete.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage

from orchestration.runs.engine import artifacts
from orchestration.runs.errors import ArtifactNotStored, UploadEmpty, UploadTooLarge
from orchestration.runs.models import Artifact

FOLDER = "incoming"
"""The folder of drafts in the content store."""
ABANDONED = timedelta(hours=1)
"""The age at which a draft belongs to a process that has ended."""


@dataclass(frozen=True)
class Received:
    """Complete bytes in a draft."""

    draft: str
    sha256: str
    size: int


class _Incoming(File):  # type: ignore[type-arg]
    """Bytes as they arrive, hashed and counted."""

    def __init__(self, chunks: Iterable[bytes], limit: int) -> None:
        super().__init__(None)
        self._chunks = chunks
        self._limit = limit
        self._digest = hashlib.sha256()
        self.received = 0

    def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:  # noqa: ARG002
        for chunk in self._chunks:
            self.received += len(chunk)
            if self.received > self._limit:
                raise too_large(self._limit)
            self._digest.update(chunk)
            yield chunk

    def sha256(self) -> str:
        return self._digest.hexdigest()


def too_large(limit: int) -> UploadTooLarge:
    size = f"{limit >> 20} MB" if limit >> 20 else f"{limit >> 10} KB"
    sentence = f"Cannot upload the file: it is too large (max {limit:,} bytes, {size})."
    return UploadTooLarge(sentence, limit=limit)


@contextmanager
def received(chunks: Iterable[bytes]) -> Iterator[Received]:
    """Write bytes to a draft; the draft is removed at the end unless it was kept.

    :raises UploadTooLarge: when there are more than MAX_UPLOAD_BYTES
    :raises UploadEmpty: when there are none
    :raises ArtifactNotStored: when the store is full or cannot be written
    """
    incoming = _Incoming(chunks, settings.MAX_UPLOAD_BYTES)
    draft = f"{FOLDER}/{uuid4().hex}.draft"
    try:
        with _storing():
            default_storage.save(draft, incoming)
        if not incoming.received:
            raise UploadEmpty
        yield Received(draft, incoming.sha256(), incoming.received)
    finally:
        with suppress(OSError):
            default_storage.delete(draft)


def adopt(upload: Received, facts: dict[str, Any], at: datetime) -> None:
    """Store received bytes under their digest, in a transaction that has locked it.

    :raises ArtifactNotStored: when the store is full or cannot be written
    """
    target = Path(default_storage.path(artifacts.storage_path(upload.sha256)))
    with _storing():
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            Path(default_storage.path(upload.draft)).replace(target)
    artifacts.record(upload.sha256, facts, None, at)


def remove_unused(sha256: str) -> bool:
    """Remove a file without uploads and runs, in a transaction that has locked it."""
    unused = Artifact.objects.filter(
        sha256=sha256, producer=None, uses=None, uploads=None, input_files=None
    )
    if not unused.exists():
        return False
    # By key: the joins above cannot be deleted from.
    Artifact.objects.filter(sha256=sha256).delete()
    default_storage.delete(artifacts.storage_path(sha256))
    return True


def remove_abandoned(at: datetime) -> int:
    """Remove drafts of processes that ended while they received a file."""
    folder = Path(default_storage.path(FOLDER))
    before = (at - ABANDONED).timestamp()
    removed = 0
    for draft in folder.glob("*.draft") if folder.is_dir() else ():
        with suppress(OSError):
            if draft.stat().st_mtime < before:
                draft.unlink()
                removed += 1
    return removed


@contextmanager
def _storing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ArtifactNotStored(
            "Cannot upload the file: the artifact store cannot be written."
            " Ask an admin to check its disk."
        ) from error
