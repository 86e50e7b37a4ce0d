"""Read a plan from a parsed document: every problem of its form at once.

pydantic checks the values. This module gives its errors the codes, sentences and
positions of problems, and continues without the invalid parts.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any

from pydantic import ValidationError
from pydantic.alias_generators import to_snake

from orchestration.plans.domain import blueprint
from orchestration.plans.domain.concurrency import ConcurrencyDocument
from orchestration.plans.domain.document import (
    MAX_STEPS,
    PLAN,
    PLAN_KEYS,
    STEP_KEYS,
    PlanDocument,
    identify,
    keys_of,
)
from orchestration.plans.domain.fallbacks import FallbackDocument
from orchestration.plans.domain.fields import MAX_CONDITION, MAX_COUNT
from orchestration.plans.domain.iteration import ITEM_KEYS
from orchestration.plans.domain.joins import MAX_RULES, RuleDocument
from orchestration.plans.domain.kinds import FOREIGN_KEYS, OWN_KEYS
from orchestration.plans.domain.naming import near
from orchestration.plans.domain.parts import (
    ApprovalDocument,
    GroupCount,
    Parallel,
    RetryDocument,
    RollbackDocument,
)
from orchestration.plans.domain.problem import Path, Problem, Problems, in_order
from orchestration.plans.domain.source import Parsed
from orchestration.plans.domain.waits import EventDocument

PART_KEYS: Mapping[str, Sequence[str]] = {
    "parallel": keys_of(Parallel),
    "approval": keys_of(ApprovalDocument),
    "ask": keys_of(ApprovalDocument),
    "groups": keys_of(GroupCount),
    "rollback": keys_of(RollbackDocument),
    "retry": keys_of(RetryDocument),
    "choose": keys_of(RuleDocument),
    "event": keys_of(EventDocument),
    "fallback": keys_of(FallbackDocument),
    "concurrency": keys_of(ConcurrencyDocument),
}
"""The keys of each object inside a plan or a step."""
SPELLINGS: Mapping[str, str] = {
    to_snake(key): key
    for key in (*PLAN_KEYS, *STEP_KEYS, *PART_KEYS["approval"])
    if to_snake(key) != key
}
_WANTED: Mapping[str, str] = {
    "string_type": "text",
    "string_too_short": "text",
    "literal_error": "text",
    "dict_type": "an object",
    "dataclass_type": "an object",
    "tuple_type": "a list",
    "int_type": f"a whole number from 1 to {MAX_COUNT:,}",
    "greater_than_equal": f"a whole number from 1 to {MAX_COUNT:,}",
    "less_than_equal": f"a whole number from 1 to {MAX_COUNT:,}",
    "string_too_long": f"text of at most {MAX_CONDITION:,} characters",
    "too_long": f"a list of at most {MAX_RULES} rules",
}
"""The required kind of value, by the error of pydantic."""
_STAND_IN = "x"
"""A placeholder for a missing or invalid id, so that reading can continue."""


def read(parsed: Parsed) -> tuple[PlanDocument | None, list[Problem]]:
    """Return the plan in a parsed document, and every problem of its form.

    The plan is None if it has no steps that could be checked further.
    """
    problems = Problems(parsed.positions)
    for problem in parsed.problems:
        problems.note(problem)
    value = parsed.value
    root: Path = ()
    plan = None
    if isinstance(value, Mapping) and "plan" in value:
        for key in value:
            if key != "plan":
                message = f"Unknown key {key!r}.{near(key, ['plan'])}"
                problems.add("plan.unknown_key", message, (key,))
        value, root = value["plan"], ("plan",)
    if isinstance(value, Mapping):
        plan = _Form(parsed, root, problems).read(value)
    elif value is not None or not parsed.problems:
        message = "A plan must be an object with id and steps."
        problems.add("plan.wrong_type", message, root)
    return plan, in_order(problems.found)


class _Form:
    def __init__(self, parsed: Parsed, root: Path, problems: Problems) -> None:
        self._root = root
        self._positions = parsed.positions
        self._problems = problems
        self._ids: dict[int, str] = {}
        """The id of each step that is an object, as it is written."""

    def read(self, value: Mapping[str, Any]) -> PlanDocument | None:
        plan = self._unified(value, (), PLAN_KEYS)
        steps = plan.get("steps")
        if isinstance(steps, list) and len(steps) <= MAX_STEPS:
            plan["steps"] = [self._step(item, at) for at, item in enumerate(steps)]
        if blueprint.NAME in plan:
            plan = self._with_blueprint(plan)
        document = self._validated(plan)
        return self._identified(document, value.get("id")) if document else None

    def _with_blueprint(self, plan: dict[str, Any]) -> dict[str, Any]:
        if message := blueprint.flaw(plan):
            self._note("plan.blueprint_invalid", message, (blueprint.NAME,))
            return {key: plan[key] for key in plan if key != blueprint.NAME}
        self._alias((blueprint.NAME,), ("inputs", "properties", blueprint.NAME))
        return blueprint.expanded(plan)

    def _unified(
        self, value: Mapping[str, Any], path: Path, known: Sequence[str]
    ) -> dict[str, Any]:
        """Copy an object: every key in its first spelling, known keys without nulls."""
        written: dict[str, str] = {}
        for key in value:
            name = SPELLINGS.get(key, key)
            if name in written:
                message = f"Duplicate key {key!r}: it repeats {written[name]!r}."
                self._note("plan.duplicate_key", message, (*path, key))
            if name != key:
                self._alias((*path, key), (*path, name))
            written[name] = key
        unified = {}
        for name, key in written.items():
            item = value[key]
            if name in PART_KEYS and isinstance(item, Mapping):
                item = self._unified(item, (*path, name), PART_KEYS[name])
            if item is not None or name not in known:
                unified[name] = item
        return unified

    def _alias(self, written: Path, path: Path) -> None:
        """Copy the positions of a key and its items to its first spelling."""
        below: Path = ()
        for index in count():
            place = self._positions.get((*self._root, *written, *below))
            if place is None:
                break
            self._positions[(*self._root, *path, *below)] = place
            below = (index,)

    def _step(self, value: Any, index: int) -> Any:
        if not isinstance(value, Mapping):
            return value
        path = ("steps", index)
        id_ = value.get("id")
        self._ids[index] = id_ if isinstance(id_, str) else ""
        step = self._unified(value, path, STEP_KEYS)
        self._check_kind(step, path)
        for part in (step, step.get("fallback")):
            if isinstance(part, dict) and isinstance(part.get("skill"), str):
                part["skill"], _, pinned = part["skill"].partition("@")
                if part.get("version") in (None, ""):
                    part["version"] = pinned or None
        return step

    def _check_kind(self, step: Mapping[str, Any], path: Path) -> None:
        """Report the forbidden and the missing keys of a step of its kind."""
        kind = step.get("kind", "skill")
        if not isinstance(kind, str) or kind not in FOREIGN_KEYS:
            return
        for key in FOREIGN_KEYS[kind]:
            if key in step:
                message = f"A step of kind {kind!r} cannot have {key!r}."
                self._note("plan.unknown_key", message, (*path, key))
        for key in ITEM_KEYS:
            if key in step and "forEach" not in step:
                message = f"{key!r} is only allowed together with 'forEach'."
                self._note("plan.unknown_key", message, (*path, key))
        for key in OWN_KEYS[kind]:
            value = step.get(key)
            name = value.partition("@")[0] if isinstance(value, str) else value
            if not name:
                self._note("plan.missing_key", f"Missing key {key!r}.", path)

    def _validated(self, plan: dict[str, Any]) -> PlanDocument | None:
        """Report pydantic's errors; return the valid rest, if it has steps."""
        noted = False
        while True:
            try:
                return PLAN.validate_python(plan, by_alias=True, by_name=False)
            except ValidationError as error:
                errors = [
                    item
                    for item in error.errors(include_url=False)
                    # Steps with errors do not count as steps.
                    if not (item["type"] == "too_short" and item["input"])
                ]
            if not noted:
                for item in errors:
                    self._explain(item)
                noted = True
            if any(item["loc"] == ("steps",) for item in errors):
                return None
            removed = 0
            for item in errors:
                with suppress(KeyError):  # an error above it has removed it already
                    _remove(plan, item["loc"], item["type"])
                    removed += 1
            if not removed:
                return None

    def _identified(self, document: PlanDocument, plan_id: Any) -> PlanDocument | None:
        """Restore replaced ids; leave out everything that is not a step."""
        steps = {}
        for index, id_ in self._ids.items():
            if id_ in steps:
                path = ("steps", index, "id")
                self._note("plan.duplicate_step", f"Duplicate step id {id_!r}.", path)
            else:
                steps[id_] = identify(document.steps[index], id_, index)
        if not steps:
            return None
        plan_id = plan_id if isinstance(plan_id, str) else ""
        name = document.name or plan_id
        document = replace(document, name=name, steps=tuple(steps.values()))
        object.__setattr__(document, "id", plan_id)
        return document

    def _explain(self, error: Any) -> None:
        path: Path = error["loc"]
        kind, value = error["type"], error["input"]
        key = path[-1]
        if path == ("steps",):
            self._explain_steps(kind, value)
        elif kind == "missing":
            self._note("plan.missing_key", f"Missing key {key!r}.", path)
        elif kind == "unexpected_keyword_argument":
            hint = near(str(key), _known_keys(path))
            self._note("plan.unknown_key", f"Unknown key {key!r}.{hint}", path)
        elif kind.startswith("plan."):
            self._note(kind, f"{key!r} {error['msg']}.", path)
        elif kind == "string_pattern_mismatch":
            start = " starting with a letter" if path[0] == "steps" else ""
            message = f"Invalid id {value!r}. Use letters, digits, - and _{start}, at most 100."
            self._note("plan.wrong_value", message, path)
        elif kind == "literal_error" and isinstance(value, str):
            allowed = re.findall(r"'(\w+)'", error["ctx"]["expected"])
            message = f"Invalid {key} {value!r}. Use {' or '.join(allowed)}."
            self._note("plan.wrong_value", message + near(value, allowed), path)
        else:
            self._note("plan.wrong_type", _wrong_type(path, kind, value), path)

    def _explain_steps(self, kind: str, value: Any) -> None:
        if kind == "too_long":
            message = f"Too many steps: {len(value):,} (max {MAX_STEPS:,})."
            self._note("plan.too_many_steps", message, ("steps",))
        else:
            message = "'steps' must be a list of at least one step."
            self._note("plan.no_steps", message, ())

    def _note(self, code: str, message: str, path: Path) -> None:
        index = path[1] if path[:1] == ("steps",) and len(path) > 1 else None
        step = self._ids.get(int(index)) if index is not None else None
        self._problems.add(code, message, (*self._root, *path), step=step or None)


