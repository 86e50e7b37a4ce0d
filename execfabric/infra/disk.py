"""Refuse new work before the disk is full."""

import time
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.core.files.storage import default_storage

from execfabric.lib import space
from execfabric.lib.refusal import Unavailable


class DiskFull(Unavailable):
    """The disk is almost full, so no new work is accepted."""

    code = "service.disk_full"

    def __init__(self) -> None:
        sentence = (
            "The disk of the service is almost full, so no new work is accepted."
            " Runs continue when there is space again."
        )
        super().__init__(sentence, retry_after=30)


def shortage() -> str | None:
    """Return a sentence if a disk has too little space; checked once a second."""
    return _shortage(settings.MIN_FREE_BYTES, int(time.monotonic()))


def require_space() -> None:
    if shortage():
        raise DiskFull


@lru_cache(maxsize=1)
def _shortage(least: int, _second: int) -> str | None:
    folders = (Path(default_storage.path("")), settings.WORKER_DIR)
    return space.shortage(folders, least)
