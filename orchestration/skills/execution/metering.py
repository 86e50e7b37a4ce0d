"""Measure what a call uses: all its processes and its folder.

Resource limits of the kernel count each process separately, and some do not apply to
root. So a call is also measured a few times a second.
"""

import os
import resource
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from orchestration.skills.domain.limits import MEGABYTE, Limit, Limits
from orchestration.skills.execution import folders
from orchestration.skills.execution.descendants import (
    PAGE,
    Process,
    processes,
    read_process,
)

BLOCK = 512
SHARE_OF_TIME = 10
"""Measuring takes at most this fraction of the time."""
LONGEST_PAUSE_S = 0.5


@dataclass
class Files:
    size: int = 0
    count: int = 0
    largest: int = 0
    too_deep: bool = False


class Meter:
    """Compares what a process and its descendants use with the limits of a call."""

    def __init__(
        self, pid: int, limits: Limits, folder: Path | None, *, spare: int = 0
    ) -> None:
        """Start from the current usage; do not count `spare` more processes."""
        self._pid = pid
        self._limits = limits
        self._folder = folder
        self._next_look = 0.0
        before = Process(pid, memory=0, cpu_s=0.0, threads=0)
        with suppress(OSError, IndexError, ValueError):
            _, before = read_process(pid)
        self._memory, self._cpu_s = before.memory, before.cpu_s
        self._spare = spare + before.threads

    def due(self) -> Limit | None:
        """Return the exceeded limit, if any; measure only as often as is cheap."""
        now = time.monotonic()
        if now < self._next_look:
            return None
        passed = self.passed()
        pause = SHARE_OF_TIME * (time.monotonic() - now)
        self._next_look = now + min(pause, LONGEST_PAUSE_S)
        return passed

    def passed(self) -> Limit | None:
        living = processes(self._pid)
        if sum(item.cpu_s for item in living) - self._cpu_s > self._limits.cpu_s:
            return Limit.CPU
        if sum(item.threads for item in living) - self._spare > self._limits.processes:
            return Limit.PROCESSES
        if self._too_much_memory(living):
            return Limit.MEMORY
        return self.passed_on_disk(living)

    def passed_on_disk(self, living: list[Process] | None = None) -> Limit | None:
        """Return the limit that the files exceed, including unlinked files."""
        limits = self._limits
        held, unnamed = _unnamed_files(living or [])
        if held > limits.memory_mb * MEGABYTE:
            return Limit.MEMORY
        usage = Files(size=unnamed)
        if self._folder is not None:
            usage = files_below(self._folder, most=limits.files)
            usage.size += unnamed
        if usage.largest > limits.file_mb * MEGABYTE:
            return Limit.FILE_SIZE
        too_many = usage.count > limits.files or usage.too_deep
        if too_many or usage.size > limits.disk_mb * MEGABYTE:
            return Limit.DISK
        return None

    def _too_much_memory(self, living: list[Process]) -> bool:
        most = self._limits.memory_mb * MEGABYTE + self._memory
        if sum(item.memory for item in living) <= most:
            return False
        # Shared memory was counted once per process.
        return sum(_own_memory(item) for item in living) > most


@contextmanager
def kernel_limits(limits: Limits) -> Iterator[None]:
    """Have the kernel enforce the limits on this process while the body runs.

    Only soft limits are set, so that they can be raised again for the next call.
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


def files_below(folder: Path, *, most: int) -> Files:
    """Add up the files below a folder without following links; stop above `most`."""
    usage = Files()
    with suppress(OSError), folders.closing(os.open(folder, folders.FOLDER)) as fd:
        _add_folder(fd, 0, usage, most)
    return usage


def _add_folder(folder: int, depth: int, usage: Files, most: int) -> None:
    if depth > folders.DEEPEST:
        usage.too_deep = True
        return
    below = []
    with os.scandir(folder) as entries:
        for entry in entries:
            usage.count += 1
            if usage.count > most:
                return
            with suppress(OSError):
                known = entry.stat(follow_symlinks=False)
                usage.size += known.st_blocks * BLOCK
                if stat.S_ISREG(known.st_mode):
                    usage.largest = max(usage.largest, known.st_size)
                elif stat.S_ISDIR(known.st_mode):
                    below.append(entry.name)
    for name in below:
        with suppress(OSError), folders.opened_folder(folder, (name,)) as below_fd:
            _add_folder(below_fd, depth + 1, usage, most)


def _own_memory(process: Process) -> int:
    """Return the memory of a process; divide shared memory among its users."""
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


def _data_size() -> int:
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_bytes().split()[5]) * PAGE
    return 0
