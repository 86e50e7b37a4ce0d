"""Process trees: find and kill them, and tie them to the process that started them."""

import contextlib
import os
import shutil
import signal
from collections.abc import Sequence

import psutil  # type: ignore[import-untyped]

CLOCK_STEP = 1.0
"""Seconds by which two readings of one start time may differ."""


def find(pid: int, started: float) -> psutil.Process | None:
    """Return the process if it still runs, and not another one with its pid."""
    if not psutil.pid_exists(pid) or is_reused(pid, started):
        return None
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return process if _runs(process) else None
    return None


def is_reused(pid: int, started: float) -> bool:
    """Return True if the pid now belongs to another process; a zombie keeps its pid."""
    try:
        return bool(abs(psutil.Process(pid).create_time() - started) > CLOCK_STEP)
    except psutil.NoSuchProcess:
        return False


def family(pid: int) -> list[psutil.Process]:
    """Return a session leader, its session, and all their descendants that run.

    The leader itself may have ended.
    """
    members = {
        one.pid: one for one in psutil.process_iter() if _session(one.pid) == pid
    }
    for member in list(members.values()):
        with contextlib.suppress(psutil.NoSuchProcess):
            members |= {child.pid: child for child in member.children(recursive=True)}
    return [member for member in members.values() if _runs(member)]


def kill_family(pid: int) -> None:
    """Kill a session leader and everything that it started; wait for the end.

    The pid must not have been reused: its session has a member, or it is a zombie.
    """
    members = family(pid)
    # All at once: killed one after another, the last could still start a new one.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for member in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs([one for one in members if one.pid != pid], timeout=5)


def tied_to_parent(argv: Sequence[str], *, by: signal.Signals) -> list[str]:
    """Return the command line with which the system sends `by` when the parent dies.

    Without setpriv the next `up` or `down` cleans up. The parent is the *thread* that
    starts it: start services from the main thread.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", by.name, "--", *argv] if setpriv else list(argv)


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None
