"""Make the virtual environment, or mend it; what the Makefile calls.

One at a time, for two `make` in two terminals would install into one folder. And never
half: pip takes a package that was copied only in part for an installed one, so what was
cut short is marked as such and made anew.

Runs before anything is installed, on the system's Python: the standard library only, and
nothing in its syntax that an older Python could not read, which then is told so.
"""

# ruff: noqa: INP001

import argparse
import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

OLDEST = (3, 11)
LOCK = ".lock"
UNFINISHED = ".unfinished"


def main():
    """Leave with 0 once the environment is complete; with a sentence otherwise."""
    parser = argparse.ArgumentParser(description="Make the virtual environment.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--requirements", type=Path, required=True)
    parser.add_argument("--project", help="installed too, to be edited in place")
    parser.add_argument(
        "--stamp", type=Path, action="append", help="made at the end (repeatable)"
    )
    asked = parser.parse_args()
    try:
        refuse_python()
        with the_lock(asked.folder) as lock:
            # Whoever was waited for may have done it.
            if not is_complete(asked.folder, asked.stamp):
                make(asked, lock)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        sys.exit(f"The environment cannot be made: {error}")


def refuse_python():
    """End where this Python cannot make the environment."""
    if sys.version_info < OLDEST:
        sys.exit(
            f"Python {sys.version.split()[0]} is too old: Python 3.11 or newer is "
            "needed (PYTHON=... names it)."
        )
    if not all(importlib.util.find_spec(name) for name in ("ensurepip", "venv")):
        sys.exit(
            "Python's venv module is missing: install it "
            "(Debian, Ubuntu: apt-get install python3-venv)."
        )


@contextmanager
def the_lock(folder):
    """Hold the environment alone; the handle is for programs that shall hold it too."""
    handle = _current(folder)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f"Another `make` installs into {folder}: waiting for it ...")
        fcntl.flock(handle, fcntl.LOCK_EX)
    while not _is_at(folder / LOCK, handle):
        # `make clean` took the folder away meanwhile.
        os.close(handle)
        handle = _current(folder)
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield handle
    finally:
        os.close(handle)


def _current(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return os.open(str(folder / LOCK), os.O_RDWR | os.O_CREAT, 0o600)


def _is_at(path, handle):
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def is_complete(folder, stamps):
    """Whether everything is there already."""
    made = all(stamp.exists() for stamp in stamps)
    return made and not (folder / UNFINISHED).exists() and has_pip(folder)


def has_pip(folder):
    """Whether the environment can install anything."""
    python = folder / "bin" / "python"
    if not python.exists():
        return False
    asking = [str(python), "-m", "pip", "--version"]
    return subprocess.run(asking, capture_output=True, check=False).returncode == 0


def make(asked, lock):
    """Make what is missing, from the beginning if what is there is not whole."""
    folder = asked.folder
    if (folder / UNFINISHED).exists() or not has_pip(folder):
        empty(folder)
    (folder / UNFINISHED).touch()
    python = str(folder / "bin" / "python")
    if not Path(python).exists():
        run([sys.executable, "-m", "venv", str(folder)], lock)
    say(f"Installing {asked.requirements} ...")
    install = [python, "-m", "pip", "install", "--quiet", "--no-input"]
    run([*install, "--require-hashes", "-r", str(asked.requirements)], lock)
    if asked.project:
        editable = ["--no-deps", "--no-build-isolation", "-e", asked.project]
        run([*install, *editable], lock)
    for stamp in asked.stamp:
        kind = stamp.name.rpartition("-")[0]
        for old in stamp.parent.glob(kind + "-*"):
            old.unlink()
        stamp.touch()
    (folder / UNFINISHED).unlink()


def empty(folder):
    """Remove everything but the lock."""
    left = sorted(path for path in folder.iterdir() if path.name != LOCK)
    if left:
        say(f"The environment in {folder} is not whole: making it anew.")
    # First what says that something is there, then the rest.
    for path in sorted(left, key=lambda path: not path.name.startswith(".stamp")):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(str(path))
        else:
            path.unlink()


def run(command, lock):
    """Run a program that holds the lock until its own end, even if this one is killed."""
    code = subprocess.run(command, pass_fds=(lock,), check=False).returncode
    if code:
        sys.exit("It failed (exit {}): {}".format(code, " ".join(command)))


def say(text):
    """One line for whoever watches."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
