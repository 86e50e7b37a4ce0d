"""A plan as frozen values: its keys, its normal form and its digest.

The classes here are also the published JSON Schema (`schema.py`): pydantic checks
every key, value and bound, and `form.py` turns its errors into problems.
"""

import re
from collections.abc import Mapping
from dataclasses import field
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
)
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from execfabric.lib import canonical
from orchestration.plans.domain.references import RESERVED
from orchestration.plans.errors import PlanUnreadable
from orchestration.skills.domain.contract import RetryRule

DIGEST_DOMAIN = "execfabric/plan/v1"
MAX_STEPS = 10_000
MAX_COUNT = 1_000
"""The largest count in a plan: approvers, attempts, parallel steps."""
MAX_SECONDS = 366 * 86400
SKILL_KEYS = ("skill", "action", "version", "rollback", "retry", "timeout")
"""The keys that a step of kind `approval` does not have."""
_DURATION = r"^([0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h|d))+$"
_DURATION_PART = re.compile(r"([0-9.]+)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

CONFIG = ConfigDict(
    extra="forbid",
    alias_generator=to_camel,
    validate_by_name=True,
    validate_by_alias=True,
    use_attribute_docstrings=True,
)


def _seconds(value: Any) -> float:
    if isinstance(value, str) and re.fullmatch(_DURATION, value):
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


def _switch(value: Any) -> Any:
    """Read `true` as an object of defaults and `false` as absent."""
    return ({} if value else None) if isinstance(value, bool) else value


def _group(value: Any) -> Any:
    return {"group": value} if isinstance(value, str) else value


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
        _seconds,
        json_schema_input_type=Annotated[float, Field(gt=0, le=MAX_SECONDS)]
        | Annotated[str, Field(pattern=_DURATION)],
    ),
]
Kind = Literal["skill", "approval"]
TriggerRule = Literal["all_success", "one_success", "all_done"]
OnFailure = Literal["pause", "abort", "continue"]


@dataclass(frozen=True, config=CONFIG)
class Parallel:
    """Run independent steps side by side."""

    max: Count | None = None
    """The number of steps that may run at the same time; unlimited by default."""


@dataclass(frozen=True, config=CONFIG)
class GroupCount:
    """A number of approvers from one group."""

    group: str
    count: Count = 1


@dataclass(frozen=True, config=CONFIG)
class ApprovalDocument:
    """An approval that the plan itself requires before a step."""

    reason: str = ""
    """The reason for the approval; references are allowed."""
    groups: Annotated[
        tuple[
            Annotated[
                GroupCount,
                BeforeValidator(_group, json_schema_input_type=str | GroupCount),
            ],
            ...,
        ],
        # The count is always written, also where it is the default.
        PlainSerializer(
            lambda all_: [{"group": g.group, "count": g.count} for g in all_]
        ),
    ] = ()
    """The groups that have to approve, and how many approvers of each."""
    expires_in: Seconds | None = None
    """The time until an open approval expires."""


@dataclass(frozen=True, config=CONFIG)
class RollbackDocument:
    """The undo that the plan declares for a step."""

    action: str = ""
    """An action of the same skill; by default the undo named in its contract."""
    params: dict[str, Any] | None = None
    """By default the parameters of the step being undone."""


def _named(key: str) -> Any:
    """Give a field a key that differs from the name of its attribute."""
    return Field(validation_alias=key, serialization_alias=key)


@dataclass(frozen=True, config=CONFIG)
class RetryDocument(RetryRule):
    """The number of attempts, and the pauses between them."""

    attempts: Count = RetryRule.attempts
    backoff: Literal["exponential", "constant"] = "exponential"
    initial_s: Annotated[Seconds, _named("initial")] = RetryRule.initial_s
    """The first pause."""
    max_s: Annotated[Seconds, _named("max")] = RetryRule.max_s
    """The longest pause."""


def _is_texts(value: Any) -> bool:
    is_list = isinstance(value, list | tuple)
    return is_list and all(isinstance(item, str) for item in value)


def _retry(value: Any) -> Any:
    return RetryDocument(**vars(value)) if type(value) is RetryRule else value


