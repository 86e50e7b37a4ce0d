"""Prove that a claimed attempt never began.

A worker process notes the session of an attempt in a file before it claims it; its
runner notes it again before the first instruction of the handler. The notes survive both
processes. So an attempt that was claimed, and is not noted as begun, never began.
"""

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from orchestration.skills.execution import Note

NAME = "handover"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SESSION = 16
BOOT = 36
"""Characters of a session id, and of the boot id of a host."""
OTHERS_WRITE = 0o022
PASSED_THROUGH = 0o711
"""A worker that is root starts programs as another user, who needs access."""


class HandoverNotes:
    """The notes of one worker process, in the home of its runner."""

    def __init__(self, home: Path) -> None:
        draft = home / f".{NAME}"
        self.fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        """The file descriptor, which the runner inherits."""
        # The kernel releases the lock once this process and its runner have ended.
        fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.pwrite(self.fd, f"{_boot():{BOOT}}{'':{2 * SESSION}}".encode(), 0)
        draft.rename(home / NAME)
        self.are_settled = True
        """True unless a claimed attempt may not have started yet."""

    def claiming(self, session: str) -> None:
        """Note the attempt that is claimed next."""
        self.are_settled = False
        os.pwrite(self.fd, f"{session:{SESSION}}".encode(), BOOT)

    def of_begin(self, session: str) -> Note:
        """Return the note that the runner writes when it begins this attempt."""
        # Both fields, in case the note before the claim failed.
        text = f"{session:{SESSION}}" * 2
        return Note(self.fd, os.fstat(self.fd).st_ino, BOOT, text)

    def has_begun(self, session: str) -> bool:
        """Return True if the runner, which must be dead, may have begun this attempt."""
        noted = os.pread(self.fd, SESSION, BOOT + SESSION)
        return noted.decode() == f"{session:{SESSION}}"

    def settled(self) -> None:
        """Note that no attempt is claimed."""
        os.pwrite(self.fd, f"{'':{SESSION}}".encode(), BOOT)
        self.are_settled = True

    def close(self) -> None:
        """Release the lock on the notes."""
        os.close(self.fd)


@dataclass(frozen=True)
class DeadWorker:
    """The home of a worker process that has died."""

    home: Path
    session: str
    """The attempt that it may have claimed but did not start, or ""."""
    written_at: float
    """The Unix time of its last note."""


def new_home(parent: Path) -> Path:
    """Create the home folder of this process's runner.

    :raises ImproperlyConfigured: when other users of this host may write there
    """
    with suppress(FileExistsError):
        parent.mkdir(parents=True)
        parent.chmod(PASSED_THROUGH)
    if not _is_ours(parent):
        message = (
            f"Cannot use {parent} for the files of workers: it must be a folder that"
            " belongs to their user and no other user can change. Set"
            " EXECFABRIC_WORKER_DIR."
        )
        raise ImproperlyConfigured(message)
    return Path(tempfile.mkdtemp(dir=parent))


def dead_workers(parent: Path) -> Iterator[DeadWorker]:
    """Iterate over the worker processes that have died, each locked during its turn."""
    # Forged notes could repeat an effect, so other users must not be able to write them.
    files = sorted(parent.glob(f"*/{NAME}")) if _is_ours(parent) else []
    for file in files:
        with suppress(OSError), closing(os.fdopen(os.open(file, os.O_RDWR))) as notes:
            fcntl.flock(notes, fcntl.LOCK_EX | fcntl.LOCK_NB)
            written_at = os.fstat(notes.fileno()).st_mtime
            yield DeadWorker(file.parent, _not_begun(notes.read()), written_at)


def _is_ours(folder: Path) -> bool:
    """Return True for a folder of this user that no other user can change."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    is_ours = status.st_uid == os.getuid() and not status.st_mode & OTHERS_WRITE
    return is_ours and stat.S_ISDIR(status.st_mode)


def _not_begun(notes: str) -> str:
    fields = notes[:BOOT], notes[BOOT : BOOT + SESSION], notes[BOOT + SESSION :]
    boot, claimed, begun = map(str.strip, fields)
    # After a restart of the host, the newest notes may be lost.
    is_proof = boot and boot == _boot() and claimed != begun
    return claimed if is_proof else ""


def _boot() -> str:
    """Return the boot id of the host, or "" if it has none."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""
