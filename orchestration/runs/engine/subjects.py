"""Build plan gates and step gates, with the content that is approved."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.conf import settings

from approvals.domain.eligibility import Exclusion, Why, exclusions
from approvals.domain.seats import Requirement
from approvals.models import INPUT, Gate
from audit import selectors as audit
from execfabric.lib import canonical
from execfabric.lib.memo import DigestCache
from execfabric.lib.risk import highest
from orchestration.plans import selectors as plans
from orchestration.plans.domain import fallbacks, iteration, waits
from orchestration.plans.domain.document import StepDocument
from orchestration.plans.domain.gates import demand_of
from orchestration.plans.domain.routing import rules_of
from orchestration.plans.domain.subplans import PlacedStep, joined, placed
from orchestration.plans.domain.undo import is_undo, undo_of
from orchestration.plans.models import PlanRevision
from orchestration.runs.domain import failure_policy
from orchestration.runs.domain.states import RunEvent
from orchestration.runs.engine.specs import Spec
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.models import SPEC_DOMAIN, Run, StepRun

PLAN_DOMAIN = "execfabric/run/v1"
RUN, STEP = "run", "step"
ROLLBACK = f"run.{RunEvent.ROLLBACK_STARTED}"
LABEL = 80
"""Characters of the value of an item in the label of its gate."""
PLAN_REQUIREMENTS = (Requirement("operator", 1),)


def of_run(change: RunChange) -> Gate:
    """Return a new gate for the plan of a run and everything it is pinned to."""
    steps = _preview(change)
    parts = [*steps, *(step["fallback"] for step in steps if "fallback" in step)]
    risks = [part["risk"] for part in parts if part.get("risk")]
    gate = Gate(
        subject_kind=RUN,
        subject_id=change.run.id,
        label=change.loaded.document.name,
        subject=_run_body(change, steps),
        digest_domain=PLAN_DOMAIN,
        reasons=["Nothing runs before its plan is approved."],
        policy_versions=[],
        risk=str(highest(risks)),
    )
    return _of(change, gate, PLAN_REQUIREMENTS, settings.GATE_TTL_SECONDS)


def of_step(change: RunChange, step: StepRun, spec: Spec) -> Gate:
    """Return a new gate for the exact parameters that a step will run with."""
    planned, demand = change.plan_step(step), spec.demand
    asked = planned.ask if planned.kind == "input" else planned.approval
    planned_s = asked.expires_in if asked else None
    seconds = planned_s or demand.expires_after_s or settings.GATE_TTL_SECONDS
    gate = Gate(
        subject_kind=INPUT if planned.kind == "input" else STEP,
        subject_id=step.id,
        label=_label(change, step),
        step=step.key,
        subject=spec.body,
        digest_domain=SPEC_DOMAIN,
        reasons=list(demand.reasons),
        policy_versions=list(demand.versions),
        risk=_risk(planned, spec),
    )
    gate = _of(change, gate, demand.requirements, seconds)
    if is_undo(step.key):
        gate.excluded += [
            Exclusion(key, Why.PROPOSER).as_fact()
            for key in _rolling_back(change) - gate.excluded_keys()
        ]
    return gate


def _rolling_back(change: RunChange) -> set[str]:
    is_new = any(fact.kind == ROLLBACK for fact in change.facts)
    return rolled_back_by(change.run) | ({change.by.key} if is_new else set())


def rolled_back_by(run: Run) -> set[str]:
    """Return who began or continued the rollback: no one approves what they asked for."""
    return {event.actor for event in audit.newest_of(run.stream, ROLLBACK, "")}


def _risk(planned: StepDocument, spec: Spec) -> str:
    """Return the risk of an action; a form has none."""
    without = "" if planned.kind == "input" else "low"
    return str(spec.action.risk) if spec.action else without


def _label(change: RunChange, step: StepRun) -> str:
    """Return the name of a step, with the plan steps around it and its item.

    Of an item it has the index and the start of the value.
    """
    around = change.loaded.around(step)
    name = change.plan_step(step).name or step.key
    if around is not None:
        name = joined(change.loaded.title(around), name)
    if step.item is None:
        return name
    value = canonical.dumps((step.item_value or {}).get("value")).decode()
    short = value if len(value) <= LABEL else value[: LABEL - 1] + "…"
    return f"{name} [{step.item}]: {short}"


def _of(
    change: RunChange, gate: Gate, requirements: Iterable[Requirement], seconds: float
) -> Gate:
    """Set the columns that all gates of a run share."""
    run = change.run
    gate.context_id, gate.stream, gate.trace_id = run.id, run.stream, run.trace_id
    gate.requirements = [requirement.as_fact() for requirement in requirements]
    excluded = _excluded(run, change.loaded.included.values())
    gate.excluded = [exclusion.as_fact() for exclusion in excluded]
    gate.expires_at = change.at + timedelta(seconds=seconds)
    return gate


def covers(subject: bytes, change: RunChange) -> bool:
    """Return True if an approved plan subject matches the run's current content."""
    approved = _read(subject)
    return bool(
        approved["plan"]["digest"] == change.loaded.plan_digest
        and approved["inputs"] == change.run.inputs
        and approved["pins"] == change.run.pins
        and approved["parallel"] == change.run.parallel_max
        and approved.get("rollback_after", 0) == change.run.rollback_after
        and change.loaded.includes_pinned
        and approved.get("concurrency", {}) == _concurrency(change)
        and approved.get("rerun", {}) == _rerun(change.run).get("rerun", {})
    )


