"""Ports on the loopback address."""

import errno
import socket

from execfabric.local.layout import StartFailed

HOST = "127.0.0.1"
FIRST_WEB_PORT = 8000
TRIES = 100
HIGHEST = 65535


class PortTaken(StartFailed):
    """Another program listens on the port."""


def any_free() -> int:
    """Return a port that is free now; another program may still take it."""
    with socket.create_server((HOST, 0)) as probe:
        return int(probe.getsockname()[1])


def number(text: str) -> int:
    """Return the port number in a text.

    :raises StartFailed: if it is not a port number
    """
    if text.isdecimal() and 0 < int(text) <= HIGHEST:
        return int(text)
    raise StartFailed(f"Invalid PORT {text!r}: it must be from 1 to {HIGHEST}.")


def for_web(port: int | None = None) -> int:
    """Return `port`, or the first free port from 8000; another program may take it.

    :raises StartFailed: if the port cannot be used, or 100 ports are in use
    """
    last = FIRST_WEB_PORT + TRIES - 1
    for candidate in range(FIRST_WEB_PORT, last + 1) if port is None else [port]:
        try:
            with socket.create_server((HOST, candidate)):
                return candidate
        except PermissionError as error:
            message = f"Cannot use port {candidate}: permission denied. Set PORT to"
            raise StartFailed(f"{message} another one.") from error
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    if port is not None:
        raise taken(port)
    message = f"Ports {FIRST_WEB_PORT}-{last} are in use. Set PORT to a free one."
    raise PortTaken(message)


def taken(port: int) -> PortTaken:
    return PortTaken(f"Port {port} is in use. Free it, or set PORT to a free one.")
