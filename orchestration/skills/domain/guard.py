"""The guard of dry runs and target checks: decide what their code may touch.

The rules are plain functions over the audit events of PEP 578. They stop Python code.
C libraries raise no audit events, so a dry run that calls one must ensure by itself that
it has no effect.
"""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
HARMLESS = frozenset({"/dev/null", "/dev/tty"})

# Audit event -> positions of the paths it changes.
CHANGES_PATHS: dict[str, tuple[int, ...]] = {
    "os.chflags": (0,),
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.link": (0, 1),
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.removexattr": (0,),
    "os.rename": (0, 1),
    "os.rmdir": (0,),
    "os.setxattr": (0,),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.utime": (0,),
}
REACHES_OUT = frozenset(
    {
        "socket.bind",
        "socket.connect",
        "socket.getaddrinfo",
        "socket.gethostbyaddr",
        "socket.gethostbyname",
        "socket.sendmsg",
        "socket.sendto",
    }
)
STARTS_PROGRAMS = frozenset(
    {
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.kill",
        "os.killpg",
        "os.posix_spawn",
        "os.spawn",
        "os.system",
        "pty.spawn",
        "subprocess.Popen",
    }
)


@dataclass(frozen=True)
class Allow:
    """The permissions of a dry run or target check outside its own folder."""

    network: bool = False
    programs: tuple[str, ...] = ()
    """Read-only commands as program and first word, such as `git rev-parse`."""


def touched(event: str, args: Sequence[Any], *, workdir: str, allow: Allow) -> str:
    """Return what an audited event touches without permission; empty for nothing."""
    if event == "open":
        return _opened(args, workdir)
    if event in CHANGES_PATHS:
        return _changed(event, args, workdir)
    if event in REACHES_OUT and not allow.network:
        return f"the network ({event})"
    if event in STARTS_PROGRAMS:
        return _started(event, args, allow)
    return ""


def _opened(args: Sequence[Any], workdir: str) -> str:
    path, mode, flags = args[0], args[1], args[2]
    writes = isinstance(flags, int) and bool(flags & WRITING)
    if isinstance(mode, str):
        writes = writes or any(letter in mode for letter in "wax+")
    if not writes or isinstance(path, int) or _inside(path, workdir):
        return ""
    return f"the file {_text(path)} (opened for writing)"


def _changed(event: str, args: Sequence[Any], workdir: str) -> str:
    for position in CHANGES_PATHS[event]:
        path = args[position]
        if not isinstance(path, int) and not _inside(path, workdir):
            return f"the file {_text(path)} ({event})"
    return ""


def _started(event: str, args: Sequence[Any], allow: Allow) -> str:
    if event != "subprocess.Popen":
        return f"a program ({event})"
    argv = args[1]
    words = [argv] if isinstance(argv, str | bytes) else list(argv)
    command = _command(words)
    return "" if command in allow.programs else f"a program ({command})"


def _command(words: Sequence[Any]) -> str:
    """Return the program and its first word: `git rev-parse` of `git -c a=b rev-parse`."""
    texts = [_text(word) for word in words]
    if len(texts) == 1 and " " in texts[0]:
        return " ".join(shlex.split(texts[0])[:2])
    rest = iter(texts[1:])
    for word in rest:
        if word in {"-c", "-C"}:
            next(rest, None)
        elif not word.startswith("-"):
            return f"{os.path.basename(texts[0])} {word}"  # noqa: PTH119 - a plain string
    return os.path.basename(texts[0])  # noqa: PTH119 - a plain string


def _inside(path: Any, workdir: str) -> bool:
    # A path relative to a directory descriptor looks like one relative to the current
    # directory. Resolving it against the latter refuses it.
    text = _text(path)
    real = os.path.realpath(text)
    return text in HARMLESS or real == workdir or real.startswith(workdir + os.sep)


def _text(value: Any) -> str:
    try:
        return os.fsdecode(value)
    except TypeError:
        return repr(value)
