"""A control group for one program, where this user may make one.

It counts the processes of root too, which resource limits do not.
"""

import os
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TRIES = 50


@contextmanager
def a_group(most_processes: int) -> Iterator[int | None]:
    """Make a group with a limit; return the descriptor through which one joins it."""
    parent = pids_folder()
    folder = parent / f"execfabric-{secrets.token_hex(8)}" if parent else None
    joined = _made(folder, most_processes) if folder else None
    try:
        yield joined
    finally:
        if joined is not None:
            os.close(joined)
        if folder is not None:
            _remove(folder)


def _made(folder: Path, most_processes: int) -> int | None:
    with suppress(OSError):
        folder.mkdir()
        (folder / "pids.max").write_text(str(most_processes))
        return os.open(folder / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
    return None


def _remove(folder: Path) -> None:
    """End what is left in the group and remove it; the kernel takes its own time."""
    for _ in range(TRIES):
        with suppress(OSError):
            folder.rmdir()
        if not folder.exists():
            return
        with suppress(OSError):
            for pid in (folder / "cgroup.procs").read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.02)


def pids_folder() -> Path | None:
    """Return this process's own group in the hierarchy that counts processes."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if "pids" in controllers.split(","):
                own = Path("/sys/fs/cgroup/pids") / path.lstrip("/")
                return own if os.access(own, os.W_OK) else None
        # Version 2: a delegated folder, whose own processes are in another one.
        given = Path(os.environ.get("EXECFABRIC_CGROUP", "/nonexistent"))
        enabled = (given / "cgroup.subtree_control").read_text().split()
        return given if "pids" in enabled else None
    return None
