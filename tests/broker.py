"""A broker that a test may kill and start again on its port."""

from pathlib import Path

from execfabric.local import ports, service
from execfabric.local.layout import DataDir
from execfabric.local.service import ServiceProcess
from execfabric.local.valkey import Valkey


class Broker:
    """A Valkey of its own."""

    def __init__(self, folder: Path) -> None:
        data = DataDir(folder)
        data.prepare()
        self.server = Valkey(data, ports.any_free())
        self.running: ServiceProcess | None = None

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self.running
        return self.running.pid

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.running = service.start(self.server.service())
        service.await_ready(self.running)

    def kill(self) -> None:
        """End it; all it holds is lost."""
        if self.running:
            self.running.kill()
        self.running = None
