"""Read and remove folders that a program has written, without following links.

Each part of a path is opened below the descriptor of its folder, so a link in its place
does not work.
"""

import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path, PurePosixPath

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
PLAIN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
ITSELF = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
DEEPEST = 40
MOST_ENTRIES = 20_000


class NotPlain(Exception):
    """A path is not a folder or a plain file."""


class TooMany(Exception):
    """A folder has too many entries or levels."""


@contextmanager
def closing(fd: int) -> Iterator[int]:
    """Close a descriptor after the body."""
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def opened_folder(top: int, parts: Sequence[str]) -> Iterator[int]:
    """Open a folder below an open one; no part of the path may be a link."""
    fd = os.dup(top)
    try:
        for part in parts:
            below = os.open(part, FOLDER, dir_fd=fd)
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


@contextmanager
def opened_file(root: Path, path: Path) -> Iterator[BufferedReader]:
    """Open a plain file below `root`, none of whose folders is a link.

    :raises NotPlain: when it is something else, or cannot be read
    """
    parts = path.relative_to(root).parts if path.is_relative_to(root) else ()
    if not parts or ".." in parts or len(parts) > DEEPEST:
        message = f"{path.name} is not in the folder of the call"
        raise NotPlain(message)
    try:
        with (
            closing(os.open(root, FOLDER)) as top,
            opened_folder(top, parts[:-1]) as folder,
        ):
            fd = os.open(parts[-1], PLAIN, dir_fd=folder)
    except OSError as error:
        message = f"{path.name} is not a plain file, or cannot be read"
        raise NotPlain(message) from error
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            message = f"{path.name} is not a plain file"
            raise NotPlain(message)
        yield file


def plain_files(root: Path, name: str) -> list[Path]:
    """Return the plain files below `root/name`, sorted; links are left out.

    :raises NotPlain: when it is not a folder, or cannot be read
    :raises TooMany: when it is too deep or has too many entries
    """
    try:
        with (
            closing(os.open(root, FOLDER)) as top,
            opened_folder(top, (name,)) as folder,
        ):
            paths = [*_files(folder, PurePosixPath(), [0])]
    except FileNotFoundError:
        return []
    except OSError as error:
        message = f"{name} is not a folder, or cannot be read"
        raise NotPlain(message) from error
    return sorted(root / name / path for path in paths)


def remove(folder: Path) -> None:
    """Remove a folder with its content, for any depth and permissions.

    Subfolders are first moved to the top, so that no path has more than two names and
    one open descriptor is enough.

    :raises OSError: when something cannot be removed
    """
    if not os.path.lexists(folder):
        return
    with closing(os.open(folder.parent, FOLDER & ~os.O_NOFOLLOW)) as parent:
        if not _is_folder(folder.name, parent):
            with suppress(FileNotFoundError):
                os.unlink(folder.name, dir_fd=parent)
            return
        prefix = secrets.token_hex(8)
        with closing(_claimed(folder.name, parent)) as top:
            moved = _emptied(top, top, prefix, 0)
            for number in moved:
                _remove_moved(top, prefix, number, moved)
        os.rmdir(folder.name, dir_fd=parent)


def _remove_moved(top: int, prefix: str, number: int, moved: list[int]) -> None:
    name = f"{prefix}{number}"
    with closing(_claimed(name, top)) as fd:
        moved += _emptied(fd, top, prefix, moved[-1] + 1)
    os.rmdir(name, dir_fd=top)


def _emptied(folder: int, top: int, prefix: str, first: int) -> list[int]:
    """Remove the files of a folder, move its folders up; return their numbers."""
    moved: list[int] = []
    with os.scandir(folder) as entries:
        listed = [
            (entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries
        ]
    for name, is_folder in listed:
        if not is_folder:
            os.unlink(name, dir_fd=folder)
            continue
        # A folder without write permission cannot be moved either.
        os.close(_claimed(name, folder))
        number = first + len(moved)
        os.rename(name, f"{prefix}{number}", src_dir_fd=folder, dst_dir_fd=top)
        moved.append(number)
    return moved


def _claimed(name: str, parent: int) -> int:
    """Open a folder after making it readable and writable for its owner."""
    with closing(os.open(name, ITSELF, dir_fd=parent)) as itself, suppress(OSError):
        Path(f"/proc/self/fd/{itself}").chmod(0o700)
    return os.open(name, FOLDER, dir_fd=parent)


def _is_folder(name: str, parent: int) -> bool:
    with suppress(FileNotFoundError):
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        return stat.S_ISDIR(status.st_mode)
    return False


def _files(folder: int, above: PurePosixPath, seen: list[int]) -> Iterator[Path]:
    """Return the plain files in an open folder; `seen` counts the entries."""
    if len(above.parts) > DEEPEST:
        message = f"it has folders more than {DEEPEST} deep"
        raise TooMany(message)
    below: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            seen[0] += 1
            if seen[0] > MOST_ENTRIES:
                message = f"it has more than {MOST_ENTRIES} entries"
                raise TooMany(message)
            if entry.is_dir(follow_symlinks=False):
                below.append(entry.name)
            elif entry.is_file(follow_symlinks=False):
                yield Path(above / entry.name)
    for name in below:
        with closing(os.open(name, FOLDER, dir_fd=folder)) as fd:
            yield from _files(fd, above / name, seen)
