"""Digest the code of a handler to detect a deployment that changes it.

The declared version of a handler is the `@N` in its key; its author raises it to change
what the handler does. The digest detects a change without a new version. It covers the
syntax trees of the handler's module and of the modules of the same top-level package that
it imports, except what cannot change behaviour: comments, docstrings, layout, and
contracts, which are in the skill version itself.

Of this project, only the modules of built-in skills are covered. The rest (runner,
sandbox, outbound requests, canonical JSON) serves all handlers, and a fix there must also
protect what was approved before. If such a change alters what a handler does, raise the
version of the handler. The names of modules do not count either, so moving a file does
not change a digest.
"""

import ast
import hashlib
import importlib.util
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

FORM = "ast1:"
"""Prefix of a digest; the digests of the first release have none."""

BUILTIN = "orchestration.skills.builtin"
PLATFORM = frozenset({"approvals", "audit", "execfabric", "orchestration"})
REGISTRATION = frozenset({BUILTIN, "orchestration.skills.domain.handlers"})
"""Modules for registration, which do not change what a handler does."""
CONTRACTS = frozenset({"SKILL", "SKILLS"})
CONTRACT_MODULE = "_contract"
"""The suffix of a module that only has a contract."""
EARLIER: Mapping[str, str] = {
    # noop
    "f2e3240a6a34e4179e894ebac13ec8b099ab1cd309c14a1fd077c05fad55d727": (
        "ast1:7bf9299b06f4b0fadb99246875538bf8f977ad50f32e89d20464d850fbdbe0c6"
    ),
    # noop
    "ast1:38cfbe7708357018d9b99285c78de17d28fa56400b6afca137ae570fec014246": (
        "ast1:7bf9299b06f4b0fadb99246875538bf8f977ad50f32e89d20464d850fbdbe0c6"
    ),
}
"""Digests of built-in code in earlier forms -> today's digest of the same code.

A run that was approved before an upgrade is bound to a digest of that time. It continues
if the code is still the same.
"""

_SILENT = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
"""Parts of a syntax tree that have no effect at run time."""
EMPTY = ["Module", {}]
_PARSING = threading.Lock()


@lru_cache(maxsize=64)
def digest_of(module: str) -> str:
    """Return the digest of what can change the behaviour of a handler's module."""
    trees = {name: _parsed(name) for name in _closure(module, _is_own)}
    if module.startswith(f"{BUILTIN}."):
        # Sorted by content and without names: where a module is does not count.
        forms = [_form(_without_platform(tree)) for tree in trees.values()]
        texts = sorted(json.dumps(form) for form in forms if form != EMPTY)
    else:
        texts = [json.dumps([name, _form(trees[name])]) for name in sorted(trees)]
    total = hashlib.sha256("".join(f"{text}\n" for text in texts).encode())
    return FORM + total.hexdigest()


@lru_cache(maxsize=64)
def earlier_digest_of(module: str) -> str:
    """Return the digest of the first release as bare hex.

    It covered the source bytes of every imported module of the same top-level package.
    """
    package = module.partition(".")[0]
    total = hashlib.sha256()
    for name in sorted(_closure(module, lambda n: n.partition(".")[0] == package)):
        total.update(f"{name}\n".encode())
        total.update(hashlib.sha256(_source(name)).digest())
    return total.hexdigest()


def is_code_of(module: str, published: str) -> bool:
    """Return True if `published` is the digest of this module's code, in any form."""
    if not published.startswith(FORM) and published not in EARLIER:
        return published == earlier_digest_of(module)
    return digest_of(module) in {published, EARLIER.get(published)}


def _is_own(name: str) -> bool:
    """Return True if a module belongs to a skill and is not just its contract."""
    if name.endswith(CONTRACT_MODULE):
        return False
    return name.partition(".")[0] not in PLATFORM or name.startswith(f"{BUILTIN}.")


def _closure(module: str, is_covered: Callable[[str], bool]) -> set[str]:
    package = module.partition(".")[0]
    modules = {module}
    waiting = [module]
    while waiting:
        for name in _imports(waiting.pop()):
            own = name.partition(".")[0] == package and is_covered(name)
            if own and name not in modules and name not in REGISTRATION:
                modules.add(name)
                waiting.append(name)
    return modules


def _parsed(module: str) -> ast.Module:
    # CPython 3.11 fails with SystemError if two threads build syntax trees (gh-106905).
    with _PARSING:
        return ast.parse(_source(module))


@lru_cache(maxsize=512)
def _imports(module: str) -> tuple[str, ...]:
    return tuple(sorted(set(_imported(module, _parsed(module)))))


def _imported(module: str, tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _path(alias.name))
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(module, node)
            if _path(source):
                yield source
            for alias in node.names:
                if _path(below := f"{source}.{alias.name}"):
                    yield below


def _absolute(module: str, node: ast.ImportFrom) -> str:
    """Return the full name of the module that `node` imports from."""
    named = node.module or ""
    if not node.level:
        return named
    path = _path(module)
    is_package = path is not None and path.name == "__init__.py"
    package = module if is_package else module.rpartition(".")[0]
    try:
        return importlib.util.resolve_name("." * node.level + named, package)
    except ImportError:
        return named


def _without_platform(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            body[:] = [item for item in body if not _is_platform_import(item)]
    return tree


def _is_platform_import(node: ast.AST) -> bool:
    if not isinstance(node, ast.ImportFrom):
        return False
    return (node.module or "").partition(".")[0] in PLATFORM


def _form(node: Any) -> Any:
    """Return a syntax tree as JSON that is the same in all versions of Python.

    Empty parts are left out, because newer versions of Python add some.
    """
    if isinstance(node, list):
        return [_form(item) for item in node if not _is_inert(item)]
    if isinstance(node, ast.AST):
        parts = {
            name: _form(value)
            for name, value in ast.iter_fields(node)
            if name not in _SILENT and value is not None
        }
        filled = {name: value for name, value in parts.items() if value != []}
        return [type(node).__name__, filled]
    return node if isinstance(node, str) else [type(node).__name__, repr(node)]


def _is_inert(item: Any) -> bool:
    """Return True for a docstring, another bare constant, or a contract."""
    if isinstance(item, ast.Expr):
        return isinstance(item.value, ast.Constant)
    targets = item.targets if isinstance(item, ast.Assign) else []
    return bool(targets) and all(
        isinstance(target, ast.Name) and target.id in CONTRACTS for target in targets
    )


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
