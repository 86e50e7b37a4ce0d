"""Ports on the loopback address."""

import errno
import socket

from execfabric.local.errors import PortTaken, StartFailed

HOST = "127.0.0.1"
FIRST_WEB_PORT = 8000
TRIES = 100
HIGHEST = 65535
IN_USE = "address already in use"
"""How every server here says, in its own sentence, that it did not get its port."""


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    return _obstacle(port) is None


def _obstacle(port: int) -> OSError | None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a connection that is still closing does not occupy the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError as error:
            return error
    return None


def any_free() -> int:
    """A port that nobody uses now; whoever takes it must be ready to lose the race."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def number(text: str) -> int:
    """The number of a port as somebody wrote it.

    :raises StartFailed: when it is none
    """
    if text.isdecimal() and 0 < int(text) <= HIGHEST:
        return int(text)
    raise StartFailed(f"PORT must be between 1 and {HIGHEST}, not {text!r}.")


def for_web(asked: int | None) -> int:
    """The port asked for, else the first free one from 8000.

    That it is free is true now and no promise: a server that is started on it may find
    it taken.

    :raises PortTaken: when the port asked for is taken, or a hundred others are
    :raises StartFailed: when nobody could listen on the port asked for
    """
    if asked is not None:
        return _exactly(asked)
    for port in range(FIRST_WEB_PORT, FIRST_WEB_PORT + TRIES):
        if is_free(port):
            return port
    message = f"No port from {FIRST_WEB_PORT} on is free: choose one with PORT."
    raise PortTaken(message)


def taken(port: int) -> PortTaken:
    """The refusal of a port where somebody else listens."""
    return PortTaken(f"Port {port} is taken: free it, or choose another with PORT.")


def _exactly(port: int) -> int:
    if obstacle := _obstacle(port):
        if obstacle.errno == errno.EADDRINUSE:
            raise taken(port)
        message = f"Port {port} cannot be used ({obstacle.strerror}):"
        raise StartFailed(f"{message} choose another with PORT.")
    return port
