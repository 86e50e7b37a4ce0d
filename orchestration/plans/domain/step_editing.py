"""Edit the list of steps in the text of a plan: add, delete, move, replace, rename."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from orchestration.plans.domain import source, writing
from orchestration.plans.domain.conditions import cel_id
from orchestration.plans.domain.editing import (
    PLAN_ORDER,
    STEP_ORDER,
    set_value,
    without,
)
from orchestration.plans.domain.plan_text import (
    NotEditable,
    PlanText,
    entry_of,
    is_block,
    last_of,
)
from orchestration.plans.domain.problem import Path

_EMPTY_LINES = re.compile(r"(?: *\n)+")
_LISTS_OF_STEPS = (
    ["dependsOn"],
    ["depends_on"],
    ["choose", "then"],
    ["choose", "else"],
)
_NOT_REFERENCES = (("id",), ("name",), ("description",), ("skill",), ("action",))
_DEPTHS = (1, 3)
"""The lengths of the paths of keys of the plan and of its steps."""


def insert_step(plan: PlanText, at: int, step: Mapping[str, Any]) -> str:
    """Write a step before the one at this position, or after the last."""
    steps = plan.node(("steps",))
    if not isinstance(steps, SequenceNode) or not steps.value:
        return _first_step(plan, step)
    items = steps.value
    is_last = at >= len(items)
    near = items[-1] if is_last else items[at]
    if steps.flow_style:
        made = writing.inline(step, as_json=plan.as_json)
        if is_last:
            return plan.replaced(plan.end(near), plan.end(near), f", {made}")
        index = near.start_mark.index
        return plan.replaced(index, index, f"{made}, ")
    column = steps.start_mark.column
    is_flow = isinstance(near, MappingNode) and near.flow_style
    made = f"- {writing.inline(step)}" if is_flow else writing.item(step, column)
    start, end = plan.lines_of(steps, len(items) - 1 if is_last else at)
    gap = "\n" if _has_gaps(plan, steps) and not plan.keeps_lines(near) else ""
    line = f"{' ' * column}{made}\n"
    if not is_last:
        return plan.replaced(start, start, line + gap)
    ended = "" if plan.text[:end].endswith("\n") else "\n"
    return plan.replaced(end, end, ended + gap + line)


def delete_step(plan: PlanText, at: int) -> str:
    """Remove a step and the comment lines directly above it."""
    steps = _steps(plan)
    if len(steps.value) == 1:
        return set_value(plan, ("steps",), [])
    if steps.flow_style:
        return without(plan, steps, at)
    start, end = plan.lines_of(steps, at)
    if at == len(steps.value) - 1:  # with the empty lines before it, else after it
        before = plan.lines_of(steps, at - 1)[1]
        while (
            start > before and not plan.text[plan.line_start(start - 1) : start].strip()
        ):
            start = plan.line_start(start - 1)
        end = _after_lines(plan, steps.value[at - 1], end)
    elif gap := _EMPTY_LINES.match(plan.text, end):
        end = gap.end()
    return plan.replaced(start, end, "")


def move_step(plan: PlanText, at: int, to: int) -> str:
    """Exchange a step with a neighbour, each with its comment lines."""
    steps = _steps(plan)
    first, second = sorted((at, to))
    if not 0 <= first < second < len(steps.value):
        return plan.text
    if steps.flow_style:
        spans = [
            (node.start_mark.index, plan.end(node))
            for node in (steps.value[first], steps.value[second])
        ]
    else:
        spans = [plan.lines_of(steps, index) for index in (first, second)]
    (start, end), (start_2, end_2) = spans
    one, gap, other = (
        plan.text[start:end],
        plan.text[end:start_2],
        plan.text[start_2:end_2],
    )
    if not steps.flow_style:
        if plan.keeps_lines(steps.value[second]):
            other, gap = gap + other, ""
        following = _after_lines(plan, steps.value[first], end_2)
        one, end_2 = plan.text[end_2:following] + one, following
    if not steps.flow_style and not other.endswith("\n"):
        # The line end belongs to a block of text.
        is_text = is_block(last_of(steps.value[first]))
        one = one if is_text else one.removesuffix("\n")
        return plan.replaced(start, end_2, f"{other}\n{gap}{one}")
    return plan.replaced(start, end_2, other + gap + one)


def _after_lines(plan: PlanText, step: Node, index: int) -> int:
    """Return the index after the empty lines that would become part of a step's text."""
    found = _EMPTY_LINES.match(plan.text, index) if plan.keeps_lines(step) else None
    return found.end() if found else index


