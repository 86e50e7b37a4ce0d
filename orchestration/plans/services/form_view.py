"""The form view of a plan's text: its cards, what a change writes, and the problems."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from execfabric.lib.actor import Actor
from orchestration.plans.domain import form_actions
from orchestration.plans.domain.edit_fields import (
    EditField,
    PlanVocabulary,
    kind_of,
    mapping_of,
    value_at,
)
from orchestration.plans.domain.field_changes import changed, is_same
from orchestration.plans.domain.form_actions import KINDS, PLAN, step_at
from orchestration.plans.domain.plan_text import NotEditable, PlanText
from orchestration.plans.domain.problem import Path, Problem
from orchestration.plans.domain.step_fields import (
    plan_fields,
    references,
    step_fields,
)
from orchestration.plans.services import check
from orchestration.plans.services.vocabulary import saved_plans, vocabulary

MAX_MARKS = 6
MAX_STEPS = 200
"""Steps up to which the form shows a plan; also its inputs, or parameters of a step."""
MAX_TEXT = 250_000
"""Characters up to which the form shows a plan: each change reads all of them."""
MAX_CHANGES = 20
"""Fields of one request that are written; what others contain stays in them."""
_Refused = dict[Path, tuple[str, Sequence[str]]]
"""Why fields could not be written, with what they contain."""


@dataclass(frozen=True)
class FormChange:
    """What a user did in the form view."""

    open_card: str = ""
    """The position of the open step, or `plan`."""
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What the fields of the open card contain, by name."""
    act: str = ""
    """The button that was pressed; see `form_actions`."""
    argument: str = ""


@dataclass(frozen=True)
class FormCard:
    """The plan or one of its steps, with its fields if it is open."""

    at: str
    title: str
    id: str = ""
    kind: str = ""
    after: Sequence[str] = ()
    marks: Sequence[str] = ()
    problems: Sequence[Problem] = ()
    """The problems that belong to none of the fields."""
    problem_count: int = 0
    fields: Mapping[str, Sequence[EditField]] | None = None
    inputs: Sequence[str] = ()
    """The names of the inputs of a run."""
    is_first: bool = False
    is_last: bool = False

    @property
    def settings_count(self) -> int:
        """Return how many of the settings that are rarely used have a value."""
        return sum(1 for each in (self.fields or {}).get("more", ()) if each.value)

    @property
    def has_wrong_setting(self) -> bool:
        return any(each.problems for each in (self.fields or {}).get("more", ()))


@dataclass(frozen=True)
class FormView:
    """The text after a change, and the cards of the form."""

    text: str
    refusal: str = ""
    """Why the form cannot show the text."""
    cards: Sequence[FormCard] = ()
    words: PlanVocabulary | None = None
    references: Sequence[str] = ()
    focus: str = ""
    """The id of the element that gets the focus."""

    @property
    def open_card(self) -> str:
        return next((card.at for card in self.cards if card.fields), "")


def form_view(*, text: str, change: FormChange, by: Actor) -> FormView:
    """Apply a change to the text of a plan and return its cards; nothing is stored.

    :raises RightMissing: if `by` may not propose
    """
    words = PlanVocabulary(vocabulary(by=by), saved_plans(by=by))
    if len(text) > MAX_TEXT:
        return FormView(text, refusal=_too_many(len(text), "characters", MAX_TEXT))
    try:
        before = PlanText(text)
        if refusal := _too_large(before):
            return FormView(text, refusal=refusal)
        plan, errors = _with_values(before, change, words)
        opened, focus = change.open_card, ""
        if change.act and not errors:
            made = form_actions.pressed(plan, change.act, change.argument, opened)
            plan, opened, focus = PlanText(made.text), made.opened, made.focus
        view = _shown(plan, opened, errors, words, by=by, focus=focus)
        # Looking at a text does not change it: an empty one is shown as a new plan.
        return replace(view, text=text) if plan.text == before.text else view
    except NotEditable as error:
        return FormView(text, refusal=_why(error))


def _too_large(plan: PlanText) -> str:
    counts = {
        "steps": len(plan.steps),
        "inputs": len(mapping_of(value_at(plan, ("inputs", "properties")))),
        "parameters in one step": max(
            (
                len(mapping_of(step.get(key)))
                for step in plan.steps
                if isinstance(step, Mapping)
                for key in ("params", "inputs")
            ),
            default=0,
        ),
    }
    for name, count in counts.items():
        if count > MAX_STEPS:
            return _too_many(count, name, MAX_STEPS)
    return ""


def _too_many(count: int, name: str, most: int) -> str:
    return f"The plan has {count:,} {name}. The form shows at most {most:,}."


def _why(error: NotEditable) -> str:
    if error.problem is None:
        return "The text is not a plan that can be shown as a form."
    line = f"Line {error.problem.line}: " if error.problem.line else ""
    return f"{line}{error.problem.message}"


