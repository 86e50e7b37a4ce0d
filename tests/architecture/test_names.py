"""A public class name means one thing in the whole product."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("execfabric", "orchestration", "approvals", "audit")
FIXED_BY_DJANGO = {"Command", "Meta", "Migration"}


def public_classes() -> dict[str, list[str]]:
    """Return where each public class name is defined at the top level of a module."""
    places: dict[str, list[str]] = defaultdict(list)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places[node.name].append(str(path.relative_to(ROOT)))
    return places


def test_each_public_class_name_has_one_meaning():
    duplicates = {
        name: files
        for name, files in public_classes().items()
        if len(files) > 1 and name not in FIXED_BY_DJANGO
    }

    assert duplicates == {}
