"""Say why an operation of the system failed, without error numbers and paths."""

import errno
import re
import socket
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
    causes = [error, *_causes(error)]
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return "the host name is unknown"
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return "the connection timed out"
    for cause in causes:
        if isinstance(cause, OSError) and (reason := _REASONS.get(cause.errno or 0)):
            return reason
    is_named = isinstance(error, OSError) and error.strerror
    text = str(error.strerror if is_named else error)  # type: ignore[attr-defined]
    return cleaned(text) or type(error).__name__


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


def _causes(error: BaseException) -> list[BaseException]:
    causes = []
    while (cause := error.__cause__) is not None:
        causes.append(cause)
        error = cause
    return causes
