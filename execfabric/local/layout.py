"""What lies where under the data directory, and the keys that are made there."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from execfabric.local.errors import StartFailed

PROJECT = Path(__file__).resolve().parents[2]
OURS = frozenset(
    {"artifacts", "demo", "keys", "log", "postgres", "postgres.new", "run", "secrets"}
    | {"secret-key", "static", "valkey", "lost+found"}
)
"""What may lie in a data directory before its first start."""


@dataclass(frozen=True)
class DataDir:
    """Everything one installation keeps on disk; nobody but its user may enter."""

    root: Path

    @property
    def postgres(self) -> Path:
        """The database cluster."""
        return self.root / "postgres"

    @property
    def valkey(self) -> Path:
        """The broker's configuration."""
        return self.root / "valkey"

    @property
    def run(self) -> Path:
        """What is true only while the installation is up."""
        return self.root / "run"

    @property
    def keys(self) -> Path:
        """The generated passwords of the embedded servers, one file each."""
        return self.root / "keys"

    @property
    def secrets(self) -> Path:
        """The named secrets that skills may refer to, one file each."""
        return self.root / "secrets"

    @property
    def log(self) -> Path:
        """The one log of all parts."""
        return self.root / "log" / "execfabric.log"

    def prepare(self) -> None:
        """Make the folders, closed to everybody else.

        :raises StartFailed: when the data directory cannot be written, or is a folder
            of somebody else's
        """
        folders = (self.run, self.keys, self.secrets, self.log.parent, self.valkey)
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._refuse_strange_files()
            for folder in folders:
                folder.mkdir(mode=0o700, exist_ok=True)
            self.root.chmod(0o700)
        except OSError as error:
            message = f"The data directory cannot be used: {error}"
            raise StartFailed(message) from error
        for folder in (self.root, *folders):
            if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                message = f"The data directory cannot be used: {folder} is not writable"
                raise StartFailed(f"{message} for this user.")

    def _refuse_strange_files(self) -> None:
        # It gets closed to everybody else: not what one wants of a home or of /tmp.
        if self.keys.exists():
            return
        strange = sorted({path.name for path in self.root.iterdir()} - OURS)
        if strange:
            message = f"{self.root} is no data directory of ExecFabric, and not empty"
            raise StartFailed(f"{message} ({strange[0]}): name a folder of its own.")

    def key(self, name: str) -> str:
        """The password called `name`, made at the first call."""
        return kept(self.keys / name)

    def secret_key(self) -> str:
        """Django's signing key of this installation."""
        return kept(self.root / "secret-key")


def data_dir() -> DataDir:
    """The data directory that the environment names, else `.data` in the project."""
    named = os.environ.get("EXECFABRIC_DATA_DIR") or PROJECT / ".data"
    return DataDir(Path(named).resolve())


def kept(path: Path) -> str:
    """The text of a private file, made of random characters if it is not there."""
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32))
    return path.read_text(encoding="utf-8").strip()


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        # Else a power cut could leave the new name with nothing in it.
        os.fsync(handle)
    draft.replace(path)
