"""What lies where under the data directory, and the keys that are made there."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from execfabric.local.errors import StartFailed

PROJECT = Path(__file__).resolve().parents[2]


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
        """The broker's append-only file and its configuration."""
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

        :raises StartFailed: when the data directory cannot be written
        """
        folders = (self.root, self.run, self.keys, self.secrets, self.log.parent)
        try:
            for folder in (*folders, self.valkey):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.root.chmod(0o700)
        except OSError as error:
            message = f"The data directory cannot be used: {error}"
            raise StartFailed(message) from error

    def key(self, name: str) -> str:
        """The password called `name`, made at the first call."""
        return kept(self.keys / name)

    def secret_key(self) -> str:
        """Django's signing key of this installation."""
        return kept(self.root / "secret-key")


def data_dir() -> DataDir:
    """The data directory that the environment names, else `.data` in the project."""
    named = os.environ.get("EXECFABRIC_DATA_DIR") or PROJECT / ".data"
    return DataDir(Path(named).absolute())


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
    draft.replace(path)
