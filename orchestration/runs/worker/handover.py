"""Which attempt the runner of a worker process has begun: known after their death.

A process notes the session of an attempt before it claims it; its runner notes it again
before the first instruction of the handler. What is written stays in the memory of the
host when they die. So an attempt that was claimed, and is not noted as begun, certainly
never began.
"""

import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from orchestration.skills.execution import Note, discard

NAME = "handover"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SESSION = 16
BOOT = 36
"""Characters of a session, and of the id that a host gives itself when it starts."""
OTHERS_WRITE = 0o022
PASSED_THROUGH = 0o711
"""For the programs of a worker that is root, which run as another user."""


class HandOver:
    """The notes of one process, in the home of its runner."""

    def __init__(self, home: Path) -> None:
        draft = home / f".{NAME}"
        self._fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # Held until this process and its runner end, however: it says one is alive.
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.pwrite(self._fd, f"{_boot():{BOOT}}{'':{2 * SESSION}}".encode(), 0)
        draft.rename(home / NAME)
        self.are_settled = True
        """Whether nothing is claimed that may not have been begun."""

    def claiming(self, session: str) -> None:
        """Note the attempt that is claimed next."""
        self.are_settled = False
        os.pwrite(self._fd, f"{session:{SESSION}}".encode(), BOOT)

    @property
    def fd(self) -> int:
        """The descriptor, for the runner to inherit."""
        return self._fd

    def of_begin(self, session: str) -> Note:
        """Return what the runner has to note when it begins this attempt."""
        # Both, should the note before the claim have failed.
        text = f"{session:{SESSION}}" * 2
        return Note(self._fd, os.fstat(self._fd).st_ino, BOOT, text)

    def has_begun(self, session: str) -> bool:
        """Return True if the runner may have begun this attempt; it must be dead."""
        noted = os.pread(self._fd, SESSION, BOOT + SESSION)
        return noted.decode() == f"{session:{SESSION}}"

    def settled(self) -> None:
        """Note that nothing is claimed any more."""
        os.pwrite(self._fd, f"{'':{SESSION}}".encode(), BOOT)
        self.are_settled = True

    def close(self) -> None:
        """Say that this process has nothing under way any more."""
        os.close(self._fd)


@dataclass(frozen=True)
class Left:
    """The home of a process that has died."""

    home: Path
    session: str
    """The attempt that it may have claimed and certainly did not begin; else empty."""
    written_at: float
    """When it last wrote a note, as a Unix time."""

    def age(self) -> float:
        """Return for how many seconds it has certainly sent nothing to the database."""
        return time.time() - self.written_at

    def remove(self) -> None:
        """Remove it: all that it proves is settled."""
        discard(self.home)


def new_home(parent: Path) -> Path:
    """Make the home of this process's runner.

    :raises ImproperlyConfigured: when other users of this host may write there
    """
    with suppress(FileExistsError):
        parent.mkdir(parents=True)
        parent.chmod(PASSED_THROUGH)
    if not _is_ours(parent):
        message = (
            f"Cannot use {parent} for the files of workers: it must be a folder of"
            " their user that no other user can change. Set EXECFABRIC_WORKER_DIR."
        )
        raise ImproperlyConfigured(message)
    return Path(tempfile.mkdtemp(dir=parent))


def left(parent: Path) -> Iterator[Left]:
    """Return the homes of processes that have died; each is locked in its turn."""
    # Forged notes could have an effect happen twice.
    files = sorted(parent.glob(f"*/{NAME}")) if _is_ours(parent) else []
    for file in files:
        with suppress(OSError), closing(os.fdopen(os.open(file, os.O_RDWR))) as notes:
            fcntl.flock(notes, fcntl.LOCK_EX | fcntl.LOCK_NB)
            written_at = os.fstat(notes.fileno()).st_mtime
            yield Left(file.parent, _not_begun(notes.read()), written_at)


def _is_ours(folder: Path) -> bool:
    """Return True for a folder of this user that no other user can change."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    is_ours = found.st_uid == os.getuid() and not found.st_mode & OTHERS_WRITE
    return is_ours and stat.S_ISDIR(found.st_mode)


def _not_begun(notes: str) -> str:
    boot, claimed, begun = (
        notes[:BOOT].strip(),
        notes[BOOT : BOOT + SESSION].strip(),
        notes[BOOT + SESSION :].strip(),
    )
    # Notes from before the host started again may be older than what was begun.
    is_proof = boot and boot == _boot() and claimed != begun
    return claimed if is_proof else ""


def _boot() -> str:
    """Return the id of this start of the host; empty where it has none."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""