def _concurrency(change: RunChange) -> dict[str, Any]:
    """Return the concurrency key of a run with its values; empty without one."""
    wanted = change.loaded.document.concurrency
    if wanted is None:
        return {}
    return {"key": change.run.concurrency_key, "max": wanted.max}


def _run_body(change: RunChange, steps: list[dict[str, Any]]) -> bytes:
    run, document = change.run, change.loaded.document
    proposer = run.proposed_by()
    included = {"subplans": _included(change)} if change.loaded.included else {}
    return canonical.dumps(
        {
            "v": 1,
            "run": str(run.id),
            **included,
            "plan": {
                "id": document.id,
                "name": document.name,
                "description": document.description,
                "digest": change.loaded.plan_digest,
                "document": canonical.loads(bytes(run.revision.body)),
            },
            "inputs": run.inputs,
            "pins": run.pins,
            "steps": steps,
            "parallel": run.parallel_max,
            "on_failure": document.on_failure,
            "rollback_after": run.rollback_after,
            "failure_policy": failure_policy.sentence(
                document.on_failure, run.rollback_after
            ),
            "proposer": proposer.as_fact(),
            "on_behalf_of": proposer.on_behalf_of,
            **({"concurrency": wanted} if (wanted := _concurrency(change)) else {}),
            **_rerun(run),
            **_edit(run.revision),
        }
    )


def _rerun(run: Run) -> dict[str, Any]:
    """Return which run is run again, and from which step; empty for another run."""
    if run.rerun_of_id is None:
        return {}
    return {"rerun": {"of": str(run.rerun_of_id), "from": run.rerun_from}}


def _edit(revision: PlanRevision) -> dict[str, Any]:
    """Return what the last edit of a plan has changed; empty for a saved revision."""
    if revision.parent is None:
        return {}
    return {
        "edit": {
            "of": plans.content_digest(revision.parent),
            "step": revision.edited_step,
            "changes": [asdict(each) for each in plans.edited_values(revision)],
            "by": revision.written_by().as_fact(),
            "reason": revision.edit_reason,
        }
    }


def _included(change: RunChange) -> dict[str, Any]:
    """Return the content of each sub-plan once, by its digest."""
    pins = change.run.pins
    return {
        pins[path]["digest"]: {
            "plan": pins[path]["plan"],
            "revision": pins[path]["revision"],
            "document": canonical.loads(bytes(revision.body)),
        }
        for path, revision in change.loaded.included.items()
    }


