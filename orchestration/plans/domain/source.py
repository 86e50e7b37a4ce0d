"""From text to a value with places: YAML 1.2 and JSON, strictly and within bounds."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    NodeEvent,
)
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from execfabric.lib.canonical import LARGEST_SAFE_INTEGER
from orchestration.plans.domain.problem import WARNING, Path, Problem, Problems

MAX_BYTES = 1 << 20
MAX_DEPTH = 50


@dataclass(frozen=True)
class Parsed:
    """A document's value, where each part of it stands, and what is wrong already."""

    value: Any = None
    positions: dict[Path, tuple[int, int]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def parse(text: str | bytes) -> Parsed:
    """Read a document; whatever is wrong with it comes back as problems."""
    size = len(text)
    if size > MAX_BYTES:
        return _stopped(
            "plan.too_large", f"The document has {size:,} bytes; at most 1 MiB."
        )
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            return _stopped("plan.not_text", f"Byte {error.start} is not UTF-8.")
    if "\0" in text:
        return _stopped("plan.not_text", "The document holds a NUL character.")
    try:
        refused = _bounds(text)
        if refused is not None:
            return Parsed(problems=(refused,))
        return _compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = f"{error.problem or error.context or 'It cannot be read'}."
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        return Parsed(problems=(Problem("plan.not_yaml", message, None, line, column),))
    except (YAMLError, ValueError, RecursionError) as error:
        return _stopped("plan.not_yaml", str(error).splitlines()[0])


def _stopped(code: str, message: str) -> Parsed:
    return Parsed(problems=(Problem(code, message),))


def _yaml() -> YAML:
    return YAML(typ="safe", pure=True)


def _bounds(text: str) -> Problem | None:
    """Walk the events, which nest nothing, before anything is built from them."""
    depth = documents = 0
    for event in _yaml().parse(text):
        line, column = _mark(event)
        if isinstance(event, DocumentStartEvent):
            documents += 1
            if documents > 1:
                message = "There is more than one document."
                return Problem("plan.not_yaml", message, None, line, column)
        if isinstance(event, AliasEvent) or (
            isinstance(event, NodeEvent) and getattr(event, "anchor", None)
        ):
            message = "Anchors and aliases are not part of the language."
            return Problem("plan.alias", message, None, line, column)
        if isinstance(event, CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                message = f"It is nested deeper than {MAX_DEPTH} levels."
                return Problem("plan.too_deep", message, None, line, column)
        elif isinstance(event, CollectionEndEvent):
            depth -= 1
    return None


def _mark(event: Event) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _compose(text: str) -> Parsed:
    node = _yaml().compose(text)
    if node is None:
        return _stopped("plan.not_yaml", "The document is empty.")
    positions: dict[Path, tuple[int, int]] = {}
    problems = Problems(positions)
    value = _value(node, (), positions, problems)
    return Parsed(value, positions, tuple(problems.found))


def _value(
    node: Node, path: Path, positions: dict[Path, tuple[int, int]], problems: Problems
) -> Any:
    positions.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
    if isinstance(node, MappingNode):
        return dict(_pairs(node, path, positions, problems))
    if isinstance(node, SequenceNode):
        return [
            _value(item, (*path, index), positions, problems)
            for index, item in enumerate(node.value)
        ]
    return _scalar(node, path, problems)


def _pairs(
    node: MappingNode,
    path: Path,
    positions: dict[Path, tuple[int, int]],
    problems: Problems,
) -> Iterator[tuple[str, Any]]:
    seen: set[str] = set()
    for key_node, value_node in node.value:
        key = str(key_node.value) if isinstance(key_node, ScalarNode) else "?"
        below = (*path, key)
        positions[below] = (
            key_node.start_mark.line + 1,
            key_node.start_mark.column + 1,
        )
        if not isinstance(key_node, ScalarNode):
            problems.add("plan.not_yaml", "A key must be plain text.", below)
        elif key in seen:
            problems.add("plan.duplicate_key", f"The key {key!r} stands twice.", below)
        seen.add(key)
        yield key, _value(value_node, below, positions, problems)


def _scalar(node: ScalarNode, path: Path, problems: Problems) -> Any:
    """A scalar by the YAML 1.2 core schema: `NO`, `on` and dates stay text."""
    tag = str(node.tag).rpartition(":")[2]
    text = node.value
    if tag == "null":
        return None
    if tag == "bool":
        return text.lower() == "true"
    if tag in {"int", "float"}:
        return _number(text, tag, path, problems)
    if tag not in {"str", "timestamp", "merge", "value"}:
        problems.add("plan.not_yaml", f"The tag {node.tag} is not allowed.", path)
    if not unicodedata.is_normalized("NFC", text):
        problems.add(
            "plan.not_normal_text",
            "This text is not in Unicode normal form C; look-alikes may differ.",
            path,
            severity=WARNING,
        )
    return text


def _number(text: str, tag: str, path: Path, problems: Problems) -> Any:
    plain = text.replace("_", "") if tag == "int" else text
    try:
        number: int | float = (
            int(plain, 0 if plain[:2].lower() in {"0x", "0o", "0b"} else 10)
            if tag == "int"
            else float(plain)
        )
    except ValueError:
        return text
    bad = number != number or number in {float("inf"), float("-inf")}  # noqa: PLR0124
    if bad or (isinstance(number, int) and abs(number) > LARGEST_SAFE_INTEGER):
        problems.add(
            "plan.number_out_of_range",
            f"{text} has no exact JSON form; write it in quotes.",
            path,
        )
        return text
    return number
