"""Resource limits of a call, and the message when it exceeds one."""

from dataclasses import dataclass, fields
from enum import StrEnum

MEGABYTE = 1024 * 1024
LARGEST = 1_000_000
FIRST_EXIT_CODE = 80


class Limit(StrEnum):
    """A limit that a call has exceeded; the value is the code of the failure."""

    MEMORY = "limits.memory"
    CPU = "limits.cpu"
    PROCESSES = "limits.processes"
    FILE_SIZE = "limits.file_size"
    DISK = "limits.disk"
    TIME = "limits.time"

    @property
    def exit_code(self) -> int:
        """The exit code of the runner program when it is stopped for this limit."""
        return FIRST_EXIT_CODE + list(Limit).index(self)


BY_EXIT_CODE = {limit.exit_code: limit for limit in Limit}


@dataclass(frozen=True)
class Limits:
    """What a call may use, including all programs that it starts."""

    memory_mb: int = 1024
    cpu_s: int = 300
    """Seconds of processor time of all programs."""
    processes: int = 64
    """Programs and threads at the same time."""
    file_mb: int = 512
    """Maximum size of one file."""
    disk_mb: int = 2048
    """Total size of the files in the folder of the call."""
    files: int = 20_000
    """Number of files and folders in the folder of the call."""

    def problems(self) -> list[str]:
        """Return a message for each invalid value."""
        return [
            f"{item.name} must be a whole number from 1 to {LARGEST}"
            for item in fields(self)
            if not _fits(getattr(self, item.name))
        ]


TITLES = {
    "memory_mb": "memory in MB",
    "cpu_s": "processor time in seconds",
    "processes": "programs and threads",
    "file_mb": "size of a file in MB",
    "disk_mb": "size of all files in MB",
    "files": "number of files",
}
"""Label of each value on pages."""


def sentence(limit: Limit, limits: Limits, seconds: float = 0.0) -> str:
    """Return the message for the user about an exceeded limit."""
    return {
        Limit.MEMORY: f"The step was stopped: it used too much memory (max {limits.memory_mb} MB).",
        Limit.CPU: f"The step was stopped: it used too much processor time (max {limits.cpu_s} s).",
        Limit.PROCESSES: f"The step was stopped: it ran too many programs and threads (max {limits.processes}).",
        Limit.FILE_SIZE: f"The step was stopped: it wrote a file that is too large (max {limits.file_mb} MB).",
        Limit.DISK: f"The step was stopped: its files are too large or too many (max {limits.disk_mb} MB, {limits.files} files).",
        Limit.TIME: f"The step was stopped: it did not finish in {seconds:g} s.",
    }[limit]


def _fits(value: object) -> bool:
    return type(value) is int and 1 <= value <= LARGEST
