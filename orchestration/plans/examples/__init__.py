"""Example plans to start from."""

from pathlib import Path

from execfabric.lib.refusal import Missing

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Return the names of all examples."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def text(name: str) -> str:
    """Return an example; only what `names` lists can be read."""
    if name not in names():
        raise Missing(f"Unknown example plan {name!r}.")
    return (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
