"""Files between steps: kept by content, handed out by digest, never by name."""

import hashlib
import mimetypes
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
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

from orchestration.runs.errors import (
    ArtifactCorrupt,
    ArtifactNameInvalid,
    ArtifactNotPlain,
    ArtifactNotStored,
    ArtifactTooLarge,
    ArtifactUnknown,
)
from orchestration.runs.models import Artifact, ArtifactUse
from orchestration.skills.execution import NotPlain, opened_file

CHUNK = 1 << 20
PLAIN = "application/octet-stream"
LONGEST_NAME = 255


def keep(
    files: Mapping[str, Path | Sequence[Path]],
    *,
    folder: Path,
    step_run_id: UUID,
    at: datetime,
    meanwhile: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Store the files a handler returned; return the references for later steps.

    They are opened below `folder`, the call's own, without following links. It may take
    long, so `meanwhile` is called again and again.

    A name with one path gives one reference, a name with a list gives a list.

    :raises ArtifactTooLarge: when a file is over the limit
    :raises ArtifactNotPlain: when it is not a plain file in the folder
    :raises ArtifactNameInvalid: when its name cannot be stored
    :raises ArtifactNotStored: when the store has no room or cannot be written
    """
    keep_one = partial(
        _keep_one, folder=folder, step_run_id=step_run_id, at=at, meanwhile=meanwhile
    )
    kept: dict[str, Any] = {}
    for name, given in files.items():
        if isinstance(given, Path):
            kept[name] = keep_one(given, name)
        else:
            kept[name] = [keep_one(path, name) for path in given]
    return kept


def local_paths(
    files: Iterable[Mapping[str, Any]], meanwhile: Callable[[], None] = lambda: None
) -> dict[str, Path]:
    """Where the bytes of each file lie on this host, checked against their digest.

    That may take long, so `meanwhile` is called again and again.

    :raises ArtifactUnknown: when the store has no such file
    :raises ArtifactCorrupt: when its bytes are not the recorded ones
    """
    paths = {}
    for reference in files:
        sha256 = str(reference["sha256"])
        with open_artifact(sha256) as source:
            found = _digest(_Watched(source, meanwhile))
        if found != sha256:
            raise ArtifactCorrupt(expected=sha256, found=found)
        paths[sha256] = Path(default_storage.path(_place(sha256)))
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
    path: Path,
    name: str,
    *,
    folder: Path,
    step_run_id: UUID,
    at: datetime,
    meanwhile: Callable[[], None],
) -> dict[str, Any]:
    _check_name(f"{name}/{path.name}")
    try:
        with opened_file(folder, path) as source:
            size = os.fstat(source.fileno()).st_size
            sha256 = _store(source, path.name, size, meanwhile)
    except NotPlain as error:
        raise ArtifactNotPlain(f"Cannot store the file: {error}.") from error
    facts = {
        "name": path.name,
        "size": size,
        "media_type": mimetypes.guess_type(path.name)[0] or PLAIN,
    }
    with transaction.atomic():
        artifact, _ = Artifact.objects.get_or_create(
            sha256=sha256,
            defaults={**facts, "producer_id": step_run_id, "created_at": at},
        )
        ArtifactUse.objects.get_or_create(
            artifact=artifact, step_run_id=step_run_id, name=f"{name}/{path.name}"
        )
    return {"$file": {"sha256": sha256, **facts}}


def _check_name(name: str) -> None:
    shown = name.encode(errors="replace").decode()
    if len(name) > LONGEST_NAME:
        message = f"Cannot store the file {shown[:60]}...: its name is too long (max {LONGEST_NAME} characters)."
        raise ArtifactNameInvalid(message)
    if shown != name:
        raise ArtifactNameInvalid(
            f"Cannot store the file {shown}: its name is not text."
        )


class _Watched(File):  # type: ignore[type-arg]
    """A file that is copied piece by piece, with a call after each piece."""

    def __init__(
        self, source: "BufferedReader | File[bytes]", meanwhile: Callable[[], None]
    ) -> None:
        super().__init__(source)
        self._meanwhile = meanwhile

    def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
        for chunk in super().chunks(chunk_size or CHUNK):
            yield chunk
            self._meanwhile()


def _store(
    source: BufferedReader, name: str, size: int, meanwhile: Callable[[], None]
) -> str:
    """Put the bytes of an open file into the store; return their digest."""
    if size > settings.MAX_ARTIFACT_BYTES:
        raise ArtifactTooLarge(
            f"The file {name} has {size} bytes; at most"
            f" {settings.MAX_ARTIFACT_BYTES} are allowed.",
            size=size,
        )
    watched = _Watched(source, meanwhile)
    sha256 = _digest(watched)
    if not default_storage.exists(_place(sha256)):
        _save(watched, _place(sha256), name)
    return sha256


def _save(source: "File[bytes]", place: str, name: str) -> None:
    """Write the bytes beside their place, then move them: never half a file there."""
    draft = f"{place}.{uuid4().hex}.draft"
    try:
        default_storage.save(draft, source)
        Path(default_storage.path(draft)).replace(default_storage.path(place))
    except OSError as error:
        with suppress(OSError):
            default_storage.delete(draft)
        raise ArtifactNotStored(
            f"Cannot store the file {name}: {error.strerror}."
        ) from error


def _place(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}"


def _digest(file: "File[bytes]") -> str:
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    return digest.hexdigest()
