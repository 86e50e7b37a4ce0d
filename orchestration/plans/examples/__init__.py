"""Example plans to start from."""

from functools import cache
from pathlib import Path
from textwrap import indent

from execfabric.lib.refusal import Missing
from orchestration.plans.domain import source

FOLDER = Path(__file__).parent
PACKS = FOLDER.parent / "packs"
NEW_PLAN = """\
plan:
  id: new-plan
  name: New plan
  steps:
"""


@cache  # to read all files takes 40 ms, and they do not change
def titles() -> dict[str, str]:
    return _titles(FOLDER)


@cache
def packs() -> dict[str, dict[str, str]]:
    """Return the titles of the plans in each pack."""
    folders = sorted(folder for folder in PACKS.iterdir() if folder.is_dir())
    return {
        folder.name.replace("-", " ").capitalize(): _titles(folder)
        for folder in folders
    }


def pack_texts() -> list[str]:
    """Return the plans of all packs, sub-plans before the plans that use them."""
    texts = [file.read_text() for file in sorted(PACKS.glob("*/*.yaml"))]
    return sorted(texts, key=lambda text: "kind: plan" in text)


def _titles(folder: Path) -> dict[str, str]:
    files = {file.stem: file.read_text() for file in sorted(folder.glob("*.yaml"))}
    return {
        name: source.parse(text).value["plan"]["name"] for name, text in files.items()
    }


def with_step(step: str) -> str:
    """Return a new plan with one step, given as a list of steps in YAML."""
    return NEW_PLAN + indent(step, "    ")


def text(name: str) -> str:
    """Return an example or a plan of a pack; only what is listed can be read."""
    for file in [*FOLDER.glob("*.yaml"), *PACKS.glob("*/*.yaml")]:
        if file.stem == name:
            return file.read_text(encoding="utf-8")
    raise Missing(f"Unknown example plan {name!r}.")
