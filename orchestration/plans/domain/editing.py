"""Edit the values in the text of a plan: only what changes is written again.

Comments, order and formatting of everything else stay as they are, so each edit
replaces one span of the text. Paths start at the plan, as in `("steps", 0, "when")`.
"""

import re
from collections.abc import Sequence
from typing import Any

from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode, SequenceNode

from orchestration.plans.domain import source, writing
from orchestration.plans.domain.plan_text import NotEditable, PlanText, is_block
from orchestration.plans.domain.problem import Path, Problem

STEP_ORDER = (
    "id", "name", "kind", "skill", "version", "action", "plan", "dependsOn",
    "triggerRule", "when", "forEach", "as", "max", "join", "onItemError", "choose",
    "for", "until", "event", "expiresIn", "form", "ask", "params", "inputs",
)  # fmt: skip
"""The order in which a step gets keys; others come after them."""
PLAN_ORDER = ("id", "name", "description", "inputs", "blueprint", "parallel")
"""The order in which a plan gets keys, before its steps and outputs."""

_COMMENT = re.compile(r"(?<!\S)#.*")
_OPENED = re.compile(r"\A.*(?::|[|>][-+0-9]*)\n")
"""A first line after which the value follows in lines of its own."""


def set_value(plan: PlanText, path: Path, value: Any, order: Sequence[str] = ()) -> str:
    """Write a value; missing objects around it are added."""
    return _write(plan, path, value, None, order)


def set_source(plan: PlanText, path: Path, text: str, order: Sequence[str] = ()) -> str:
    """Write a value that was typed as YAML, as it was typed if possible."""
    typed = text.strip("\n")
    return _write(plan, path, source.parse(f"{typed}\n").value, typed, order)


def remove(plan: PlanText, path: Path) -> str:
    """Remove a value, and the object around it if nothing else is in it."""
    parent = plan.node(path[:-1])
    if not isinstance(parent, MappingNode) or plan.node(path) is None:
        return plan.text
    if len(parent.value) == 1 and len(path) > 1:
        if isinstance(path[-2], str):
            return remove(plan, path[:-1])
        return plan.replaced(parent.start_mark.index, plan.end(parent), "{}")
    return without(plan, parent, plan.position(parent, path[-1]))


def _write(
    plan: PlanText, path: Path, value: Any, typed: str | None, order: Sequence[str]
) -> str:
    parent = plan.node(path[:-1])
    if not isinstance(parent, MappingNode | SequenceNode):
        return _write(plan, path[:-1], {str(path[-1]): value}, None, order)
    node = plan.node(path)
    if node is None:
        if isinstance(parent, SequenceNode):
            message = f"`{path[-2]}` must be an object here, not a list."
            raise NotEditable(Problem("plan.wrong_type", message))
        return _added(plan, parent, str(path[-1]), value, typed, order)
    if plan.is_flow(path):
        made = writing.inline(value, as_json=plan.as_json)
        start = node.start_mark.index
        if isinstance(parent, MappingNode):
            key_node, _ = parent.value[plan.position(parent, path[-1])]
            made = _separator(plan.text[key_node.end_mark.index : start]) + made
        return plan.replaced(start, plan.end(node), made)
    if isinstance(parent, SequenceNode):
        made = writing.inline(value)
        return plan.replaced(node.start_mark.index, plan.end(node), made)
    return _in_place(plan, parent, str(path[-1]), value, typed)


def _separator(between: str) -> str:
    """Return what is missing between a key in brackets and its value."""
    if ":" not in between:
        return ": "
    return " " if between.endswith(":") else ""


def _in_place(
    plan: PlanText, parent: MappingNode, key: str, value: Any, typed: str | None
) -> str:
    """Replace the value of a key in lines."""
    key_node, node = parent.value[plan.position(parent, key)]
    start, end = node.start_mark.index, plan.end(node)
    column = key_node.start_mark.column
    lead = plan.text[key_node.end_mark.index : start]
    if is_block(node):
        lead += plan.text[start : plan.line_end(start)]
    comment = found[0].rstrip() if (found := _COMMENT.search(lead)) else ""
    if typed is None and isinstance(node, ScalarNode) and _is_short(value):
        if node.style == ">" and isinstance(value, str):
            made = writing.folded(value, column + writing.INDENT)
        else:
            made = writing.inline(value, in_flow=False)
        if is_block(node):
            made = _with_comment(made, comment)
        space = "" if plan.text[start - 1 : start].isspace() else " "
        return plan.replaced(start, end, space + made)
    if _is_list(node) and isinstance(value, list) and value and typed is None:
        return _with_items(plan, node, value)
    name = plan.text[key_node.start_mark.index : key_node.end_mark.index]
    made = _entry_text(name, value, typed, column)
    beside = re.match(r"[ \t]+(#[^\n]*)", plan.text[end : plan.line_end(end)])
    if beside and _OPENED.search(made):
        # After several lines the comment would be a part of the text.
        comment, end = f"{comment} {beside[1]}".strip(), end + beside.end()
    return plan.replaced(key_node.start_mark.index, end, _with_comment(made, comment))


