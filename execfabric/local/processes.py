"""Operating-system processes by pid and start time, so that no stranger is ever hit."""

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

SAME_START = 1.0
"""Seconds by which two readings of one start time may differ (clock steps)."""


@dataclass(frozen=True)
class Identity:
    """One process; a pid alone may be somebody else's by tomorrow."""

    pid: int
    started: float


def identify(pid: int) -> Identity | None:
    """The identity of a living process; None when there is none."""
    try:
        return Identity(pid, psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None


def alive(identity: Identity) -> bool:
    """Whether exactly this process still runs."""
    found = identify(identity.pid)
    if found is None or abs(found.started - identity.started) > SAME_START:
        return False
    try:
        return _runs(psutil.Process(identity.pid))
    except psutil.NoSuchProcess:
        return False


def works_in(pid: int, folder: Path) -> bool:
    """Whether a process has this folder as its own; true too where nobody may know."""
    try:
        return Path(psutil.Process(pid).cwd()).samefile(folder)
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False
    except (psutil.AccessDenied, PermissionError):
        return True


def family(identity: Identity) -> list[psutil.Process]:
    """The process, its session and all their descendants, as they are now.

    Each part leads a session of its own, so its orphans are found after its death;
    the system does not give the pid away again while the session has a member.
    """
    leader = identify(identity.pid)
    if leader and abs(leader.started - identity.started) > SAME_START:
        return []
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        if process.pid == identity.pid or _session(process.pid) == identity.pid:
            found[process.pid] = process
    for member in list(found.values()):
        try:
            found |= {child.pid: child for child in member.children(recursive=True)}
        except psutil.NoSuchProcess:
            continue
    found.pop(os.getpid(), None)
    return list(found.values())


def kill_family(identity: Identity) -> None:
    """Kill the process and everything it started; wait until they are gone."""
    members = family(identity)
    if members and os.getpgrp() != identity.pid:
        # All at once: one killed after another, the last could still start a new one.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(identity.pid, signal.SIGKILL)
    for member in members:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(members, timeout=5)


def end(identity: Identity, *, by: signal.Signals, grace: float) -> None:
    """Ask a process to stop; after `grace` seconds kill what is left of its family."""
    if alive(identity):
        try:
            process = psutil.Process(identity.pid)
            process.send_signal(by)
            process.wait(grace)
        except (psutil.NoSuchProcess, psutil.TimeoutExpired):
            pass
    kill_family(identity)


def tied_to_parent(argv: Sequence[str], *, by: signal.Signals) -> list[str]:
    """The same command, told by the system when its parent dies.

    Where setpriv is missing the next `up` or `down` cleans up instead. The parent is
    the *thread* that starts it: a part must be started from the main thread.
    """
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
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
