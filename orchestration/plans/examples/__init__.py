"""Example plans to start from."""

from pathlib import Path

from execfabric.lib.refusal import Missing
from orchestration.plans.domain import source

FOLDER = Path(__file__).parent


def titles() -> dict[str, str]:
    """Return the title of each example by its name."""
    files = {file.stem: file.read_text() for file in sorted(FOLDER.glob("*.yaml"))}
    return {
        name: source.parse(text).value["plan"]["name"] for name, text in files.items()
    }


def text(name: str) -> str:
    """Return an example; only what `titles` lists can be read."""
    if name not in titles():
        raise Missing(f"Unknown example plan {name!r}.")
    return (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