def _with_comment(made: str, comment: str) -> str:
    first, line_end, others = made.partition("\n")
    return f"{first}  {comment}{line_end}{others}" if comment else made


def _with_items(plan: PlanText, node: SequenceNode, value: list[Any]) -> str:
    """Write a list in lines; the lines of texts that stay in it are kept."""
    old = [_word(plan, each) for each in node.value]
    kept = [each for each in old if each in value]
    column = " " * node.start_mark.column
    is_changed = None in old or not kept or len({*old}) < len(old)
    if is_changed or value[: len(kept)] != kept:
        made = "- " + f"\n{column}- ".join(writing.inline(each) for each in value)
        return plan.replaced(node.start_mark.index, plan.end(node), made)
    at = plan.line_end(plan.end(node.value[old.index(kept[-1])]))
    added = [f"\n{column}- {writing.inline(each)}" for each in value[len(kept) :]]
    text = plan.replaced(at, at, "".join(added))
    for each, item in reversed([*zip(old, node.value, strict=True)]):
        if each not in value:
            start, end = plan.line_start(item.start_mark.index), plan.end(item)
            grown = sum(map(len, added)) if start > at else 0
            end = plan.line_end(end) + 1
            text = text[: start + grown] + text[end + grown :]
    return text


def _word(plan: PlanText, node: Node) -> str | None:
    """Return the value of an item that is a text on its own line."""
    start = plan.line_start(node.start_mark.index)
    is_alone = plan.text[start : node.start_mark.index].strip() == "-"
    if not is_alone or not isinstance(node, ScalarNode):
        return None
    if not node.style and source.parse(node.value).value != node.value:
        return None
    return str(node.value)


def _entry_text(name: str, value: Any, typed: str | None, column: int) -> str:
    if typed is None or not isinstance(value, dict | list):
        made = writing.entry("k", value, column)
        return name + made.removeprefix("k")
    if typed.lstrip()[:1] in {"{", "["}:
        return f"{name}: {writing.indented(typed, column + writing.INDENT)}"
    pad = " " * (column + writing.INDENT)
    return f"{name}:\n{pad}{writing.indented(typed, len(pad))}"


def _added(
    plan: PlanText,
    parent: MappingNode,
    key: str,
    value: Any,
    typed: str | None,
    order: Sequence[str],
) -> str:
    if parent.flow_style or not parent.value:
        return _added_in_braces(plan, parent, key, value, order)
    _, before = parent.value[_place(parent, key, order)]
    column = parent.start_mark.column
    made = _entry_text(writing.inline(key), value, typed, column)
    at = plan.line_end(plan.end(before))
    return plan.replaced(at, at, f"\n{' ' * column}{made}")


def _added_in_braces(
    plan: PlanText, parent: MappingNode, key: str, value: Any, order: Sequence[str]
) -> str:
    name = writing.inline(key, as_json=plan.as_json)
    made = f"{name}: {writing.inline(value, as_json=plan.as_json)}"
    if not parent.value:
        at = parent.start_mark.index + 1
        return plan.replaced(at, at, made)
    before_key, before = parent.value[_place(parent, key, order)]
    at, start = plan.end(before), before_key.start_mark.index
    line = plan.text[plan.text.rfind("\n", 0, start) + 1 : start]
    space = f"\n{line}" if line and not line.strip() else " "
    return plan.replaced(at, at, f",{space}{made}")


def without(plan: PlanText, parent: CollectionNode, index: int) -> str:
    """Remove an entry of an object, or an item of a list in brackets."""
    spans = [
        (each[0].start_mark.index, plan.end(each[1]))
        if isinstance(each, tuple)
        else (each.start_mark.index, plan.end(each))
        for each in parent.value
    ]
    start, end = spans[index]
    if parent.flow_style:
        if index:
            return plan.replaced(spans[index - 1][1], end, "")
        following = spans[1][0] if len(spans) > 1 else end
        return plan.replaced(start, following, "")
    line = plan.text.rfind("\n", 0, start) + 1
    if plan.text[line:start].strip():  # the first key, after the dash of its step
        return plan.replaced(start, spans[1][0], "")
    return plan.replaced(line, plan.line_end(end) + 1, "")


def _place(parent: MappingNode, key: str, order: Sequence[str]) -> int:
    """Return the index of the entry after which a new key belongs."""
    if key not in order:
        return len(parent.value) - 1
    before = order[: order.index(key)]
    known = [at for at, (inner, _) in enumerate(parent.value) if inner.value in before]
    return known[-1] if known else 0


def _is_short(value: Any) -> bool:
    is_text = isinstance(value, str) and "\n" not in value
    return is_text or not isinstance(value, str | dict | list) or value in ([], {})


def _is_list(node: Node) -> bool:
    return isinstance(node, SequenceNode) and not node.flow_style
