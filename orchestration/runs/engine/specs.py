"""Build the spec of an action: its exact parameters as canonical JSON.

The same function builds it when a step is released, and again from the stored data when
a worker claims the step. If the two differ, nothing runs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from approvals.domain.policy import Demand
from execfabric.lib import canonical
from orchestration.plans import selectors as plans
from orchestration.plans.domain import asking, references
from orchestration.plans.domain.document import StepDocument
from orchestration.plans.domain.gates import DEFAULT_APPROVERS, demand_of
from orchestration.plans.domain.undo import is_undo, undo_of
from orchestration.runs.engine import scopes
from orchestration.runs.engine.loading import LoadedRun
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.errors import (
    ContentChanged,
    ParamsInvalid,
    SkillWithdrawn,
    SpecsTooLarge,
)
from orchestration.runs.models import SPEC_DOMAIN, StepRun
from orchestration.skills import selectors as skills
from orchestration.skills.domain.contract import ActionContract
from orchestration.skills.errors import HandlerMissing
from orchestration.skills.execution import input_problems
from orchestration.skills.selectors import Pinned

REUSE_DOMAIN = "execfabric/reuse/v1"
MAX_SPECS = 64 << 20
"""Bytes of the specs that one change stores."""


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
    """The same for the same action in any run; empty for an approval step."""


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
    value = _common(change, step, scope)
    if planned.kind == "approval":
        return _approval_spec(planned, value, scope)
    if planned.kind == "input":
        return _input_spec(planned, value, scope)
    pin = change.loaded.pin(step)
    pinned = change.loaded.pinned[pin["version_id"]]
    if not skills.usable(pinned.skill_state, pinned.version_state):
        raise SkillWithdrawn(skill=pinned.slug, state=pinned.skill_state)
    if pinned.digest != pin["digest"]:
        raise ContentChanged(
            f"Cannot start the step: version {pinned.version} of the skill"
            f" '{pinned.slug}' has changed since it was approved. This attempt did not run.",
            expected=pin["digest"],
            found=pinned.digest,
        )
    contract = pinned.contract
    action = contract.action(planned.action)
    if action is None:
        raise HandlerMissing(skill=pinned.slug, action=planned.action)
    new_code = _new_code(pinned, action)
    demand = demand_of(planned, action, change.loaded.rules)
    changed = ""
    if new_code:
        changed = f"The code of {action.handler} has changed since it was approved."
        demand = demand.also(DEFAULT_APPROVERS, reason=changed)
        value["code"] = new_code
    params = references.resolve(planned.params, scope)
    if wrong := input_problems(action, params):
        raise ParamsInvalid(
            f"Cannot run {pinned.slug} {action.name}: {'; '.join(wrong)}."
            " Change the params in the plan, or the step that returns the value.",
            problems=wrong,
        )
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
        "files": sorted(_marked(params, "$file"), key=lambda file: str(file["sha256"])),
        "secrets": sorted({*_marked(params, "$secret"), *_marked(config, "$secret")}),
        "effect_class": str(action.effect_class),
        "risk": str(action.risk),
        "timeout_s": planned.timeout_s or action.timeout_s,
        "max_attempts": step.max_attempts,
        "sandboxed": action.sandboxed,
        "undo": None if is_undo(step.key) else undo_of(planned, pinned.contract),
        "policies": list(demand.versions),
    }
    return _finished(value, action, demand, changed)


def require_space(change: RunChange, body: bytes) -> None:
    """Check that a change can store one more spec.

    :raises SpecsTooLarge: when its specs would be too large in total
    """
    size = change.spec_bytes + len(body)
    if size > MAX_SPECS:
        raise SpecsTooLarge(
            "Cannot start the step: the parameters of all steps that start at the same"
            f" time are too large: {size:,} bytes (max {MAX_SPECS:,}). Pass large values"
            " as files, or limit the items with max.",
            size=size,
            limit=MAX_SPECS,
        )


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


def digest_of(body: bytes) -> str:
    return canonical.digest(SPEC_DOMAIN, body).hex()


def reuse_digest(value: Mapping[str, Any]) -> str:
    """Return a digest of what determines the output of an action in any run.

    The params name files by content. Code is included only if it is not the code that
    the skill version was bound to.
    """
    names = ("action", "params", "config", "code")
    same = {name: value[name] for name in names if name in value}
    return canonical.digest_of(REUSE_DOMAIN, same | {"skill": value["skill"]["digest"]})


def _marked(value: Any, mark: str) -> Iterator[Any]:
    """Iterate over the contents of the objects `{mark: content}` in a JSON value."""
    if isinstance(value, dict):
        if value.keys() == {mark}:
            yield value[mark]
        for item in value.values():
            yield from _marked(item, mark)
    elif isinstance(value, list):
        for item in value:
            yield from _marked(item, mark)


def _common(
    change: RunChange, step: StepRun, scope: references.Scope
) -> dict[str, Any]:
    run = change.run
    proposer = run.proposed_by()
    value = {
        "v": 1,
        "run": str(run.id),
        **step.instance(),
        "generation": step.generation,
        "plan": {
            "id": change.loaded.document.id,
            "name": change.loaded.document.name,
            "digest": _plan_digest(change.loaded, step),
        },
        "on_behalf_of": proposer.on_behalf_of,
        "proposer": proposer.as_fact(),
    }
    if is_undo(step.key):
        value["undoes"] = change.loaded.title(change.loaded.owner(step))
    if change.loaded.around(step) is not None:
        value["path"] = change.loaded.title(step)
    if scope.absent:
        value["absent"] = dict(scope.absent)
    if scope.first:
        value["first"] = scope.first
    if scope.item:
        value["item_value"] = next(iter(scope.item.values()))
    return value


def _plan_digest(loaded: LoadedRun, step: StepRun) -> str:
    """Return the digest of the revision in which a step last changed.

    So an edit of a step does not change the exact parameters of others.
    """
    revision = loaded.run.revision
    if revision.parent_id is None:
        return loaded.plan_digest
    while step.parent_id is not None:
        step = loaded.steps[step.parent_id]
    return next(
        plans.content_digest(row)
        for row in revision.lineage
        if row.edited_step == step.key or row.parent_id is None
    )


def of_subplan(change: RunChange, step: StepRun, inputs: Mapping[str, Any]) -> Spec:
    """Return what a plan step runs: the revision of its sub-plan, and the inputs."""
    value = _common(change, step, references.Scope(inputs, {}))
    value |= {"kind": "plan", "subplan": change.pin_of(step), "inputs": dict(inputs)}
    return _finished(value, None, Demand())


def _approval_spec(
    planned: StepDocument, value: dict[str, Any], scope: references.Scope
) -> Spec:
    reason = (planned.approval and planned.approval.reason) or ""
    value |= {
        "kind": "approval",
        "name": planned.name,
        "message": references.resolve(reason, scope),
        "context": references.resolve(planned.params, scope),
    }
    return _finished(value, None, demand_of(planned, None, ()))


def _input_spec(
    planned: StepDocument, value: dict[str, Any], scope: references.Scope
) -> Spec:
    """Return what an input step asks; the digest of an answer covers the form."""
    value |= {
        "kind": "input",
        "name": planned.name,
        "message": references.resolve(asking.reason_of(planned), scope),
        "form": planned.form,
    }
    return _finished(value, None, demand_of(planned, None, ()))


def _finished(
    value: dict[str, Any],
    action: ActionContract | None,
    demand: Demand,
    changed: str = "",
) -> Spec:
    body = canonical.dumps(value)
    reuse = reuse_digest(value) if action else ""
    return Spec(body, digest_of(body), value, action, demand, changed, reuse)


def action_of(change: RunChange, step: StepRun) -> ActionContract | None:
    """Return the action that a step is pinned to, as the registry has it now."""
    pin = change.pin_of(step)
    if pin is None or "version_id" not in pin:
        return None
    pinned = change.loaded.pinned.get(pin["version_id"])
    if pinned is None:
        return None
    name = change.plan_step(step).action if is_undo(step.key) else pin["action"]
    return pinned.action(name)
