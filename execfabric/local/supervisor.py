"""Start services in order, wait until they are ready, restart them, stop them.

Our own code, because circus needs a daemon of its own over ZeroMQ, honcho restarts
nothing, and neither waits for one service before it starts the next.
"""

import contextlib
import json
import os
import time
from collections.abc import Sequence
from typing import Any, BinaryIO

import psutil  # type: ignore[import-untyped]

from execfabric.lib import space
from execfabric.local import endpoints, processes
from execfabric.local.layout import DataDir, write_private
from execfabric.local.service import (
    POLL,
    Service,
    ServiceFailed,
    ServiceProcess,
    write_line,
)

NAME = "supervisor"
UP = "up"
WAITING = "waiting to restart"
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
STEADY_AFTER = 60.0
"""Seconds after which a ready service's earlier failures no longer count."""
TICK = 0.1
ORPHAN_GRACE = 20.0
"""Seconds that an orphan has to stop before it is killed."""


class Stopped(Exception):
    """A stop was requested during the start."""


def pause_before_restart(failures: int) -> float:
    """Return the seconds to wait: from half a second, doubling up to thirty."""
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures - 1, 10)))


class Supervisor:
    """The services of one data directory; used from the main thread only."""

    def __init__(self, data: DataDir, log: BinaryIO) -> None:
        self._data = data
        self.log_file = log
        self._processes: list[ServiceProcess] = []
        self._stop_requested = False
        self._state = "starting"
        self._saved: dict[str, Any] = {}
        self._disk_full = False

    def request_stop(self) -> None:
        """Request a stop; safe in a signal handler."""
        self._stop_requested = True

    def log(self, text: str) -> None:
        write_line(self.log_file, NAME, text)

    def begin(self, *wanted: Service) -> list[ServiceProcess]:
        """Start independent services and wait until all are ready; keep them running.

        :raises StartFailed: if one does not get ready; the others are stopped
        :raises Stopped: if a stop was requested
        """
        begun: list[ServiceProcess] = []
        try:
            for service in wanted:
                self._check_stop()
                begun.append(ServiceProcess(service, self.log_file))
                self._processes.append(begun[-1])
                self.save_status()
            for process in begun:
                process.await_ready(check_stop=self._check_stop)
                self._mark_ready(process)
        except BaseException:
            for process in begun:
                self._processes.remove(process)
                process.stop()
            raise
        return begun

    def complete(self, name: str, argv: Sequence[str], env: dict[str, str]) -> None:
        """Run a command to its end.

        :raises ServiceFailed: if it fails
        :raises Stopped: if a stop was requested
        """
        command = Service(name=name, argv=argv, env=env, ready=lambda _: False)
        process = ServiceProcess(command, self.log_file)
        try:
            while process.alive:
                self._check_stop()
                time.sleep(POLL)
        finally:
            status = process.kill()
        if status:
            message = f"The command `{name}` failed with exit status {status}."
            raise ServiceFailed(message)

    def watch(self) -> None:
        """Keep every service running until a stop is requested."""
        while not self._stop_requested:
            self.check()
            time.sleep(TICK)

    def check(self) -> None:
        """Notice services that are down or ready; restart those whose pause is over."""
        self._check_disk()
        for process in self._processes:
            try:
                self._check_process(process)
            except Exception as error:  # noqa: BLE001  the others must go on
                self._schedule_restart(process, repr(error))
        self.save_status()

    def stop(self) -> None:
        """Stop every service in the reverse order of the start."""
        self.save_status("stopping")
        while self._processes:
            process = self._processes.pop()
            process.stop()
            self.log(f"{process.service.name} stopped")
        self.save_status()

    def save_status(self, state: str = "") -> None:
        """Write the status file after a change; retry later on a full disk."""
        self._state = state or self._state
        started = psutil.Process().create_time()
        rows = {NAME: {"pid": os.getpid(), "started": started, "state": self._state}}
        for process in self._processes:
            rows[process.service.name] = {
                "pid": process.pid,
                "started": process.created,
                "state": process.state,
                "restarts": process.restarts,
            }
        if rows != self._saved:
            with contextlib.suppress(OSError):
                write_private(self._data.status, json.dumps(rows, indent=1))
                self._saved = rows

    def _mark_ready(self, process: ServiceProcess) -> None:
        process.state = "ready"
        self.log(f"{process.service.name} ready after {process.age():.1f} s")
        self.save_status()

    def _check_disk(self) -> None:
        """Log when the disk is full; restart services once it has space."""
        shortage = space.shortage([self._data.root], space.least_free())
        if shortage and not self._disk_full:
            self.log(f"{shortage} New work waits for free space.")
        elif self._disk_full and not shortage:
            self.log("The disk has free space again.")
            for process in self._processes:
                process.failures, process.restart_at = 0, 0
        self._disk_full = shortage is not None

    def _check_process(self, process: ServiceProcess) -> None:
        if process.state == WAITING:
            if time.monotonic() >= process.restart_at:
                process.restarts += 1
                process.start()
        elif not process.alive:
            self._schedule_restart(process, f"exit status {process.kill()}")
        elif process.state == "starting":
            if process.service.ready(process):
                self._mark_ready(process)
            elif process.age() > process.service.ready_within:
                self._schedule_restart(process, "not ready in time")
        elif process.age() > STEADY_AFTER:
            process.failures = 0

    def _schedule_restart(self, process: ServiceProcess, why: str) -> None:
        try:
            process.kill()
        except (OSError, psutil.Error) as error:
            self.log(f"{process.service.name} cannot be killed: {error!r}")
        process.failures += 1
        pause = pause_before_restart(process.failures)
        process.restart_at = time.monotonic() + pause
        process.state = WAITING
        self.log(f"{process.service.name} is down ({why}); restart in {pause:g} s")

    def _check_stop(self) -> None:
        if self._stop_requested:
            raise Stopped


def read_status(data: DataDir) -> dict[str, dict[str, Any]]:
    """Return the last status of the supervisor and its services, by name."""
    try:
        text = data.status.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    rows: dict[str, dict[str, Any]] = json.loads(text)
    return rows


def process_of(row: dict[str, Any]) -> psutil.Process | None:
    return processes.find(row["pid"], row["started"])


def end_orphans(data: DataDir) -> list[str]:
    """End the services that a killed supervisor left; return their names.

    Call it with the lock: otherwise it would end the services of the next start.
    """
    ended = [
        name
        for name, row in reversed(read_status(data).items())
        if name != NAME and _end(row)
    ]
    data.status.unlink(missing_ok=True)
    endpoints.remove(data.root)
    return ended


def _end(row: dict[str, Any]) -> bool:
    leader = process_of(row)
    if processes.is_reused(row["pid"], row["started"]):
        return False
    if not processes.family(row["pid"]):
        return False
    if leader:
        # Where setpriv exists, the system has sent it the orphan signal already.
        leader.terminate()
        psutil.wait_procs([leader], timeout=ORPHAN_GRACE)
    processes.kill_family(row["pid"])
    return True