def _preview(change: RunChange) -> list[dict[str, Any]]:
    """Describe each step with the facts of its pinned skill version."""
    loaded = change.loaded
    return [
        _step_preview(change, each)
        for each in placed(loaded.document, loaded.included_documents)
    ]


def _step_preview(change: RunChange, each: PlacedStep) -> dict[str, Any]:
    planned, around = each.step, each.around
    entry: dict[str, Any] = {
        "id": each.path,
        "name": planned.name,
        "kind": planned.kind,
        "depends_on": [joined(around, key) for key in planned.depends_on],
        "trigger_rule": str(planned.trigger_rule),
        "params": planned.inputs if planned.kind == "plan" else planned.params,
    }
    if around:
        entry["inside"] = around
    if planned.when:
        entry["when"] = planned.when
    if planned.for_each is not None:
        inputs = None if around else change.run.inputs
        entry["for_each"] = iteration.facts(planned, inputs)
    if planned.choose:
        entry["choose"] = rules_of(planned)
    entry |= _awaited(planned, None if around else change.run.inputs)
    if router := each.plan.routers.get(planned.id):
        entry["chosen_by"] = joined(around, router)
    entry |= _bound(change, each)
    if planned.fallback is not None:
        entry["fallback"] = _fallback(change, each)
    return entry


def _awaited(planned: StepDocument, inputs: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a step waits for: the values of a form, a time or an event."""
    if planned.form is not None:
        return {"form": planned.form}
    if planned.kind != "wait":
        return {}
    senders = {"sent_by": waits.SENDERS} if planned.event is not None else {}
    return {"wait": waits.sentence(planned, inputs), **senders}


def _bound(change: RunChange, each: PlacedStep) -> dict[str, Any]:
    """Return what a step is bound to, and the reasons of its gate."""
    planned, pin = each.step, change.run.pins.get(each.path, {})
    rules = change.loaded.rules
    if "revision_id" in pin:
        bound = {"plan": pin["plan"], "revision": pin["revision"]}
        return bound | {"gates": list(demand_of(planned, None, rules).reasons)}
    if pin:
        return _acting(change, planned, pin)
    return {"gates": list(demand_of(planned, None, rules).reasons)}


def _acting(
    change: RunChange, planned: StepDocument, pin: dict[str, Any]
) -> dict[str, Any]:
    """Describe the action of a step or of a fallback, and the reasons of its gate."""
    contract = change.loaded.pinned[pin["version_id"]].contract
    action = contract.action(planned.action)
    entry: dict[str, Any] = {
        "skill": planned.skill,
        "version": pin["version"],
        "action": planned.action,
        "gates": list(demand_of(planned, action, change.loaded.rules).reasons),
    }
    if action is not None:
        entry |= {
            "summary": action.summary,
            "risk": str(action.risk),
            "effect_class": str(action.effect_class),
            "dry_run": str(action.dry_run),
            "undo": undo_of(planned, contract),
        }
    return entry


def _fallback(change: RunChange, each: PlacedStep) -> dict[str, Any]:
    """Describe the fallback of a step: what runs if the step fails for good."""
    key = fallbacks.key_of(each.step.id)
    planned, pin = each.plan.by_key[key], change.run.pins[joined(each.around, key)]
    return {**_acting(change, planned, pin), "params": planned.params}


def excluded_from(run: Run) -> tuple[Exclusion, ...]:
    """Return everyone who may not decide about a run, by separation of duties."""
    return _excluded(run, plans.included(run.pins).values())


def _excluded(run: Run, included: Iterable[PlanRevision]) -> tuple[Exclusion, ...]:
    written = [*run.revision.lineage, *included]
    return exclusions(
        proposer=run.proposed_by(), editors=[each.written_by() for each in written]
    )


_read: DigestCache[Any] = DigestCache(canonical.loads, max_bytes=8 << 20)
