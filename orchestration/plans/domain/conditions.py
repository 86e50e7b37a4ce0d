"""Conditions of steps: what they name, whether they are valid, whether they are true.

A condition is an expression in CEL about `inputs`, `run.id` and the steps that come
before: `steps.scan.output.score > 10`. A hyphen in a step id is written `_`, because CEL
reads it as minus.

Conditions run in transactions, so their time and memory are bounded: loops, escapes and
comments are left out of the language, and calls, patterns and values are limited. Without
them, the words of a condition are what CEL reads.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import re2

from execfabric.lib import canonical
from execfabric.lib.schema import linear
from execfabric.lib.text import position_of
from orchestration.plans.domain import cel

OUTPUT, STATE, FILES = "output", "state", "files"
PARTS = (OUTPUT, STATE, FILES)
ITEM_NAMES = frozenset({"item", "index"})
NAMED = ITEM_NAMES | {"inputs", "run", "steps"}
MAX_PLUS = 16
MAX_CALLS = 8
"""Calls of functions, `has` left out."""
MAX_VALUES = 32 << 10
"""Bytes of canonical JSON of all values that a condition names."""
MAX_PATTERN = 300
"""RE2 instructions of a pattern."""
INVALID = "plan.condition_invalid"
_LOOPS = frozenset({"all", "exists", "exists_one", "existsOne", "map", "filter"})
_WORD = re.compile(
    r"""(?P<space>\s+)
    | (?P<text>"[^"\\\n]*"|'[^'\\\n]*')
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)
    | (?P<number>0[xX][0-9A-Fa-f]+[uU]?|[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?[uU]?)
    | (?P<sign>[][(){}.,:?!=<>&|+*/%-])
    | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


class Name(NamedTuple):
    """A dotted name in a condition, such as `steps.scan.output.score`."""

    parts: tuple[str, ...]
    start: int
    in_has: bool

    @property
    def root(self) -> tuple[str, ...]:
        """The variable: `inputs`, `run`, or `steps.<id>.<part>`."""
        return self.parts[: 3 if self.parts[0] == "steps" else 1]

    @property
    def path(self) -> tuple[str, ...]:
        """The fields below the variable."""
        return self.parts[len(self.root) :]

    def __str__(self) -> str:
        return ".".join(self.parts)


class Wrong(NamedTuple):
    """What is wrong with a condition, and where. Line and column count from 1."""

    code: str
    message: str
    line: int = 1
    column: int = 1


class ConditionFailed(Exception):
    """The condition is neither true nor false; the message says why."""


@dataclass
class Scan:
    """What a condition names, and the first thing in it that is not allowed."""

    names: list[Name] = field(default_factory=list)
    wrong: Wrong | None = None


class _NamedValue(NamedTuple):
    whole: Any
    """Held, so that no other value gets its identity."""
    parts: Any
    size: int


@dataclass
class NamedValues:
    """The parts of values that conditions name, each taken and measured once.

    The values must not change while this is in use.
    """

    given: int = 0
    """Bytes of canonical JSON that conditions were evaluated with, all together."""
    _known: dict[tuple[int, frozenset[tuple[str, ...]]], _NamedValue] = field(
        default_factory=dict
    )

    def parts_of(
        self, value: Any, paths: frozenset[tuple[str, ...]]
    ) -> tuple[Any, int]:
        """Return the named parts of a value, and their bytes of canonical JSON."""
        key = id(value), paths
        if key not in self._known:
            parts = _named(value, paths)
            self._known[key] = _NamedValue(value, parts, len(canonical.dumps(parts)))
        _, parts, size = self._known[key]
        self.given += size
        return parts, size


class _Word(NamedTuple):
    kind: str
    text: str
    start: int


@lru_cache(256)
def scan(source: str) -> Scan:
    """Find the names of a condition that may not be valid."""
    words = [
        _Word(match.lastgroup or "", match[0], match.start())
        for match in _WORD.finditer(source)
        if match.lastgroup != "space"
    ]
    names = []
    opened: list[bool] = []
    for index, word in enumerate(words):
        following = words[index + 1].text if index + 1 < len(words) else ""
        if word.kind == "name" and not _follows_dot(words, index):
            parts = word.text.split(".")
            parts = parts[:-1] if following == "(" else parts
            if parts:
                names.append(Name(tuple(parts), word.start, any(opened)))
        if word.text == "(":
            opened.append(index > 0 and words[index - 1].text == "has")
        elif word.text == ")" and opened:
            opened.pop()
    return Scan(names, _forbidden(source, words))


def _follows_dot(words: list[_Word], index: int) -> bool:
    return index > 0 and words[index - 1].text == "."


def _forbidden(source: str, words: list[_Word]) -> Wrong | None:
    calls = plus = 0
    for index, word in enumerate(words):
        before = words[index - 1] if index else _Word("", "", 0)
        following = words[index + 1 : index + 4]
        message = _flaw_of_word(source, word, before)
        if word.kind == "name" and following and following[0].text == "(":
            function = word.text.rpartition(".")[2]
            calls += function != "has"
            message = message or _flaw_of_call(function, following)
        plus += word.text == "+"
        if plus > MAX_PLUS:
            message = message or f"Too many + (max {MAX_PLUS})."
        if calls > MAX_CALLS:
            message = message or f"Too many calls of functions (max {MAX_CALLS})."
        if message:
            return Wrong(INVALID, message, *position_of(source, word.start))
    return None


def _flaw_of_word(source: str, word: _Word, before: _Word) -> str:
    character = source[word.start - 1] if word.start else ""
    if word.kind == "other":
        return f"Unexpected {word.text!r}. Texts have no escapes."
    if word.kind == "text" and (character in {"'", '"'} or character.isalnum()):
        return "Write texts in single or double quotes, without a prefix."
    if word.text == "/" and before.text == "/" and before.start + 1 == word.start:
        return "Comments are not allowed in a condition."
    if word.text == "." and before.kind != "text" and before.text not in {"]", ")"}:
        return "A name cannot start with a dot."
    return ""


def _flaw_of_call(function: str, following: list[_Word]) -> str:
    if function in _LOOPS:
        return f"{function}() is not allowed. Use `in`, as in 443 in inputs.ports."
    if function != "matches":
        return ""
    kinds = [word.kind for word in following]
    if kinds != ["sign", "text", "sign"] or following[2].text != ")":
        return "Write the pattern of matches() as text, as in name.matches('^a')."
    try:
        size = linear(following[1].text[1:-1]).programsize
    except re2.error as error:
        return f"Invalid pattern: {error.args[0].decode(errors='replace')}."
    return "The pattern is too large." if size > MAX_PATTERN else ""


def cel_id(step: str) -> str:
    """Return a step id as conditions write it."""
    return step.replace("-", "_")


def names_of(source: str) -> Iterator[Name]:
    """Return the names of `inputs`, `run`, steps and items in a condition."""
    return (n for n in scan(source).names if n.parts[0] in NAMED)


def names_item(source: str) -> bool:
    """Return True if a condition depends on the item of a step with forEach."""
    return any(name.parts[0] in ITEM_NAMES for name in names_of(source))


def flaw(source: str, types: Mapping[str, str]) -> Wrong | None:
    """Return the first thing that is wrong with a condition whose names are known.

    `types` are the types of the names, where they are certain.
    """
    if wrong := scan(source).wrong:
        return wrong
    try:
        program = cel.compiled(source, _variables(source, types))
    except cel.CelInvalid as error:
        code, message = INVALID, f"Invalid condition: {error.message}."
        if error.message.startswith("undeclared reference to"):
            name = error.message.removeprefix("undeclared reference to ")
            code = "plan.reference_unknown"
            message = (
                f"Unknown name or function {name}. Use inputs, run.id, or"
                " steps.<id>.output, .state and .files."
            )
        return Wrong(code, message, error.line, error.column)
    if program.type not in {cel.BOOL, cel.DYN}:
        message = f"A condition must be true or false, not {program.type}."
        return Wrong(INVALID, message)
    return None


def _variables(
    source: str, types: Mapping[str, str] = {}
) -> tuple[tuple[str, str], ...]:
    """Return the variables that a condition names, with their types."""
    named = [*names_of(source)]
    tested = [name.parts for name in named if name.in_has]
    variables = {".".join(name.root): cel.DYN for name in named}
    for name in named:
        # `has(a.b)` asks the variable `a`; a variable `a.b` would hide it.
        is_tested = any(parts[: len(name.parts)] == name.parts for parts in tested)
        if name.path and str(name) in types and not is_tested:
            variables[str(name)] = types[str(name)]
    return tuple(sorted(variables.items()))


def evaluate(
    source: str, read: Callable[[Name], Any], known: NamedValues | None = None
) -> bool:
    """Return True or False; `read` returns the value of a variable, by its name.

    Conditions about the same values share `known`.

    :raises ConditionFailed: if it is neither, or takes too much to evaluate
    """
    if wrong := scan(source).wrong:
        raise ConditionFailed(wrong.message)
    known = known or NamedValues()
    values: dict[str, Any] = {}
    total = 0
    for name in names_of(source):
        root = ".".join(name.root)
        if root not in values:
            paths = _paths(source, name.root)
            values[root], size = known.parts_of(read(name), paths)
            total += size
    if total > MAX_VALUES:
        raise ConditionFailed(
            f"the values that it names are too large ({total:,} bytes,"
            f" max {MAX_VALUES:,})."
        )
    try:
        result = cel.compiled(source, _variables(source)).evaluate(values)
    except (cel.CelFailed, cel.CelInvalid) as error:
        raise ConditionFailed(f"{str(error)[:300]}.") from None
    if not isinstance(result, bool):
        raise ConditionFailed("it must be true or false.")
    return result


def _paths(source: str, root: tuple[str, ...]) -> frozenset[tuple[str, ...]]:
    return frozenset(name.path for name in names_of(source) if name.root == root)


def _named(value: Any, paths: Set[tuple[str, ...]]) -> Any:
    """Return the parts of a value that are named; all of it if it is named itself."""
    if () in paths or not isinstance(value, Mapping):
        return value
    below: dict[str, set[tuple[str, ...]]] = {}
    for first, *rest in paths:
        below.setdefault(first, set()).add(tuple(rest))
    return {
        key: _named(value[key], rest) for key, rest in below.items() if key in value
    }
