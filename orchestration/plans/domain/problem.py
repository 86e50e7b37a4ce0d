"""What is wrong with a plan: one stable code, one sentence, one place in the text."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

Path = tuple[str | int, ...]
Positions = Mapping[Path, tuple[int, int]]

LARGEST_REPORT = 200
LONGEST_MESSAGE = 500

ERROR = "error"
WARNING = "warning"

CODES: Mapping[str, str] = {
    # the text
    "plan.too_large": "The document is over the limit of size.",
    "plan.too_deep": "It is nested deeper than the limit.",
    "plan.not_text": "It is not UTF-8 text, or holds control characters.",
    "plan.not_yaml": "It is neither YAML nor JSON, or uses what plans may not.",
    "plan.alias": "Anchors and aliases are not part of the language.",
    "plan.duplicate_key": "A key stands twice in one object.",
    "plan.number_out_of_range": "A number has no exact JSON form.",
    "plan.not_normal_text": "A text is not in Unicode normal form C (warning).",
    "plan.hidden_character": "A text holds invisible characters (warning).",
    "plan.leading_zero": "A number loses its leading zeros (warning).",
    "plan.too_many_problems": "There are more problems than are listed.",
    # the form
    "plan.unknown_key": "A key is not part of the language, or not here.",
    "plan.missing_key": "A key that must be there is missing.",
    "plan.wrong_type": "A value is of the wrong type.",
    "plan.wrong_value": "A value is not one of those allowed.",
    "plan.no_steps": "The plan has no list of steps.",
    "plan.too_many_steps": "The plan has more steps than the limit.",
    "plan.duplicate_step": "Two steps have the same id.",
    # the graph
    "plan.reserved_id": "A step's id is a word of the language.",
    "plan.unknown_step": "A step depends on a step that does not exist.",
    "plan.self_reference": "A step depends on itself or refers to itself.",
    "plan.cycle": "Steps wait for one another in a circle.",
    # the registry
    "plan.unknown_skill": "There is no such skill for the proposer.",
    "plan.unknown_version": "The skill has no such version.",
    "plan.unknown_action": "The skill has no such action.",
    "plan.skill_not_active": "The skill is a draft.",
    "plan.skill_quarantined": "The skill is quarantined; nothing of it starts.",
    "plan.skill_deprecated": "The skill is deprecated (warning).",
    "plan.skill_not_permitted": "The proposer may not propose this skill.",
    "plan.skill_unavailable": "The published code of the skill is not installed.",
    # params, references, inputs, gates
    "plan.reference_unknown": "A reference names something that does not exist.",
    "plan.reference_not_ancestor": "A reference names a step that may run later.",
    "plan.reference_optional": "A reference names an input that may be absent (warning).",
    "plan.reference_may_be_absent": "A reference names a step that may have no output.",
    "plan.reference_may_be_null": "An optional reference is used where null does not fit (warning).",
    "plan.reserved_key": "A value claims to be a stored file.",
    "plan.type_mismatch": "A reference yields a type that its place does not take.",
    "plan.param_invalid": "A param does not satisfy the action's input schema.",
    "plan.undo_missing": "A rollback names no undo that exists.",
    "plan.schema_invalid": "`inputs` is not a valid JSON Schema.",
    "plan.input_invalid": "The given inputs do not satisfy the plan's `inputs`.",
    "plan.unknown_group": "An approval asks a group that does not exist.",
    "plan.gate_unsatisfiable": "An approval asks for more people than there are.",
}
"""Every code there is. A code never changes its meaning; clients may rely on it."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. Line and column count from 1."""

    code: str
    message: str
    step: str | None = None
    line: int | None = None
    column: int | None = None
    severity: str = ERROR

    def as_json(self) -> dict[str, Any]:
        """The form that the API, the CLI and the page show."""
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
    f"There are more problems than the {LARGEST_REPORT} listed; mend these first.",
    severity=WARNING,
)


class Problems:
    """Collects problems, each once, and gives each its place in the text.

    A report longer than LARGEST_REPORT helps nobody and costs whoever asks for it;
    the first error is kept all the same, so that no plan with an error looks sound.
    """

    def __init__(self, positions: Positions) -> None:
        self.found: list[Problem] = []
        self._known: set[Problem] = set()
        self._positions = positions
        self._sound = True

    def add(
        self,
        code: str,
        message: str,
        path: Iterable[str | int],
        *,
        step: str | None = None,
        severity: str = ERROR,
    ) -> None:
        """Note a problem at the value or key that `path` leads to."""
        line, column = place(self._positions, tuple(path))
        self.note(Problem(code, message, step, line, column, severity))

    def note(self, problem: Problem) -> None:
        """Note a problem that knows its place.

        :raises KeyError: for a code that CODES does not explain
        """
        CODES[problem.code]
        if len(problem.message) > LONGEST_MESSAGE:
            shortened = f"{problem.message[:LONGEST_MESSAGE]}…"
            problem = replace(problem, message=shortened)
        if problem in self._known:
            return
        first_error = self._sound and problem.severity == ERROR
        if len(self.found) == LARGEST_REPORT:
            self._known.add(_MORE)
            self.found.append(_MORE)
        if len(self.found) < LARGEST_REPORT or first_error:
            self._known.add(problem)
            self.found.append(problem)
        self._sound = self._sound and problem.severity != ERROR

    def extend(self, problems: Iterable[Problem]) -> None:
        """Note several problems that know their places."""
        for problem in problems:
            self.note(problem)


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Problems as they stand in the text; those of no place come first."""
    return sorted(problems, key=lambda one: (one.line or 0, one.column or 0))


def place(
    positions: Positions, path: Sequence[str | int]
) -> tuple[int | None, int | None]:
    """Where a path stands, or the nearest thing above it that stands somewhere."""
    way = tuple(path)
    for length in range(len(way), -1, -1):
        found = positions.get(way[:length])
        if found is not None:
            return found
    return None, None
