"""From text to a flat stream of tokens: strict JSON where it is, YAML 1.2 otherwise.

A stream nests nothing, so depth and size can be bounded before anything is built.
JSON has a reader of its own: it is nearly a subset of YAML, but tabs between its
tokens and long keys are not, and it is read twenty times faster.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

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

_JSON = re.compile(
    r"""[ \t\r\n]*(?:
      (?P<mark>[{}\[\],:])
    | (?P<text>"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")
    | (?P<word>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)
    )""",
    re.VERBOSE,
)
_MARKS = {
    MappingStartEvent: "{",
    MappingEndEvent: "}",
    SequenceStartEvent: "[",
    SequenceEndEvent: "]",
}
_NOT_IN_YAML = re.compile(r"[\x80-\x9f\u2028\u2029]")
"""Line ends of YAML 1.1, which the reader would take for such, and what YAML forbids."""


@dataclass(frozen=True, slots=True)
class Token:
    """`{`, `}`, `[`, `]`, or `scalar`. Line and column count from 1."""

    kind: str
    line: int
    column: int
    text: str = ""
    plain: bool = False
    """Whether a scalar stands without quotes, so that it may be a number."""


class Unreadable(Exception):
    """The text cannot be read on; `problem` says why."""

    def __init__(self, code: str, message: str, line: int = 1, column: int = 1) -> None:
        self.problem = Problem(code, message, None, line, column)
        super().__init__(message)


class NotJson(Exception):
    """The text is not strict JSON; it may be YAML."""


def place_of(text: str, index: int) -> tuple[int, int]:
    """Line and column of a character, counted from 1."""
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


def yaml_tokens(text: str) -> Iterator[Token]:
    """The tokens of a YAML document.

    :raises Unreadable: where it is not YAML or uses what plans may not
    """
    if odd := _NOT_IN_YAML.search(text):
        message = (
            f"The character U+{ord(odd[0]):04X} may not stand in YAML; write it as an"
            f" escape in double quotes."
        )
        raise Unreadable("plan.not_text", message, *place_of(text, odd.start()))
    documents = 0
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, DocumentStartEvent):
                documents += 1
                _one_plain_document(event, documents)
            token = _token(event)
            if token is not None:
                yield token
    except MarkedYAMLError as error:
        raise _unreadable(error, text) from error
    except YAMLError as error:
        said = str(error).splitlines() or ["it cannot be read"]
        raise Unreadable("plan.not_yaml", f"It is not YAML: {said[0]}.") from error


def _one_plain_document(event: DocumentStartEvent, documents: int) -> None:
    line, column = _mark(event)
    if documents > 1:
        message = "There is more than one document; write one plan to a document."
        raise Unreadable("plan.not_yaml", message, line, column)
    if event.version not in (None, (1, 2)) or event.tags:
        message = "Only YAML 1.2 is read; take the % lines away."
        raise Unreadable("plan.not_yaml", message, line, column)


def _token(event: Event) -> Token | None:
    line, column = _mark(event)
    if isinstance(event, NodeEvent):
        _refuse_decoration(event, line, column)
    if isinstance(event, ScalarEvent):
        return Token("scalar", line, column, event.value, plain=bool(event.implicit[0]))
    kind = _MARKS.get(type(event))
    return Token(kind, line, column) if kind else None


def _refuse_decoration(event: NodeEvent, line: int, column: int) -> None:
    if isinstance(event, AliasEvent) or event.anchor:
        message = "Anchors and aliases are not part of the language; write it out."
        raise Unreadable("plan.alias", message, line, column)
    tag = getattr(event, "tag", None)
    if tag is not None:
        message = f"Tags such as {tag} are not part of the language."
        raise Unreadable("plan.not_yaml", message, line, column)


def _mark(event: Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


HINTS: Mapping[str, str] = {
    "cannot start any token": " Indent with spaces, not tabs; put @, ` and % in quotes.",
    "Unicode character escape": " Write the character itself.",
}
"""What helps against some of the reader's complaints."""


def _unreadable(error: MarkedYAMLError, text: str) -> Unreadable:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    if line > text.count("\n") + 1:
        # The reader ends the last line itself, and then stands behind the text.
        line, column = place_of(text, len(text))
    said = str(error.problem or error.context or "it cannot be read")
    hint = next((HINTS[part] for part in HINTS if part in said), "")
    message = f"It is not YAML: {said.rstrip('.')}.{hint}"
    return Unreadable("plan.not_yaml", message, line, column)


def json_tokens(text: str) -> Iterator[Token]:
    """The tokens of a JSON document.

    :raises NotJson: as soon as it is not strict JSON
    """
    lines = [0, *(found.end() for found in re.finditer("\n", text))]
    stack: list[str] = []
    wanted = "value"
    at, end = 0, len(text.rstrip(" \t\r\n"))
    while at < end:
        found = _JSON.match(text, at)
        if found is None or wanted == "nothing":
            raise NotJson
        start, at = found.start(found.lastgroup or 0), found.end()
        line = bisect_right(lines, start)
        place = (line, start - lines[line - 1] + 1)
        if found.lastgroup == "mark":
            wanted = _mark_of_json(found["mark"], wanted, stack)
            if found["mark"] in "{}[]":
                yield Token(found["mark"], *place)
            continue
        if found.lastgroup == "word" and wanted not in {"value", "value or ]"}:
            raise NotJson
        if wanted not in {"value", "value or ]", "key", "key or }"}:
            raise NotJson
        literal = found[found.lastgroup or 0]
        plain = found.lastgroup == "word"
        yield Token(
            "scalar", *place, literal if plain else json.loads(literal), plain=plain
        )
        wanted = ":" if wanted.startswith("key") else _after(stack)
    if stack or wanted != "nothing":
        raise NotJson


def _mark_of_json(mark: str, wanted: str, stack: list[str]) -> str:
    """What may follow a mark, or NotJson where it may not stand."""
    if mark in "{[" and wanted in {"value", "value or ]"}:
        stack.append("}" if mark == "{" else "]")
        return "key or }" if mark == "{" else "value or ]"
    if mark == ":" and wanted == ":":
        return "value"
    closes = wanted == "after" or wanted.endswith(f"or {mark}")
    if mark in "}]" and closes and stack and stack[-1] == mark:
        stack.pop()
        return _after(stack)
    if mark == "," and wanted == "after":
        return "key" if stack[-1] == "}" else "value"
    raise NotJson


def _after(stack: list[str]) -> str:
    return "after" if stack else "nothing"
