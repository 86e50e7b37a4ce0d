"""A plan as frozen values: its keys, its normal form and its digest.

The classes here are also the published JSON Schema (`schema.py`): pydantic checks
every key, value and bound, and `form.py` turns its errors into problems.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)
from pydantic.dataclasses import dataclass
from pydantic.json_schema import SkipJsonSchema

from execfabric.lib import canonical
from orchestration.plans.domain import fallbacks
from orchestration.plans.domain.concurrency import ConcurrencyDocument
from orchestration.plans.domain.conditions import cel_id
from orchestration.plans.domain.fallbacks import FallbackDocument
from orchestration.plans.domain.fields import (
    CONFIG,
    MAX_COUNT,
    Condition,
    Count,
    PlanId,
    SavedPlanName,
    Seconds,
    StepId,
    Values,
    named,
)
from orchestration.plans.domain.iteration import (
    DEFAULT_NAME,
    ITEM_KEYS,
    ItemJoin,
    ItemList,
    ItemName,
    OnItemError,
)
from orchestration.plans.domain.joins import MAX_RULES, RuleDocument, TriggerRule
from orchestration.plans.domain.kinds import FOREIGN_KEYS, OWN_KEYS, Kind
from orchestration.plans.domain.parts import (
    ApprovalDocument,
    OptionalApproval,
    OptionalParallel,
    OptionalRetry,
    RollbackDocument,
)
from orchestration.plans.domain.waits import EventDocument, Moment, WaitTime
from orchestration.plans.errors import PlanUnreadable

DIGEST_DOMAIN = "execfabric/plan/v1"
MAX_STEPS = 10_000


OnFailure = Literal["pause", "abort", "continue", "rollback"]


def _kind_is(kind: str) -> dict[str, Any]:
    """Return a JSON Schema of the steps of a kind; without the key it is a skill."""
    required = [] if kind == "skill" else ["kind"]
    return {"required": required, "properties": {"kind": {"const": kind}}}


def _once(ids: Any) -> Any:
    """Drop repeated ids; return a value that is no list of texts unchanged."""
    is_list = isinstance(ids, list | tuple)
    is_texts = is_list and all(isinstance(item, str) for item in ids)
    return tuple(dict.fromkeys(ids)) if is_texts else ids


@dataclass(
    frozen=True,
    config=CONFIG
    | ConfigDict(
        json_schema_extra={
            "allOf": [
                {
                    "if": _kind_is(kind),
                    "then": {
                        "required": [*OWN_KEYS[kind]],
                        "properties": dict.fromkeys(FOREIGN_KEYS[kind], False),
                    },
                }
                for kind in FOREIGN_KEYS
            ],
            "dependentSchemas": {
                key: {"anyOf": [{"required": [r]} for r in ("forEach", "for_each")]}
                for key in (*ITEM_KEYS, "on_item_error")
            },
        }
    ),
)
class StepDocument:
    """One step of a plan."""

    id: StepId
    kind: Kind = "skill"
    """Only `skill` runs an action, and `plan` runs a saved plan."""
    name: str = ""
    """The name on screen; by default the id."""
    skill: str = ""
    """The slug of a skill; `slug@version` pins a version."""
    version: str | None = None
    """The version of the skill; by default the current one."""
    action: str = ""
    """The action of the skill to run."""
    params: Values = field(default_factory=dict)
    """The parameters of the action; references are allowed in every value."""
    depends_on: Annotated[
        tuple[str, ...],
        BeforeValidator(
            lambda ids: () if ids is None else _once(ids),
            json_schema_input_type=tuple[str, ...] | None,
        ),
    ] = ()
    """The ids of the steps that come before."""
    trigger_rule: TriggerRule = "all_success"
    """The outcomes of its dependencies with which the step starts."""
    when: Condition = ""
    """The step is skipped unless this condition is true, in CEL."""
    for_each: ItemList | None = None
    """A list, or a reference to one: the step runs once for each of its items."""
    item_name: Annotated[ItemName, named("as")] = DEFAULT_NAME
    """The name of the item in references, such as `$port.name` for `port`."""
    at_once: Annotated[Count | None, named("max")] = None
    """The number of items that may run at once, in a parallel plan."""
    join: ItemJoin = "all"
    """The number of items that must succeed."""
    on_item_error: OnItemError = "stop"
    """`continue` runs the other items after one has failed, `stop` does not."""
    choose: Annotated[tuple[RuleDocument, ...], Field(max_length=MAX_RULES)] = ()
    """The rules of a choose step: the first one that applies chooses."""
    for_s: Annotated[WaitTime | None, named("for")] = None
    """The time that a wait step waits, or a reference to it."""
    until: Moment | None = None
    """The date and time until which a wait step waits, or a reference to it."""
    event: EventDocument | None = None
    """The event that a wait step waits for."""
    expires_in: Seconds | None = None
    """The time until a wait for an event fails."""
    plan: SavedPlanName = ""
    """The saved plan that a plan step runs; `id@revision` pins a revision."""
    inputs: Values = field(default_factory=dict)
    """The inputs of the saved plan; references are allowed in every value."""
    form: dict[str, Any] | None = None
    """A JSON Schema of the values that an input step asks for, without $ref."""
    ask: ApprovalDocument | None = None
    """Why an input step asks, whom, and for how long."""
    rollback: RollbackDocument | None = None
    on_error: OnFailure | None = None
    """The effect of a failure of this step on the run, instead of `onFailure`."""
    approval: OptionalApproval = None
    retry: OptionalRetry = None
    timeout_s: Annotated[Seconds | None, named("timeout")] = None
    """The time that one attempt may take."""
    fallback: FallbackDocument | None = None
    """Another action that runs when the step has failed for good."""
    sla_s: Annotated[Seconds | None, named("sla")] = None
    """The time in which the step has to end, from its release."""
    concurrency: ConcurrencyDocument | None = None
    """How many steps with the same key may proceed at once, across all runs."""
    index: Annotated[SkipJsonSchema[int], Field(exclude=True)] = field(
        default=-1, init=False, compare=False, repr=False
    )
    """The position in the text as written; -1 in a plan that was stored."""

    @property
    def plan_id(self) -> str:
        """The id of the saved plan that a plan step runs."""
        return self.plan.partition("@")[0]


@dataclass(frozen=True, config=CONFIG)
class PlanDocument:
    """A plan: what runs, in which order, and what needs approval."""

    id: PlanId
    name: str = ""
    """The name on screen; by default the id."""
    description: str = ""
    inputs_schema: Annotated[dict[str, Any] | None, named("inputs")] = None
    """A JSON Schema of the inputs of a run, without $ref."""
    blueprint: Annotated[dict[str, Any] | None, Field(exclude=True)] = None
    """A JSON Schema of the input `blueprint`, which is then required. When a plan is read,
    this becomes a part of `inputs`."""
    parallel: OptionalParallel = None
    """Run independent steps side by side, and how many at most."""
    on_failure: OnFailure = "pause"
    """The effect of a failed step on the run."""
    rollback_after_failures: Annotated[
        int | None, Field(strict=True, ge=0, le=MAX_COUNT)
    ] = None
    """The number of failures after which the run is rolled back, 0 for never; by default
    2 if the run pauses on failures and a step has an undo."""
    sla_s: Annotated[Seconds | None, named("sla")] = None
    """The time in which a run has to end, from its approval."""
    concurrency: ConcurrencyDocument | None = None
    """How many runs with the same key may proceed at once, across all plans."""
    steps: Annotated[
        tuple[StepDocument, ...], Field(min_length=1, max_length=MAX_STEPS)
    ] = Field(default=...)
    outputs: Values = field(default_factory=dict)
    """The output of the run; references are allowed in every value."""

    @property
    def at_once(self) -> int:
        """The number of steps that may run at the same time; 0 for any number."""
        return (self.parallel.max or 0) if self.parallel else 1

    @cached_property
    def by_id(self) -> Mapping[str, StepDocument]:
        """The steps by their ids."""
        return {step.id: step for step in self.steps}

    @cached_property
    def by_key(self) -> Mapping[str, StepDocument]:
        """The steps and their fallbacks, by the keys of their step runs."""
        found = {}
        for step in self.steps:
            found[step.id] = step
            if step.fallback is not None:
                found[fallbacks.key_of(step.id)] = fallbacks.as_step(
                    step, step.fallback
                )
        return found

    def with_fallbacks(self, order: Sequence[str]) -> list[str]:
        """Return the keys of some steps, each followed by that of its fallback."""
        keys = ((key, fallbacks.key_of(key)) for key in order)
        return [key for pair in keys for key in pair if key in self.by_key]

    def counted(self, step: StepDocument) -> tuple[str, ...]:
        """Return the dependencies that the trigger rule of a step counts.

        The choose step that chooses it comes before it in any case.
        """
        router = self.routers.get(step.id)
        return tuple(key for key in step.depends_on if key != router)

    @cached_property
    def by_cel_id(self) -> Mapping[str, Sequence[str]]:
        """The steps by their names in conditions; usually one each."""
        names: dict[str, list[str]] = {}
        for key in self.by_id:
            names.setdefault(cel_id(key), []).append(key)
        return names

    @cached_property
    def routers(self) -> Mapping[str, str]:
        """The choose step of each step that is chosen by one."""
        return {
            target: step.id
            for step in self.steps
            for rule in step.choose
            for target in rule.targets
        }


def keys_of(part: Any) -> tuple[str, ...]:
    """Return the keys of a class of this module, as they are written in a plan."""
    fields = part.__pydantic_fields__.values()
    return tuple(
        str(each.validation_alias) for each in fields if each.init is not False
    )


PLAN = TypeAdapter(PlanDocument)
PLAN_KEYS, STEP_KEYS = keys_of(PlanDocument), keys_of(StepDocument)


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
        return PLAN.validate_python(value, by_alias=True, by_name=False)
    except ValidationError as error:
        unknown = sorted(
            {
                str(
                    item["input"]
                    if item["type"] == "literal_error"
                    else (item["loc"] or ("document",))[-1]
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


def identify(step: StepDocument, id_: str, index: int) -> StepDocument:
    """Give a step that was just read its id and its position in the list."""
    object.__setattr__(step, "id", id_)
    object.__setattr__(step, "index", index)
    return step
