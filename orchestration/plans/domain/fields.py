"""The values of a plan: ids, counts, durations, conditions."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from orchestration.plans.domain.references import RESERVED

MAX_COUNT = 1_000
"""The largest count in a plan: approvers, attempts, parallel steps."""
MAX_SECONDS = 366 * 86400
MAX_CONDITION = 2_000
"""Characters of a condition."""
SAVED_PLAN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}(@[1-9][0-9]{0,8})?$"
OUTPUT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")
DURATION = r"^([0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h|d))+$"
_DURATION_PART = re.compile(r"([0-9.]+)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

CONFIG = ConfigDict(
    extra="forbid",
    alias_generator=to_camel,
    validate_by_name=True,
    validate_by_alias=True,
    use_attribute_docstrings=True,
)


def seconds(value: Any) -> float:
    """Return a duration in seconds.

    :raises PydanticCustomError: if it is not one
    """
    if isinstance(value, str) and re.fullmatch(DURATION, value):
        parts = _DURATION_PART.findall(value)
        value = sum(float(number) * _UNITS[unit] for number, unit in parts)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value <= MAX_SECONDS:
        wanted = "must be a duration such as 30s, 5m or 1h30m, at most 366d"
        raise PydanticCustomError("plan.wrong_type", wanted)
    return float(value)


def _step_id(value: str) -> str:
    if value in RESERVED:
        message = "is a reserved word. Choose another step id"
        raise PydanticCustomError("plan.reserved_id", message)
    return value


def named(key: str) -> Any:
    """Give a field a key that differs from the name of its attribute."""
    return Field(validation_alias=key, serialization_alias=key)


def _saved_plan(value: str) -> str:
    if value and not re.fullmatch(SAVED_PLAN, value):
        message = "must be the id of a saved plan, or id@revision, as in setup-auth@3"
        raise PydanticCustomError("plan.wrong_value", message)
    return value


Count = Annotated[int, Field(strict=True, ge=1, le=MAX_COUNT)]
PlanId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$")]
StepId = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,99}$",
        json_schema_extra={"not": {"enum": sorted(RESERVED)}},
    ),
    AfterValidator(_step_id),
]
Seconds = Annotated[
    float,
    BeforeValidator(
        seconds,
        json_schema_input_type=Annotated[float, Field(gt=0, le=MAX_SECONDS)]
        | Annotated[str, Field(pattern=DURATION)],
    ),
]
Condition = Annotated[str, Field(max_length=MAX_CONDITION)]
SavedPlanName = Annotated[
    str, Field(json_schema_extra={"pattern": SAVED_PLAN}), AfterValidator(_saved_plan)
]
Values = Annotated[
    dict[str, Any],
    BeforeValidator(
        lambda values: {} if values is None else values,
        json_schema_input_type=dict[str, Any] | None,
    ),
]
"""An object that may be written as null."""
