"""Where the embedded servers listen, written down for every other part to find."""

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
    """The file that exists exactly while the installation is up."""
    return data_dir / "run" / "endpoints.json"


def save(data_dir: Path, endpoints: Endpoints) -> None:
    """Write the addresses for this user only."""
    write_private(path(data_dir), json.dumps(asdict(endpoints)))


def load(data_dir: Path) -> Endpoints | None:
    """Read the addresses; None when nothing runs on this data directory."""
    try:
        text = path(data_dir).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Endpoints(**json.loads(text))


def remove(data_dir: Path) -> None:
    """Forget the addresses once the servers are down."""
    path(data_dir).unlink(missing_ok=True)
