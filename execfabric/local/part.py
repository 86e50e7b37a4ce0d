"""A part of the installation: what it is, and one running instance of it."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from execfabric.local import ports, processes
from execfabric.local.errors import PartFailed, StartFailed
from execfabric.local.journal import Journal
from execfabric.local.layout import PROJECT
from execfabric.local.processes import Identity

POLL = 0.05
LINES_KEPT = 2000


@dataclass(frozen=True, kw_only=True)
class Part:
    """How one part is started, known to be ready, and stopped."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    ready: "Callable[[Running], bool]"
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGTERM
    """What the part gets when the supervisor is killed."""
    grace: float = 15.0
    """Seconds between the stop signal and the kill."""
    ready_within: float = 180.0
    """Generous, for slow machines: a part that fails ends, and that is seen at once."""
    port: int | None = None
    """Where it listens, if it does."""
    tied: bool = True
    """False where `argv` already asks for the orphan signal itself."""


@dataclass
class Running:
    """One started instance; its output goes to the journal line by line."""

    part: Part
    child: "subprocess.Popen[str]"
    identity: Identity
    started: float = field(default_factory=time.time)
    _seen: list[str] = field(default_factory=list)
    _reader: threading.Thread | None = None

    @property
    def alive(self) -> bool:
        """Whether the part's own process still runs."""
        return self.child.poll() is None

    def said(self, text: str) -> bool:
        """Whether one of the first lines of output contains `text`."""
        return any(text in line for line in self._seen)

    def output(self) -> str:
        """The first lines of output, for reports and tests."""
        return "\n".join(self._seen)

    def read_into(self, journal: Journal | None) -> None:
        """Start to pass the output on."""
        self._reader = threading.Thread(target=self._read, args=(journal,), daemon=True)
        self._reader.start()

    def stop(self) -> None:
        """Stop in the part's own way, then leave nothing of it."""
        if self.alive:
            self._signal(self.part.stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(self.part.grace)
        self.kill()

    def kill(self) -> None:
        """Kill the part and all that it started."""
        processes.kill_family(self.identity)
        self.child.wait()
        self.hear_out()

    def hear_out(self) -> None:
        """Wait for the last words of a part that has ended."""
        if self._reader:
            self._reader.join(timeout=2)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.child.pid, number)

    def _read(self, journal: Journal | None) -> None:
        with self.child.stdout or contextlib.nullcontext(()) as lines:
            for line in lines:
                text = line.rstrip("\n")
                if len(self._seen) < LINES_KEPT:
                    self._seen.append(text)
                if journal:
                    journal.line(self.part.name, text)


def start(part: Part, journal: Journal | None) -> Running:
    """Start a part as the leader of a session of its own.

    :raises StartFailed: when its program cannot be run
    """
    argv = list(part.argv)
    if part.tied:
        argv = processes.tied_to_parent(argv, by=part.orphan_signal)
    try:
        child = subprocess.Popen(
            argv,
            env=dict(part.env),
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
        message = f"The part {part.name} cannot be started: {error}"
        raise StartFailed(message) from error
    # A child stays a zombie until it is waited for, so its pid is still its own.
    identity = processes.identify(child.pid) or Identity(child.pid, time.time())
    running = Running(part, child, identity)
    running.read_into(journal)
    return running


def await_ready(
    running: Running, *, give_up: Callable[[], None] = lambda: None
) -> None:
    """Wait until the part's gate says that it is ready.

    `give_up` may raise to end the wait.

    :raises PortTaken: when somebody else was faster on the part's port
    :raises PartFailed: when the part ends first, or is not ready in time
    """
    until = time.monotonic() + running.part.ready_within
    while True:
        give_up()
        if not running.alive:
            raise _early_end(running)
        if running.part.ready(running):
            return
        if time.monotonic() > until:
            message = f"The part {running.part.name} was not ready after"
            raise PartFailed(f"{message} {running.part.ready_within:.0f} s.")
        time.sleep(POLL)


def _early_end(running: Running) -> StartFailed:
    running.hear_out()
    port = running.part.port
    if port is not None and ports.IN_USE in running.output().lower():
        return ports.taken(port)
    message = f"The part {running.part.name} ended while starting"
    return PartFailed(f"{message} (exit {running.child.returncode}).")
