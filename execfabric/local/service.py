"""A service: how it starts, when it is ready, how it stops; and its process."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, TypeVar

import psutil  # type: ignore[import-untyped]

from execfabric.lib import clock
from execfabric.local import ports, processes
from execfabric.local.layout import PROJECT, StartFailed, reason

POLL = 0.05
FIRST_LINES = 2000
PORT_TRIES = 10
IN_USE = "address already in use"
"""Part of the message with which every server here reports a port in use."""
T = TypeVar("T")


class ServiceFailed(StartFailed):
    """A service or command ended too early; the log says why."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """How one service is started, checked for readiness, and stopped."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    ready: "Callable[[ServiceProcess], bool]"
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGTERM
    """What it gets when the supervisor is killed."""
    grace: float = 15.0
    """Seconds between the stop signal and the kill."""
    ready_within: float = 180.0
    """For slow machines; a service that fails ends, and that is noticed at once."""
    port: int | None = None
    tied: bool = True
    """False if `argv` itself asks for the orphan signal."""


@dataclass
class ServiceProcess:
    """A started service, the leader of its own session."""

    service: Service
    child: "subprocess.Popen[str]"
    log: BinaryIO | None
    started: float = field(default_factory=time.time)
    lines: list[str] = field(default_factory=list)
    """The first lines of output."""

    def __post_init__(self) -> None:
        self.created: float = psutil.Process(self.pid).create_time()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

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

    def printed(self, text: str) -> bool:
        """Return True if one of the first lines of output contains `text`."""
        return any(text in line for line in self.lines)

    def output(self) -> str:
        """Return the first lines of output."""
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
        with self.child.stdout or contextlib.nullcontext(()) as lines:
            for line in lines:
                if len(self.lines) < FIRST_LINES:
                    self.lines.append(line.rstrip("\n"))
                if self.log:
                    write_line(self.log, self.service.name, line.rstrip("\n"))


def write_line(log: BinaryIO, name: str, text: str) -> None:
    """Append a line to the log; on a full disk it is lost, and nothing waits."""
    line = f"{clock.now():%Y-%m-%d %H:%M:%S} {name:<10} | {text}\n"
    with contextlib.suppress(OSError, ValueError):  # ValueError: the log is closed
        log.write(line.encode())


def start(service: Service, log: BinaryIO | None = None) -> ServiceProcess:
    """Start a service; its output goes to the log line by line.

    :raises StartFailed: if its program cannot be run
    """
    argv = list(service.argv)
    if service.tied:
        argv = processes.tied_to_parent(argv, by=service.orphan_signal)
    try:
        child = subprocess.Popen(
            argv,
            env=dict(service.env),
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
        message = f"Cannot start {service.name}: {argv[0]!r}: {reason(error)}."
        raise StartFailed(message) from error
    return ServiceProcess(service, child, log)


def await_ready(
    process: ServiceProcess, *, check_stop: Callable[[], None] = lambda: None
) -> None:
    """Wait until the service is ready; `check_stop` may raise to end the wait.

    :raises PortTaken: if another program took its port first
    :raises ServiceFailed: if it ends first, or is not ready in time
    """
    service = process.service
    deadline = time.monotonic() + service.ready_within
    while not service.ready(process):
        check_stop()
        if not process.alive:
            status = process.kill()
            if service.port is not None and IN_USE in process.output().lower():
                raise ports.taken(service.port)
            message = f"Cannot start {service.name}: it ended with exit status"
            raise ServiceFailed(f"{message} {status}.")
        if time.monotonic() > deadline:
            message = f"Cannot start {service.name}: it was not ready after"
            raise ServiceFailed(f"{message} {service.ready_within:g} s.")
        time.sleep(POLL)


def on_free_port(
    begin: Callable[[int], T], *, choose: Callable[[], int] = ports.any_free
) -> T:
    """Call `begin` with a free port, and again if another program takes that port.

    :raises PortTaken: if that happens ten times
    """
    for _ in range(PORT_TRIES):
        with contextlib.suppress(ports.PortTaken):
            return begin(choose())
    message = f"Cannot start a server: {PORT_TRIES} free ports were taken by others."
    raise ports.PortTaken(f"{message} Set PORT to a free one.")
