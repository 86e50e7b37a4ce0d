"""The one readable log: every line of every part, with its time and its part's name."""

import contextlib
import sys
import threading
from collections import deque
from pathlib import Path

from execfabric.lib import clock

SUPERVISOR = "supervisor"
"""Its lines are shown on stderr where they cannot be written."""
LARGEST = 20 * 1024 * 1024
"""Bytes above which the log is set aside at the next start."""


class Journal:
    """Takes lines from several threads; shows them too where somebody watches."""

    def __init__(self, path: Path, *, shown: bool = False) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > LARGEST:
            path.replace(path.with_suffix(".log.1"))
        self._file = path.open("ab", buffering=0)
        path.chmod(0o600)
        self._lock = threading.Lock()
        self._shown = shown

    def line(self, part: str, text: str) -> None:
        """Add one line.

        A line that cannot be written is lost: were the reader of a part's output to end
        over a full disk, the part would stand still as soon as its pipe is full.
        """
        line = f"{clock.now():%Y-%m-%d %H:%M:%S} {part:<10} | {text}\n"
        with self._lock:
            written = self._write(line)
            out = sys.stdout if self._shown else sys.stderr
            if self._shown or (part == SUPERVISOR and not written):
                with contextlib.suppress(OSError):
                    out.write(line)
                    out.flush()

    def _write(self, line: str) -> bool:
        if self._file.closed:
            return False
        try:
            self._file.write(line.encode())
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close the file; lines that come later are lost."""
        with self._lock:
            self._file.close()


def last_lines(path: Path, count: int) -> list[str]:
    """The end of the log, for whoever must understand a failed start."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\n") for line in deque(file, maxlen=count)]
