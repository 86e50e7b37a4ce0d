"""Check at each claim that what would run is what was approved."""

from uuid import UUID

from approvals import selectors as gates
from approvals.domain.states import GateStatus
from approvals.errors import GateDoesNotHold, ProposerInactive
from approvals.proof import Flaw
from approvals.services import gates as approvals
from execfabric.infra import database
from execfabric.lib.refusal import Refusal
from orchestration.plans.domain.undo import is_undo
from orchestration.runs.domain.states import RunEvent, StepEvent
from orchestration.runs.engine import specs, subjects
from orchestration.runs.engine.advance import fail, open_plan_gate
from orchestration.runs.engine.specs import Spec
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.errors import ContentChanged
from orchestration.runs.models import StepRun

PLAN_CHANGED = (
    "The plan, its inputs or its skill versions have changed since the approval."
)
LIVE = (GateStatus.REQUESTED, GateStatus.PARTIAL, GateStatus.APPROVED)
_STORED_SPEC = "SELECT body FROM runs_execspec WHERE digest = %s"


def approved_spec(change: RunChange, step: StepRun) -> Spec | None:
    """Return the spec of a ready step if what would run is what was approved.

    Otherwise move the step or the run, and return None.
    """
    if is_undo(step.key):
        return _undo_spec(change, step)
    if not change.loaded.proposer_active:
        change.move_run(RunEvent.PAUSE_REQUESTED, ProposerInactive().message)
        return None
    if reason := _plan_flaw(change):
        _void_plan(change, step, reason)
        return None
    return _step_spec(change, step)


def _undo_spec(change: RunChange, step: StepRun) -> Spec | None:
    """Return the spec of a ready undo; its run may have ended long ago.

    So the approval of the plan may have expired since, and its proposer or approvers may
    have left. What it covers must not have changed.
    """
    if _plan_flaw(change, only_content=True):
        fail(change, step, ContentChanged(f"Cannot run the undo. {PLAN_CHANGED}"))
        return None
    return _step_spec(change, step)


def _step_spec(change: RunChange, step: StepRun) -> Spec | None:
    """Return the spec of a ready step if it is as approved; else move the step."""
    try:
        spec = change.built.get(step.id) or _rebuilt(change, step)
    except Refusal as error:
        new_digest = str(error.details.get("found", error.code))
        supersede(change, step.gate_id, new_digest, error.message)
        fail(change, step, error)
        return None
    reason = _difference(change, step, spec)
    if not reason:
        return spec
    digests = {"expected": str(step.spec_id), "found": spec.digest, "reason": reason}
    supersede(change, step.gate_id, spec.digest, reason)
    change.move_step(step, StepEvent.GATE_VOIDED, digests, tries=0, gate_id=None)
    return None


def _difference(change: RunChange, step: StepRun, spec: Spec) -> str:
    """Return why the step may not start, or ""."""
    if spec.digest != step.spec_id:
        return spec.changed or "The resolved action has changed since it was approved."
    if not spec.demand.needed:
        return ""
    change.require_lock()
    if step.gate_id is None:
        return "The step now needs its own approval."
    try:
        approvals.holds(
            gate_id=step.gate_id, digest=bytes.fromhex(spec.digest), at=change.at
        )
    except GateDoesNotHold as error:
        return error.message
    return ""


def _plan_flaw(change: RunChange, *, only_content: bool = False) -> str:
    """Return why the plan's approval does not cover the run's current content, or "".

    With `only_content` it may have expired, and its approvers may have left.
    """
    loaded = change.loaded
    if loaded.proven_until is not None and change.at < loaded.proven_until:
        return ""
    approval = loaded.approval
    if approval is None:
        return "The plan has no approval."
    digest = approval.gate.actual_digest()
    at = approval.gate.requested_at if only_content else change.at
    unproven = approval.unproven(digest=digest, at=at)
    has_left = only_content and unproven and unproven.flaw is Flaw.APPROVERS_CHANGED
    if unproven and not has_left:
        return f"The plan's approval is not valid. {unproven.sentence}"
    if not subjects.covers(bytes(approval.gate.subject), change):
        return PLAN_CHANGED
    if not only_content:
        loaded.proven_until = approval.gate.expires_at
    return ""


def _rebuilt(change: RunChange, step: StepRun) -> Spec:
    """Build the spec again, after checking that the stored one is intact.

    :raises ContentChanged: when the stored bytes do not match their digest
    """
    row = database.row(_STORED_SPEC, [step.spec_id])
    digest = specs.digest_of(bytes(row[0])) if row else ""
    if digest != step.spec_id:
        raise ContentChanged(
            "Cannot start the step: its stored action does not match its digest."
            " This attempt did not run.",
            expected=str(step.spec_id),
            found=digest,
        )
    return specs.build(change, step)


def supersede(
    change: RunChange, gate_id: UUID | None, new_digest: str, reason: str
) -> None:
    """Invalidate an approval, unless its gate has already ended."""
    if gate_id is None:
        return
    change.require_lock()
    live = gates.of_context(change.run.id).filter(pk=gate_id, status__in=LIVE)
    if live.exists():
        change.facts += approvals.supersede(
            gate_id=gate_id, found_digest=new_digest, reason=reason, at=change.at
        ).facts


def _void_plan(change: RunChange, step: StepRun, reason: str) -> None:
    change.require_lock()
    new_digest = subjects.of_run(change).actual_digest().hex()
    supersede(change, change.run.gate_id, new_digest, reason)
    supersede(change, step.gate_id, new_digest, reason)
    fact = {"reason": reason}
    change.move_step(
        step, StepEvent.GATE_VOIDED, fact, tries=0, gate_id=None, condition=None
    )
    change.move_run(RunEvent.APPROVAL_VOIDED, reason)
    open_plan_gate(change)
