"""Build the spec of an action: its exact parameters as canonical JSON.

The same function builds it when a step is released, and again from the stored data when
a worker claims the step. If the two differ, nothing runs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from approvals.domain.policy import UNSAID, ActionFacts, Demand, Rule, demands
from approvals.domain.seats import Requirement
from execfabric.lib import canonical
from orchestration.plans.domain import references, undo
from orchestration.plans.domain.document import StepDocument
from orchestration.runs.engine import scopes
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.errors import ContentChanged, ParamsInvalid, SkillWithdrawn
from orchestration.runs.models import SPEC_DOMAIN, StepRun
from orchestration.skills import selectors as skills
from orchestration.skills.domain.contract import ActionContract, SkillContract
from orchestration.skills.errors import HandlerMissing
from orchestration.skills.execution import input_problems
from orchestration.skills.selectors import Pinned

REUSE_DOMAIN = "execfabric/reuse/v1"
DEFAULT_APPROVERS = (Requirement("operator", 1),)


@dataclass(frozen=True)
class Spec:
    """An action exactly as it will run."""

    body: bytes
    digest: str
    value: dict[str, Any]
    action: ActionContract | None
    """None for an approval step, which runs no action."""
    demand: Demand
    changed: str = ""
    """Why an earlier approval of the same action does not cover it."""
    reuse_digest: str = ""
    """Equal for equal actions of any run; empty for an approval step."""


def build(change: RunChange, step: StepRun) -> Spec:
    """Resolve a step from the stored data.

    :raises ContentChanged: when an upstream output does not match its recorded digest
    :raises SkillWithdrawn: when the skill is quarantined or its version withdrawn
    :raises ContractUnreadable: when a newer release wrote the version
    :raises HandlerMissing: when this installation lacks the handler
    :raises ReferenceUnresolved: when a reference has no value
    :raises ParamsInvalid: when the params do not satisfy the action's input schema
    """
    planned = change.plan_step(step)
    scope = scopes.scope_of(change, step, planned)
    value = _common(change, step) | _upstream(scope)
    if planned.kind == "approval":
        return _approval_spec(planned, value, scope)
    pin = change.run.pins[step.key]
    pinned = change.loaded.pinned[pin["version_id"]]
    if not skills.usable(pinned.skill_state, pinned.version_state):
        raise SkillWithdrawn(skill=pinned.slug, state=pinned.skill_state)
    if pinned.digest != pin["digest"]:
        raise ContentChanged(
            f"Cannot start the step: version {pinned.version} of the skill"
            f" '{pinned.slug}' has changed since it was approved. Nothing ran.",
            expected=pin["digest"],
            found=pinned.digest,
        )
    action = pinned.contract.action(planned.action)
    if action is None:
        raise HandlerMissing(skill=pinned.slug, action=planned.action)
    new_code = _new_code(pinned, action)
    demand = demand_of(planned, action, skill=pinned.slug, rules=change.loaded.rules)
    changed = ""
    if new_code:
        changed = f"The code of {action.handler} has changed since it was approved."
        demand = demand.also(DEFAULT_APPROVERS, reason=changed)
        value["code"] = new_code
    params = _params(planned, pinned, action, scope)
    config = action.given(pinned.contract.config)
    value |= {
        "skill": {
            "slug": pinned.slug,
            "version": pinned.version,
            "digest": pinned.digest,
        },
        "action": action.name,
        "handler": action.handler,
        "summary": action.summary,
        "params": params,
        "config": config,
        "files": sorted(files_in(params), key=lambda file: str(file["sha256"])),
        "secrets": sorted({*secrets_in(params), *secrets_in(config)}),
        "effect_class": str(action.effect_class),
        "risk": str(action.risk),
        "timeout_s": planned.timeout_s or action.timeout_s,
        "max_attempts": step.max_attempts,
        "sandboxed": action.sandboxed,
        "undo": undo_of(planned, pinned.contract),
        "policies": list(demand.versions),
    }
    return _finished(value, action, demand, changed)


def _params(
    planned: StepDocument,
    pinned: Pinned,
    action: ActionContract,
    scope: references.Scope,
) -> Any:
    """Resolve a step's params.

    :raises ReferenceUnresolved: when a reference has no value
    :raises ParamsInvalid: when they do not satisfy the action's input schema
    """
    params = references.resolve(planned.params, scope)
    if wrong := input_problems(action, params):
        raise ParamsInvalid(
            f"Cannot run {pinned.slug} {action.name}: {'; '.join(wrong)}."
            " Change the params in the plan, or the step that returns the value.",
            problems=wrong,
        )
    return params


def _new_code(pinned: Pinned, action: ActionContract) -> str:
    """Return the digest of the installed code if it is not the approved code.

    The plan approval covers the code that the skill version was bound to. Other code of
    the same handler version needs its own approval, so its digest is part of the spec.

    :raises HandlerMissing: when the handler is not installed
    """
    if skills.handler_fits(pinned, action.handler):
        return ""
    installed = skills.installed_code(action.handler)
    if installed is None:
        raise HandlerMissing(
            f"Cannot run {pinned.slug} {action.name}: the handler {action.handler} is"
            " not installed on this worker. Install it, then resume the run.",
            skill=pinned.slug,
            action=action.name,
            handler=action.handler,
        )
    return installed


def demand_of(
    planned: StepDocument,
    action: ActionContract | None,
    *,
    skill: str = "",
    rules: Sequence[Rule] = (),
) -> Demand:
    """Return the approvals that policies and the plan require before a step runs."""
    demand = Demand()
    if action is not None:
        facts = ActionFacts(
            skill=skill,
            action=action.name,
            risk=str(action.risk),
            effect_class=str(action.effect_class),
        )
        demand = demands(facts, rules)
    approval = planned.approval
    if approval is not None or planned.kind == "approval":
        groups = approval.groups if approval else ()
        requirements = tuple(Requirement(g.group, g.count) for g in groups)
        reason = (approval.reason if approval else "") or UNSAID
        demand = demand.also(requirements or DEFAULT_APPROVERS, reason=reason)
    return demand


def undo_of(planned: StepDocument, contract: SkillContract) -> dict[str, Any] | None:
    """Return the declared undo of a step, with unresolved references to its output."""
    declared = undo.undo_of(planned, contract)
    if declared is None:
        return None
    return {"action": declared.action, "params": dict(declared.params)}


def digest_of(body: bytes) -> str:
    """Return the digest of a spec as 64 hex digits."""
    return canonical.digest(SPEC_DOMAIN, body).hex()


def reuse_digest(value: Mapping[str, Any]) -> str:
    """Return a digest of what determines the output of an action in any run.

    The params name files by content. Code is included only if it is not the code that
    the skill version was bound to.
    """
    names = ("action", "params", "config", "code")
    same = {name: value[name] for name in names if name in value}
    return canonical.digest_of(REUSE_DOMAIN, same | {"skill": value["skill"]["digest"]})


def files_in(value: Any) -> Iterator[dict[str, Any]]:
    """Iterate over the file references in a JSON value."""
    for item in _objects(value):
        if set(item) == {"$file"}:
            yield item["$file"]


def secrets_in(value: Any) -> Iterator[str]:
    """Iterate over the names of the secrets that a JSON value refers to."""
    for item in _objects(value):
        if set(item) == {"$secret"}:
            yield item["$secret"]


def _objects(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _objects(item)
    elif isinstance(value, list):
        for item in value:
            yield from _objects(item)


def _common(change: RunChange, step: StepRun) -> dict[str, Any]:
    run = change.run
    proposer = run.proposed_by()
    return {
        "v": 1,
        "run": str(run.id),
        **step.instance(),
        "generation": step.generation,
        "plan": {
            "id": change.loaded.document.id,
            "name": change.loaded.document.name,
            "digest": change.loaded.plan_digest,
        },
        "on_behalf_of": proposer.on_behalf_of,
        "proposer": proposer.as_fact(),
    }


def _approval_spec(
    planned: StepDocument, value: dict[str, Any], scope: references.Scope
) -> Spec:
    approval = planned.approval
    value |= {
        "kind": "approval",
        "name": planned.name,
        "message": references.resolve(
            (approval.reason if approval else "") or "", scope
        ),
        "context": references.resolve(planned.params, scope),
    }
    return _finished(value, None, demand_of(planned, None))


def _finished(
    value: dict[str, Any],
    action: ActionContract | None,
    demand: Demand,
    changed: str = "",
) -> Spec:
    body = canonical.dumps(value)
    reuse = reuse_digest(value) if action else ""
    return Spec(body, digest_of(body), value, action, demand, changed, reuse)


def _upstream(scope: references.Scope) -> dict[str, Any]:
    """Return the parents without output, and the parent that released the step."""
    value: dict[str, Any] = {}
    if scope.absent:
        value["absent"] = dict(scope.absent)
    if scope.first:
        value["first"] = scope.first
    return value


def action_of(change: RunChange, step: StepRun) -> ActionContract | None:
    """Return the action that a step is pinned to, as the registry has it now."""
    pin = change.run.pins.get(step.key)
    if pin is None:
        return None
    pinned = change.loaded.pinned.get(pin["version_id"])
    return pinned.action(pin["action"]) if pinned else None
