"""A field of the form view of a plan, and the values that fields are made from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml
from yaml.nodes import ScalarNode

from orchestration.plans.domain import source
from orchestration.plans.domain.form import SPELLINGS
from orchestration.plans.domain.kinds import FOREIGN_KEYS
from orchestration.plans.domain.plan_text import PlanText, is_block
from orchestration.plans.domain.problem import Path, Problem

SNIPPET = "snippet"
"""The kind of the field that holds a whole step as YAML."""
FieldKind = Literal["id", "text", "value", "flag", "steps", "choice", "snippet"]
LONG = 60
"""Characters from which a text gets several lines."""
MAX_ROWS = 16
_SINGLE = {"id", "text"}
_NULLS = {"null", "Null", "NULL", "~"}


@dataclass(frozen=True)
class EditField:
    """A field of the form view."""

    path: Path
    kind: FieldKind
    label: str
    value: Any = ""
    """The text in the field; True for a set flag, the ids for steps."""
    hint: str = ""
    key: str = ""
    """The key in the text, for settings that are rarely used."""
    is_required: bool = False
    is_scalar: bool = False
    """True if a text of one line can be its value."""
    choices: Sequence[str] = ()
    problems: list[Problem] = field(default_factory=list)
    is_refused: bool = False
    """True if the value was typed but could not be written into the text."""

    @property
    def name(self) -> str:
        return "field:" + json.dumps(self.path)

    @property
    def rows(self) -> int:
        """Return the height of a text area; 0 for a field of one line."""
        value = with_line_ends(str(self.value))
        lines = value.count("\n") + 1 + len(value) // LONG
        is_line = lines == 1 and (self.is_scalar or self.kind in _SINGLE)
        return 0 if is_line else min(lines, MAX_ROWS)

    @property
    def is_param(self) -> bool:
        """True if references are allowed in it."""
        return bool({"params", "inputs"} & set(self.path[2:3]))


@dataclass(frozen=True)
class PlanVocabulary:
    """What a plan may name: skills with their actions, and saved plans."""

    skills: Sequence[Mapping[str, Any]]
    plans: Sequence[Mapping[str, Any]]

    def actions(self, step: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """Return the actions of the skill of a step."""
        slug = str(step.get("skill", "")).partition("@")[0]
        actions: Sequence[Any] = named_in(self.skills, "slug", slug).get("actions", ())
        return actions

    def action(self, step: Mapping[str, Any]) -> Mapping[str, Any]:
        return named_in(self.actions(step), "name", step.get("action"))

    def plan(self, step: Mapping[str, Any]) -> Mapping[str, Any]:
        return named_in(self.plans, "id", str(step.get("plan", "")).partition("@")[0])


def typed_value(text: str) -> Any:
    """Return what was typed as YAML; a text that is not YAML is a text.

    So is one with a comment or several lines outside of quotes: nothing typed is lost.
    """
    parsed = source.parse(text.strip("\n") + "\n").value
    if parsed is None:
        return None if text.strip() in _NULLS else text
    is_part = isinstance(parsed, dict | list) or is_whole_scalar(text)
    return parsed if is_part else text


def is_whole_scalar(text: str) -> bool:
    """Return True if a text is one number, word or quoted text in YAML."""
    typed = text.strip()
    try:
        node = yaml.compose(typed, Loader=yaml.CSafeLoader)
    except yaml.YAMLError:
        return False
    if not isinstance(node, ScalarNode) or node.start_mark.index:
        return False
    if not node.style and "\n" in typed:
        return False
    return is_block(node) or bool(node.end_mark.index == len(typed))


def with_line_ends(text: str) -> str:
    """Return a text with the line ends that a browser sends."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def kind_of(step: Mapping[str, Any]) -> str:
    kind = step.get("kind", "skill")
    return kind if isinstance(kind, str) and kind in FOREIGN_KEYS else "skill"


def ids_of(plan: PlanText) -> list[str]:
    return [
        str(step["id"])
        for step in plan.steps
        if isinstance(step, Mapping) and step.get("id")
    ]


def value_at(plan: PlanText, path: Path) -> Any:
    value: Any = plan.value
    for part in path:
        if isinstance(value, Mapping):
            spellings = {SPELLINGS.get(key, key): key for key in value}
            value = value.get(part, value.get(spellings.get(str(part))))
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part]
        else:
            return None
    return value


def mapping_of(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def list_of(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def named_in(
    items: Sequence[Mapping[str, Any]], key: str, value: Any
) -> Mapping[str, Any]:
    return next((each for each in items if each[key] == value), {})
