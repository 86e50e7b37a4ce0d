"""Problems of a plan: a stable code, a sentence, a position in the text."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

Path = tuple[str | int, ...]
Positions = Mapping[Path, tuple[int, int]]

MAX_PROBLEMS = 200
MAX_MESSAGE = 500

ERROR = "error"
WARNING = "warning"

CODES: Mapping[str, str] = {
    # the text
    "plan.too_large": "The document is too large.",
    "plan.too_deep": "The document is nested too deeply.",
    "plan.not_text": "The document is not UTF-8 text, or contains control characters.",
    "plan.not_yaml": "The document is not valid YAML or JSON, or uses YAML that plans do not support.",
    "plan.alias": "Anchors and aliases are not supported.",
    "plan.duplicate_key": "An object has a duplicate key.",
    "plan.number_out_of_range": "A number has no exact JSON form.",
    "plan.not_normal_text": "A text is not in Unicode normal form C (warning).",
    "plan.hidden_character": "A text contains invisible characters (warning).",
    "plan.leading_zero": "A number loses its leading zeros (warning).",
    "plan.too_many_problems": "There are more problems than are listed.",
    # the form
    "plan.unknown_key": "A key is unknown, or not allowed here.",
    "plan.missing_key": "A required key is missing.",
    "plan.wrong_type": "A value has the wrong type.",
    "plan.wrong_value": "A value is not one of those allowed.",
    "plan.no_steps": "The plan has no list of steps.",
    "plan.too_many_steps": "The plan has too many steps.",
    "plan.duplicate_step": "Two steps have the same id.",
    # the graph
    "plan.reserved_id": "The id of a step is a reserved word.",
    "plan.unknown_step": "A step depends on a step that does not exist.",
    "plan.self_reference": "A step depends on itself or refers to itself.",
    "plan.cycle": "Steps depend on each other in a cycle.",
    # the registry
    "plan.unknown_skill": "The skill does not exist, or the proposer has no access to it.",
    "plan.unknown_version": "The skill has no such version.",
    "plan.unknown_action": "The skill has no such action.",
    "plan.skill_not_active": "The skill is a draft.",
    "plan.skill_quarantined": "The skill is quarantined, so none of its actions run.",
    "plan.skill_deprecated": "The skill is deprecated (warning).",
    "plan.skill_not_permitted": "The proposer may not propose this skill.",
    "plan.skill_unavailable": "The published code of the skill is not installed.",
    # params, references, inputs, gates
    "plan.reference_unknown": "A reference names something that does not exist.",
    "plan.reference_not_ancestor": "A reference names a step that may run later.",
    "plan.reference_optional": "A reference names an input that may be absent (warning).",
    "plan.reference_may_be_absent": "A reference names a step that may have no output.",
    "plan.reference_may_be_null": "An optional reference is used where null is not allowed (warning).",
    "plan.reserved_key": "A value claims to be a stored file.",
    "plan.type_mismatch": "A reference has a type that is not allowed in its place.",
    "plan.param_invalid": "A parameter does not match the action's input schema.",
    "plan.undo_missing": "A rollback names an undo that does not exist.",
    "plan.schema_invalid": "`inputs` is not a valid JSON Schema.",
    "plan.input_invalid": "The inputs of the run do not match the plan's `inputs`.",
    "plan.unknown_group": "An approval names a group that does not exist.",
    "plan.gate_unsatisfiable": "An approval needs more approvers than there are.",
}
"""All codes. A code never changes its meaning, because clients rely on it."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. Line and column count from 1."""

    code: str
    message: str
    step: str | None = None
    line: int | None = None
    column: int | None = None
    severity: str = ERROR
    input: str = ""
    """The input of the run that it is about, for the page."""

    def as_json(self) -> dict[str, Any]:
        """Return the form that the API and the CLI show."""
        return {
            "code": self.code,
            "message": self.message,
            "step": self.step,
            "line": self.line,
            "column": self.column,
            "severity": self.severity,
        }


_MORE = Problem(
    "plan.too_many_problems",
    f"Showing the first {MAX_PROBLEMS} problems. Fix these first.",
    severity=WARNING,
)


class Problems:
    """Collects problems, each once, and gives each its position in the text.

    The list is cut at MAX_PROBLEMS, but always contains the first error, so that no
    plan with an error looks valid.
    """

    def __init__(self, positions: Positions) -> None:
        self.found: list[Problem] = []
        self._known: set[Problem] = set()
        self._positions = positions
        self._has_error = False

    def add(
        self, code: str, message: str, path: Iterable[str | int], **details: Any
    ) -> None:
        """Add a problem with the value or key at `path`."""
        line, column = position(self._positions, tuple(path))
        self.note(Problem(code, message, line=line, column=column, **details))

    def note(self, problem: Problem) -> None:
        """Add a problem that has its position.

        :raises KeyError: for a code that is not in CODES
        """
        CODES[problem.code]
        if len(problem.message) > MAX_MESSAGE:
            problem = replace(problem, message=f"{problem.message[:MAX_MESSAGE]}…")
        if problem in self._known:
            return
        is_first_error = not self._has_error and problem.severity == ERROR
        if len(self.found) == MAX_PROBLEMS:
            self._known.add(_MORE)
            self.found.append(_MORE)
        if len(self.found) < MAX_PROBLEMS or is_first_error:
            self._known.add(problem)
            self.found.append(problem)
        self._has_error = self._has_error or is_first_error

    def extend(self, problems: Iterable[Problem]) -> None:
        """Add several problems that have their positions."""
        for problem in problems:
            self.note(problem)


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Sort problems by position; those without one come first."""
    return sorted(problems, key=lambda each: (each.line or 0, each.column or 0))


def position(
    positions: Positions, path: Sequence[str | int]
) -> tuple[int | None, int | None]:
    """Return the position of a path, or of its nearest ancestor with one."""
    for length in range(len(path), -1, -1):
        if place := positions.get(tuple(path[:length])):
            return place
    return None, None
