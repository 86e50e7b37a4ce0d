"""The form of a plan: which keys there are, what each may hold. All problems at once."""

from collections.abc import Mapping

from orchestration.plans.domain.document import (
    KINDS,
    ON_FAILURE,
    PLAN_KEYS,
    STEP_KEYS,
    TRIGGER_RULES,
    ApprovalDocument,
    GroupCount,
    Parallel,
    PlanDocument,
    RollbackDocument,
    StepDocument,
)
from orchestration.plans.domain.problem import (
    ERROR,
    Path,
    Problem,
    Problems,
    in_order,
)
from orchestration.plans.domain.reader import Reader
from orchestration.plans.domain.references import RESERVED
from orchestration.plans.domain.source import Parsed
from orchestration.skills.domain.contract import RetryRule

MAX_STEPS = 10_000
MOST = 1_000
"""The largest count that a plan can ask for: people, attempts, steps side by side."""


def read(parsed: Parsed) -> tuple[PlanDocument | None, list[Problem]]:
    """The plan in a parsed document, and every problem of its form.

    The plan is None when its form is so wrong that nothing more can be said of it.
    """
    problems = Problems(parsed.positions)
    problems.extend(parsed.problems)
    if parsed.value is None and parsed.problems:
        return None, in_order(problems.found)
    value, path = parsed.value, ()
    root: Path = path
    if isinstance(value, Mapping) and "plan" in value:
        Reader(value, root, problems).only(("plan",))
        value, root = value["plan"], ("plan",)
    if not isinstance(value, Mapping):
        problems.add("plan.wrong_type", "A plan is an object with id and steps.", root)
        return None, in_order(problems.found)
    plan = _plan(Reader(value, root, problems))
    failed = any(item.severity == ERROR for item in problems.found)
    return (None if failed and not plan.steps else plan), in_order(problems.found)


def _plan(reader: Reader) -> PlanDocument:
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


def _parallel(reader: Reader) -> Parallel | None:
    value = reader.raw("parallel")
    if value is None or value is False:
        return None
    if value is True:
        return Parallel()
    bound = reader.child("parallel")
    if bound is None:
        return None
    bound.only(("max",))
    return Parallel(bound.number("max", MOST))


def _steps(reader: Reader) -> tuple[StepDocument, ...]:
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
        known = name if isinstance(name, str) else None
        step = _step(Reader(item, path, reader.problems, known), index)
        if step.id in seen:
            message = f"There is another step {step.id!r}."
            reader.problems.add(
                "plan.duplicate_step", message, (*path, "id"), step=step.id
            )
            continue
        seen.add(step.id)
        found.append(step)
    return tuple(found)


def _step(reader: Reader, index: int) -> StepDocument:
    reader.only(STEP_KEYS)
    kind = reader.one_of("kind", KINDS)
    _check_kind(reader, kind)
    skill, _, version = reader.text("skill").partition("@")
    return StepDocument(
        id=_step_id(reader),
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
        index=index,
    )


def _step_id(reader: Reader) -> str:
    found = reader.name("id")
    if found in RESERVED:
        message = f"{found!r} is a word of the language; name the step otherwise."
        reader.say("plan.reserved_id", message, "id")
    elif found and found[0].isdigit():
        message = f"{found!r}: a step's id begins with a letter, for $ to find it."
        reader.say("plan.wrong_value", message, "id")
    return found


def _check_kind(reader: Reader, kind: str) -> None:
    """Note keys that a kind lacks or does not take."""
    if kind == "approval":
        for key in ("skill", "action", "version", "rollback", "retry", "timeout"):
            if reader.has(key):
                message = f"A step of kind approval has no {key!r}."
                reader.say("plan.unknown_key", message, reader.written(key))
    elif reader.raw("kind") in (None, kind):
        for key in ("skill", "action"):
            if reader.raw(key) is None or not str(reader.raw(key)).partition("@")[0]:
                reader.say("plan.missing_key", f"A step needs {key!r}.")


def _rollback(reader: Reader) -> RollbackDocument | None:
    found = reader.child("rollback")
    if found is None:
        return None
    found.only(("action", "params"))
    return RollbackDocument(found.text("action"), found.mapping("params"))


def _approval(reader: Reader) -> ApprovalDocument | None:
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


def _groups(reader: Reader) -> tuple[GroupCount, ...]:
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
            one = Reader(item, path, reader.problems, reader.step)
            one.only(("group", "count"))
            name = one.text("group", required=True)
            found.append(GroupCount(name, one.number("count", MOST) or 1))
        else:
            message = "A group is a name, or an object with group and count."
            reader.problems.add("plan.wrong_type", message, path, step=reader.step)
    return tuple(found)


def _retry(reader: Reader) -> RetryRule | None:
    found = reader.child("retry")
    if found is None:
        return None
    found.only(("attempts", "backoff", "initial", "max"))
    usual = RetryRule()
    return RetryRule(
        attempts=found.number("attempts", MOST) or usual.attempts,
        backoff=found.one_of("backoff", ("exponential", "constant")),
        initial_s=found.seconds("initial") or usual.initial_s,
        max_s=found.seconds("max") or usual.max_s,
    )
