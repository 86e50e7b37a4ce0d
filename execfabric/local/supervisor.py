"""Start services in order, wait until they are ready, restart them, stop them.

Kept instead of a library: circus needs a daemon of its own over ZeroMQ, honcho restarts
nothing, and neither waits for one service before it starts the next.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import psutil  # type: ignore[import-untyped]

from execfabric.lib import space
from execfabric.local import endpoints, processes, service
from execfabric.local.layout import DataDir, write_private
from execfabric.local.service import Service, ServiceFailed, ServiceProcess

NAME = "supervisor"
UP = "up"
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
STEADY_AFTER = 60.0
"""Seconds after which a ready service's earlier failures no longer count."""
TICK = 0.1
DISK_CHECK_SECONDS = 1.0
ORPHAN_GRACE = 20.0
"""Seconds that an orphan has to stop before it is killed."""


class Stopped(Exception):
    """A stop was requested during the start."""


def pause_before_restart(failures: int) -> float:
    """Return the seconds to wait: from half a second, doubling up to thirty."""
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures - 1, 10)))


@dataclass
class Supervised:
    """One service under supervision."""

    process: ServiceProcess
    since: float
    """When this process was started (monotonic)."""
    state: str = "starting"
    failures: int = 0
    restarts: int = 0
    restart_at: float = 0.0
    """When to start it again if it is down (monotonic)."""


class Supervisor:
    """The services of one data directory; used from the main thread only."""

    def __init__(self, data: DataDir, log: BinaryIO) -> None:
        self._data = data
        self.log_file = log
        self._supervised: list[Supervised] = []
        self._stop_requested = False
        self._state = "starting"
        self._saved: dict[str, Any] = {}
        self._disk_full = False
        self._next_disk_check = 0.0

    def request_stop(self) -> None:
        """Request a stop; safe in a signal handler."""
        self._stop_requested = True

    def log(self, text: str) -> None:
        """Add a line to the log."""
        service.write_line(self.log_file, NAME, text)

    def begin(self, *wanted: Service) -> list[ServiceProcess]:
        """Start independent services and wait until all are ready; keep them running.

        :raises StartFailed: if one does not get ready; nothing of them is left
        :raises Stopped: if a stop was requested
        """
        begun: list[Supervised] = []
        try:
            for one in wanted:
                self._check_stop()
                process = service.start(one, self.log_file)
                begun.append(Supervised(process, time.monotonic()))
                self._supervised.append(begun[-1])
                self.save_status()
            for supervised in begun:
                service.await_ready(supervised.process, check_stop=self._check_stop)
                self._mark_ready(supervised)
        except BaseException:
            for supervised in begun:
                self._supervised.remove(supervised)
                supervised.process.stop()
            raise
        return [supervised.process for supervised in begun]

    def complete(self, name: str, argv: Sequence[str], env: dict[str, str]) -> None:
        """Run a command to its end.

        :raises ServiceFailed: if it fails
        :raises Stopped: if a stop was requested
        """
        command = Service(name=name, argv=argv, env=env, ready=lambda _: False)
        process = service.start(command, self.log_file)
        try:
            while process.alive:
                self._check_stop()
                time.sleep(service.POLL)
        finally:
            status = process.kill()
        if status:
            message = f"The command `{name}` failed with exit status {status}."
            raise ServiceFailed(message)

    def watch(self, *, until: Callable[[], bool] = lambda: False) -> None:
        """Keep every service running until a stop is requested."""
        while not self._stop_requested and not until():
            self._check_disk()
            for supervised in self._supervised:
                try:
                    self._check(supervised)
                except Exception as error:  # noqa: BLE001  the others must go on
                    self._schedule_restart(supervised, repr(error))
            self.save_status()
            time.sleep(TICK)

    def stop(self) -> None:
        """Stop every service in the reverse order of the start."""
        self.save_status("stopping")
        while self._supervised:
            process = self._supervised.pop().process
            process.stop()
            self.log(f"{process.service.name} stopped")
        self.save_status()

    def save_status(self, state: str = "") -> None:
        """Write the status file if anything has changed; on a full disk, later."""
        self._state = state or self._state
        started = psutil.Process().create_time()
        rows = {NAME: {"pid": os.getpid(), "started": started, "state": self._state}}
        for one in self._supervised:
            rows[one.process.service.name] = {
                "pid": one.process.pid,
                "started": one.process.created,
                "state": one.state,
                "restarts": one.restarts,
            }
        if rows != self._saved:
            with contextlib.suppress(OSError):
                write_private(_status_file(self._data), json.dumps(rows, indent=1))
                self._saved = rows

    def _mark_ready(self, supervised: Supervised) -> None:
        supervised.state = "ready"
        seconds = time.monotonic() - supervised.since
        self.log(f"{supervised.process.service.name} ready after {seconds:.1f} s")
        self.save_status()

    def _check_disk(self) -> None:
        """Log when the disk gets full; restart everything at once when it is not."""
        now = time.monotonic()
        if now < self._next_disk_check:
            return
        self._next_disk_check = now + DISK_CHECK_SECONDS
        shortage = space.shortage([self._data.root], space.least_free())
        if shortage and not self._disk_full:
            self.log(f"{shortage} New work waits for free space.")
        elif self._disk_full and not shortage:
            self.log("The disk has free space again.")
            for supervised in self._supervised:
                supervised.failures, supervised.restart_at = 0, now
        self._disk_full = shortage is not None

    def _check(self, supervised: Supervised) -> None:
        now = time.monotonic()
        process = supervised.process
        if supervised.state == "waiting to restart":
            if now >= supervised.restart_at:
                self._restart(supervised)
        elif not process.alive:
            self._schedule_restart(supervised, f"exit status {process.kill()}")
        elif supervised.state == "starting":
            if process.service.ready(process):
                self._mark_ready(supervised)
            elif now - supervised.since > process.service.ready_within:
                self._schedule_restart(supervised, "not ready in time")
        elif now - supervised.since > STEADY_AFTER:
            supervised.failures = 0

    def _schedule_restart(self, supervised: Supervised, why: str) -> None:
        supervised.process.kill()
        supervised.failures += 1
        pause = pause_before_restart(supervised.failures)
        supervised.restart_at = time.monotonic() + pause
        supervised.state = "waiting to restart"
        name = supervised.process.service.name
        self.log(f"{name} is down ({why}); restart in {pause:g} s")

    def _restart(self, supervised: Supervised) -> None:
        supervised.restarts += 1
        supervised.process = service.start(supervised.process.service, self.log_file)
        supervised.since = time.monotonic()
        supervised.state = "starting"

    def _check_stop(self) -> None:
        if self._stop_requested:
            raise Stopped


