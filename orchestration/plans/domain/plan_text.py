"""The text of a plan with the places of its values, so that parts can be edited."""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import yaml
from pydantic.alias_generators import to_snake
from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode, SequenceNode

from orchestration.plans.domain import source, writing
from orchestration.plans.domain.form import SPELLINGS
from orchestration.plans.domain.problem import ERROR, Path, Problem
from orchestration.plans.domain.tokens import is_json

EMPTY = "plan:\n  id: new-plan\n  name: New plan\n  steps: []\n"
"""The text that an edit of an empty text starts with."""
Entry = tuple[Node, Node]
_CHOMPED = re.compile(r"\A([|>])\+?(\d?)\+?")


class NotEditable(Exception):
    """The text cannot be edited in parts; `problem` says why, if the reader knows."""

    def __init__(self, problem: Problem | None = None) -> None:
        self.problem = problem
        super().__init__(problem.message if problem else "")


class PlanText:
    """A text with the places of its values. Paths start at the plan."""

    def __init__(self, text: str) -> None:
        text = (text if text.strip() else EMPTY).removeprefix("\ufeff")
        parsed = source.parse(text)
        errors = [each for each in parsed.problems if each.severity == ERROR]
        if not isinstance(parsed.value, dict):
            raise NotEditable(next(iter(errors), None))
        try:
            # The parser has refused aliases and deep nesting.
            text = _with_line_end(text, parsed.value)
            node = yaml.compose(text, Loader=yaml.CSafeLoader)
        except yaml.YAMLError as error:
            raise NotEditable from error
        self.text = text
        self.as_json = text.lstrip()[:1] == "{" and is_json(text)
        inner = entry_of(node, "plan")
        root = inner[1] if inner else node
        self.value = parsed.value["plan"] if inner else parsed.value
        if not isinstance(root, MappingNode):
            raise NotEditable
        self.root = root

    @property
    def steps(self) -> Sequence[Any]:
        """The values of the steps; none if the plan has no list of them."""
        steps = self.value.get("steps")
        return steps if isinstance(steps, list) else ()

    def node(self, path: Path) -> Node | None:
        found: Node | None = self.root
        for part in path:
            if isinstance(found, SequenceNode) and isinstance(part, int):
                items = found.value
                found = items[part] if 0 <= part < len(items) else None
            else:
                inside = entry_of(found, part)
                found = inside[1] if inside else None
        return found

    def snippet(self, path: Path) -> str:
        """Return the text of a value as written, without its indent."""
        node = self.node(path)
        if node is None:
            return ""
        text = self.text[node.start_mark.index : self.end(node)]
        is_block = isinstance(node, CollectionNode) and not node.flow_style
        column = node.start_mark.column if is_block else self._indent_of(node)
        return writing.dedented(text, column)

    def places(self, path: Path) -> Iterator[tuple[Path, int, int]]:
        """Walk the paths below a path with the first and the last index of each."""
        node = self.node(path)
        if node is not None:
            yield path, node.start_mark.index, self.end(node)
            yield from self._below(node, path)

    def path_at(self, line: int, column: int) -> Path:
        """Return the path of the innermost value at a place in the text."""
        lines = self.text.split("\n")
        index = sum(len(each) + 1 for each in lines[: max(line - 1, 0)]) + column - 1
        if column == 1 and 0 < line <= len(lines):
            text = lines[line - 1]
            index += len(text) - len(text.lstrip(" -"))
        found: Path = ()
        for path, start, end in self._all_places:
            if start <= index <= end and len(path) >= len(found):
                found = path
        return tuple(
            SPELLINGS.get(part, part) if isinstance(part, str) else part
            for part in found
        )

    @cached_property
    def _all_places(self) -> list[tuple[Path, int, int]]:
        return list(self.places(()))

    def is_flow(self, path: Path) -> bool:
        """Return True if a value is inside of brackets."""
        nodes = [self.node(path[:length]) for length in range(len(path))]
        return any(isinstance(n, CollectionNode) and n.flow_style for n in nodes)

    def end(self, node: Node) -> int:
        """Return the index after a value; the reader also counts what follows it."""
        if isinstance(node, ScalarNode):
            return self._block_end(node) if is_block(node) else int(node.end_mark.index)
        last = last_of(node)
        return int(node.end_mark.index) if last is node else self.end(last)

    def line_end(self, index: int) -> int:
        end = self.text.find("\n", index)
        return len(self.text) if end < 0 else end

    def position(self, parent: Node, key: Any) -> int:
        keys = [inner.value for inner, _ in parent.value]
        return keys.index(key if key in keys else to_snake(key))

    def lines_of(self, steps: Node, index: int) -> tuple[int, int]:
        """Return the span of the lines of a step, with its comments.

        Those above it start in the column of its dash, those below it after that column.
        """
        column = steps.start_mark.column
        start = self.line_start(steps.value[index].start_mark.index)
        dash, comment = " " * column + "-", " " * column + "#"
        floor = self._after(steps, index - 1) if index else 0
        while start > floor and not self.text.startswith(dash, start):
            start = self.line_start(start - 1)
        while start > floor:
            above = self.line_start(start - 1)
            if not self.text.startswith(comment, above):
                break
            start = above
        return start, self._after(steps, index)

    def line_start(self, index: int) -> int:
        return self.text.rfind("\n", 0, index) + 1

    def _after(self, steps: Node, index: int) -> int:
        """Return the index after the lines of a step and the comments in its column."""
        end = min(self.line_end(self.end(steps.value[index])) + 1, len(self.text))
        comments = rf"(?:(?: *\n)*(?: {{{steps.start_mark.column + 1},}}#.*(?:\n|$)))*"
        found = re.compile(comments).match(self.text, end)
        return found.end() if found else end

    def keeps_lines(self, node: Node) -> bool:
        """Return True if a value ends with a text to which empty lines after it belong."""
        last = last_of(node)
        start = last.start_mark.index
        header = self.text[start : self.line_end(start)].partition("#")[0]
        return is_block(last) and "+" in header

    def _block_end(self, node: ScalarNode) -> int:
        """Return the index after a block of text, without empty lines that it ignores."""
        start = int(node.start_mark.index)
        text = self.text[start : node.end_mark.index]
        header, _, body = text.partition("\n")
        if self.keeps_lines(node):
            return start + len(text.removesuffix("\n"))
        first = next((line for line in body.split("\n") if line.strip(" ")), "")
        has_indent = not re.match(r"[|>]-?[1-9]", header)
        indent = len(first) - len(first.lstrip(" ")) if has_indent else 0
        return start + len(re.sub(rf"(?:\n {{0,{indent}}})+\Z", "", text))

    def _indent_of(self, node: Node) -> int:
        index = node.start_mark.index
        line = self.text[self.line_start(index) : index]
        return len(line) - len(line.lstrip(" -"))

    def _below(self, node: Node, path: Path) -> Iterator[tuple[Path, int, int]]:
        if isinstance(node, MappingNode):
            for key, inner in node.value:
                at = (*path, key.value)
                yield at, key.start_mark.index, self.end(inner)
                yield from self._below(inner, at)
        elif isinstance(node, SequenceNode):
            for index, inner in enumerate(node.value):
                yield (*path, index), inner.start_mark.index, self.end(inner)
                yield from self._below(inner, (*path, index))

    def replaced(self, start: int, end: int, text: str) -> str:
        return self.text[:start] + text + self.text[end:]


