"""Check what decides whether a step runs: conditions, choose rules and joins."""

from collections.abc import Iterator, Mapping
from typing import Any

from execfabric.lib.text import position_of
from orchestration.plans.domain import cel, conditions, iteration, schemas
from orchestration.plans.domain.conditions import PARTS, Name, Wrong
from orchestration.plans.domain.context import PlanContext, StepPart
from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.plans.domain.graph import Join
from orchestration.plans.domain.joins import AtLeast, RuleDocument
from orchestration.plans.domain.naming import near
from orchestration.plans.domain.problem import Path

_TYPES = {
    frozenset({"string"}): cel.STRING,
    frozenset({"boolean"}): cel.BOOL,
    frozenset({"array"}): cel.LIST,
    frozenset({"object"}): cel.MAP,
}
"""The types of CEL by those of a schema; numbers of both types may be compared."""


def rule_of(step: StepDocument) -> tuple[str, int]:
    """Return the trigger rule, and the number of successes for `at_least`."""
    rule = step.trigger_rule
    return ("at_least", rule.at_least) if isinstance(rule, AtLeast) else (rule, 0)


def rules_of(step: StepDocument) -> list[dict[str, Any]]:
    """Return the rules of a choose step as JSON."""
    return [
        {"else": [*rule.targets]}
        if rule.is_else
        else {"if": rule.condition, "then": [*rule.targets]}
        for rule in step.choose
    ]


def join_of(document: PlanDocument, step: StepDocument) -> Join:
    """Return when a step starts, for the graph."""
    branches = tuple(each.targets for each in step.choose)
    if step.choose and not step.choose[-1].is_else:
        branches = (*branches, ())
    router = document.routers.get(step.id, "")
    return Join(*rule_of(step), router, bool(step.when), branches)


def check(part: StepPart) -> None:
    """Report every problem with the conditions, rules and the join of a step."""
    step = part.step
    if step.when:
        _check_condition(part, step.when, ("when",))
    for index, rule in enumerate(step.choose):
        path = ("choose", index)
        for message in _rule_flaws(rule, is_last=index == len(step.choose) - 1):
            part.note("plan.choose_invalid", message, path)
        if rule.condition is not None:
            _check_condition(part, rule.condition, (*path, "if"))
        _check_targets(part, rule, path)
    _check_join(part)


def _rule_flaws(rule: RuleDocument, *, is_last: bool) -> Iterator[str]:
    if rule.is_else and (rule.condition is not None or rule.then is not None):
        yield "A rule with else cannot have if or then."
    elif rule.is_else and not is_last:
        yield "else must be the last rule."
    elif not rule.is_else and (rule.condition is None or rule.then is None):
        yield "A rule needs if and then, or else."


def _check_targets(part: StepPart, rule: RuleDocument, path: Path) -> None:
    key = "else" if rule.is_else else "then"
    document = part.plan.document
    for index, target in enumerate(rule.targets):
        place_of = (*path, key, index)
        router = document.routers.get(target)
        if target not in document.by_id:
            message = f"Unknown step {target!r}.{near(target, document.by_id)}"
            part.note("plan.unknown_step", message, place_of)
        elif target == part.step.id:
            message = "A step cannot choose itself."
            part.note("plan.self_reference", message, place_of)
        elif router != part.step.id:
            message = (
                f"{target} is chosen by {router} too. A step can be chosen by one"
                " choose step only."
            )
            part.note("plan.choose_repeated", message, place_of)


def _check_join(part: StepPart) -> None:
    rule = part.step.trigger_rule
    if not isinstance(rule, AtLeast):
        return
    count = len(part.plan.document.counted(part.step))
    if rule.at_least > count:
        message = (
            f"{part.step.id} waits for {rule.at_least} successes but has"
            f" {count} {'dependency' if count == 1 else 'dependencies'}."
        )
        part.note("plan.join_unsatisfiable", message, ("triggerRule",))


def _check_condition(part: StepPart, source: str, path: Path) -> None:
    types: dict[str, str] = {}
    wrong = [*_wrong_names(part, source, types)]
    if not wrong and (flaw := conditions.flaw(source, types)):
        wrong = [flaw]
    for code, message, line, column in wrong:
        part.plan.problems.add_inside(
            code, message, (*part.path, *path), (line, column), step=part.step.id
        )


