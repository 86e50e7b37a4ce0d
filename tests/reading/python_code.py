"""Docstrings, strings of the interface and errors in Python code, by its syntax tree."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.reading.text import (
    DOCSTRING,
    ERROR,
    PACKAGES,
    UI,
    Text,
    product_files,
    relative,
)

CODE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")
SENTENCE = re.compile(r"[A-Z“`{].*[a-z]{2}")
TECHNICAL = re.compile(
    r"[A-Z_ ]*(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|SET|WITH|FROM|WHERE|"
    r"LOCK|GRANT|REVOKE|BEGIN|ATTACH|COPY|PRAGMA)\b|[^ ]*$|Content-|Bearer |Mozilla"
)
ROOTS = {"Exception", "ValueError", "TypeError", "RuntimeError", "LookupError"}
PROBLEMS = {"Problem", "add_error", "ValidationError", "Failed", "Retry", "Unknown"}
LABELS = {"label", "help", "help_text", "title", "caption", "heading", "metavar_help"}
ERRORS_ONLY = "orchestration/plans/domain/"
"""Sentences that are built here describe problems of a plan."""
REPORT = re.compile(r"(Cannot|Unknown|Invalid|Missing|Duplicate) ")
LOGGING = {"debug", "info", "warning", "exception", "critical"}
"""Log lines have their own form: `event key=value`."""


def texts() -> list[Text]:
    """Return every text of the product's Python code, in order."""
    trees = {
        path: ast.parse(path.read_text(encoding="utf-8"))
        for path in product_files("*.py", *PACKAGES)
    }
    bases = {
        node.name: {_name(base) for base in node.bases}
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    refusals = _descendants({"Refusal"}, bases)
    errors = _descendants(ROOTS, bases) | PROBLEMS
    return sorted(
        text
        for path, tree in trees.items()
        for text in _Reader(path, refusals, errors).read(tree)
    )


def _descendants(roots: set[str], bases: dict[str, set[str]]) -> set[str]:
    family = set(roots)
    while more := {name for name, of in bases.items() if of & family} - family:
        family |= more
    return family


class _Reader:
    """Reads one file; a string counts once, as the most specific kind."""

    def __init__(self, path: Path, refusals: set[str], errors: set[str]) -> None:
        self.path = relative(path)
        self.refusals = refusals
        self.errors = errors
        self.done: set[int] = set()

    def read(self, tree: ast.Module) -> Iterator[Text]:
        """Yield docstrings, then errors, then the other sentences."""
        nodes = list(ast.walk(tree))
        for reader in (self._docstrings, self._skipped, self._errors, self._strings):
            for node in nodes:
                yield from reader(node)

    def _docstrings(self, node: ast.AST) -> Iterator[Text]:
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            return
        for place, child in enumerate(body):
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                of_refusal = isinstance(node, ast.ClassDef) and self._is_refusal(node)
                kind = ERROR if of_refusal and place == 0 else DOCSTRING
                yield from self._text(child.value, kind)

    def _is_refusal(self, node: ast.ClassDef) -> bool:
        return node.name in self.refusals

    def _skipped(self, node: ast.AST) -> Iterator[Text]:
        if isinstance(node, ast.Call) and _is_logging(node):
            self.done.update(id(child) for child in ast.walk(node))
        yield from ()

    def _errors(self, node: ast.AST) -> Iterator[Text]:
        if isinstance(node, ast.Call) and (
            _name(node.func) in self.errors or _has_code(node)
        ):
            for value in [*node.args, *(word.value for word in node.keywords)]:
                yield from self._sentence(value, ERROR)
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if _is_code(key):
                    yield from self._sentence(value, ERROR)

    def _strings(self, node: ast.AST) -> Iterator[Text]:
        if isinstance(node, ast.keyword) and node.arg in LABELS:
            yield from self._text(node.value, UI)
        if isinstance(node, ast.Constant | ast.JoinedStr):
            is_error = self.path.startswith(ERRORS_ONLY) or REPORT.match(_words(node))
            yield from self._sentence(node, ERROR if is_error else UI)

    def _sentence(self, node: ast.AST, kind: str) -> Iterator[Text]:
        words = _words(node)
        if SENTENCE.match(words) and " " in words and not TECHNICAL.match(words):
            yield from self._text(node, kind)

    def _text(self, node: ast.AST, kind: str) -> Iterator[Text]:
        words = _words(node)
        if not words or id(node) in self.done:
            return
        self.done.update(id(child) for child in ast.walk(node))
        yield Text(self.path, getattr(node, "lineno", 0), kind, words)


def _words(node: ast.AST | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return " ".join(node.value.split()) if node.value else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "{…}"
            for part in node.values
        ).strip()
    return ""


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _is_code(node: ast.AST | None) -> bool:
    return bool(CODE.fullmatch(_words(node)))


def _has_code(node: ast.Call) -> bool:
    return any(_is_code(arg) for arg in node.args)


def _is_logging(node: ast.Call) -> bool:
    return (
        isinstance(node.func, ast.Attribute)
        and node.func.attr in LOGGING
        and _name(node.func.value) in {"log", "logger", "logging"}
    )
