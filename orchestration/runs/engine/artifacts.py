"""Store the files that steps exchange, addressed by the SHA-256 of their content."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db import transaction

from execfabric.infra import database
from orchestration.runs.domain.files import facts_of, returned_files
from orchestration.runs.errors import (
    ArtifactCorrupt,
    ArtifactNameInvalid,
    ArtifactNotPlain,
    ArtifactNotStored,
    ArtifactTooLarge,
    ArtifactUnknown,
)
from orchestration.runs.models import Artifact, ArtifactUse, StepRun
from orchestration.skills.execution import NotPlain, opened_file

CHUNK = 1 << 20
VERIFIED_BYTES = 1 << 20
"""Maximum size of a file whose content is verified while its run is locked."""
MAX_NAME = 255
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"


def store(
    files: Mapping[str, Path | Sequence[Path]],
    *,
    folder: Path,
    step_run_id: UUID,
    at: datetime,
    heartbeat: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Store the files that a handler returned; return the references for later steps.

    A name with one path gives one reference, a name with a list gives a list. Files are
    opened below `folder`, that of the call, without following links. `heartbeat` is
    called after each chunk, because this may take long.

    :raises ArtifactTooLarge: when a file exceeds the limit
    :raises ArtifactNotPlain: when it is not a plain file in the folder
    :raises ArtifactNameInvalid: when its name cannot be stored
    :raises ArtifactNotStored: when the store is full or cannot be written
    """
    store_one = partial(
        _store_one, folder=folder, step_run_id=step_run_id, at=at, heartbeat=heartbeat
    )
    references: dict[str, Any] = {}
    for name, paths in files.items():
        if isinstance(paths, Path):
            references[name] = store_one(paths, name)
        else:
            references[name] = [store_one(path, name) for path in paths]
    return references


def local_paths(
    files: Iterable[Mapping[str, Any]], heartbeat: Callable[[], None] = lambda: None
) -> dict[str, Path]:
    """Return the path of each file on this host, after checking its digest.

    `heartbeat` is called after each chunk, because this may take long.

    :raises ArtifactUnknown: when the store has no such file
    :raises ArtifactCorrupt: when its content does not match its digest
    """
    paths = {}
    for reference in files:
        sha256 = str(reference["sha256"])
        with open_artifact(sha256) as source:
            digest = _digest(_ChunkedFile(source, heartbeat))
        if digest != sha256:
            raise ArtifactCorrupt(expected=sha256, found=digest)
        paths[sha256] = Path(default_storage.path(storage_path(sha256)))
    return paths


def open_artifact(sha256: str) -> "File[bytes]":
    """Open a stored file for reading; the caller checks access.

    :raises ArtifactUnknown: when the store has no such file
    """
    path = storage_path(sha256)
    if not default_storage.exists(path):
        raise ArtifactUnknown(sha256=sha256)
    return default_storage.open(path)


def _store_one(
    path: Path,
    name: str,
    *,
    folder: Path,
    step_run_id: UUID,
    at: datetime,
    heartbeat: Callable[[], None],
) -> dict[str, Any]:
    _check_name(f"{name}/{path.name}")
    try:
        with opened_file(folder, path) as source:
            size = os.fstat(source.fileno()).st_size
            chunked = _ChunkedFile(source, heartbeat)
            sha256 = _store_bytes(chunked, path.name, size)
            facts = facts_of(path.name, size)
            with locked(sha256):
                # The keeper may have removed an unused upload of the same bytes.
                _ensure_bytes(chunked, sha256, path.name)
                record(sha256, facts, step_run_id, at)
                ArtifactUse.objects.get_or_create(
                    artifact_id=sha256,
                    step_run_id=step_run_id,
                    name=f"{name}/{path.name}",
                )
    except NotPlain as error:
        raise ArtifactNotPlain(f"Cannot store the file: {error}.") from error
    return {"$file": {"sha256": sha256, **facts}}


@contextmanager
def locked(sha256: str) -> Iterator[None]:
    """Open a transaction in which no other one adds or removes these bytes."""
    with transaction.atomic():
        database.row(_LOCK, [f"artifact:{sha256}"])
        yield


def record(
    sha256: str, facts: Mapping[str, Any], producer: UUID | None, at: datetime
) -> None:
    """Add the row of a file; the first step that returns it becomes its producer."""
    values = {**facts, "producer_id": producer, "created_at": at}
    _, is_new = Artifact.objects.get_or_create(sha256=sha256, defaults=values)
    if producer is not None and not is_new:
        Artifact.objects.filter(sha256=sha256, producer=None).update(**values)


def use_files(step: StepRun, files: Mapping[str, Any]) -> None:
    """Record that a step returns files that another step has stored."""
    ArtifactUse.objects.bulk_create(
        (
            ArtifactUse(artifact_id=file["sha256"], step_run=step, name=name)
            for name, file in returned_files(files)
        ),
        ignore_conflicts=True,
    )


def is_intact(file: Mapping[str, Any]) -> bool:
    """Return True if the store has a file of the recorded size, and if small, digest.

    :raises OSError: when the store cannot be read
    """
    sha256, path = str(file["sha256"]), storage_path(str(file["sha256"]))
    try:
        if default_storage.size(path) != file["size"]:
            return False
        if file["size"] > VERIFIED_BYTES:
            return True
        with default_storage.open(path) as source:
            return _digest(source) == sha256
    except FileNotFoundError:
        return False


def _check_name(name: str) -> None:
    printable = name.encode(errors="replace").decode()
    if len(name) > MAX_NAME:
        message = f"Cannot store the file '{printable[:60]}...': its name is too long (max {MAX_NAME} characters)."
        raise ArtifactNameInvalid(message)
    if printable != name:
        message = f"Cannot store the file '{printable}': its name is not valid UTF-8."
        raise ArtifactNameInvalid(message)


class _ChunkedFile(File):  # type: ignore[type-arg]
    """A file that calls `heartbeat` after each chunk."""

    def __init__(
        self, source: "BufferedReader | File[bytes]", heartbeat: Callable[[], None]
    ) -> None:
        super().__init__(source)
        self._heartbeat = heartbeat

    def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
        for chunk in super().chunks(chunk_size or CHUNK):
            yield chunk
            self._heartbeat()


def _store_bytes(chunked: "_ChunkedFile", name: str, size: int) -> str:
    """Store the content of an open file; return its digest."""
    if size > settings.MAX_ARTIFACT_BYTES:
        raise ArtifactTooLarge(
            f"Cannot store the file '{name}': it is too large ({size} bytes, max"
            f" {settings.MAX_ARTIFACT_BYTES}).",
            size=size,
        )
    sha256 = _digest(chunked)
    _ensure_bytes(chunked, sha256, name)
    return sha256


def _ensure_bytes(chunked: "_ChunkedFile", sha256: str, name: str) -> None:
    if not default_storage.exists(storage_path(sha256)):
        _save(chunked, storage_path(sha256), name)


def _save(source: "File[bytes]", path: str, name: str) -> None:
    """Write to a draft and rename it, so that no partial file is visible."""
    draft = f"{path}.{uuid4().hex}.draft"
    try:
        default_storage.save(draft, source)
        Path(default_storage.path(draft)).replace(default_storage.path(path))
    except OSError as error:
        with suppress(OSError):
            default_storage.delete(draft)
        raise ArtifactNotStored(
            f"Cannot store the file '{name}': the artifact store cannot be written."
            " Ask an admin to check the disk of the worker."
        ) from error


def storage_path(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}"


def _digest(file: "File[bytes]") -> str:
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    return digest.hexdigest()
