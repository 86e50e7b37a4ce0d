"""The addresses of a running installation, in a file that other programs read."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from execfabric.local.layout import write_private


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """The addresses of one running installation; they contain passwords."""

    database_url: str
    owner_database_url: str
    redis_url: str
    url: str = ""
    demo: bool = False


def path(data_dir: Path) -> Path:
    """Return the file that exists only while the installation is up."""
    return data_dir / "run" / "endpoints.json"


def save(data_dir: Path, endpoints: Endpoints) -> None:
    """Write the addresses to a file that only this user can read."""
    write_private(path(data_dir), json.dumps(asdict(endpoints)))


def load(data_dir: Path) -> Endpoints | None:
    """Return the addresses, or None if the installation is not up."""
    try:
        text = path(data_dir).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Endpoints(**json.loads(text))


def remove(data_dir: Path) -> None:
    path(data_dir).unlink(missing_ok=True)
