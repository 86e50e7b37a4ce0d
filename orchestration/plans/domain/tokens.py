"""Split text into tokens with positions: strict JSON, or YAML 1.2.

YAML is read from PyYAML's events, not from its nodes: its composer would follow
aliases and nest without limit before anything could be refused.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml
from yaml.error import MarkedYAMLError, YAMLError
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from execfabric.lib.text import position_of
from orchestration.plans.domain.problem import Problem

_NOT_IN_YAML = re.compile(r"[\x80-\x9f\u2028\u2029]")
"""Line ends of YAML 1.1, which the reader would accept, and what YAML forbids."""
_JSON_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]\n]|[^\s{}\[\],:"]+')
_BRACKETS = {
    MappingStartEvent: "{",
    MappingEndEvent: "}",
    SequenceStartEvent: "[",
    SequenceEndEvent: "]",
}
_HINTS = {
    "cannot start any token": " Indent with spaces, not tabs; put @, ` and % in quotes.",
    "Unicode character escape": " Write the character itself.",
}
"""Advice for some of the errors of PyYAML."""


class PlanToken(NamedTuple):
    """`{`, `}`, `[`, `]`, or `scalar`. Line and column count from 1."""

    kind: str
    line: int
    column: int
    text: str = ""
    text_at: tuple[int, int] | None = None
    """The position of the first character of a text whose lines are those written."""
    is_plain: bool = False
    """True for a scalar without quotes, which may be a number."""


class Unreadable(Exception):
    """The text cannot be read further; `problem` says why."""

    def __init__(self, code: str, message: str, line: int = 1, column: int = 1) -> None:
        self.problem = Problem(code, message, None, line, column)
        super().__init__(message)


def is_json(text: str) -> bool:
    """Return True for strict JSON, and for text nested too deeply to check."""
    try:
        # Numbers stay text: Python would refuse one of 5,000 digits.
        json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def json_tokens(text: str) -> Iterator[PlanToken]:
    """Split JSON that `json` has accepted into tokens with positions.

    It is not read as YAML, because libyaml refuses some JSON: keys over 1,024
    characters, escaped surrogate pairs, U+2028.
    """
    line, start_of_line = 1, 0
    for found in _JSON_TOKEN.finditer(text):
        part, column = found[0], found.start() - start_of_line + 1
        if part[0] == '"':
            # Texts without escapes, which are most, are read as they are.
            value = json.loads(part) if "\\" in part else part[1:-1]
            yield PlanToken("scalar", line, column, value, (line, column + 1))
        elif part in "{}[]":
            yield PlanToken(part, line, column)
        elif part == "\n":
            line, start_of_line = line + 1, found.end()
        else:
            yield PlanToken("scalar", line, column, part, is_plain=True)


def yaml_tokens(text: str) -> Iterator[PlanToken]:
    """Read a YAML document; raise Unreadable if it is not YAML as plans use it."""
    if odd := _NOT_IN_YAML.search(text):
        message = (
            f"The character U+{ord(odd[0]):04X} is not allowed in YAML. Write it as an"
            f" escape in double quotes."
        )
        raise Unreadable("plan.not_text", message, *position_of(text, odd.start()))
    documents = 0
    lines: list[str] = []
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, DocumentStartEvent):
                documents += 1
                _check_document(event, documents)
            if token := _token(event):
                if token.kind == "scalar":
                    yield token._replace(text_at=_text_at(event, text, lines))
                else:
                    yield token
    except MarkedYAMLError as error:
        raise _not_yaml(error, text) from error
    except YAMLError as error:
        reason = str(error).partition("\n")[0] or "it cannot be read"
        raise Unreadable("plan.not_yaml", f"Invalid YAML: {reason}.") from error


def _check_document(event: DocumentStartEvent, documents: int) -> None:
    if documents > 1:
        message = "More than one document. Write one plan per document."
        raise Unreadable("plan.not_yaml", message, *_mark(event))
    if event.version not in (None, (1, 2)) or event.tags:
        message = "Only YAML 1.2 is supported. Remove the lines that start with %."
        raise Unreadable("plan.not_yaml", message, *_mark(event))


def _token(event: Event) -> PlanToken | None:
    if isinstance(event, NodeEvent):
        _check_node(event)
    if isinstance(event, ScalarEvent):
        is_plain = bool(event.implicit[0])
        return PlanToken("scalar", *_mark(event), event.value, is_plain=is_plain)
    kind = _BRACKETS.get(type(event))
    return PlanToken(kind, *_mark(event)) if kind else None


def _text_at(event: Any, text: str, lines: list[str]) -> tuple[int, int] | None:
    """Return where the text of a scalar starts; None if its lines were joined."""
    line, column = _mark(event)
    if event.style == "|":
        if not lines:
            lines += text.split("\n")
        first = lines[line] if line < len(lines) else ""
        return line + 1, len(first) - len(first.lstrip(" ")) + 1
    if event.style == ">" or event.end_mark.line != event.start_mark.line:
        return None
    return line, column + (event.style in {"'", '"'})


def _check_node(event: NodeEvent) -> None:
    if isinstance(event, AliasEvent) or event.anchor:
        message = "Anchors and aliases are not supported. Repeat the value instead."
        raise Unreadable("plan.alias", message, *_mark(event))
    tag = getattr(event, "tag", None)
    if tag is not None:
        message = f"Tags such as {tag} are not supported."
        raise Unreadable("plan.not_yaml", message, *_mark(event))


def _mark(event: Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _not_yaml(error: MarkedYAMLError, text: str) -> Unreadable:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    if line > text.count("\n") + 1:
        # libyaml ends the last line itself, and then points after the text.
        line, column = position_of(text, len(text))
    reason = str(error.problem or error.context or "it cannot be read")
    hint = next((_HINTS[part] for part in _HINTS if part in reason), "")
    message = f"Invalid YAML: {reason.rstrip('.')}.{hint}"
    return Unreadable("plan.not_yaml", message, line, column)
