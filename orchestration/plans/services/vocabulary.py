"""What a plan may name: the skills that a proposer may use, with their actions."""

from collections.abc import Mapping
from typing import Any

from execfabric.identity.authority import require
from execfabric.lib.actor import Actor
from execfabric.lib.rights import Right
from execfabric.lib.risk import highest
from orchestration.plans import selectors as plans
from orchestration.plans.domain.rights import PlanRight
from orchestration.plans.models import PlanRevision
from orchestration.skills import selectors as skills
from orchestration.skills.domain.contract import ActionContract
from orchestration.skills.domain.states import SkillState

MAX_PLANS = 500
"""Saved plans that the editor offers."""


def vocabulary(*, by: Actor) -> list[dict[str, Any]]:
    """Return the skills that `by` may propose plans with, for completion in an editor.

    :raises RightMissing: if `by` may not propose
    """
    require(by, Right.PROPOSE)
    found = skills.permitted(by, "propose_skill").select_related("current")
    usable = found.exclude(state=SkillState.QUARANTINED).order_by("slug")
    contracts = [
        (skill, skill.current.readable() if skill.current else None) for skill in usable
    ]
    return [
        {
            "slug": skill.slug,
            "description": contract.description,
            "risk": str(highest(action.risk for action in contract.actions)),
            "actions": [_action(action) for action in contract.actions],
        }
        for skill, contract in contracts
        if contract is not None and contract.actions
    ]


def saved_plans(*, by: Actor) -> list[dict[str, Any]]:
    """Return the plans that `by` may use as sub-plans, for completion in an editor.

    :raises RightMissing: if `by` may not propose
    """
    require(by, Right.PROPOSE)
    startable = plans.permitted(by, PlanRight.START).order_by("slug")[:MAX_PLANS]
    return [_plan(revision) for revision in plans.newest_of(startable)]


def _plan(revision: PlanRevision) -> dict[str, Any]:
    document = plans.document(revision)
    schema = document.inputs_schema or {}
    required = schema.get("required", ())
    return {
        "id": revision.plan.slug,
        "name": document.name,
        "description": document.description,
        "revision": revision.number,
        "inputs": [
            _param(name, rule, is_required=name in required)
            for name, rule in _properties(schema).items()
        ],
        "outputs": list(document.outputs),
    }


def _action(action: ActionContract) -> dict[str, Any]:
    required = action.input_schema.get("required", ())
    return {
        "name": action.name,
        "summary": action.summary,
        "risk": str(action.risk),
        "params": [
            _param(name, rule, is_required=name in required)
            for name, rule in _properties(action.input_schema).items()
        ],
        "outputs": list(_properties(action.output_schema)),
        "files": list(action.files),
    }


def _param(name: str, rule: Any, *, is_required: bool) -> dict[str, Any]:
    known = rule if isinstance(rule, Mapping) else {}
    kind = known.get("type", "")
    return {
        "name": name,
        "required": is_required,
        "type": kind if isinstance(kind, str) else " or ".join(map(str, kind)),
        "description": str(known.get("description") or known.get("title") or ""),
        "choices": list(known.get("enum", ())),
    }


def _properties(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    properties = schema.get("properties", {})
    return properties if isinstance(properties, Mapping) else {}
