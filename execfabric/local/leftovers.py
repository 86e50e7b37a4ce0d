"""What is written down about running parts, and the end of those left without master."""

import fcntl
import json
import os
import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

from execfabric.local import endpoints, processes
from execfabric.local.errors import AlreadyUp
from execfabric.local.layout import DataDir, write_private
from execfabric.local.processes import Identity

GRACE = 20.0


@dataclass(frozen=True)
class Recorded:
    """One part as `status`, `down` and the next `up` find it."""

    pid: int
    started: float
    state: str
    restarts: int = 0

    @property
    def identity(self) -> Identity:
        """The process behind it."""
        return Identity(self.pid, self.started)


SUPERVISOR = "supervisor"


class Stage(StrEnum):
    """How far the supervisor itself is."""

    STARTING = "starting"
    UP = "up"
    STOPPING = "stopping"


def write(data: DataDir, recorded: Mapping[str, Recorded]) -> None:
    """Write the parts down, in the order of their start."""
    facts = {name: asdict(part) for name, part in recorded.items()}
    write_private(data.run / "parts.json", json.dumps(facts, indent=1))


def read(data: DataDir) -> dict[str, Recorded]:
    """The parts as last written down; they may have ended since."""
    try:
        text = (data.run / "parts.json").read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {name: Recorded(**fact) for name, fact in json.loads(text).items()}


def supervisor(data: DataDir) -> Identity | None:
    """The living supervisor of this data directory."""
    found = read(data).get(SUPERVISOR)
    return found.identity if found and processes.alive(found.identity) else None


def stage(data: DataDir) -> Stage | None:
    """How far the living supervisor is; None when there is none, or not yet."""
    found = read(data).get(SUPERVISOR)
    return Stage(found.state) if found and processes.alive(found.identity) else None


def end_all(data: DataDir) -> list[str]:
    """End, in reverse order, what a killed supervisor left; return the names.

    Only for whoever has the hold: anybody else would end the parts of the next start.
    """
    ended = []
    for name, part in reversed(read(data).items()):
        if name == SUPERVISOR or not processes.family(part.identity):
            continue
        # To Postgres SIGTERM means: wait until the last client has gone.
        by = signal.SIGINT if name == "postgres" else signal.SIGTERM
        processes.end(part.identity, by=by, grace=GRACE)
        ended.append(name)
    (data.run / "parts.json").unlink(missing_ok=True)
    endpoints.remove(data.root)
    return ended


class Hold:
    """The exclusive hold on a data directory; the system lets go when we die."""

    def __init__(self, data: DataDir) -> None:
        """Take it.

        :raises AlreadyUp: when another supervisor has it
        """
        path = data.run / "lock"
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._handle)
            raise AlreadyUp(str(data.root)) from None

    def release(self) -> None:
        """Let go."""
        os.close(self._handle)


def is_held(data: DataDir) -> bool:
    """Whether a supervisor has this data directory now."""
    try:
        Hold(data).release()
    except AlreadyUp:
        return True
    return False
