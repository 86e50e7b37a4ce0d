"""Free disk space, for the service and for the local supervisor."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MB = 2**20
DEFAULT_MB = 200


@dataclass(frozen=True)
class Shortage:
    """A disk with too little free space."""

    folder: Path
    free: int

    def __str__(self) -> str:
        return f"The disk of {self.folder} has {self.free // MB} MB left."


def least_free() -> int:
    """Return the bytes that must stay free, from `EXECFABRIC_MIN_FREE_MB`."""
    text = os.environ.get("EXECFABRIC_MIN_FREE_MB", "")
    return (int(text) if text.isdecimal() else DEFAULT_MB) * MB


def shortage(folders: Iterable[Path], least: int) -> Shortage | None:
    """Return the first folder on a disk with less than `least` bytes free."""
    for folder in folders:
        try:
            free = shutil.disk_usage(_existing(folder)).free
        except OSError:
            continue  # the code that uses the folder reports this
        if free < least:
            return Shortage(folder, free)
    return None


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())
