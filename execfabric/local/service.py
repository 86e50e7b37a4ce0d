"""A service (start, readiness check, stop) and its process."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import psutil  # type: ignore[import-untyped]

from execfabric.lib import clock
from execfabric.local import ports, processes
from execfabric.local.layout import PROJECT, StartFailed, reason

POLL = 0.05
FIRST_LINES = 2000
PORT_TRIES = 10
IN_USE = "address already in use"
"""Part of the message with which every server here reports a port in use."""


class ServiceFailed(StartFailed):
    """A service or command ended too early; the log says why."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """The start, readiness check and stop of one service."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    ready: "Callable[[ServiceProcess], bool]"
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGTERM
    """The signal that the service gets if the supervisor is killed."""
    grace: float = 15.0
    """Seconds between the stop signal and the kill."""
    ready_within: float = 180.0
    """Seconds until it must be ready; a failure is noticed at once."""
    port: int | None = None
    tied: bool = True
    """False if `argv` itself asks for the orphan signal."""


class ServiceProcess:
    """A service and its process, the leader of its own session."""

    def __init__(self, service: Service, log: BinaryIO | None = None) -> None:
        self.service = service
        self.log = log
        self.failures = 0
        self.restarts = 0
        self.restart_at = 0.0
        """The monotonic time when a stopped service is restarted."""
        self.start()

    def start(self) -> None:
        """Start the process; its output goes to the log line by line.

        :raises StartFailed: if its program cannot be run
        """
        argv = list(self.service.argv)
        if self.service.tied:
            argv = processes.tied_to_parent(argv, by=self.service.orphan_signal)
        try:
            self.child = subprocess.Popen(
                argv,
                env=dict(self.service.env),
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            message = f"Cannot start {self.service.name}: {argv[0]!r}: {reason(error)}."
            raise StartFailed(message) from error
        self.state = "starting"
        self.lines: list[str] = []
        """The first lines of output."""
        self.created: float = psutil.Process(self.pid).create_time()
        self._since = time.monotonic()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def await_ready(self, *, check_stop: Callable[[], None] = lambda: None) -> None:
        """Wait until the service is ready; `check_stop` may raise to end the wait.

        :raises PortTaken: if another program took its port first
        :raises ServiceFailed: if it ends first, or is not ready in time
        """
        service = self.service
        while not service.ready(self):
            check_stop()
            if not self.alive:
                status = self.kill()
                if service.port is not None and IN_USE in self.output().lower():
                    raise ports.taken(service.port)
                message = f"Cannot start {service.name}: it ended with exit status"
                raise ServiceFailed(f"{message} {status}.")
            if self.age() > service.ready_within:
                message = f"Cannot start {service.name}: it was not ready after"
                raise ServiceFailed(f"{message} {service.ready_within:g} s.")
            time.sleep(POLL)

    @property
    def pid(self) -> int:
        """The process id, not reused before `kill`."""
        return self.child.pid

    @property
    def alive(self) -> bool:
        """Return True if the first process of the service runs."""
        if self.child.returncode is not None:
            return False
        # Not `poll`, which frees the pid while children of the service may run.
        return bool(psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE)

    def age(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._since

    def printed(self, text: str) -> bool:
        """Return True if one of the first lines of output contains `text`."""
        return any(text in line for line in self.lines)

    def output(self) -> str:
        return "\n".join(self.lines)

    def stop(self) -> None:
        """Stop the service with its signal, then kill what is left."""
        deadline = time.monotonic() + self.service.grace
        if self.alive:
            os.kill(self.pid, self.service.stop_signal)
        while self.alive and time.monotonic() < deadline:
            time.sleep(POLL)
        self.kill()

    def kill(self) -> int:
        """Kill the service and everything that it started; return its exit status."""
        if self.child.returncode is None:
            processes.kill_family(self.pid)
        status = self.child.wait()
        self._reader.join(timeout=2)
        return status

    def _read(self) -> None:
        first_lines = self.lines
        with self.child.stdout or contextlib.nullcontext(()) as output:
            for line in output:
                if len(first_lines) < FIRST_LINES:
                    first_lines.append(line.rstrip("\n"))
                if self.log:
                    write_line(self.log, self.service.name, line.rstrip("\n"))


def write_line(log: BinaryIO, name: str, text: str) -> None:
    """Append a line to the log; on a full disk, drop it instead of waiting."""
    line = f"{clock.now():%Y-%m-%d %H:%M:%S} {name:<10} | {text}\n"
    with contextlib.suppress(OSError, ValueError):  # ValueError: the log is closed
        log.write(line.encode())


def on_free_port(
    begin: Callable[[int], object], *, choose: Callable[[], int] = ports.any_free
) -> int:
    """Call `begin` with a free port, and again if another program takes it; return it.

    :raises PortTaken: if that happens ten times
    """
    for _ in range(PORT_TRIES):
        port = choose()
        with contextlib.suppress(ports.PortTaken):
            begin(port)
            return port
    message = (
        f"Cannot start a server: {PORT_TRIES} free ports were taken by other programs."
    )
    raise ports.PortTaken(f"{message} Set PORT to a free one.")
