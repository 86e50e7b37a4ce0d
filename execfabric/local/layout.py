"""The data directory: its folders, its generated keys, and its lock."""

import fcntl
import os
import secrets
from importlib.util import find_spec
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
KNOWN_NAMES = frozenset(
    {"artifacts", "demo", "keys", "log", "postgres", "postgres.new", "run", "secrets"}
    | {"secret-key", "static", "valkey", "lost+found"}
)
"""The files that a data directory may contain before its first start."""


class StartFailed(Exception):
    """The installation cannot start; the message says why and what to do."""


class DataDir:
    """The files of one installation, closed to other users."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.postgres = root / "postgres"
        self.valkey = root / "valkey"
        self.run = root / "run"
        """Files that are valid only while the installation is up."""
        self.status = self.run / "status.json"
        self.keys = root / "keys"
        """The generated passwords of the embedded servers, one file each."""
        self.secrets = root / "secrets"
        """The named secrets that skills may use, one file each."""
        self.log = root / "log" / "execfabric.log"

    def prepare(self) -> None:
        """Create the folders and close them to other users.

        :raises StartFailed: if the directory is not writable, or holds other files
        :raises OSError: if a folder cannot be created
        """
        folders = (self.run, self.keys, self.secrets, self.log.parent, self.valkey)
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._refuse_other_files()
        for folder in folders:
            folder.mkdir(mode=0o700, exist_ok=True)
        self.root.chmod(0o700)
        for folder in (self.root, *folders):
            if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                raise self.unusable(f"{folder} is not writable")

    def unusable(self, why: str) -> StartFailed:
        message = f"Cannot use the data directory {self.root}: {why}. Set"
        return StartFailed(
            f"{message} EXECFABRIC_DATA_DIR to an empty folder with free space."
        )

    def lock(self) -> int | None:
        """Lock the directory; return the open file, or None if it is locked already.

        The system releases the lock when this process ends.
        """
        handle = os.open(self.run / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        return handle

    def key(self, name: str) -> str:
        """Return the password `name`, generated at the first call."""
        return _generated(self.keys / name)

    def secret_key(self) -> str:
        return _generated(self.root / "secret-key")

    def _refuse_other_files(self) -> None:
        # It is closed to other users, which would break a home directory or /tmp.
        if self.keys.exists():
            return
        others = sorted({path.name for path in self.root.iterdir()} - KNOWN_NAMES)
        if others:
            raise self.unusable(f"it contains other files ({others[0]})")


def data_dir() -> DataDir:
    """Return the directory in `EXECFABRIC_DATA_DIR`, else `.data` in the project."""
    path = os.environ.get("EXECFABRIC_DATA_DIR") or PROJECT / ".data"
    return DataDir(Path(path).resolve())


def reason(error: OSError) -> str:
    """Return the system's message for an error, without the error number."""
    return (error.strerror or str(error)).lower()


def wheel_file(package: str, path: Path, *, setting: str) -> Path:
    """Return a file of an installed package, without importing the package.

    :raises StartFailed: if there is none; `setting` names the alternative
    """
    spec = find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        if (file := Path(folder) / path).exists():
            return file
    message = f"Cannot find {path} in the package {package}. Run `make up`"
    raise StartFailed(f"{message} to install it, or set {setting}.")


def write_private(path: Path, text: str) -> None:
    """Replace a file with one that only this user can read, atomically."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        # After a power cut the new name could otherwise refer to an empty file.
        os.fsync(handle)
    draft.replace(path)


def _generated(path: Path) -> str:
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32))
    return path.read_text(encoding="utf-8").strip()
