"""The form of a plan: which keys there are, what each may hold. All problems at once."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from orchestration.plans.domain.document import (
    ApprovalDocument,
    GroupCount,
    Parallel,
    PlanDocument,
    RollbackDocument,
    StepDocument,
)
from orchestration.plans.domain.problem import Path, Problem, Problems
from orchestration.plans.domain.source import Parsed
from orchestration.skills.domain.contract import RetryRule

MAX_STEPS = 10_000
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPELLINGS = {
    "depends_on": "dependsOn",
    "trigger_rule": "triggerRule",
    "on_failure": "onFailure",
    "expires_in": "expiresIn",
}
PLAN_KEYS = (
    "id", "name", "description", "inputs", "parallel", "onFailure", "steps",
)  # fmt: skip
STEP_KEYS = (
    "id", "name", "kind", "skill", "version", "action", "params", "dependsOn",
    "triggerRule", "rollback", "approval", "retry", "timeout",
)  # fmt: skip
KINDS = ("skill", "approval")
TRIGGER_RULES = ("all_success", "one_success", "all_done")
ON_FAILURE = ("pause", "abort", "continue")


def read(parsed: Parsed) -> tuple[PlanDocument | None, list[Problem]]:
    """The plan in a parsed document, and every problem of its form.

    The plan is None when its form is so wrong that nothing more can be said of it.
    """
    problems = Problems(parsed.positions)
    problems.found.extend(parsed.problems)
    if parsed.value is None:
        return None, problems.found
    value, path = parsed.value, ()
    root: Path = path
    if isinstance(value, Mapping) and "plan" in value:
        _Reader(value, root, problems).only(("plan",))
        value, root = value["plan"], ("plan",)
    if not isinstance(value, Mapping):
        problems.add("plan.wrong_type", "A plan is an object with id and steps.", root)
        return None, problems.found
    plan = _plan(_Reader(value, root, problems))
    failed = any(item.severity == "error" for item in problems.found)
    return (None if failed and not plan.steps else plan), problems.found


class _Reader:
    """One object of the document: its keys, each taken once and checked."""

    def __init__(
        self,
        value: Mapping[str, Any],
        path: Path,
        problems: Problems,
        step: str | None = None,
    ) -> None:
        self.path = path
        self.problems = problems
        self.step = step
        self._value: dict[str, Any] = {}
        self._written: dict[str, str] = {}
        for key, item in value.items():
            name = _SPELLINGS.get(key, key)
            if name in self._value:
                self.say("plan.duplicate_key", f"{key!r} repeats {name!r}.", key)
            self._value[name] = item
            self._written[name] = key

    def say(self, code: str, message: str, *below: str | int) -> None:
        self.problems.add(code, message, (*self.path, *below), step=self.step)

    def has(self, key: str) -> bool:
        return key in self._value

    def raw(self, key: str) -> Any:
        return self._value.get(key)

    def written(self, key: str) -> str:
        return self._written.get(key, key)

    def below(self, key: str, *more: str | int) -> Path:
        return (*self.path, self.written(key), *more)

    def only(self, known: Iterable[str]) -> None:
        """Name every key that is not part of the language, and the nearest that is."""
        known = tuple(known)
        for name, key in self._written.items():
            if name not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                self.say("plan.unknown_key", f"{key!r} is not a key here.{hint}", key)

    def text(self, key: str, *, required: bool = False) -> str:
        item = self._value.get(key)
        if item is None:
            if required:
                self.say("plan.missing_key", f"The key {key!r} is missing.")
            return ""
        if isinstance(item, bool | int | float):
            self._wrong(key, "text; put it in quotes")
            return ""
        if not isinstance(item, str):
            self._wrong(key, "text")
            return ""
        return item

    def name(self, key: str) -> str:
        found = self.text(key, required=True)
        if found and not ID.fullmatch(found):
            self.say(
                "plan.wrong_value",
                f"{found!r} is no id: letters, digits, - and _, at most 100.",
                self.written(key),
            )
        return found

    def one_of(self, key: str, allowed: tuple[str, ...]) -> str:
        found = self.text(key) or allowed[0]
        if found not in allowed:
            near = difflib.get_close_matches(found, allowed, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            message = f"{found!r} is not one of {', '.join(allowed)}.{hint}"
            self.say("plan.wrong_value", message, self.written(key))
            return allowed[0]
        return found

    def mapping(self, key: str) -> dict[str, Any] | None:
        item = self._value.get(key)
        if item is None:
            return None
        if not isinstance(item, dict):
            self._wrong(key, "an object")
            return None
        return item

    def child(self, key: str) -> "_Reader | None":
        item = self.mapping(key)
        if item is None:
            return None
        return _Reader(item, self.below(key), self.problems, self.step)

    def texts(self, key: str) -> tuple[str, ...]:
        item = self._value.get(key)
        if item is None:
            return ()
        if not isinstance(item, list) or not all(isinstance(i, str) for i in item):
            self._wrong(key, "a list of step ids")
            return ()
        return tuple(item)

    def number(self, key: str, least: int) -> int | None:
        item = self._value.get(key)
        if item is None:
            return None
        if isinstance(item, bool) or not isinstance(item, int) or item < least:
            self._wrong(key, f"a whole number, at least {least}")
            return None
        return item

    def seconds(self, key: str) -> float | None:
        item = self._value.get(key)
        if item is None:
            return None
        found: float | None = None
        if isinstance(item, int | float) and not isinstance(item, bool):
            found = float(item)
        elif isinstance(item, str) and (match := _DURATION.fullmatch(item)):
            found = float(match[1]) * _UNITS[match[2]]
        if found is None or found <= 0:
            self._wrong(key, "a duration such as 30s, 5m or 1h")
            return None
        return found

    def _wrong(self, key: str, wanted: str) -> None:
        self.say("plan.wrong_type", f"{key!r} must be {wanted}.", self.written(key))


def _plan(reader: _Reader) -> PlanDocument:
    reader.only(PLAN_KEYS)
    return PlanDocument(
        id=reader.name("id"),
        name=reader.text("name") or reader.text("id"),
        description=reader.text("description"),
        inputs_schema=reader.mapping("inputs"),
        parallel=_parallel(reader),
        on_failure=reader.one_of("onFailure", ON_FAILURE),
        steps=_steps(reader),
    )


def _parallel(reader: _Reader) -> Parallel | None:
    value = reader.raw("parallel")
    if value is None or value is False:
        return None
    if value is True:
        return Parallel()
    bound = reader.child("parallel")
    if bound is None:
        return None
    bound.only(("max",))
    return Parallel(bound.number("max", 1))


def _steps(reader: _Reader) -> tuple[StepDocument, ...]:
    value = reader.raw("steps")
    if not isinstance(value, list) or not value:
        reader.say("plan.no_steps", "'steps' must be a list of at least one step.")
        return ()
    if len(value) > MAX_STEPS:
        reader.say("plan.too_many_steps", f"{len(value)} steps; at most {MAX_STEPS}.")
        return ()
    found: list[StepDocument] = []
    seen: set[str] = set()
    for index, item in enumerate(value):
        path = reader.below("steps", index)
        if not isinstance(item, Mapping):
            reader.problems.add("plan.wrong_type", "A step is an object.", path)
            continue
        name = item.get("id")
        step = _step(
            _Reader(
                item, path, reader.problems, name if isinstance(name, str) else None
            )
        )
        if step.id in seen:
            message = f"There is another step {step.id!r}."
            reader.problems.add(
                "plan.duplicate_step", message, (*path, "id"), step=step.id
            )
            continue
        seen.add(step.id)
        found.append(step)
    return tuple(found)


def _step(reader: _Reader) -> StepDocument:
    reader.only(STEP_KEYS)
    kind = reader.one_of("kind", KINDS)
    check: Callable[[_Reader], None] = (
        _approval_step if kind == "approval" else _skill_step
    )
    check(reader)
    skill, _, version = reader.text("skill").partition("@")
    return StepDocument(
        id=reader.name("id"),
        kind=kind,
        name=reader.text("name"),
        skill=skill,
        version=reader.text("version") or version or None,
        action=reader.text("action"),
        params=reader.mapping("params") or {},
        depends_on=reader.texts("dependsOn"),
        trigger_rule=reader.one_of("triggerRule", TRIGGER_RULES),
        rollback=_rollback(reader),
        approval=_approval(reader),
        retry=_retry(reader),
        timeout_s=reader.seconds("timeout"),
    )


def _skill_step(reader: _Reader) -> None:
    for key in ("skill", "action"):
        if not reader.has(key):
            reader.say("plan.missing_key", f"A step needs {key!r}.")


def _approval_step(reader: _Reader) -> None:
    for key in ("skill", "action", "version", "rollback", "retry", "timeout"):
        if reader.has(key):
            message = f"A step of kind approval has no {key!r}."
            reader.say("plan.unknown_key", message, reader.written(key))


def _rollback(reader: _Reader) -> RollbackDocument | None:
    found = reader.child("rollback")
    if found is None:
        return None
    found.only(("action", "params"))
    return RollbackDocument(found.text("action"), found.mapping("params"))


def _approval(reader: _Reader) -> ApprovalDocument | None:
    value = reader.raw("approval")
    if value is None or value is False:
        return None
    if value is True:
        return ApprovalDocument()
    found = reader.child("approval")
    if found is None:
        return None
    found.only(("reason", "groups", "expiresIn"))
    return ApprovalDocument(
        reason=found.text("reason"),
        groups=_groups(found),
        expires_in=found.seconds("expiresIn"),
    )


def _groups(reader: _Reader) -> tuple[GroupCount, ...]:
    value = reader.raw("groups")
    if value is None:
        return ()
    if not isinstance(value, list):
        reader.say("plan.wrong_type", "'groups' must be a list.", "groups")
        return ()
    found = []
    for index, item in enumerate(value):
        path = reader.below("groups", index)
        if isinstance(item, str):
            found.append(GroupCount(item))
        elif isinstance(item, Mapping):
            one = _Reader(item, path, reader.problems, reader.step)
            one.only(("group", "count"))
            name = one.text("group", required=True)
            found.append(GroupCount(name, one.number("count", 1) or 1))
        else:
            message = "A group is a name, or an object with group and count."
            reader.problems.add("plan.wrong_type", message, path, step=reader.step)
    return tuple(found)


def _retry(reader: _Reader) -> RetryRule | None:
    found = reader.child("retry")
    if found is None:
        return None
    found.only(("attempts", "backoff", "initial", "max"))
    usual = RetryRule()
    return RetryRule(
        attempts=found.number("attempts", 1) or usual.attempts,
        backoff=found.one_of("backoff", ("exponential", "constant")),
        initial_s=found.seconds("initial") or usual.initial_s,
        max_s=found.seconds("max") or usual.max_s,
    )
