"""What must hold in the moment before an attempt: what would run is what was approved."""

from uuid import UUID

from approvals import selectors as gates
from approvals import services as approvals
from approvals.domain.states import GateStatus
from approvals.errors import GateDoesNotHold, ProposerInactive
from execfabric.infra import database
from execfabric.lib.refusal import Refusal
from orchestration.runs.domain.states import RunEvent, StepEvent
from orchestration.runs.engine import specs, subjects
from orchestration.runs.engine.advance import fail, open_plan_gate
from orchestration.runs.engine.specs import Spec
from orchestration.runs.engine.transitions import Change
from orchestration.runs.errors import ContentChanged
from orchestration.runs.models import StepRun

PLAN_CHANGED = "The plan, its inputs or its skill versions are not what was approved."
LIVE = (GateStatus.REQUESTED, GateStatus.PARTIAL, GateStatus.APPROVED)
_KEPT_SPEC = "SELECT body FROM runs_execspec WHERE digest = %s"


def passed(opened: Change, step: StepRun) -> Spec | None:
    """Return the spec of a ready step if what would run is what was approved.

    Otherwise the step or its run is moved, and None returned.
    """
    if not opened.loaded.proposer_active:
        # No one answers for the proposal.
        opened.move_run(RunEvent.PAUSE_REQUESTED, ProposerInactive().message)
        return None
    if reason := _plan_flaw(opened):
        _void_plan(opened, step, reason)
        return None
    try:
        spec = opened.built.get(step.id) or _rebuilt(opened, step)
    except Refusal as error:
        found = str(error.details.get("found", error.code))
        _supersede(opened, step.gate_id, found, error.message)
        fail(opened, step, error)
        return None
    reason = _difference(opened, step, spec)
    if not reason:
        return spec
    digests = {"expected": str(step.spec_id), "found": spec.digest, "reason": reason}
    _supersede(opened, step.gate_id, spec.digest, reason)
    opened.move_step(step, StepEvent.GATE_VOIDED, digests, tries=0, gate_id=None)
    return None


def _difference(opened: Change, step: StepRun, spec: Spec) -> str:
    """Why an attempt may not start; empty when it may."""
    if spec.digest != step.spec_id:
        return spec.changed or "What would run now is not what was resolved and shown."
    if not spec.demand.needed:
        return ""
    opened.need_lock()
    if step.gate_id is None:
        return "A gate is needed now that was not needed before."
    try:
        approvals.holds(
            gate_id=step.gate_id, digest=bytes.fromhex(spec.digest), at=opened.at
        )
    except GateDoesNotHold as error:
        return error.message
    return ""


def _plan_flaw(opened: Change) -> str:
    """Return why the plan's approval does not cover the run as it is now, or ""."""
    loaded = opened.loaded
    if loaded.proven_until is not None and opened.at < loaded.proven_until:
        return ""
    approval = loaded.approval
    if approval is None:
        return "The plan has no approval."
    unproven = approval.unproven(digest=approval.actual, at=opened.at)
    if unproven:
        return f"The plan's approval does not hold. {unproven.sentence}"
    if not subjects.covers(bytes(approval.gate.subject), opened):
        return PLAN_CHANGED
    loaded.proven_until = approval.gate.expires_at
    return ""


def _rebuilt(opened: Change, step: StepRun) -> Spec:
    """The spec as it comes out now, once the stored one is known to be whole.

    :raises ContentChanged: when the stored bytes are not those of their digest
    """
    kept = database.row(_KEPT_SPEC, [step.spec_id])
    found = specs.digest_of(bytes(kept[0])) if kept else ""
    if found != step.spec_id:
        raise ContentChanged(
            "The stored bytes of the action are not the ones that were resolved.",
            expected=str(step.spec_id),
            found=found,
        )
    return specs.build(opened, step)


def _supersede(opened: Change, gate_id: UUID | None, found: str, reason: str) -> None:
    """Make an approval unusable; one that ended otherwise is left as it ended."""
    if gate_id is None:
        return
    opened.need_lock()
    live = gates.of_context(opened.run.id).filter(pk=gate_id, status__in=LIVE)
    if live.exists():
        opened.facts += approvals.supersede(
            gate_id=gate_id, found_digest=found, reason=reason, at=opened.at
        ).facts


def _void_plan(opened: Change, step: StepRun, reason: str) -> None:
    opened.need_lock()
    found = subjects.of_run(opened).digest.hex()
    _supersede(opened, opened.run.gate_id, found, reason)
    _supersede(opened, step.gate_id, found, reason)
    opened.move_step(
        step, StepEvent.GATE_VOIDED, {"reason": reason}, tries=0, gate_id=None
    )
    opened.move_run(RunEvent.APPROVAL_VOIDED, reason)
    open_plan_gate(opened)
