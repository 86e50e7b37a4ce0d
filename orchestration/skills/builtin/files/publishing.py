"""Publish a file below a root, and undo exactly that publication.

A small ledger next to the published files has for each path its content, the step run
that wrote it, and what it replaced. It is written before the file, so a second attempt
knows what the first one did.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from orchestration.skills.builtin.files import confined
from orchestration.skills.domain.outcome import CallFailed, Failed, File, refused

LEDGER = ".execfabric"


@dataclass(frozen=True)
class Entry:
    """A published file, the step run that wrote it, and what it replaced."""

    path: str
    sha256: str
    key: str
    replaced: str = ""
    """SHA-256 of the replaced content, which is stored; empty for none."""
    former: dict[str, Any] | None = None
    """The entry of the replaced content, if that was published too."""


def publish(root: Path, file: File, path: str, *, key: str, overwrite: bool) -> Entry:
    """Write the file atomically; a second call with the same key does nothing.

    :raises CallFailed: when the path leaves the root or exists
    """
    parts = _public(path)
    with (
        confined.opened_root(root) as top,
        confined.opened_folder(top, parts[:-1], make=True) as folder,
        _locked_ledger(top) as ledger,
    ):
        known = _read(ledger, path)
        current_digest = _digest_at(top, parts)
        if known and known.key == key and current_digest == known.sha256 == file.sha256:
            return known
        retried = known if known and known.key == key else None
        replaced = retried.replaced if retried else ""
        if current_digest and not overwrite:
            message = f"Cannot publish {path!r}: the file already exists. Nothing was changed. Set `overwrite` to replace it."
            raise refused("files.exists", message)
        if current_digest and current_digest != file.sha256:
            replaced = current_digest
            with confined.opened_file(top, parts) as content:
                _write(ledger, replaced, content)
        former = retried.former if retried else asdict(known) if known else None
        entry = Entry(path, file.sha256, key, replaced, former if replaced else None)
        _record(ledger, path, asdict(entry))
        with file.path.open("rb") as source:
            temporary = _temporary(folder, parts[-1])
            copied = _fill(folder, temporary, source)
        if copied != file.sha256:
            os.unlink(temporary, dir_fd=folder)
            message = f"Cannot publish {file.name!r}: its content is not what was approved. Nothing was published."
            raise refused("files.effect_differs", message)
        _place(folder, temporary, parts[-1], overwrite=overwrite)
        _confirm(top, parts, file.sha256)
        return entry


def unpublish(root: Path, path: str, *, sha256: str = "") -> Entry | None:
    """Remove a published file and restore what it replaced.

    Return None if it does not exist any more.

    :raises CallFailed: when its content has changed
    """
    parts = _public(path)
    with confined.opened_root(root) as top, _locked_ledger(top) as ledger:
        known = _read(ledger, path)
        current_digest = _digest_at(top, parts)
        if known is None and not current_digest:
            return None
        entry = _checked(path, known, current_digest, sha256)
        with confined.opened_folder(top, parts[:-1]) as folder:
            if not entry.replaced and current_digest:
                os.unlink(parts[-1], dir_fd=folder)
            elif entry.replaced:
                # An earlier attempt may have restored it.
                with suppress(FileNotFoundError):
                    stored, name = entry.replaced, parts[-1]
                    os.rename(stored, name, src_dir_fd=ledger, dst_dir_fd=folder)
                os.fsync(folder)
            _confirm(top, parts, entry.replaced)
        if entry.former:
            _record(ledger, path, entry.former)
        else:
            os.unlink(_name(path), dir_fd=ledger)
        return entry


def current(root: Path, path: str) -> str:
    """Return the SHA-256 of the file at a path; empty if there is none.

    :raises CallFailed: when the path leaves the root or is not a plain file
    """
    with confined.opened_root(root) as top:
        return _digest_at(top, _public(path))


@contextmanager
def _locked_ledger(top: int) -> Iterator[int]:
    """Open and lock the folder of the ledger."""
    with confined.opened_folder(top, (LEDGER,), make=True) as ledger:
        fcntl.flock(ledger, fcntl.LOCK_EX)
        yield ledger


def _confirm(top: int, parts: tuple[str, ...], sha256: str) -> None:
    """Check that a path has the content that was just written (empty: none)."""
    now = _digest_at(top, parts)
    if now != sha256:
        message = (
            f"The content of {'/'.join(parts)} is {now or 'missing'} after the change, not"
            f" {sha256 or 'missing'}. Check the folder."
        )
        raise CallFailed(Failed("files.effect_differs", message))


def _checked(path: str, known: Entry | None, current_digest: str, sha256: str) -> Entry:
    if known is None:
        message = f"Cannot remove {path!r}: no plan published it. Nothing was changed."
        raise refused("files.not_published", message)
    expected = {"", known.sha256, known.replaced}
    if current_digest not in expected or sha256 not in {"", known.sha256}:
        message = f"Cannot remove {path!r}: its content has changed since it was published. Nothing was changed."
        raise refused("files.changed", message)
    return known


def _public(path: str) -> tuple[str, ...]:
    parts = confined.parts_of(path)
    if parts[0] == LEDGER:
        message = f"Cannot use {LEDGER!r}: the path is reserved. Use another one."
        raise refused("files.path", message)
    return parts


def _digest_at(top: int, parts: tuple[str, ...]) -> str:
    try:
        with confined.opened_file(top, parts) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


def _name(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest() + ".json"


def _read(ledger: int, path: str) -> Entry | None:
    try:
        with confined.opened_file(ledger, (_name(path),)) as file:
            return Entry(**json.load(file))
    except FileNotFoundError:
        return None


def _record(ledger: int, path: str, entry: Mapping[str, Any]) -> None:
    _write(ledger, _name(path), BytesIO(json.dumps(entry).encode()))


def _write(folder: int, name: str, source: BinaryIO) -> None:
    temporary = _temporary(folder, name)
    _fill(folder, temporary, source)
    _place(folder, temporary, name, overwrite=True)


def _temporary(folder: int, name: str) -> str:
    """Return a temporary name, after removing a file that a crash left there."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    temporary = f".{digest}.{os.getpid()}.part"
    with suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=folder)
    return temporary


def _fill(folder: int, name: str, source: BinaryIO) -> str:
    """Write a new file; return its SHA-256."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, 0o644, dir_fd=folder), "wb") as target:
        digest = confined.copy(source, target)
        target.flush()
        os.fsync(target.fileno())
    return digest


def _place(folder: int, temporary: str, name: str, *, overwrite: bool) -> None:
    if overwrite:
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    else:
        # A link fails if the name exists; a rename would replace the file.
        try:
            os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except FileExistsError as error:
            message = f"Cannot publish {name!r}: the file was just created. Nothing was changed."
            raise refused("files.exists", message) from error
        finally:
            os.unlink(temporary, dir_fd=folder)
    os.fsync(folder)
