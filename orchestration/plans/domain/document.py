"""A plan as frozen values, its one normal form, and its digest."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from execfabric.lib import canonical
from orchestration.plans.errors import PlanUnreadable
from orchestration.skills.domain.contract import RetryRule

DIGEST_DOMAIN = "execfabric/plan/v1"


PLAN_KEYS = (
    "id", "name", "description", "inputs", "parallel", "onFailure", "steps",
)  # fmt: skip
STEP_KEYS = (
    "id", "name", "kind", "skill", "version", "action", "params", "dependsOn",
    "triggerRule", "rollback", "approval", "retry", "timeout",
)  # fmt: skip
APPROVAL_KEYS = ("reason", "groups", "expiresIn")
ROLLBACK_KEYS = ("action", "params")
RETRY_KEYS = ("attempts", "backoff", "initial", "max")
KINDS = ("skill", "approval")
TRIGGER_RULES = ("all_success", "one_success", "all_done")
ON_FAILURE = ("pause", "abort", "continue")


@dataclass(frozen=True)
class Parallel:
    """Independent steps may run side by side; `max` bounds how many."""

    max: int | None = None


@dataclass(frozen=True)
class GroupCount:
    """So many people of one group."""

    group: str
    count: int = 1


@dataclass(frozen=True)
class ApprovalDocument:
    """That the plan itself wants people asked before a step."""

    reason: str = ""
    groups: tuple[GroupCount, ...] = ()
    expires_in: float | None = None
    """Seconds until an unanswered gate expires."""


@dataclass(frozen=True)
class RollbackDocument:
    """The undo that the plan declares for a step."""

    action: str = ""
    params: Mapping[str, Any] | None = None
    """None takes them from the action that is undone."""


@dataclass(frozen=True)
class StepDocument:
    """One step of a plan."""

    id: str
    kind: str = "skill"
    name: str = ""
    skill: str = ""
    version: str | None = None
    action: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()
    trigger_rule: str = "all_success"
    rollback: RollbackDocument | None = None
    approval: ApprovalDocument | None = None
    retry: RetryRule | None = None
    timeout_s: float | None = None
    index: int = field(default=-1, compare=False, repr=False)
    """Where it stands in the written list of steps; no part of the plan's content."""


@dataclass(frozen=True)
class PlanDocument:
    """A plan: what shall run, in which order, and what people are asked."""

    id: str
    name: str
    description: str = ""
    inputs_schema: Mapping[str, Any] | None = None
    parallel: Parallel | None = None
    on_failure: str = "pause"
    steps: tuple[StepDocument, ...] = ()

    def step(self, key: str) -> StepDocument:
        """The step of that id.

        :raises KeyError: when the plan has none
        """
        return self.by_id()[key]

    def has(self, key: str) -> bool:
        """Whether the plan has a step of that id."""
        return key in self.by_id()

    def by_id(self) -> Mapping[str, StepDocument]:
        """Its steps by their ids."""
        known: dict[str, StepDocument] | None = self.__dict__.get("_steps_by_id")
        if known is None:
            known = {step.id: step for step in self.steps}
            # Frozen values never change, so what is derived from them may be kept.
            self.__dict__["_steps_by_id"] = known
        return known


def normal_form(document: PlanDocument) -> dict[str, Any]:
    """The one JSON value of a plan, whatever it was written in; defaults are left out."""
    value: dict[str, Any] = {"id": document.id, "name": document.name}
    _put(value, "description", document.description)
    if document.inputs_schema is not None:
        value["inputs"] = dict(document.inputs_schema)
    if document.parallel is not None:
        bound = document.parallel.max
        value["parallel"] = True if bound is None else {"max": bound}
    if document.on_failure != "pause":
        value["onFailure"] = document.on_failure
    value["steps"] = [_step_form(step) for step in document.steps]
    return value


def digest(document: PlanDocument) -> str:
    """The digest of the normal form, as 64 hex digits."""
    return canonical.digest_of(DIGEST_DOMAIN, normal_form(document))


def from_normal_form(value: Mapping[str, Any]) -> PlanDocument:
    """Read the plan that `normal_form` of this or another release wrote.

    Every key says something about what runs, so none may be ignored.

    :raises PlanUnreadable: when it says something that this release does not know
    """
    _require_readable(value)
    parallel = value.get("parallel")
    return PlanDocument(
        id=value["id"],
        name=value["name"],
        description=value.get("description", ""),
        inputs_schema=value.get("inputs"),
        parallel=_parallel(parallel),
        on_failure=value.get("onFailure", "pause"),
        steps=tuple(_step(item, index) for index, item in enumerate(value["steps"])),
    )