def last_of(node: Node) -> Node:
    """Return the value that ends a value: the last one in it, if it has lines."""
    if not isinstance(node, CollectionNode) or node.flow_style or not node.value:
        return node
    last = node.value[-1]
    return last_of(last[1] if isinstance(last, tuple) else last)


def _with_line_end(text: str, value: Any) -> str:
    """Return a text with a final line end, which edits need; its `value` is the same.

    A block of text at the end would gain the line end: its `|` becomes `|-`.
    """
    made = text if text.endswith("\n") else text + "\n"
    if made == text or source.parse(made).value == value:
        return made
    node: Any = yaml.compose(text, Loader=yaml.CSafeLoader)
    start = last_of(node).start_mark.index
    made = made[:start] + _CHOMPED.sub(r"\1\2-", made[start:], count=1)
    return made if source.parse(made).value == value else text


def is_block(node: Node) -> bool:
    """Return True if a value is a block of text after `|` or `>`."""
    return isinstance(node, ScalarNode) and node.style in {"|", ">"}


def entry_of(node: Node | None, key: Any) -> Entry | None:
    """Return an entry of an object; keys may also be written as in `depends_on`."""
    if not isinstance(node, MappingNode) or not isinstance(key, str):
        return None
    found = {inner.value: (inner, value) for inner, value in reversed(node.value)}
    return found.get(key) or found.get(to_snake(key))
