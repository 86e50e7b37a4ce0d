"""Ports on the loopback address."""

import errno
import socket

from execfabric.local.layout import StartFailed, reason

HOST = "127.0.0.1"
FIRST_WEB_PORT = 8000
TRIES = 100
HIGHEST = 65535


class PortTaken(StartFailed):
    """Another program listens on the port."""


def any_free() -> int:
    """Return a port that is free now; another program may still take it."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def number(text: str) -> int:
    """Return the port number in a text.

    :raises StartFailed: if it is not a port number
    """
    if text.isdecimal() and 0 < int(text) <= HIGHEST:
        return int(text)
    raise StartFailed(f"Invalid PORT {text!r}: it must be from 1 to {HIGHEST}.")


def for_web(port: int | None) -> int:
    """Return `port`, or the first free port from 8000; another program may take it.

    :raises StartFailed: if the port cannot be used, or 100 ports are in use
    """
    if port is not None:
        if (error := _obstacle(port)) is None:
            return port
        if error.errno == errno.EADDRINUSE:
            raise taken(port)
        message = f"Cannot use port {port}: {reason(error)}. Set PORT to another one."
        raise StartFailed(message)
    for candidate in range(FIRST_WEB_PORT, FIRST_WEB_PORT + TRIES):
        if _obstacle(candidate) is None:
            return candidate
    last = FIRST_WEB_PORT + TRIES - 1
    message = f"Ports {FIRST_WEB_PORT}-{last} are in use. Set PORT to a free one."
    raise PortTaken(message)


def taken(port: int) -> PortTaken:
    """Return the refusal of a port that is in use."""
    return PortTaken(f"Port {port} is in use. Free it, or set PORT to a free one.")


def _obstacle(port: int) -> OSError | None:
    with socket.socket() as probe:
        # As servers do: a connection that is still closing does not occupy the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError as error:
            return error
    return None
