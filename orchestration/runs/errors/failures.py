"""Refusals about acts after a failure: on steps, outcomes, rollbacks, reruns and stops."""

from execfabric.lib.refusal import Conflict, Denied, Invalid, Missing


class RollbackBlocked(Conflict):
    """Cannot roll back: a step may still have an effect."""

    code = "rollback.blocked"


class RollbackTargetInvalid(Invalid):
    """Cannot roll back to this step: the run does not have it."""

    code = "rollback.target_invalid"


class NothingToUndo(Conflict):
    """Cannot roll back: no completed step has an undo that has not run yet."""

    code = "rollback.nothing_to_undo"


class PreviewChanged(Conflict):
    """The rollback has changed since it was previewed. Preview it again."""

    code = "rollback.preview_changed"


class RollbackReasonRequired(Invalid):
    """Cannot roll back: a reason is required. It is recorded in the audit log."""

    code = "rollback.reason_required"


class RunStuck(Conflict):
    """Cannot continue the run: nothing is due in it, and it has not ended."""

    code = "run.stuck"


class DispatchStopped(Conflict):
    """Cannot start the step: the dispatch of steps is stopped."""

    code = "stop.active"


class StopUnknown(Missing):
    """Unknown stop."""

    code = "stop.unknown"


class StopLifted(Conflict):
    """Cannot lift the stop: it has already been lifted."""

    code = "stop.lifted"


class StopReasonRequired(Invalid):
    """A reason is required. It goes into the audit log and is shown to all users."""

    code = "stop.reason_required"


class StopSkillUnknown(Invalid):
    """Cannot stop the skill: there is no skill of this name."""

    code = "stop.skill_unknown"


class ActReasonRequired(Invalid):
    """A reason is required. It is recorded with your name."""

    code = "request.reason_required"


class StepActRefused(Conflict):
    """This cannot be done to the step now. Reload the run."""

    code = "step.act_refused"


class StepTriedSince(Conflict):
    """The step has been tried again since you opened this page. Review it again."""

    code = "step.tried_since"


class EditChangesNothing(Invalid):
    """Cannot edit the step: it has these parameters already. Retry it instead."""

    code = "edit.changes_nothing"


class EditNotWritable(Invalid):
    """Cannot edit the step: the text of the plan cannot be changed to say that."""

    code = "edit.not_writable"


class PlanEditedSince(Conflict):
    """The plan of the run has been edited since you opened this page. Review it again."""

    code = "edit.plan_edited_since"


class OwnCompletion(Denied):
    """You cannot complete a step of your own run by hand. Ask another operator or admin."""

    code = "step.own_completion"


class EarlierAttemptUnknown(Conflict):
    """Cannot run the fallback: an earlier attempt of the step may have taken effect."""

    code = "step.earlier_attempt_unknown"


class NotIndeterminate(Conflict):
    """Cannot resolve the step: its outcome is not unknown. Reload the run."""

    code = "step.not_indeterminate"


class EvidenceRequired(Invalid):
    """Evidence is required: describe how you know what happened."""

    code = "step.evidence_required"


class OwnOutcome(Denied):
    """You cannot resolve an outcome of your own run. Ask another operator or admin."""

    code = "step.own_outcome"


class OutputInvalid(Invalid):
    """Cannot resolve the step: the output does not match the action's output schema."""

    code = "step.output_invalid"


class OldAttemptMayLive(Conflict):
    """Cannot resolve the step as not happened: its worker may still be running."""

    code = "step.old_attempt_may_live"


class RerunStepUnresolved(Conflict):
    """Cannot run it again: the outcome of a step is unknown. Resolve it first."""

    code = "rerun.step_unresolved"


class RerunOutcomeUnknown(Conflict):
    """Cannot run it again: a step that is not chosen may have had its effect."""

    code = "rerun.outcome_unknown"


class AttentionUnknown(Missing):
    """This item no longer needs anyone, or you do not have access to it."""

    code = "attention.unknown"


class AttentionTaken(Conflict):
    """Cannot take it: another user takes care of it."""

    code = "attention.taken"


class FailureUnknown(Missing):
    """Unknown failure record, or you do not have access to it."""

    code = "failure.unknown"


class FailureSettled(Conflict):
    """Cannot re-emit the work: the step has been tried again. Use its newest record."""

    code = "failure.settled"