def read_status(data: DataDir) -> dict[str, dict[str, Any]]:
    """Return the last status of the supervisor and its services, by name."""
    try:
        text = _status_file(data).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    rows: dict[str, dict[str, Any]] = json.loads(text)
    return rows


def process_of(row: dict[str, Any]) -> psutil.Process | None:
    """Return the process of a status row if it still runs."""
    return processes.find(row["pid"], row["started"])


def end_orphans(data: DataDir) -> list[str]:
    """End the services that a killed supervisor left; return their names.

    Call it with the lock: otherwise it would end the services of the next start.
    """
    ended = [
        name
        for name, row in reversed(read_status(data).items())
        if name != NAME and _end(name, row)
    ]
    _status_file(data).unlink(missing_ok=True)
    endpoints.remove(data.root)
    return ended


def _end(name: str, row: dict[str, Any]) -> bool:
    leader = process_of(row)
    if leader is None and psutil.pid_exists(row["pid"]):
        return False  # another process has its pid
    if not processes.family(row["pid"]):
        return False
    if leader:
        # On SIGTERM Postgres would wait until its last client disconnects.
        leader.send_signal(signal.SIGINT if name == "postgres" else signal.SIGTERM)
        psutil.wait_procs([leader], timeout=ORPHAN_GRACE)
    processes.kill_family(row["pid"])
    return True


def _status_file(data: DataDir) -> Path:
    return data.run / "status.json"
