"""Split text into tokens with positions: strict JSON, or YAML 1.2.

YAML is read from PyYAML's events, not from its nodes: its composer would follow
aliases and nest without limit before anything could be refused.
"""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

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

from orchestration.plans.domain.problem import Problem

_NOT_IN_YAML = re.compile(r"[\x80-\x9f\u2028\u2029]")
"""Line ends of YAML 1.1, which the reader would accept, and what YAML forbids."""
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]|[^\s{}\[\],:"]+')
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


class Token(NamedTuple):
    """`{`, `}`, `[`, `]`, or `scalar`. Line and column count from 1."""

    kind: str
    line: int
    column: int
    text: str = ""
    is_plain: bool = False
    """True for a scalar without quotes, which may be a number."""


class Unreadable(Exception):
    """The text cannot be read further; `problem` says why."""

    def __init__(self, code: str, message: str, line: int = 1, column: int = 1) -> None:
        self.problem = Problem(code, message, None, line, column)
        super().__init__(message)


def position_of(text: str, index: int) -> tuple[int, int]:
    """Return line and column of a character, counted from 1."""
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


def is_json(text: str) -> bool:
    """Return True for strict JSON, and for brackets too deep to tell."""
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


def json_tokens(text: str) -> Iterator[Token]:
    """Split what `json` has accepted, to learn positions.

    It is not read as YAML, because libyaml refuses some JSON: keys over 1,024
    characters, escaped surrogate pairs, U+2028.
    """
    line, start_of_line, at = 1, 0, 0
    for found in _JSON_TOKEN.finditer(text):
        if breaks := text.count("\n", at, found.start()):
            line += breaks
            start_of_line = text.rindex("\n", at, found.start()) + 1
        at = found.end()
        part, column = found[0], found.start() - start_of_line + 1
        if part in "{}[]":
            yield Token(part, line, column)
        elif part[0] == '"':
            yield Token("scalar", line, column, json.loads(part))
        else:
            yield Token("scalar", line, column, part, is_plain=True)


def yaml_tokens(text: str) -> Iterator[Token]:
    """Read a YAML document; raise Unreadable if it is not YAML as plans use it."""
    if odd := _NOT_IN_YAML.search(text):
        message = (
            f"The character U+{ord(odd[0]):04X} is not allowed in YAML. Write it as an"
            f" escape in double quotes."
        )
        raise Unreadable("plan.not_text", message, *position_of(text, odd.start()))
    documents = 0
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, DocumentStartEvent):
                documents += 1
                _check_document(event, documents)
            if token := _token(event):
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


def _token(event: Event) -> Token | None:
    if isinstance(event, NodeEvent):
        _check_node(event)
    if isinstance(event, ScalarEvent):
        is_plain = bool(event.implicit[0])
        return Token("scalar", *_mark(event), event.value, is_plain)
    kind = _BRACKETS.get(type(event))
    return Token(kind, *_mark(event)) if kind else None


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