def _known_keys(path: Path) -> Sequence[str]:
    names = [part for part in path[:-1] if part in PART_KEYS]
    if names:
        return PART_KEYS[str(names[-1])]
    return STEP_KEYS if path[0] == "steps" else PLAN_KEYS


def _wrong_type(path: Path, kind: str, value: Any) -> str:
    if path[:-1] == ("steps",):
        return "A step must be an object."
    if path[-2:-1] == ("groups",) and kind == "dataclass_type":
        return "A group must be a name, or an object with group and count."
    names = [part for part in path if isinstance(part, str)]
    quotes = "; put it in quotes" if isinstance(value, bool | int | float) else ""
    wanted = _WANTED[kind] + (quotes if kind == "string_type" else "")
    return f"{names[-1]!r} must be {wanted}."


def _remove(plan: dict[str, Any], path: Path, kind: str) -> None:
    """Remove the invalid value at a path, so that the rest can be read.

    :raises KeyError: if the value was removed before
    """
    container: Any = plan
    for part in path[:-1]:
        container = container[part]
    if path[-1] == "id" and len(path) == (3 if path[0] == "steps" else 1):
        container["id"] = _STAND_IN
    elif path[:-1] == ("steps",):
        container[path[-1]] = {"id": _STAND_IN}
    elif path[-1] == "forEach" and len(path) == len(("steps", 0, "forEach")):
        container["forEach"] = []  # so that the names of its items are known
    elif isinstance(container, list) or kind == "missing":
        _remove(plan, path[:-1], kind="")
    else:
        del container[path[-1]]