def replace_step(plan: PlanText, at: int, text: str) -> str:
    """Write a whole step that was typed as YAML."""
    step = _steps(plan).value[at]
    typed = text.strip("\n")
    value = source.parse(f"{typed}\n").value
    if plan.as_json or _steps(plan).flow_style:
        typed = writing.inline(value, as_json=plan.as_json)
    typed = writing.indented(typed, step.start_mark.column)
    return plan.replaced(step.start_mark.index, plan.end(step), typed)


def rename_step(plan: PlanText, at: int, new: str) -> str:
    """Give a step another id, also where other steps name it."""
    old = plan.steps[at].get("id")
    changed = PlanText(set_value(plan, ("steps", at, "id"), new, STEP_ORDER))
    if not old or not isinstance(old, str) or not new:
        return changed.text
    text = changed.text
    for path, node in reversed([*_scalars(changed.root, ())]):
        start, end = node.start_mark.index, changed.end(node)
        written = changed.text[start:end]
        if not (_names_step(path) and node.value == old):
            made = _renamed(written, path, old, new)
        elif node.style:
            made = written.replace(old, new)
        else:
            made = writing.inline(new, as_json=changed.as_json)
        text = text[:start] + made + text[end:]
    return text


def _first_step(plan: PlanText, step: Mapping[str, Any]) -> str:
    if plan.as_json or plan.root.flow_style:
        return set_value(plan, ("steps",), [step], PLAN_ORDER)
    column = plan.root.start_mark.column
    made = f"steps:\n{' ' * (column + 2)}" + writing.item(step, column + 2)
    if not (present := entry_of(plan.root, "steps")):
        last = plan.root.value[-1][1]
        at = plan.line_end(plan.end(last))
        return plan.replaced(at, at, f"\n{' ' * column}{made}")
    start, end = present[0].start_mark.index, plan.end(present[1])
    return plan.replaced(start, end, made)


def _steps(plan: PlanText) -> SequenceNode:
    steps = plan.node(("steps",))
    if not isinstance(steps, SequenceNode):
        raise NotEditable
    return steps


def _has_gaps(plan: PlanText, steps: SequenceNode) -> bool:
    """Return True if empty lines separate the last two steps."""
    if len(steps.value) == 1:
        return False
    last = len(steps.value) - 1
    end, start = plan.lines_of(steps, last - 1)[1], plan.lines_of(steps, last)[0]
    return "\n" in plan.text[end:start]


def _scalars(node: Node | None, path: Path) -> Iterator[tuple[Path, ScalarNode]]:
    if isinstance(node, ScalarNode):
        yield path, node
    elif isinstance(node, MappingNode):
        for key, value in node.value:
            yield from _scalars(value, (*path, key.value))
    elif isinstance(node, SequenceNode):
        for index, value in enumerate(node.value):
            yield from _scalars(value, (*path, index))


def _names_step(path: Path) -> bool:
    """Return True for an item of `dependsOn`, and of `then` or `else` of a rule."""
    if path[:1] != ("steps",):
        return False
    keys = [part for part in path[2:] if isinstance(part, str)]
    return keys in _LISTS_OF_STEPS


def _renamed(text: str, path: Path, old: str, new: str) -> str:
    """Write the new id into the references in a text."""
    if path[-1:] in _NOT_REFERENCES and len(path) in _DEPTHS:
        return text
    name = re.escape(old)
    # Two dollar signs are one in the text, and no reference.
    text = re.sub(
        rf"(?<!\$)((?:\$\$)*\$\{{?){name}(?=[.?}}])", lambda m: m[1] + new, text
    )
    in_cel = re.escape(cel_id(old))
    return re.sub(
        rf"(?<![\w.])(steps\.){in_cel}(?=\.)", lambda m: m[1] + cel_id(new), text
    )
