"""Free disk space, for the service and for the local supervisor."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

MB = 2**20
DEFAULT_MB = 200


def least_free() -> int:
    """Return the bytes that must stay free, from `EXECFABRIC_MIN_FREE_MB`."""
    text = os.environ.get("EXECFABRIC_MIN_FREE_MB", "")
    return (int(text) if text.isdecimal() else DEFAULT_MB) * MB


def shortage(folders: Iterable[Path], least: int) -> str | None:
    """Return a sentence if a disk has less than `least` bytes free, else None."""
    for folder in folders:
        try:
            parts = (folder, *folder.parents)
            free = shutil.disk_usage(next(p for p in parts if p.exists())).free
        except OSError:
            continue  # the code that uses the folder reports this
        if free < least:
            return f"The disk of {folder} has {free // MB} MB left."
    return None
