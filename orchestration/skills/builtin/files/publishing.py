"""Putting a file below a publish root and taking back exactly that.

Beside the published files stands a small ledger: for each path what was put
there, by which step run, and what it replaced. It is written before the file is,
so a second try knows what the first one did.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestration.skills.builtin.files import confined
from orchestration.skills.builtin.files.confined import OutOfBounds, Reader
from orchestration.skills.domain.outcome import File

LEDGER = ".execfabric"


@dataclass(frozen=True)
class Entry:
    """What stands at a published path, by whom, and what stood there before."""

    path: str
    sha256: str
    key: str
    replaced: str = ""
    """SHA-256 of the content that was replaced and is kept; empty for none."""
    former: dict[str, Any] | None = None
    """The ledger's entry for what was replaced, if that was published too."""


def publish(root: Path, file: File, path: str, *, key: str, overwrite: bool) -> Entry:
    """Put the file there at once as a whole; a second call with the key does nothing.

    :raises OutOfBounds: when the path leaves the root or is taken
    """
    parts = _public(path)
    with (
        confined.opened_root(root) as top,
        confined.opened_folder(top, parts[:-1], make=True) as folder,
        _locked_ledger(top) as ledger,
    ):
        known = _read(ledger, path)
        standing = _standing(top, parts)
        if known and known.key == key and standing == known.sha256 == file.sha256:
            return known
        again = known if known and known.key == key else None
        replaced = again.replaced if again else ""
        if standing and not overwrite:
            message = f"{path} is there already. Ask for overwrite to replace it."
            raise OutOfBounds("files.exists", message)
        if standing and standing != file.sha256:
            replaced = standing
            _keep(top, parts, ledger, replaced)
        former = again.former if again else asdict(known) if known else None
        entry = Entry(path, file.sha256, key, replaced, former if replaced else None)
        _write(ledger, _name(path), json.dumps(asdict(entry)).encode())
        with file.path.open("rb") as source:
            temporary = _temporary(folder, parts[-1])
            copied = _fill(folder, temporary, source.read)
        if copied != file.sha256:
            os.unlink(temporary, dir_fd=folder)
            message = f"{file.name} is not the file that was approved: other content."
            raise OutOfBounds("files.effect_differs", message)
        _place(folder, temporary, parts[-1], overwrite=overwrite)
        _confirm(top, parts, file.sha256)
        return entry


def unpublish(root: Path, path: str, *, sha256: str = "") -> Entry | None:
    """Remove what was published there and put back what it replaced.

    None when it is gone already.

    :raises OutOfBounds: when something else stands there now
    """
    parts = _public(path)
    with (
        confined.opened_root(root) as top,
        _locked_ledger(top) as ledger,
    ):
        known = _read(ledger, path)
        try:
            standing = _standing(top, parts)
        except FileNotFoundError:
            standing = ""
        if known is None and not standing:
            return None
        entry = _checked(path, known, standing, sha256)
        with confined.opened_folder(top, parts[:-1]) as folder:
            if not entry.replaced and standing:
                os.unlink(parts[-1], dir_fd=folder)
            elif entry.replaced and _kept(ledger, entry.replaced):
                kept, name = entry.replaced, parts[-1]
                os.rename(kept, name, src_dir_fd=ledger, dst_dir_fd=folder)
                os.fsync(folder)
            _confirm(top, parts, entry.replaced)
        if entry.former:
            _write(ledger, _name(path), json.dumps(entry.former).encode())
        else:
            os.unlink(_name(path), dir_fd=ledger)
        return entry


def standing(root: Path, path: str) -> str:
    """SHA-256 of what stands at a path below the root; empty for nothing.

    :raises OutOfBounds: when the path leaves the root or names no plain file
    """
    with confined.opened_root(root) as top:
        try:
            return _standing(top, _public(path))
        except FileNotFoundError:
            return ""


@contextmanager
def _locked_ledger(top: int) -> Iterator[int]:
    """The ledger's folder, for one at a time: an entry and its file belong together."""
    with confined.opened_folder(top, (LEDGER,), make=True) as ledger:
        fcntl.flock(ledger, fcntl.LOCK_EX)
        yield ledger


def _confirm(top: int, parts: tuple[str, ...], sha256: str) -> None:
    """Check that a path has the content it was just given (empty: none)."""
    now = _standing(top, parts)
    if now != sha256:
        message = (
            f"{'/'.join(parts)} has the content {now or 'none'} afterwards, not"
            f" {sha256 or 'none'}."
        )
        raise OutOfBounds("files.effect_differs", message, before_effect=False)


def _checked(path: str, known: Entry | None, standing: str, sha256: str) -> Entry:
    if known is None:
        raise OutOfBounds("files.not_published", f"{path} was not published by a plan.")
    expected = {"", known.sha256, known.replaced}
    if standing not in expected or sha256 not in {"", known.sha256}:
        message = f"{path} has other content now than was published; it stays."
        raise OutOfBounds("files.changed", message)
    return known


def _kept(ledger: int, sha256: str) -> bool:
    with suppress(FileNotFoundError):
        os.stat(sha256, dir_fd=ledger)
        return True
    return False


def _public(path: str) -> tuple[str, ...]:
    parts = confined.parts_of(path)
    if parts[0] == LEDGER:
        raise OutOfBounds("files.path", f"{LEDGER} is not a place to publish to.")
    return parts


def _standing(top: int, parts: tuple[str, ...]) -> str:
    try:
        with confined.opened_file(top, parts) as file:
            return confined.digest_of(file)
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


def _keep(top: int, parts: tuple[str, ...], ledger: int, sha256: str) -> None:
    with confined.opened_file(top, parts) as file:
        _write(ledger, sha256, file.read())


def _write(folder: int, name: str, content: bytes) -> None:
    temporary = _temporary(folder, name)
    remaining = [content, b""]
    _fill(folder, temporary, lambda _: remaining.pop(0))
    _place(folder, temporary, name, overwrite=True)


def _temporary(folder: int, name: str) -> str:
    """A name beside the final one; what a crash has left under it is removed."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    temporary = f".{digest}.{os.getpid()}.part"
    with suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=folder)
    return temporary


def _fill(folder: int, name: str, read: Reader) -> str:
    """Write a new file; return the SHA-256 of what was written."""
    digest = hashlib.sha256()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, 0o644, dir_fd=folder), "wb") as target:
        while chunk := read(confined.CHUNK):
            digest.update(chunk)
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
    return digest.hexdigest()


def _place(folder: int, temporary: str, name: str, *, overwrite: bool) -> None:
    if overwrite:
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    else:
        # A link is refused where the name is taken; a rename would replace it.
        try:
            os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except FileExistsError as error:
            raise OutOfBounds("files.exists", f"{name} has just appeared.") from error
        finally:
            os.unlink(temporary, dir_fd=folder)
    os.fsync(folder)
