"""Read and write below one folder and nowhere else.

Each part of a path is opened below the descriptor of its folder without following
links. So a link that is created between a check and its use does not work either.
"""

import fnmatch
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from orchestration.skills.domain.outcome import refused
from orchestration.skills.execution import folders
from orchestration.skills.execution.reasons import plain

CHUNK = 1024 * 1024
DEEPEST = 40


@dataclass(frozen=True)
class Found:
    parts: tuple[str, ...]
    size: int

    @property
    def path(self) -> str:
        return "/".join(self.parts)


def parts_of(path: str) -> tuple[str, ...]:
    """Return the parts of a relative path.

    :raises CallFailed: when it is absolute, has `..`, or invisible characters
    """
    is_bad = path.startswith("/") or "\\" in path or not path.isprintable()
    parts = () if is_bad else PurePosixPath(path).parts
    if not parts or ".." in parts or len(parts) > DEEPEST:
        message = f"Invalid path {path!r}. Use a relative path without `..`."
        raise refused("files.path", message)
    return parts


@contextmanager
def opened_root(root: Path) -> Iterator[int]:
    """Open a root. It comes from the configuration, so it may be a link.

    :raises CallFailed: when it is not a folder
    """
    try:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        message = f"Cannot open the configured folder {root.name!r}: {plain(error)}. Ask an admin."
        raise refused("files.no_root", message) from error
    with folders.closing(fd):
        yield fd


@contextmanager
def opened_folder(
    root: int, parts: Sequence[str], *, make: bool = False
) -> Iterator[int]:
    """Open a folder below a root; create it if `make`.

    :raises CallFailed: when a part of the path is a link or not a folder
    """
    fd = os.dup(root)
    try:
        for part in parts:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=fd)
            below = _open(part, folders.FOLDER, fd, "/".join(parts))
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


@contextmanager
def opened_file(root: int, parts: Sequence[str]) -> Iterator[BufferedReader]:
    """Open a plain file below a root for reading.

    :raises CallFailed: when it is a link, has other hard links, or is not a plain file
    :raises FileNotFoundError: when it does not exist
    """
    path = "/".join(parts)
    with opened_folder(root, parts[:-1]) as folder:
        fd = _open(parts[-1], folders.PLAIN, folder, path)
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            message = f"Cannot read {path!r}: it is not a plain file."
            raise refused("files.not_plain", message)
        if status.st_nlink > 1:
            # The other name may be outside the root.
            message = f"Cannot read {path!r}: it has another name (a hard link)."
            raise refused("files.hard_link", message)
        yield file


def matching(root: int, pattern: tuple[str, ...]) -> Iterator[Found]:
    """Return the plain files that match a pattern, by name; `**` is any depth.

    :raises CallFailed: when the last part of the pattern matches a link
    """
    steps = [
        part
        for index, part in enumerate(pattern)
        if part != "**" or pattern[index + 1 : index + 2] != ("**",)
    ]
    yield from _matching(root, tuple(steps), ())


def copy(source: BinaryIO, target: BinaryIO) -> str:
    """Copy all bytes; return their SHA-256."""
    digest = hashlib.sha256()
    while chunk := source.read(CHUNK):
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()


def _matching(
    folder: int, pattern: tuple[str, ...], above: tuple[str, ...]
) -> Iterator[Found]:
    head, rest = pattern[0], pattern[1:]
    if head == "**":
        yield from _matching(folder, rest or ("*",), above)
    for name in sorted(os.listdir(folder)):
        hidden = name.startswith(".") and not head.startswith(".")
        if hidden or not (head == "**" or fnmatch.fnmatchcase(name, head)):
            continue
        here = (*above, name)
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            yield from _below(folder, pattern if head == "**" else rest, here)
        elif head != "**" and not rest:
            if not stat.S_ISREG(status.st_mode):
                message = f"Cannot collect {'/'.join(here)!r}: it is not a plain file."
                raise refused("files.not_plain", message)
            yield Found(parts=here, size=status.st_size)


def _below(
    folder: int, pattern: tuple[str, ...], here: tuple[str, ...]
) -> Iterator[Found]:
    if not pattern:
        return
    if len(here) > DEEPEST:
        message = f"Cannot collect {'/'.join(here)!r}: it is too deep (max {DEEPEST})."
        raise refused("files.too_deep", message)
    with opened_folder(folder, here[-1:]) as below:
        yield from _matching(below, pattern, here)


def _open(name: str, flags: int, folder: int, path: str) -> int:
    try:
        return os.open(name, flags, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:
        message = f"Cannot open {path!r}: {name!r} is a link or has the wrong type."
        raise refused("files.not_plain", message) from error
