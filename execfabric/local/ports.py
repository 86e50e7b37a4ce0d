"""Ports on the loopback address."""

import socket

from execfabric.local.errors import PortTaken

HOST = "127.0.0.1"
FIRST_WEB_PORT = 8000
TRIES = 100
HIGHEST = 65535


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a connection that is still closing does not occupy the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def any_free() -> int:
    """A port that nobody uses now; whoever takes it must be ready to lose the race."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def for_web(asked: int | None) -> int:
    """The port asked for, else the first free one from 8000.

    :raises PortTaken: when the port asked for is taken, or a hundred others are
    """
    if asked is not None:
        if not 0 < asked <= HIGHEST:
            message = f"PORT must be between 1 and {HIGHEST}, not {asked}."
            raise PortTaken(message)
        if not is_free(asked):
            message = f"Port {asked} is taken: free it, or choose another with PORT."
            raise PortTaken(message)
        return asked
    for port in range(FIRST_WEB_PORT, FIRST_WEB_PORT + TRIES):
        if is_free(port):
            return port
    message = f"No port from {FIRST_WEB_PORT} on is free: choose one with PORT."
    raise PortTaken(message)
