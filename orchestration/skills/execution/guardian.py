"""The guardian: a parent process that ends the runner and all its descendants.

It stays between the worker and the program. It ends everything when either of them
ends, and ends the program when a call passes a limit or its deadline.
"""

import contextlib
import json
import mmap
import os
import select
import signal
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from execfabric.lib import clock
from orchestration.skills.domain.limits import BY_EXIT_CODE, Limit, Limits
from orchestration.skills.execution import descendants
from orchestration.skills.execution.metering import Meter

LOOK_MS = 250
LATE_S = 2.0
"""Seconds that the guardian waits after the deadline; the worker acts first."""
NUMBER = struct.Struct("=Q")
SHARED_SIZE = 16384
ROOM = SHARED_SIZE - NUMBER.size
DIED_BY_SIGNAL = 128


class StopAsked(Exception):
    """The worker requested the end of the runner."""


@dataclass
class CallWatch:
    number: int
    meter: Meter
    until: float
    before: Limit | None = None

    def passed(self) -> Limit | None:
        """Return the limit that was exceeded twice in a row: a handler may react."""
        if clock.since_boot() > self.until:
            return Limit.TIME
        before, self.before = self.before, self.meter.passed()
        return self.before if self.before == before else None


class SharedCall:
    """The current call in memory that the program shares with the guardian."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, SHARED_SIZE)
        self._last = 0

    @contextmanager
    def one(self, call: Mapping[str, Any]) -> Iterator[None]:
        """Have the guardian watch a call while the body runs."""
        self._last += 1
        shared = {key: call[key] for key in ("limits", "until", "workdir")}
        self._shared[NUMBER.size :] = json.dumps(shared).encode().ljust(ROOM)
        NUMBER.pack_into(self._shared, 0, self._last)
        try:
            yield
        finally:
            NUMBER.pack_into(self._shared, 0, 0)

    def current(self) -> int:
        """Return the number of the current call; 0 for none."""
        number: int = NUMBER.unpack_from(self._shared)[0]
        return number

    def watched(self, child: int, before: "CallWatch | None") -> "CallWatch | None":
        number = self.current()
        if before is not None and before.number == number:
            return before
        content = self._shared[NUMBER.size :]
        # It may have ended, and the next may have begun, while this was read.
        if not number or self.current() != number:
            return None
        shared = json.loads(content)
        meter = Meter(child, Limits(**shared["limits"]), Path(shared["workdir"]))
        return CallWatch(number, meter, shared["until"] + LATE_S)

    def stopped_in(self, child: int, number: int) -> bool:
        """Stop the program; return False and continue it if the call ended."""
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(child, signal.SIGSTOP)
            # Without reaping it: its exit status is read later.
            os.waitid(os.P_PID, child, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if self.current() == number:
            return True
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGCONT)
        return False


def guard(child: int, calls: SharedCall, *, lifeline: int, worker: int) -> NoReturn:
    """Wait until the program or the worker ends; then end all other processes.

    End the program when a call exceeds a limit or its deadline: the worker may be
    frozen.
    """
    watched = select.poll()
    watched.register(lifeline, select.POLLHUP)
    pidfd = os.pidfd_open(child)
    watched.register(pidfd, select.POLLIN)
    watch: CallWatch | None = None
    passed: Limit | None = None
    # A process forked from the worker may hold the other end of the lifeline, so the
    # worker itself is checked too.
    with contextlib.suppress(StopAsked):
        signal.signal(signal.SIGTERM, _stop)
        while passed is None and os.getppid() == worker:
            if watched.poll(LOOK_MS):
                break
            watch = calls.watched(child, watch)
            over = watch.passed() if watch else None
            if watch and over and calls.stopped_in(child, watch.number):
                passed = over
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    exited, status = os.waitpid(child, os.WNOHANG)
    descendants.end(os.getpid())
    descendants.reap_all()
    if passed is not None:
        os._exit(passed.exit_code)
    code = os.waitstatus_to_exitcode(status) if exited else 0
    # A handler must not be able to pretend that it exceeded a limit.
    code = 1 if code in BY_EXIT_CODE else code
    os._exit(DIED_BY_SIGNAL - code if code < 0 else code)


def _stop(*_: object) -> NoReturn:
    raise StopAsked
