"""The trigger rules of steps and the rules of choose steps, as they are written."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, WithJsonSchema, WrapValidator
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from orchestration.plans.domain.fields import CONFIG, MAX_COUNT, Condition, Count, named

MAX_RULES = 100
"""Rules of a choose step."""
NamedRule = Literal["all_success", "one_success", "all_done"]


@dataclass(frozen=True, config=CONFIG)
class AtLeast:
    """The trigger rule of a step that starts after a number of successes."""

    at_least: Count

    def __str__(self) -> str:
        return f"at least {self.at_least}"


def named_or_at_least(names: tuple[str, ...]) -> WrapValidator:
    """Read a name or `{atLeast: N}`; pydantic would report errors of both."""

    def read(value: Any) -> Any:
        if isinstance(value, AtLeast) or value in names:
            return value
        if isinstance(value, str):
            wanted = (
                f"must be {', '.join(names)} or an object such as {{{{atLeast: 2}}}}"
            )
            raise PydanticCustomError("plan.wrong_value", wanted)
        return _at_least(value)

    return WrapValidator(lambda value, _: read(value))


def schema_of(names: tuple[str, ...]) -> WithJsonSchema:
    """Return the JSON Schema of a name or `{atLeast: N}`."""
    named_schema = {"type": "string", "enum": list(names)}
    return WithJsonSchema({"anyOf": [named_schema, AT_LEAST_SCHEMA]})


def _at_least(value: Any) -> AtLeast:
    """Read `{atLeast: N}`."""
    keys = tuple(value) if isinstance(value, Mapping) else ()
    count: Any = value[keys[0]] if keys in {("atLeast",), ("at_least",)} else 0
    is_count = isinstance(count, int) and not isinstance(count, bool)
    if not is_count or not 1 <= count <= MAX_COUNT:
        raise PydanticCustomError(
            "plan.wrong_type",
            "must be a rule, or an object with only atLeast, a whole number from 1",
        )
    return AtLeast(at_least=count)


RULE_NAMES = get_args(NamedRule)
_COUNT = {"type": "integer", "minimum": 1, "maximum": MAX_COUNT}
AT_LEAST_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
    "properties": dict.fromkeys(("atLeast", "at_least"), _COUNT),
}
TriggerRule = Annotated[
    NamedRule | AtLeast, named_or_at_least(RULE_NAMES), schema_of(RULE_NAMES)
]


@dataclass(
    frozen=True,
    config=CONFIG
    | ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["if", "then"], "properties": {"else": False}},
                {"required": ["else"], "properties": {"if": False, "then": False}},
            ]
        }
    ),
)
class RuleDocument:
    """A rule of a choose step: `if` and `then`, or `else` in the last one."""

    condition: Annotated[Condition | None, named("if")] = None
    """The condition of the rule, in CEL."""
    then: tuple[str, ...] | None = None
    """The ids of the steps that run if the condition is true."""
    otherwise: Annotated[tuple[str, ...] | None, named("else")] = None
    """The ids of the steps that run if no rule before applies."""

    @property
    def targets(self) -> tuple[str, ...]:
        """The steps that this rule chooses."""
        return self.then or self.otherwise or ()

    @property
    def is_else(self) -> bool:
        return self.otherwise is not None
