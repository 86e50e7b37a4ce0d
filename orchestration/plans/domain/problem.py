"""Problems of a plan: a stable code, a sentence, a position in the text."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

Path = tuple[str | int, ...]
Positions = Mapping[Path, tuple[int, int]]

MAX_PROBLEMS = 200
MAX_MESSAGE = 500

TEXT = "\0text"
"""Below the path of a condition: the position of its first character."""

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
    "plan.blueprint_invalid": (
        "The blueprint is not a schema, or its name is used for something else."
    ),
    "plan.no_steps": "The plan has no list of steps.",
    "plan.too_many_items": "`forEach` lists more than 1,000 items.",
    "plan.too_many_steps": (
        "The plan has too many steps, or its known lists have too many items in total."
    ),
    "plan.duplicate_step": "Two steps have the same id.",
    "plan.id_taken": "The plan id is reserved, or belongs to another user.",
    # the graph
    "plan.reserved_id": "The id of a step is a reserved word.",
    "plan.unknown_step": "A step depends on a step that does not exist.",
    "plan.self_reference": "A step depends on itself or refers to itself.",
    "plan.cycle": "Steps depend on each other in a cycle.",
    # conditions
    "plan.condition_invalid": "A condition is not a valid expression, or not true or false.",
    "plan.condition_ambiguous": "A condition names one of several steps.",
    "plan.choose_invalid": "The rules of a choose step are not valid.",
    "plan.choose_repeated": "A step is chosen by two choose steps.",
    "plan.concurrency_key": "A concurrency key is empty, too long, or has no value.",
    "plan.concurrency_nested": "A plan with concurrency has steps with concurrency.",
    "plan.fallback_output": "The output of a fallback differs from that of its step (warning).",
    "plan.id_too_long": "The id of a step with a fallback is too long.",
    "plan.for_each_invalid": (
        "`forEach` is not a list, or refers to a value that is never one."
    ),
    "plan.item_name_taken": (
        "A step has the id that names the item of `forEach`, or the id `index`."
    ),
    "plan.join_unsatisfiable": (
        "A step waits for more dependencies, or a list for more items, than it has."
    ),
    "plan.max_not_parallel": "`max` limits items in a plan without `parallel`.",
    # waits
    "plan.wait_invalid": "A wait step does not say one thing to wait for.",
    "plan.wait_past": "A wait step waits until a time in the past (warning).",
    "plan.wait_outlives_approval": (
        "A step waits longer than the approval of the plan is valid (warning)."
    ),
    # sub-plans and outputs
    "plan.unknown_plan": "A saved plan does not exist, or the proposer has no access to it.",
    "plan.unknown_revision": "A saved plan has no such revision.",
    "plan.not_permitted": "The proposer may not start a saved plan.",
    "plan.subplan_cycle": "A plan contains itself.",
    "plan.subplan_too_deep": "Plans contain each other at too many levels.",
    "plan.subplan_invalid": "A plan inside the plan is not valid for this proposer.",
    "plan.subplan_input_invalid": "The inputs of a plan step do not match the saved plan.",
    "plan.output_invalid": "An output of the plan has an invalid name.",
    # forms
    "plan.form_invalid": "The form of an input step is not valid.",
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
    "plan.file_unknown": "An input names a file that the proposer did not upload and may not read.",
    "plan.unknown_group": "An approval names a group that does not exist.",
    "plan.gate_unsatisfiable": "An approval needs more approvers than there are.",
}
"""All codes. A code never changes its meaning, because clients rely on it."""


@dataclass(frozen=True)
class Problem:
    """One problem of a plan. Lines and columns count from 1."""

    code: str
    message: str
    step: str | None = None
    line: int | None = None
    column: int | None = None
    severity: str = ERROR
    input: str = ""
    """The input of the run that has the problem, for the page."""

    def as_json(self) -> dict[str, Any]:
        value = asdict(self)
        del value["input"]
        return value


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
        line, column = position(self._positions, tuple(path))
        self.note(Problem(code, message, line=line, column=column, **details))

    def add_inside(
        self,
        code: str,
        message: str,
        path: Path,
        place: tuple[int, int],
        **details: Any,
    ) -> None:
        """Add a problem at a place inside a text, if the position of the text is known."""
        start = self._positions.get((*path, TEXT))
        if start is None:
            self.add(code, message, path, **details)
            return
        line, column = start[0] + place[0] - 1, start[1] + place[1] - 1
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


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Sort problems by position; those without one come first."""
    return sorted(problems, key=lambda each: (each.line or 0, each.column or 0))


def root_of(positions: Positions) -> Path:
    """Return the path of the plan in its text, which may have it below `plan`."""
    return ("plan",) if ("plan",) in positions else ()


def position(
    positions: Positions, path: Sequence[str | int]
) -> tuple[int | None, int | None]:
    """Return the position of a path, or of its nearest ancestor with one."""
    for length in range(len(path), -1, -1):
        if place := positions.get(tuple(path[:length])):
            return place
    return None, None