def _require_readable(value: Mapping[str, Any]) -> None:
    _require_known(value, PLAN_KEYS)
    _require_known([value.get("onFailure", "pause")], ON_FAILURE)
    for step in value["steps"]:
        _require_known(step, STEP_KEYS)
        _require_known([step.get("kind", "skill")], KINDS)
        _require_known([step.get("triggerRule", "all_success")], TRIGGER_RULES)
        _require_known(step.get("approval") or {}, APPROVAL_KEYS)
        _require_known(step.get("rollback") or {}, ROLLBACK_KEYS)
        _require_known(step.get("retry") or {}, RETRY_KEYS)


def _require_known(words: Iterable[str], known: Iterable[str]) -> None:
    if unknown := sorted(set(words) - set(known)):
        raise PlanUnreadable(
            f"Cannot read the plan: unknown {', '.join(unknown)}. A newer release"
            " wrote it; upgrade this installation.",
            unknown=unknown,
        )


def _put(value: dict[str, Any], key: str, item: Any) -> None:
    if item:
        value[key] = item


def _step_form(step: StepDocument) -> dict[str, Any]:
    value: dict[str, Any] = {"id": step.id}
    if step.kind != "skill":
        value["kind"] = step.kind
    for key, item in (
        ("name", step.name),
        ("skill", step.skill),
        ("version", step.version),
        ("action", step.action),
        ("params", dict(step.params)),
        ("dependsOn", list(step.depends_on)),
    ):
        _put(value, key, item)
    if step.trigger_rule != "all_success":
        value["triggerRule"] = step.trigger_rule
    if step.rollback is not None:
        value["rollback"] = _rollback_form(step.rollback)
    if step.approval is not None:
        value["approval"] = _approval_form(step.approval)
    if step.retry is not None:
        value["retry"] = {
            "attempts": step.retry.attempts,
            "backoff": step.retry.backoff,
            "initial": step.retry.initial_s,
            "max": step.retry.max_s,
        }
    if step.timeout_s is not None:
        value["timeout"] = step.timeout_s
    return value


def _rollback_form(rollback: RollbackDocument) -> dict[str, Any]:
    value: dict[str, Any] = {}
    _put(value, "action", rollback.action)
    if rollback.params is not None:
        value["params"] = dict(rollback.params)
    return value


def _approval_form(approval: ApprovalDocument) -> dict[str, Any]:
    value: dict[str, Any] = {}
    _put(value, "reason", approval.reason)
    _put(
        value,
        "groups",
        [{"group": item.group, "count": item.count} for item in approval.groups],
    )
    if approval.expires_in is not None:
        value["expiresIn"] = approval.expires_in
    return value


def _parallel(value: Any) -> Parallel | None:
    if not value:
        return None
    return Parallel(value["max"]) if isinstance(value, Mapping) else Parallel()


def _step(value: Mapping[str, Any], index: int) -> StepDocument:
    rollback, approval, retry = (
        value.get(key) for key in ("rollback", "approval", "retry")
    )
    return StepDocument(
        id=value["id"],
        kind=value.get("kind", "skill"),
        name=value.get("name", ""),
        skill=value.get("skill", ""),
        version=value.get("version"),
        action=value.get("action", ""),
        params=value.get("params", {}),
        depends_on=tuple(value.get("dependsOn", ())),
        trigger_rule=value.get("triggerRule", "all_success"),
        rollback=None
        if rollback is None
        else RollbackDocument(rollback.get("action", ""), rollback.get("params")),
        approval=None if approval is None else _approval(approval),
        retry=None
        if retry is None
        else RetryRule(
            retry["attempts"],
            retry["backoff"],
            float(retry["initial"]),
            float(retry["max"]),
        ),
        timeout_s=value.get("timeout"),
        index=index,
    )


def _approval(value: Mapping[str, Any]) -> ApprovalDocument:
    return ApprovalDocument(
        reason=value.get("reason", ""),
        groups=tuple(
            GroupCount(item["group"], item["count"]) for item in value.get("groups", ())
        ),
        expires_in=value.get("expiresIn"),
    )