@dataclass(
    frozen=True,
    config=CONFIG
    | ConfigDict(
        json_schema_extra={
            "if": {
                "required": ["kind"],
                "properties": {"kind": {"const": "approval"}},
            },
            "then": {"properties": dict.fromkeys(SKILL_KEYS, False)},
            "else": {"required": ["skill", "action"]},
        }
    ),
)
class StepDocument:
    """One step of a plan."""

    id: StepId
    kind: Kind = "skill"
    """`approval` waits for approval and runs nothing."""
    name: str = ""
    """The name on screen; by default the id."""
    skill: str = ""
    """The slug of a skill; `slug@version` pins a version."""
    version: str | None = None
    """The version of the skill; by default the current one."""
    action: str = ""
    """The action of the skill to run."""
    params: Annotated[
        dict[str, Any],
        BeforeValidator(
            lambda params: {} if params is None else params,
            json_schema_input_type=dict[str, Any] | None,
        ),
    ] = field(default_factory=dict)
    """The parameters of the action; references are allowed in every value."""
    depends_on: Annotated[
        tuple[str, ...],
        BeforeValidator(
            lambda ids: tuple(dict.fromkeys(ids)) if _is_texts(ids) else ids or (),
            json_schema_input_type=tuple[str, ...] | None,
        ),
    ] = ()
    """The ids of the steps that come before."""
    trigger_rule: TriggerRule = "all_success"
    """The outcomes of its dependencies with which the step starts."""
    rollback: RollbackDocument | None = None
    approval: Annotated[
        ApprovalDocument | None,
        BeforeValidator(_switch, json_schema_input_type=bool | ApprovalDocument | None),
    ] = None
    retry: Annotated[
        RetryDocument | None,
        BeforeValidator(_retry, json_schema_input_type=RetryDocument | None),
        # Written in full: the defaults belong to the skill contracts and may change.
        PlainSerializer(lambda retry: RETRY.dump_python(retry, by_alias=True)),
    ] = None
    timeout_s: Annotated[Seconds | None, _named("timeout")] = None
    """The time that one attempt may take."""
    index: Annotated[SkipJsonSchema[int], Field(exclude=True)] = field(
        default=-1, init=False, compare=False, repr=False
    )
    """The position in the list as written; not part of the plan's content."""


@dataclass(frozen=True, config=CONFIG)
class PlanDocument:
    """A plan: what runs, in which order, and what needs approval."""

    id: PlanId
    name: str = ""
    """The name on screen; by default the id."""
    description: str = ""
    inputs_schema: Annotated[dict[str, Any] | None, _named("inputs")] = None
    """A JSON Schema of the inputs of a run, without $ref."""
    parallel: Annotated[
        Parallel | None,
        BeforeValidator(_switch, json_schema_input_type=bool | Parallel | None),
        PlainSerializer(lambda bound: {"max": bound.max} if bound.max else True),
    ] = None
    """Run independent steps side by side, and how many at most."""
    on_failure: OnFailure = "pause"
    """The effect of a failed step on the run."""
    steps: Annotated[
        tuple[StepDocument, ...], Field(min_length=1, max_length=MAX_STEPS)
    ] = Field(default=...)

    def step(self, key: str) -> StepDocument:
        """Return the step with this id.

        :raises KeyError: if the plan has none
        """
        return self.by_id()[key]

    def has(self, key: str) -> bool:
        """Return True if the plan has a step with this id."""
        return key in self.by_id()

    def by_id(self) -> Mapping[str, StepDocument]:
        """Return the steps by their ids."""
        return self._by_id

    @cached_property
    def _by_id(self) -> Mapping[str, StepDocument]:
        return {step.id: step for step in self.steps}


def keys_of(part: Any) -> tuple[str, ...]:
    """Return the keys of a class of this module, as they are written in a plan."""
    fields = part.__pydantic_fields__.values()
    return tuple(
        str(each.validation_alias) for each in fields if each.init is not False
    )


PLAN = TypeAdapter(PlanDocument)
PLAN_KEYS, STEP_KEYS = keys_of(PlanDocument), keys_of(StepDocument)
RETRY = TypeAdapter(RetryDocument)


def normal_form(document: PlanDocument) -> dict[str, Any]:
    """Return the one JSON value of a plan, without defaults."""
    value: dict[str, Any] = PLAN.dump_python(
        document, mode="json", by_alias=True, exclude_defaults=True
    )
    return value


def digest(document: PlanDocument) -> str:
    """Return the digest of the normal form, as 64 hex digits."""
    return canonical.digest_of(DIGEST_DOMAIN, normal_form(document))


def from_normal_form(value: Mapping[str, Any]) -> PlanDocument:
    """Read the plan that `normal_form` of this or another release wrote.

    Every key says something about what runs, so none may be ignored.

    :raises PlanUnreadable: if it has keys or values that this release does not know
    """
    try:
        document = PLAN.validate_python(value, by_alias=True, by_name=False)
    except ValidationError as error:
        unknown = sorted(
            {
                str(
                    item["input"]
                    if item["type"] == "literal_error"
                    else item["loc"][-1]
                )
                for item in error.errors(include_url=False)
                if item["type"] != "too_short"  # steps with errors do not count
            }
        )
        raise PlanUnreadable(
            f"Cannot read the plan: unknown {', '.join(unknown)}. A newer release"
            " wrote it; upgrade this installation.",
            unknown=unknown,
        ) from error
    for index, step in enumerate(document.steps):
        identify(step, step.id, index)
    return document


def identify(step: StepDocument, id_: str, index: int) -> StepDocument:
    """Give a step that was just read its id and its position in the list."""
    object.__setattr__(step, "id", id_)
    object.__setattr__(step, "index", index)
    return step