def _with_values(
    plan: PlanText, change: FormChange, words: PlanVocabulary
) -> tuple[PlanText, _Refused]:
    """Write the changed fields; return why others were not, with their contents."""
    errors: _Refused = {}
    before = [
        each
        for each in _fields(plan, change.open_card, words)
        if each.name in change.values and not is_same(each, _typed(change, each))
    ]
    for number, each in enumerate(before):
        typed = _typed(change, each)
        if number >= MAX_CHANGES:
            message = (
                f"At most {MAX_CHANGES} fields can change at once. Change it again."
            )
            errors[each.path] = (message, typed)
            continue
        try:
            plan = PlanText(changed(plan, each, typed))
        except ValueError as error:
            errors[each.path] = (str(error), typed)
        except NotEditable as error:
            errors[each.path] = (_why(error), typed)
    return plan, errors


def _typed(change: FormChange, each: EditField) -> Sequence[str]:
    """Return what a field contains. Boxes that can be unticked come with an empty one."""
    values = change.values[each.name]
    return (
        [value for value in values if value]
        if each.kind in {"flag", "steps"}
        else values
    )


def _fields(plan: PlanText, opened: str, words: PlanVocabulary) -> list[EditField]:
    if opened == PLAN:
        groups = plan_fields(plan)
    elif (at := step_at(plan, opened)) is not None:
        groups = step_fields(plan, at, words)
    else:
        return []
    return [each for group in groups.values() for each in group]


def _shown(
    plan: PlanText,
    opened: str,
    errors: _Refused,
    words: PlanVocabulary,
    *,
    by: Actor,
    focus: str,
) -> FormView:
    if refusal := _too_large(plan):
        return FormView(plan.text, refusal=refusal)
    checked = check.check(text=plan.text, inputs=None, by=by)
    placed = [
        (plan.path_at(problem.line or 1, problem.column or 1), problem)
        for problem in checked.problems
    ]
    count = len(plan.steps)
    cards = [_plan_card(plan, opened, placed, errors)]
    for at in range(count):
        made = _step_card(plan, at, opened, placed, errors, words)
        cards.append(replace(made, is_first=at == 0, is_last=at == count - 1))
    shown = step_at(plan, opened)
    names = references(plan, shown, words) if shown is not None else ()
    return FormView(plan.text, "", cards, words, list(names), focus)


def _plan_card(
    plan: PlanText,
    opened: str,
    placed: Sequence[tuple[Path, Problem]],
    errors: _Refused,
) -> FormCard:
    own = [one for one in placed if one[0][:1] != ("steps",) or len(one[0]) == 1]
    fields = plan_fields(plan) if opened == PLAN else None
    fields, rest = _with_problems(fields, own, errors)
    name = str(plan.value.get("name") or plan.value.get("id") or "")
    properties = list(mapping_of(value_at(plan, ("inputs", "properties"))))
    return FormCard(
        at=PLAN,
        title=name,
        id=str(plan.value.get("id", "")),
        kind="Plan",
        marks=[f"input {each}" for each in properties][:MAX_MARKS],
        inputs=properties,
        problems=rest,
        problem_count=len(own),
        fields=fields,
    )


def _step_card(
    plan: PlanText,
    at: int,
    opened: str,
    placed: Sequence[tuple[Path, Problem]],
    errors: _Refused,
    words: PlanVocabulary,
) -> FormCard:
    own = [one for one in placed if one[0][:2] == ("steps", at)]
    fields = step_fields(plan, at, words) if opened == str(at) else None
    fields, rest = _with_problems(fields, own, errors)
    step = plan.steps[at] if isinstance(plan.steps[at], Mapping) else {}
    after = step.get("dependsOn", step.get("depends_on"))
    kind = kind_of(step)
    action = f"{step.get('skill', '')} · {step.get('action', '')}"
    marks = [
        mark
        for key, mark in (
            ("when", "condition"),
            ("forEach", "for each"),
            ("approval", "approval"),
            ("fallback", "fallback"),
        )
        if step.get(key) and kind != key
    ]
    return FormCard(
        at=str(at),
        title=str(step.get("name") or step.get("id") or f"Step {at + 1}"),
        id=str(step.get("id", "")),
        kind=action if kind == "skill" else KINDS[kind],
        after=[str(each) for each in after] if isinstance(after, list) else (),
        marks=marks,
        problems=rest,
        problem_count=len(own),
        fields=fields,
    )


def _with_problems(
    groups: Mapping[str, Sequence[EditField]] | None,
    placed: Sequence[tuple[Path, Problem]],
    errors: _Refused,
) -> tuple[dict[str, list[EditField]] | None, list[Problem]]:
    """Give the problems to their fields; return them, and the problems without one."""
    if groups is None:
        return None, [problem for _, problem in placed]
    made = {
        name: [_with_error(each, errors) for each in group]
        for name, group in groups.items()
    }
    fields = [
        each for group in made.values() for each in group if each.kind != "snippet"
    ]
    rest = []
    for path, problem in placed:
        fitting = [each for each in fields if path[: len(each.path)] == each.path]
        if fitting:
            max(fitting, key=lambda each: len(each.path)).problems.append(problem)
        else:
            rest.append(problem)
    return made, rest


def _with_error(each: EditField, errors: _Refused) -> EditField:
    """Show what could not be written, and why."""
    if each.path not in errors:
        return each
    message, typed = errors[each.path]
    if (each.kind == "snippet") != (len(each.path) == len(("steps", 0))):
        return each
    value = typed if each.kind == "steps" else "".join(typed[:1])
    problems = [Problem("plan.wrong_value", message)]
    return replace(each, value=value, problems=problems, is_refused=True)
