"""The fallback of a step: another action that runs when the step has failed for good."""

from collections.abc import Mapping
from copy import copy
from dataclasses import field
from typing import Annotated, Any, TypeVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from orchestration.plans.domain.fields import CONFIG, Values

SUFFIX = ".fallback"
"""No step id has a dot, so these keys are free."""
MAX_ID = 100 - len(SUFFIX)
"""The longest id of a step with a fallback."""
S = TypeVar("S")
Name = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, config=CONFIG)
class FallbackDocument:
    """Another action that runs when the step has failed for good."""

    skill: Name
    """The slug of a skill; `slug@version` pins a version."""
    action: Name
    """The action of the skill to run."""
    version: str | None = None
    """The version of the skill; by default the current one."""
    params: Values = field(default_factory=dict)
    """The parameters of the action; references are allowed in every value."""


def key_of(step_id: str) -> str:
    """Return the key of the step run in which the fallback of a step runs."""
    return f"{step_id}{SUFFIX}"


def is_fallback(key: str) -> bool:
    return key.endswith(SUFFIX)


def owner_of(key: str) -> str:
    """Return the id of the step in the plan that a key belongs to."""
    return key.removesuffix(SUFFIX)


def as_step(step: S, fallback: FallbackDocument) -> S:
    """Return the fallback of a step as a step of its own.

    It keeps the approval of the step, because its author wants no effect without it.
    """
    made = copy(step)
    name = getattr(step, "name", "") or getattr(step, "id", "")
    values: Mapping[str, Any] = {
        "id": key_of(getattr(step, "id", "")),
        "name": f"{name} (fallback)",
        "skill": fallback.skill,
        "version": fallback.version,
        "action": fallback.action,
        "params": fallback.params,
        "when": "",
        "rollback": None,
        "retry": None,
        "timeout_s": None,
        "fallback": None,
        "sla_s": None,
        "on_error": None,
    }
    for attribute, value in values.items():
        object.__setattr__(made, attribute, value)
    return made
