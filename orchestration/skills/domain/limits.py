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
    """The limits of a call, including all programs that it starts."""

    memory_mb: int = 1024
    cpu_s: int = 300
    processes: int = 64
    file_mb: int = 512
    disk_mb: int = 2048
    files: int = 20_000

    def problems(self) -> list[str]:
        return [
            f"{item.name} must be a whole number from 1 to {LARGEST}"
            for item in fields(self)
            if type(value := getattr(self, item.name)) is not int
            or not 1 <= value <= LARGEST
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
