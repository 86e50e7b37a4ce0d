"""Create or repair the virtual environment; called by the Makefile.

Runs on the system's Python before anything is installed: standard library only, and
syntax that an older Python can read, so that it can say that it is too old.
"""

# ruff: noqa: INP001

import argparse
import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
UNFINISHED = ".unfinished"
"""Exists during an installation: pip takes a package that is half copied for complete."""


def main():
    parser = argparse.ArgumentParser(description="Create the virtual environment.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--requirements", type=Path, required=True)
    parser.add_argument("--project", help="installed too, in editable mode")
    parser.add_argument(
        "--stamp", type=Path, action="append", help="file to create at the end"
    )
    options = parser.parse_args()
    require_python()
    try:
        lock = take_lock(options.folder)
        # Another `make` may have installed everything in the meantime.
        if not is_complete(options.folder, options.stamp):
            install(options, lock)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        sys.exit(
            f"Cannot create {options.folder}: {(error.strerror or str(error)).lower()}."
            " Remove it, or free some space, and try again."
        )


def require_python():
    """Exit if this Python cannot create the environment."""
    if sys.version_info < OLDEST:
        version = sys.version.split()[0]
        sys.exit(f"Python {version} is too old. Set PYTHON to Python 3.11 or newer.")
    if not all(importlib.util.find_spec(name) for name in ("ensurepip", "venv")):
        sys.exit(
            "Python's venv module is missing. Install it"
            " (Debian, Ubuntu: apt-get install python3-venv)."
        )


def take_lock(folder):
    """Wait for the lock; return the open file, which child processes inherit."""
    # Beside the folder, which `make clean` removes.
    path = folder.with_name(folder.name + ".lock")
    lock = os.open(str(path), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        report(f"Another `make` installs into {folder}: waiting for it ...")
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def is_complete(folder, stamps):
    return all(stamp.exists() for stamp in stamps) and is_usable(folder)


def is_usable(folder):
    """Return True if pip works and no installation was interrupted."""
    python = folder / "bin" / "python"
    if not python.exists() or (folder / UNFINISHED).exists():
        return False
    command = [str(python), "-m", "pip", "--version"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def install(options, lock):
    """Install what is missing; start from scratch if the environment is damaged."""
    folder = options.folder
    python = str(folder / "bin" / "python")
    if not is_usable(folder):
        folder.mkdir(exist_ok=True)
        if any(folder.iterdir()):
            report(f"The environment in {folder} is incomplete: creating it again.")
        for stamp in folder.glob(".stamp-*"):  # first, should this be interrupted
            stamp.unlink()
        shutil.rmtree(str(folder))
        folder.mkdir()
        (folder / UNFINISHED).touch()
        run([sys.executable, "-m", "venv", str(folder)], lock)
    (folder / UNFINISHED).touch()
    report(f"Installing {options.requirements} ...")
    # Most modules are never imported, so Python compiles the others when it needs them.
    pip = [python, "-m", "pip", "install", "--quiet", "--no-input", "--no-compile"]
    run([*pip, "--require-hashes", "-r", str(options.requirements)], lock)
    if options.project:
        run([*pip, "--no-deps", "--no-build-isolation", "-e", options.project], lock)
    for stamp in options.stamp:
        for old in stamp.parent.glob(stamp.name.rpartition("-")[0] + "-*"):
            old.unlink()
        stamp.touch()
    (folder / UNFINISHED).unlink()


def run(command, lock):
    """Run a program; it keeps the lock even if this process is killed."""
    status = subprocess.run(command, pass_fds=(lock,), check=False).returncode
    if status:
        sys.exit("Exit status {} of: {}".format(status, " ".join(command)))


def report(text):
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
