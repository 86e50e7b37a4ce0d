"""A broker that a test may kill and start again on its port."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.test import override_settings

from execfabric.celery import app
from execfabric.local import ports, valkey
from execfabric.local.layout import DataDir
from execfabric.local.service import ServiceProcess
from orchestration.runs import dispatch


class Broker:
    """A Valkey of its own."""

    def __init__(self, folder: Path) -> None:
        data = DataDir(folder)
        data.prepare()
        port = ports.any_free()
        self.url = valkey.url(data, port)
        self._server = valkey.service(data, port)
        self.running: ServiceProcess | None = None

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self.running
        return self.running.pid

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.running = ServiceProcess(self._server)
        self.running.await_ready()

    def kill(self) -> None:
        """End it; all it holds is lost."""
        if self.running:
            self.running.kill()
        self.running = None

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let this process send its hints to it."""
        before = app.conf.broker_url
        app.conf.update(broker_url=self.url)
        dispatch._broker.cache_clear()
        try:
            with override_settings(REDIS_URL=self.url):
                yield
        finally:
            app.conf.update(broker_url=before)
            dispatch._broker.cache_clear()
