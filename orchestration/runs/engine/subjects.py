"""Build the subjects of plan gates and step gates: the content that is approved."""

from datetime import timedelta
from typing import Any

from django.conf import settings

from approvals.domain.seats import Requirement
from approvals.domain.subject import Exclusion, Subject, exclusions
from execfabric.lib import canonical
from execfabric.lib.actor import Actor
from execfabric.lib.memo import DigestCache
from execfabric.lib.risk import highest
from orchestration.runs.engine import specs
from orchestration.runs.engine.specs import Spec
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.models import SPEC_DOMAIN, Run, StepRun

PLAN_DOMAIN = "execfabric/run/v1"
RUN, STEP = "run", "step"
PLAN_REQUIREMENTS = (Requirement("operator", 1),)


def of_run(change: RunChange) -> Subject:
    """Return the subject of a run's plan gate: the plan and everything it is pinned to."""
    run = change.run
    risks = [step["risk"] for step in _preview(change) if step.get("risk")]
    return Subject(
        kind=RUN,
        id=run.id,
        context_id=run.id,
        stream=run.stream,
        trace_id=run.trace_id,
        label=change.loaded.document.name,
        body=run_body(change),
        digest_domain=PLAN_DOMAIN,
        requirements=PLAN_REQUIREMENTS,
        excluded=excluded_from(run),
        reasons=("Nothing runs before its plan is approved.",),
        expires_at=change.at + timedelta(seconds=settings.GATE_TTL_SECONDS),
        risk=str(highest(risks)),
    )


def of_step(change: RunChange, step: StepRun, spec: Spec) -> Subject:
    """Return the subject of a step's gate: the exact parameters that will run."""
    run, planned = change.run, change.plan_step(step)
    planned_s = planned.approval.expires_in if planned.approval else None
    seconds = planned_s or spec.demand.expires_after_s or settings.GATE_TTL_SECONDS
    return Subject(
        kind=STEP,
        id=step.id,
        context_id=run.id,
        stream=run.stream,
        trace_id=run.trace_id,
        label=planned.name or step.key,
        step=step.key,
        body=spec.body,
        digest_domain=SPEC_DOMAIN,
        requirements=spec.demand.requirements,
        excluded=excluded_from(run),
        reasons=spec.demand.reasons,
        policy_versions=spec.demand.versions,
        expires_at=change.at + timedelta(seconds=seconds),
        risk=str(spec.action.risk) if spec.action else "low",
    )


def covers(subject: bytes, change: RunChange) -> bool:
    """Return True if an approved plan subject matches the run's current content."""
    approved = _read(subject)
    return bool(
        approved["plan"]["digest"] == change.loaded.plan_digest
        and approved["inputs"] == change.run.inputs
        and approved["pins"] == change.run.pins
        and approved["parallel"] == change.run.parallel_max
    )


def run_body(change: RunChange) -> bytes:
    """Return the canonical bytes of the plan gate's subject."""
    run, document = change.run, change.loaded.document
    proposer = run.proposed_by()
    return canonical.dumps(
        {
            "v": 1,
            "run": str(run.id),
            "plan": {
                "id": document.id,
                "name": document.name,
                "description": document.description,
                "digest": change.loaded.plan_digest,
                "document": canonical.loads(bytes(run.revision.body)),
            },
            "inputs": run.inputs,
            "pins": run.pins,
            "steps": _preview(change),
            "parallel": run.parallel_max,
            "on_failure": document.on_failure,
            "proposer": proposer.as_fact(),
            "on_behalf_of": proposer.on_behalf_of,
        }
    )


def _preview(change: RunChange) -> list[dict[str, Any]]:
    """Describe each step with the facts of its pinned skill version."""
    pins, rules = change.run.pins, change.loaded.rules
    steps = []
    for step in change.steps.values():
        key, planned = step.key, change.plan_step(step)
        entry: dict[str, Any] = {
            "id": key,
            "name": planned.name,
            "kind": planned.kind,
            "depends_on": list(planned.depends_on),
            "trigger_rule": planned.trigger_rule,
            "params": planned.params,
        }
        action = None
        if key in pins:
            contract = change.loaded.pinned[pins[key]["version_id"]].contract
            action = contract.action(planned.action)
            if action is not None:
                entry |= {
                    "skill": planned.skill,
                    "version": pins[key]["version"],
                    "action": planned.action,
                    "summary": action.summary,
                    "risk": str(action.risk),
                    "effect_class": str(action.effect_class),
                    "dry_run": str(action.dry_run),
                    "undo": specs.undo_of(planned, contract),
                }
        skill = planned.skill if action is not None else ""
        demand = specs.demand_of(planned, action, skill=skill, rules=rules)
        entry["gates"] = list(demand.reasons)
        steps.append(entry)
    return steps


def excluded_from(run: Run) -> tuple[Exclusion, ...]:
    """Return everyone who may not decide about a run, by separation of duties."""
    plan = run.revision
    author = Actor.stored(plan.author, plan.author_name, plan.author_owner)
    return exclusions(proposer=run.proposed_by(), editors=[author])


_read: DigestCache[Any] = DigestCache(canonical.loads, max_bytes=8 << 20)
