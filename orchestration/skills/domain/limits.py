"""What one call of an action may use, and what it is told when it used more."""

from dataclasses import dataclass, fields
from enum import StrEnum

MEGABYTE = 1024 * 1024
LARGEST = 1_000_000
FIRST_EXIT_CODE = 80


class Limit(StrEnum):
    """A limit that a call has passed; the value is the code of the failure."""

    MEMORY = "limits.memory"
    CPU = "limits.cpu"
    PROCESSES = "limits.processes"
    FILE_SIZE = "limits.file_size"
    DISK = "limits.disk"
    TIME = "limits.time"

    @property
    def exit_code(self) -> int:
        """How the runner's program ends when it was stopped for this."""
        return FIRST_EXIT_CODE + list(Limit).index(self)


BY_EXIT_CODE = {limit.exit_code: limit for limit in Limit}


@dataclass(frozen=True)
class Limits:
    """What a call may use, with all the programs it starts."""

    memory_mb: int = 1024
    cpu_s: int = 300
    """Seconds of processor time, over all programs."""
    processes: int = 64
    """Programs and threads at once."""
    file_mb: int = 512
    """Megabytes of one file."""
    disk_mb: int = 2048
    """Megabytes of all files in the folder of the call."""
    files: int = 20_000
    """Files and folders in the folder of the call."""

    def problems(self) -> list[str]:
        """Return what is wrong with the values, one text each."""
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
"""What each value is called where people read it."""


def sentence(limit: Limit, limits: Limits, seconds: float = 0.0) -> str:
    """Say in one sentence for the user which limit was passed."""
    return {
        Limit.MEMORY: f"It needed more than {limits.memory_mb} MB of memory and was stopped.",
        Limit.CPU: f"It used more than {limits.cpu_s} s of processor time and was stopped.",
        Limit.PROCESSES: f"It ran more than {limits.processes} programs and threads at once and was stopped.",
        Limit.FILE_SIZE: f"It wrote a file larger than {limits.file_mb} MB.",
        Limit.DISK: f"It wrote more than {limits.disk_mb} MB or {limits.files} files, or nested its folders too deep, and was stopped.",
        Limit.TIME: f"It did not end within {seconds:g} s and was stopped.",
    }[limit]


def _fits(value: object) -> bool:
    return type(value) is int and 1 <= value <= LARGEST
