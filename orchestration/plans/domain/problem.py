"""What is wrong with a plan: one stable code, one sentence, one place in the text."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

LARGEST_REPORT = 200
LONGEST_QUOTE = 60

CODES: Mapping[str, str] = {
    # the text
    "plan.too_large": "The text, or the number of values in it, is over the limit.",
    "plan.too_deep": "Values are nested deeper than the limit.",
    "plan.not_utf8": "The text is not UTF-8.",
    "plan.forbidden_character": "The text holds a control character.",
    "plan.tab": "A tab stands where only spaces may indent.",
    "plan.not_yaml": "The text is neither YAML nor JSON.",
    "plan.yaml_version": "The text asks for another version of YAML than 1.2.",
    "plan.empty": "The text holds no document.",
    "plan.many_documents": "The text holds more than one document.",
    "plan.duplicate_key": "A key stands twice in the same mapping.",
    "plan.key_not_text": "A key is a number, a boolean, null or a collection.",
    "plan.alias": "Anchors and aliases are not part of the plan language.",
    "plan.tag": "Tags are not part of the plan language.",
    "plan.number_out_of_range": "A number cannot be kept exactly (beyond 2**53 - 1).",
    "plan.text_broken": "A text holds half of a surrogate pair.",
    "plan.leading_zero": "A number with leading zeros loses them (warning).",
    "plan.not_nfc": "A text is not in Unicode form NFC (warning).",
    "plan.hidden_character": "A text holds invisible characters (warning).",
    # the shape
    "plan.not_a_plan": "The document is not a mapping.",
    "plan.unknown_key": "A key is not part of the plan language.",
    "plan.missing_key": "A key that must be there is missing.",
    "plan.twice_spelled": "A key is given in both of its spellings.",
    "plan.wrong_type": "A value is of the wrong type.",
    "plan.wrong_value": "A value is not one of those allowed.",
    "plan.id_invalid": "An id has characters that ids may not have.",
    "plan.reserved_id": "A step id is a word of the reference language.",
    "plan.duration_invalid": "A duration is not like 30s, 5m, 1h30m or a number.",
    "plan.unknown_kind": "A step is of a kind that does not exist.",
    "plan.key_not_for_kind": "A key does not belong to a step of this kind.",
    "plan.duplicate_step": "Two steps have the same id.",
    "plan.no_steps": "The plan has no steps.",
    "plan.too_many_problems": "There are more problems than are listed.",
    # the graph
    "plan.unknown_dependency": "A step depends on a step that does not exist.",
    "plan.duplicate_dependency": "A step names the same dependency twice.",
    "plan.self_reference": "A step depends on itself or refers to itself.",
    "plan.cycle": "Steps wait for one another in a circle.",
    # the registry
    "plan.unknown_skill": "No skill has this name.",
    "plan.unknown_version": "The skill has no such version.",
    "plan.unknown_action": "The skill has no such action.",
    "plan.skill_not_active": "The version of the skill is a draft.",
    "plan.skill_deprecated": "The version of the skill is deprecated (warning).",
    "plan.skill_quarantined": "The version of the skill is quarantined.",
    "plan.skill_unavailable": "No worker here has the code of the skill.",
    "plan.skill_not_permitted": "The proposer may not propose this skill.",
    # references and params
    "plan.reference_invalid": "A `$` begins something that is no reference.",
    "plan.reference_not_ancestor": "A reference names a step that may run later.",
    "plan.reference_unknown": "A reference names something that does not exist.",
    "plan.reference_optional": "A reference names an input that may be absent (warning).",
    "plan.file_in_text": "A file stands inside a longer text.",
    "plan.type_mismatch": "A reference yields a type that its place does not take.",
    "plan.param_invalid": "A parameter does not satisfy the action's input schema.",
    "plan.param_missing": "A parameter that the action requires is missing.",
    "plan.param_unknown": "The action has no such parameter.",
    "plan.reserved_key": "A mapping claims to be a stored file.",
    "plan.undo_missing": "A rollback names no undo that exists.",
    # inputs and gates
    "plan.inputs_schema_invalid": "`inputs` is not a JSON Schema that can be used.",
    "plan.input_invalid": "The given inputs do not satisfy the plan's `inputs`.",
    "plan.unknown_group": "An approval asks a group that does not exist.",
    "plan.gate_unsatisfiable": "An approval asks for more people than a group has.",
}
"""Every code there is. Codes never change their meaning; clients may rely on them."""


class Severity(StrEnum):
    """Whether a plan with this problem may run."""

    ERROR = "error"  # it may not
    WARNING = "warning"  # it may; the approver is shown it


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. Line and column count from 1."""

    code: str
    message: str
    step: str | None = None
    line: int | None = None
    column: int | None = None
    severity: Severity = Severity.ERROR

    def as_json(self) -> dict[str, Any]:
        """The form that the API, the CLI and the page show."""
        return {
            "code": self.code,
            "message": self.message,
            "step": self.step,
            "line": self.line,
            "column": self.column,
            "severity": str(self.severity),
        }

    @property
    def place(self) -> tuple[int, int]:
        """The sort key of its place; problems of no place come first."""
        return (self.line or 0, self.column or 0)


@dataclass
class Problems:
    """Collects problems, each once, and stops listing where nobody would read on."""

    _found: dict[Problem, None] = field(default_factory=dict)
    _errors: int = 0

    def add(self, problem: Problem) -> None:
        """Note a problem. Its code must stand in CODES.

        :raises KeyError: for a code that no table explains
        """
        CODES[problem.code]
        if problem in self._found:
            return
        full = len(self._found) >= LARGEST_REPORT
        if problem.severity is Severity.ERROR:
            self._errors += 1
            # The first error is kept even behind a flood of warnings: a plan with
            # an error must never look like a plan without one.
            full = full and self._errors > 1
        if not full:
            self._found[problem] = None

    def extend(self, problems: Iterable[Problem]) -> None:
        """Note several problems."""
        for problem in problems:
            self.add(problem)

    def listed(self) -> list[Problem]:
        """The problems in the order of their places."""
        found = sorted(self._found, key=lambda problem: problem.place)
        if len(found) >= LARGEST_REPORT:
            found.append(
                Problem(
                    "plan.too_many_problems",
                    f"There may be more problems than the {len(found)} listed here.",
                    severity=Severity.ERROR if self._errors else Severity.WARNING,
                )
            )
        return found


def has_errors(problems: Iterable[Problem]) -> bool:
    """Whether one of the problems forbids the plan to run."""
    return any(problem.severity is Severity.ERROR for problem in problems)


def quote(value: object) -> str:
    """`value` in backquotes, shortened, for use in a message."""
    text = str(value)
    if len(text) > LONGEST_QUOTE:
        text = text[: LONGEST_QUOTE - 1] + "…"
    return "`" + "".join(c if c.isprintable() else "�" for c in text) + "`"