def _wrong_names(part: StepPart, source: str, types: dict[str, str]) -> Iterator[Wrong]:
    """Yield what is wrong with the names; add the types of the others to `types`."""
    for name in conditions.names_of(source):
        found = _wrong_name(part, name)
        if found is not None:
            yield Wrong(*found, *position_of(source, name.start))
            continue
        schema = _schema_of(part, name)
        known = schemas.types(schema) if schema else frozenset()
        if name.path and known in _TYPES:
            types[str(name)] = _TYPES[known]


def _wrong_name(part: StepPart, name: Name) -> tuple[str, str] | None:
    unknown = "plan.reference_unknown"
    if name.parts[0] == "run":
        message = f"Unknown name {name}. The only name of the run is run.id."
        return None if name.parts == ("run", "id") else (unknown, message)
    if name.parts[0] in conditions.ITEM_NAMES:
        return _wrong_item(part, name)
    if name.parts[0] == "steps" and (wrong := _wrong_step(part, name)):
        return wrong
    if not name.in_has and _schema_of(part, name) is None:
        fields = _schema_of(part, name._replace(parts=name.root)) or {}
        hint = near(name.path[0], fields.get("properties") or {})
        if name.parts[0] == "steps" and _has_fallback(part.plan, name):
            hint = " Both the step and its fallback must return it."
        return unknown, f"Unknown name {name}.{hint}"
    return None


def _wrong_item(part: StepPart, name: Name) -> tuple[str, str] | None:
    unknown = "plan.reference_unknown"
    if part.step.for_each is None:
        message = f"{name}: {name.parts[0]} exists only in a step with forEach."
        return unknown, message
    schema = _schema_of(part, name)
    if not name.in_has and schema is None:
        return unknown, f"Unknown name {name}. The item has no such field."
    return None


def _wrong_step(part: StepPart, name: Name) -> tuple[str, str] | None:
    unknown, written = "plan.reference_unknown", name.parts[1:2]
    names = part.plan.document.by_cel_id
    steps = names.get(written[0], ()) if written else ()
    if not steps:
        known = ", ".join(f".{each}" for each in PARTS)
        message = f"{name}: write steps.<id> and one of {known}."
        if written:
            hint = near(written[0], names)
            message = f"{name}: unknown step {written[0]!r}.{hint}"
        return unknown, message
    if len(steps) > 1:
        message = (
            f"{name} can be {' or '.join(steps)}, because - is written _ here. Rename"
            " one of the steps."
        )
        return "plan.condition_ambiguous", message
    step = steps[0]
    if step == part.step.id:
        return "plan.self_reference", f"{name} refers to the step itself."
    if not part.plan.ancestry.precedes(step, part.step.id):
        message = f"{name}: {step} may run after {part.step.id}. Add it to dependsOn."
        return "plan.reference_not_ancestor", message
    if name.parts[2:3] and name.parts[2] in PARTS:
        return None
    message = f"{name}: write steps.{written[0]}.output, .state or .files."
    return unknown, message


def _has_fallback(plan: PlanContext, name: Name) -> bool:
    step = plan.document.by_cel_id[name.parts[1]][0]
    return plan.document.by_id[step].fallback is not None


def _schema_of(part: StepPart, name: Name) -> Mapping[str, Any] | None:
    """Return the schema of a name; {} if it may be anything, None if it cannot exist."""
    match name.parts[0]:
        case "item":
            return schemas.within(iteration.item_schema(part), name.path)
        case "index":
            return {"type": "integer"} if not name.path else None
        case "run":
            return {"type": "string"}
        case "inputs":
            declared = part.plan.document.inputs_schema or {}
            known = declared.get("properties") or {}
            is_known = not name.path or name.path[0] in known
            return schemas.within(declared, name.path) if is_known else None
        case _:
            return _schema_of_step(part.plan, name)


def _schema_of_step(plan: PlanContext, name: Name) -> Mapping[str, Any] | None:
    if name.parts[2] == conditions.STATE:
        return {"type": "string"} if not name.path else None
    return {} if name.parts[2] == conditions.FILES else _output(plan, name)


def _output(plan: PlanContext, name: Name) -> Mapping[str, Any] | None:
    step = plan.document.by_cel_id[name.parts[1]][0]
    outputs = [plan.output_schema(key) for key in plan.sources(step)]
    each = [schemas.within(output, name.path) for output in outputs]
    # A condition may name only what both the step and its fallback return.
    return each[0] if len(each) == 1 else None if None in each else {}
