"""Parts of plans and steps that may also be written in a short form."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer, TypeAdapter
from pydantic.dataclasses import dataclass

from orchestration.plans.domain.fields import CONFIG, Count, Seconds, named
from orchestration.skills.domain.contract import RetryRule


def _switch(value: Any) -> Any:
    """Read `true` as an object of defaults and `false` as absent."""
    return ({} if value else None) if isinstance(value, bool) else value


def _group(value: Any) -> Any:
    return {"group": value} if isinstance(value, str) else value


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


@dataclass(frozen=True, config=CONFIG)
class RetryDocument(RetryRule):
    """The number of attempts, and the pauses between them."""

    attempts: Count = RetryRule.attempts
    backoff: Literal["exponential", "constant"] = "exponential"
    initial_s: Annotated[Seconds, named("initial")] = RetryRule.initial_s
    """The first pause."""
    max_s: Annotated[Seconds, named("max")] = RetryRule.max_s
    """The longest pause."""


def _retry(value: Any) -> Any:
    return RetryDocument(**vars(value)) if type(value) is RetryRule else value


RETRY = TypeAdapter(RetryDocument)
OptionalApproval = Annotated[
    ApprovalDocument | None,
    BeforeValidator(_switch, json_schema_input_type=bool | ApprovalDocument | None),
]
OptionalParallel = Annotated[
    Parallel | None,
    BeforeValidator(_switch, json_schema_input_type=bool | Parallel | None),
    PlainSerializer(lambda bound: {"max": bound.max} if bound.max else True),
]
OptionalRetry = Annotated[
    RetryDocument | None,
    BeforeValidator(_retry, json_schema_input_type=RetryDocument | None),
    # Written in full: the defaults belong to the skill contracts and may change.
    PlainSerializer(lambda retry: RETRY.dump_python(retry, by_alias=True)),
]
