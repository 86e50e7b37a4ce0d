"""The keys of input steps: the form, and whom it asks."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from approvals.domain.seats import Requirement
from orchestration.plans.domain import inputs

if TYPE_CHECKING:
    from orchestration.plans.domain.document import StepDocument

FORM_KEYS = ("form", "ask")
"""The keys of a step of kind `input`."""
UNSAID = "The plan asks for these values."
FORM_INVALID = "plan.form_invalid"
Flaw = tuple[str, tuple[str | int, ...]]
"""A sentence, and where it belongs below the step."""


def flaws(step: "StepDocument") -> Iterator[Flaw]:
    """Return what is wrong with the form of an input step, and with whom it asks."""
    form = step.form or {}
    wrong = [*inputs.unusable(form)]
    for path, message in wrong:
        yield message.replace("the inputs of a plan", "a form"), ("form", *path)
    if not wrong and not form.get("properties"):
        yield "The form has no properties to ask for.", ("form",)
    if not wrong:
        for name in sorted(inputs.file_inputs(form)):
            message = (
                "A form cannot ask for a file. Declare it in the inputs of the plan."
            )
            yield message, ("form", "properties", name)
    for index, group in enumerate(step.ask.groups if step.ask else ()):
        if group.count != 1:
            yield (
                "One answer is enough, so the count must be 1.",
                ("ask", "groups", index),
            )


def requirements_of(step: "StepDocument") -> tuple[Requirement, ...]:
    """Return the groups that an input step asks; empty for the default approvers."""
    groups = step.ask.groups if step.ask else ()
    return tuple(Requirement(group.group) for group in groups)


def reason_of(step: "StepDocument") -> str:
    return (step.ask.reason if step.ask else "") or UNSAID


def example_of(form: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return values from the examples and defaults of a form, or None."""
    values: dict[str, Any] = {}
    for name, rule in form.get("properties", {}).items():
        if not isinstance(rule, Mapping):
            continue
        if examples := rule.get("examples"):
            values[name] = examples[0]
        elif "default" in rule:
            values[name] = rule["default"]
    return values if not inputs.wrong(form, values) else None
