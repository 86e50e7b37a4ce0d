"""Measuring what a call uses, over all its processes and its folder.

Resource limits of the kernel count each process by itself, and some do not hold
root. So whoever starts a call also looks at it a few times a second.
"""

import os
import resource
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from orchestration.skills.domain.limits import MEGABYTE, Limit, Limits
from orchestration.skills.execution import folders

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
BLOCK = 512
SHARE_OF_TIME = 10
"""Looking takes at most one part in so many of the time."""
LONGEST_PAUSE_S = 0.5


@dataclass(frozen=True)
class Process:
    """What the kernel counts for one process."""

    pid: int
    memory: int
    cpu_s: float
    threads: int


@dataclass
class Files:
    """What a folder holds."""

    size: int = 0
    count: int = 0
    largest: int = 0
    too_deep: bool = False


class Meter:
    """Compares what a process and all below it use with the limits of one call."""

    def __init__(
        self, pid: int, limits: Limits, folder: Path | None, *, spare: int = 0
    ) -> None:
        """Start at what the process uses by itself; `spare` others are not counted."""
        self._pid = pid
        self._limits = limits
        self._folder = folder
        self._next_look = 0.0
        before = Process(pid, memory=0, cpu_s=0.0, threads=0)
        with suppress(OSError, IndexError, ValueError):
            _, before = _process(pid)
        self._memory, self._cpu_s = before.memory, before.cpu_s
        self._spare = spare + before.threads

    def due(self) -> Limit | None:
        """Return the limit that is passed now; look no more often than is cheap."""
        now = time.monotonic()
        if now < self._next_look:
            return None
        passed = self.passed()
        pause = SHARE_OF_TIME * (time.monotonic() - now)
        self._next_look = now + min(pause, LONGEST_PAUSE_S)
        return passed

    def passed(self) -> Limit | None:
        """Return the limit that is passed now, if any."""
        living = processes(self._pid)
        if sum(item.cpu_s for item in living) - self._cpu_s > self._limits.cpu_s:
            return Limit.CPU
        if sum(item.threads for item in living) - self._spare > self._limits.processes:
            return Limit.PROCESSES
        if self._too_much_memory(living):
            return Limit.MEMORY
        return self.passed_on_disk(living)

    def passed_on_disk(self, living: list[Process] | None = None) -> Limit | None:
        """Return the limit that the files pass now, those without a name included."""
        limits = self._limits
        held, unnamed = _unnamed_files(living or [])
        if held > limits.memory_mb * MEGABYTE:
            return Limit.MEMORY
        found = Files(size=unnamed)
        if self._folder is not None:
            found = files_below(self._folder, most=limits.files)
            found.size += unnamed
        if found.largest > limits.file_mb * MEGABYTE:
            return Limit.FILE_SIZE
        too_many = found.count > limits.files or found.too_deep
        if too_many or found.size > limits.disk_mb * MEGABYTE:
            return Limit.DISK
        return None

    def _too_much_memory(self, living: list[Process]) -> bool:
        most = self._limits.memory_mb * MEGABYTE + self._memory
        if sum(item.memory for item in living) <= most:
            return False
        # What processes share was counted once for each of them.
        return sum(_own_memory(item) for item in living) > most


@contextmanager
def kernel_limits(limits: Limits) -> Iterator[None]:
    """Have the kernel refuse this process what passes the limits while the body runs.

    A limit for one call is no limit for the next: only the soft ones are set.
    """
    data = _data_size()
    wanted = {
        resource.RLIMIT_DATA: data + limits.memory_mb * MEGABYTE,
        resource.RLIMIT_FSIZE: limits.file_mb * MEGABYTE + 1,
    }
    before = {kind: resource.getrlimit(kind) for kind in wanted}
    for kind, value in wanted.items():
        hard = before[kind][1]
        soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (soft, hard))
    try:
        yield
    finally:
        for kind, pair in before.items():
            resource.setrlimit(kind, pair)


def processes(pid: int) -> list[Process]:
    """Return every living process from `pid` down."""
    known: dict[int, Process] = {}
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir() if sys.platform == "linux" else ():
        if entry.name.isdigit():
            with suppress(OSError, IndexError, ValueError):
                parent, process = _process(int(entry.name))
                known[process.pid] = process
                children.setdefault(parent, []).append(process.pid)
    found: list[Process] = []
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        if one in known:
            found.append(known.pop(one))
            waiting += children.get(one, [])
    return found


def files_below(folder: Path, *, most: int) -> Files:
    """Add up the files below a folder without following links; stop above `most`."""
    found = Files()
    with suppress(OSError):
        fd = os.open(folder, folders.FOLDER)
        try:
            _add_folder(fd, 0, found, most)
        finally:
            os.close(fd)
    return found


def _add_folder(folder: int, depth: int, found: Files, most: int) -> None:
    if depth > folders.DEEPEST:
        found.too_deep = True
        return
    below = []
    with os.scandir(folder) as entries:
        for entry in entries:
            found.count += 1
            if found.count > most:
                return
            with suppress(OSError):
                known = entry.stat(follow_symlinks=False)
                found.size += known.st_blocks * BLOCK
                if stat.S_ISREG(known.st_mode):
                    found.largest = max(found.largest, known.st_size)
                elif stat.S_ISDIR(known.st_mode):
                    below.append(entry.name)
    for name in below:
        with suppress(OSError):
            fd = os.open(name, folders.FOLDER, dir_fd=folder)
            try:
                _add_folder(fd, depth + 1, found, most)
            finally:
                os.close(fd)


def _process(pid: int) -> tuple[int, Process]:
    """Return a process and its parent."""
    # The name in parentheses may contain anything, parentheses included.
    text = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2]
    values = text.split()
    zombie = values[0] in {"Z", "X"}
    return int(values[1]), Process(
        pid=pid,
        memory=0 if zombie else int(values[21]) * PAGE,
        cpu_s=sum(map(int, values[11:15])) / TICKS,
        threads=0 if zombie else int(values[17]),
    )


def _own_memory(process: Process) -> int:
    """Return its memory with what it shares divided by those who share it."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return process.memory


def _unnamed_files(living: list[Process]) -> tuple[int, int]:
    """Return the sizes of the open files that have no name, in memory and on disk."""
    memory: dict[tuple[int, int], int] = {}
    disk: dict[tuple[int, int], int] = {}
    for process in living:
        with suppress(OSError), os.scandir(f"/proc/{process.pid}/fd") as entries:
            for entry in entries:
                with suppress(OSError):
                    known = entry.stat()
                    if known.st_nlink or not stat.S_ISREG(known.st_mode):
                        continue
                    in_memory = str(Path(entry.path).readlink()).startswith("/memfd:")
                    kind = memory if in_memory else disk
                    kind[known.st_dev, known.st_ino] = known.st_blocks * BLOCK
    return sum(memory.values()), sum(disk.values())


_STATM = Path("/proc/self/statm")


def _data_size() -> int:
    with suppress(OSError):
        return int(_STATM.read_bytes().split()[5]) * PAGE
    return 0
