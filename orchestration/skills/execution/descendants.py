"""Finding and ending the processes a call has left behind, those that hide included.

A process that calls `setsid` leaves its group, and one whose parent ends is given
to the nearest subreaper. So the tree below a subreaper is complete, where a
process group is not.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
ROUNDS = 100


def adopt_orphans() -> None:
    """Make this process the one that orphaned descendants are given to."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Be killed when the thread that started this process ends."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def of(pid: int) -> list[int]:
    """Every living process below `pid`."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    found: list[int] = []
    queue = [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found.extend(below)
        queue.extend(below)
    return found


def end(pid: int) -> int:
    """Kill everything below `pid`, which must be this process or a stopped one.

    A process may be born while the list is read, so it goes on until the list is
    empty. Returns how many were killed.
    """
    killed: set[int] = set()
    for _ in range(ROUNDS):
        living = of(pid)
        if not living:
            break
        for child in living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        killed.update(living)
        _reap(living)
        time.sleep(0.001)
    return len(killed)


def end_program(program: subprocess.Popen[bytes], seconds: float) -> None:
    """Have the guardian end everything; where it does not, do it from here."""
    if program.poll() is None:
        program.terminate()
    try:
        program.wait(seconds)
    except subprocess.TimeoutExpired:
        # Stopped, the guardian cannot end by itself, so its descendants stay
        # below it until the last of them is found.
        program.send_signal(signal.SIGSTOP)
        end(program.pid)
        program.kill()
        program.wait()


def any_child() -> bool:
    """Whether this process has a living child. Costs one system call if it has none."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return True
    return False


def reap_all(seconds: float = 1.0) -> None:
    """Wait for every child that has ended, so that no entry of it stays behind."""
    until = time.monotonic() + seconds
    while any_child() and time.monotonic() < until:
        time.sleep(0.001)


def _reap(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _parents() -> list[tuple[int, int]]:
    found = []
    for entry in Path("/proc").iterdir() if sys.platform == "linux" else ():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            # The name in parentheses may contain anything, parentheses included.
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if fields[0] not in {"Z", "X"}:
                found.append((int(entry.name), int(fields[1])))
    return found


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
