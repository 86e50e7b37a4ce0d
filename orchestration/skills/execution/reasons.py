"""Explain why a system operation failed, without error numbers and paths."""

import errno
import re
import socket
import ssl
import traceback
from collections.abc import Mapping
from pathlib import Path

_NUMBERS = re.compile(r"\[(?:Errno|SSL)[^\]]*\]\s*|\s*\(_ssl\.c:\d+\)")
_REASONS: Mapping[int, str] = {
    errno.EACCES: "access is denied",
    errno.ECONNREFUSED: "the connection was refused",
    errno.ECONNRESET: "the connection was closed by the other side",
    errno.EHOSTUNREACH: "the host is not reachable",
    errno.ENETUNREACH: "the network is not reachable",
    errno.ENOENT: "it does not exist",
    errno.ENOSPC: "the disk is full",
    errno.ENOTDIR: "it is not a folder",
    errno.EPERM: "access is denied",
    errno.EPIPE: "the connection was closed by the other side",
    errno.ETIMEDOUT: "the connection timed out",
}


def plain(error: BaseException) -> str:
    """Return the reason in words, without an error number or a path."""
    if isinstance(error, socket.gaierror):
        return "the host name is unknown"
    if isinstance(error, TimeoutError) and str(error) in {"", "timed out"}:
        return "the connection timed out"
    # The number of a TLS error is OpenSSL's own.
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        text = _REASONS.get(error.errno or 0) or error.strerror or str(error)
    else:
        text = str(error)
    return cleaned(text) or type(error).__name__


def of_connection(error: BaseException) -> str:
    """Return the reason of the system error that caused an error of a library."""
    causes = [error]
    while (cause := causes[-1].__cause__) is not None and cause not in causes:
        causes.append(cause)
    return plain(next((one for one in causes if isinstance(one, OSError)), error))


def cleaned(text: str) -> str:
    """Return a message of a library without error numbers."""
    return _NUMBERS.sub("", text).strip().rstrip(".")


def trace(error: BaseException) -> str:
    """Return the stack of an exception with names of files, not paths."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [
        f"  {Path(item.filename).name}:{item.lineno} in {item.name}" for item in frames
    ]
    return "\n".join([f"{type(error).__name__}: {plain(error)}", *lines])
