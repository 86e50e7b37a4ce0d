"""Find, measure and end the processes below another one, hidden ones included.

A process that calls `setsid` leaves its group, and one whose parent ends becomes a child
of the nearest subreaper. So the tree below a subreaper is complete; a process group is
not.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
ROUNDS = 100


@dataclass(frozen=True)
class Process:
    """The usage of one process from the kernel; no threads if it ended."""

    pid: int
    memory: int
    cpu_s: float
    threads: int


def adopt_orphans() -> None:
    """Make this process the parent of its orphaned descendants."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Let the kernel kill this process when its starting thread ends."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def processes(pid: int) -> list[Process]:
    """Return each process from `pid` down, ended ones included.

    By hand and not with psutil: one read of a file has the parent, the memory, the time
    and the threads of a process, and this runs several times a second.
    """
    known: dict[int, Process] = {}
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                parent, process = read_process(int(entry.name))
                known[process.pid] = process
                children.setdefault(parent, []).append(process.pid)
    tree: list[Process] = []
    waiting = [pid]
    while waiting:
        next_pid = waiting.pop()
        if next_pid in known:
            tree.append(known.pop(next_pid))
            waiting += children.get(next_pid, [])
    return tree


def read_process(pid: int) -> tuple[int, Process]:
    """Return the parent of a process and what it uses."""
    # The name in parentheses may contain anything, parentheses included.
    text = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2]
    values = text.split()
    is_zombie = values[0] in {"Z", "X"}
    return int(values[1]), Process(
        pid=pid,
        memory=0 if is_zombie else int(values[21]) * PAGE,
        cpu_s=sum(map(int, values[11:15])) / TICKS,
        threads=0 if is_zombie else int(values[17]),
    )


def of(pid: int) -> list[int]:
    """Return the ids of all living processes below `pid`."""
    return [item.pid for item in processes(pid) if item.threads and item.pid != pid]


def end(pid: int) -> int:
    """Kill all processes below `pid`, which must be this process or a stopped one.

    A process may start while the list is read, so this repeats until the list is empty.
    Return the number of killed processes.
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
    """Have the guardian end all processes; if it fails, end them from here."""
    if program.poll() is None:
        program.terminate()
    try:
        program.wait(seconds)
    except subprocess.TimeoutExpired:
        # A stopped guardian cannot end by itself, so its descendants stay below it
        # until the last of them is found.
        program.send_signal(signal.SIGSTOP)
        end(program.pid)
        program.kill()
        program.wait()


def any_child() -> bool:
    """Return True if this process has a living child, with one system call if not."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return True
    return False


def reap_all(seconds: float = 1.0) -> None:
    until = time.monotonic() + seconds
    while any_child() and time.monotonic() < until:
        time.sleep(0.001)


def _reap(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
