"""Running a part of a test as an ordinary user, where the tests run as root."""

import os
import pickle
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestration.skills.execution import runner as execution

NOBODY = 65534


@contextmanager
def folder_of(user: int) -> Iterator[Path]:
    """Make a folder that belongs to a user, outside any folder of root's own."""
    made = Path(tempfile.mkdtemp(prefix="ordinary-", dir="/tmp"))
    try:
        os.chown(made, user, user)
        # As a worker's own folder is: others may pass, and not read.
        made.chmod(0o711)
        yield made
    finally:
        execution.discard(made)


def as_user(user: int, work: Callable[[], Any]) -> Any:
    """Return what `work` returns in a child process of that user.

    All that it imports must be imported already: the code may not be readable.
    """
    if user == os.getuid():
        return work()
    source, target = os.pipe()
    child = os.fork()
    if not child:
        _child(user, work, target)
    os.close(target)
    with os.fdopen(source, "rb") as answers:
        content = answers.read()
    os.waitpid(child, 0)
    result, error = pickle.loads(content)
    assert not error, error
    return result


def _child(user: int, work: Callable[[], Any], target: int) -> None:
    try:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        os.chdir("/")
        # Without it the kernel keeps the files of this process in /proc for root.
        _make_dumpable()
        tempfile.tempdir = None
        answer = (work(), "")
    except BaseException:  # noqa: BLE001 - it is shown by the parent
        answer = (None, traceback.format_exc())
    with os.fdopen(target, "wb") as out:
        pickle.dump(answer, out)
    sys.stdout.flush()
    os._exit(0)


def _make_dumpable() -> None:
    import ctypes  # noqa: PLC0415 - only in the child

    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
