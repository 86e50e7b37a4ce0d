"""What a handler's code digest covers: its module and all of ours that it imports."""

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

ALWAYS = frozenset(
    {"orchestration.skills.builtin", "orchestration.skills.domain.handlers"}
)
"""Registration and the list of modules are no part of what a handler does."""


@lru_cache(maxsize=64)
def digest_of(module: str) -> str:
    """SHA-256 over the sources that a module consists of, as 64 hex digits.

    Followed are imports of the module's own top-level package, as they stand in the
    source; a library's version is the installation's business.
    """
    total = hashlib.sha256()
    for name in sorted(_closure(module)):
        total.update(f"{name}\n".encode())
        total.update(hashlib.sha256(_source(name)).digest())
    return total.hexdigest()


def _closure(module: str) -> set[str]:
    package = module.partition(".")[0]
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found or name in ALWAYS:
            continue
        found.add(name)
        waiting += [i for i in _imports(name) if i.partition(".")[0] == package]
    return found


@lru_cache(maxsize=512)
def _imports(module: str) -> tuple[str, ...]:
    return tuple(sorted(set(_imported(ast.parse(_source(module))))))


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _is_file(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            if _is_file(node.module):
                yield node.module
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                if _is_file(below):
                    yield below


@lru_cache(maxsize=1024)
def _is_file(module: str) -> bool:
    return _path(module) is not None


@lru_cache(maxsize=1024)
def _path(module: str) -> Path | None:
    if (known := sys.modules.get(module)) is not None:
        origin = getattr(known, "__file__", None)
    else:
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            return None
        origin = spec.origin if spec is not None else None
    return Path(origin) if origin and origin.endswith(".py") else None


@lru_cache(maxsize=512)
def _source(module: str) -> bytes:
    path = _path(module)
    return path.read_bytes() if path is not None else b""
