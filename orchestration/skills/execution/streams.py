"""Read the output of a running program and measure what it uses."""

import selectors
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from orchestration.skills.domain.limits import Limit
from orchestration.skills.execution.metering import Meter

TAIL = 64 * 1024
CHUNK = 65536
PERIOD_S = 0.05


@dataclass
class OutputTail:
    """The last bytes of a program's output, and the total size in bytes."""

    tail: bytearray = field(default_factory=bytearray)
    total: int = 0


class Streams:
    """Reads both outputs of a program and stores the last bytes of each."""

    def __init__(
        self,
        started: subprocess.Popen[bytes],
        on_text: Callable[[bytes], None],
        meter: Meter,
    ) -> None:
        self._on_text = on_text
        self._meter = meter
        self.passed: Limit | None = None
        self.stdout, self.stderr = OutputTail(), OutputTail()
        self._selector = selectors.DefaultSelector()
        pipes = (started.stdout, self.stdout), (started.stderr, self.stderr)
        for pipe, stream in pipes:
            if pipe is not None:
                self._selector.register(pipe, selectors.EVENT_READ, stream)
        self._started = started

    def read(self, until: float) -> bool:
        """Read until both are closed or the program has ended.

        Return False if it has to be killed: at the deadline, or for an exceeded limit.
        """
        while True:
            left = until - time.monotonic()
            self.passed = self._meter.due()
            if left <= 0 or self.passed:
                return False
            pause = min(left, PERIOD_S)
            # Closing its outputs does not end a program.
            ready = self._selector.get_map() and self._selector.select(pause)
            for key, _ in ready or ():
                self._take(key)
            # A program that it started may hold the pipes open forever.
            if not ready and self._ended(pause):
                return True

    def _ended(self, pause: float) -> bool:
        if self._selector.get_map():
            return self._started.poll() is not None
        with suppress(subprocess.TimeoutExpired):
            self._started.wait(pause)
        return self._started.returncode is not None

    def _take(self, key: selectors.SelectorKey) -> None:
        pipe = key.fileobj
        chunk = pipe.read1(CHUNK)  # type: ignore[union-attr]
        if not chunk:
            self._selector.unregister(pipe)
            return
        self._on_text(chunk)
        stream: OutputTail = key.data
        stream.total += len(chunk)
        stream.tail += chunk
        del stream.tail[:-TAIL]
