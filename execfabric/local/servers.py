"""Start the embedded servers and wait until they answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from execfabric.local import part as parts
from execfabric.local import ports
from execfabric.local.endpoints import Endpoints
from execfabric.local.errors import PartFailed, PortTaken
from execfabric.local.layout import DataDir
from execfabric.local.part import Part, Running
from execfabric.local.postgres import APP, OWNER, Postgres
from execfabric.local.valkey import Valkey

TRIES = 5
"""A free port may be taken by somebody else before the server listens on it."""

Server = TypeVar("Server", Postgres, Valkey)

Begin = Callable[[Part], Running]
"""Starts a part and waits until it is ready, or leaves nothing of it and raises."""


@dataclass(frozen=True)
class Database:
    """Where the truth is kept, as its owner and as the application see it."""

    app_url: str
    owner_url: str


def start_postgres(data: DataDir, begin: Begin, *, durable: bool = True) -> Database:
    """Start Postgres with its roles and databases provided.

    :raises StartFailed: when it cannot be made, started or reached
    """
    Postgres(data, 0, durable).initialise()
    server = _on_a_free_port(lambda port: Postgres(data, port, durable), begin)
    server.provide()
    return Database(app_url=server.url(APP), owner_url=server.url(OWNER))


def start_valkey(data: DataDir, begin: Begin) -> str:
    """Start Valkey; return its address.

    :raises StartFailed: when it cannot be started or reached
    """
    return _on_a_free_port(lambda port: Valkey(data, port), begin).url


def start_both(data: DataDir, begin: Begin, *, durable: bool) -> Endpoints:
    """Start both servers, for tests that bring the other parts themselves."""
    database = start_postgres(data, begin, durable=durable)
    return Endpoints(
        database_url=database.app_url,
        owner_database_url=database.owner_url,
        redis_url=start_valkey(data, begin),
    )


def begin_and_wait(part: Part) -> Running:
    """Start a part without a journal; what it said goes into the refusal."""
    running = parts.start(part, None)
    try:
        parts.await_ready(running)
    except BaseException as error:
        running.kill()
        if isinstance(error, PartFailed):
            raise PartFailed(f"{error}\n{running.output()}") from error
        raise
    return running


def _on_a_free_port(server_on: Callable[[int], Server], begin: Begin) -> Server:
    for _ in range(TRIES):
        server = server_on(ports.any_free())
        try:
            begin(server.part())
        except PortTaken:
            continue
        return server
    raise PortTaken(f"A server lost its port {TRIES} times to somebody faster.")
