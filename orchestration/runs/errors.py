"""Refusals about runs, steps and attempts."""

from execfabric.lib.refusal import Conflict, Denied, Invalid, Limited, Missing


class RunUnknown(Missing):
    """Unknown run, or you do not have access to it."""

    code = "run.unknown"


class KeyReused(Conflict):
    """This Idempotency-Key was already used for another request. Send a new key."""

    code = "request.key_reused"


class KeyTooLong(Invalid):
    """The Idempotency-Key is too long (max 200 characters)."""

    code = "request.key_too_long"


class StepUnknown(Missing):
    """Unknown step of this run."""

    code = "step.unknown"


class ArtifactUnknown(Missing):
    """Unknown file, or you do not have access to it."""

    code = "artifact.unknown"


class ArtifactTooLarge(Invalid):
    """Cannot store the file: it is too large."""

    code = "artifact.too_large"


class ArtifactNotPlain(Invalid):
    """Cannot store the file: it is a link, or outside the folder of the step."""

    code = "artifact.not_plain"


class ArtifactNameInvalid(Invalid):
    """Cannot store the file: its name is not valid."""

    code = "artifact.name_invalid"


class ArtifactNotStored(Conflict):
    """Cannot store the file: the artifact store cannot be written."""

    code = "artifact.not_stored"


class ArtifactCorrupt(Conflict):
    """Cannot read the file: its stored content does not match its recorded digest."""

    code = "artifact.corrupt"


class DryRunUnknown(Missing):
    """Unknown dry run, or you do not have access to it."""

    code = "dry_run.unknown"


class TooManyDryRuns(Limited):
    """Cannot start the dry run: too many of yours are unfinished. Try again later."""

    code = "dry_run.too_many"


class DryRunPending(Conflict):
    """Cannot approve the plan: its dry run has not finished. Try again when it has."""

    code = "approval.dry_run_pending"


class NotControllable(Denied):
    """Only operators, admins and the proposer may pause, resume or cancel a run."""

    code = "run.not_controllable"


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


class ContentChanged(Conflict):
    """Cannot start the step: its content has changed since it was approved."""

    code = "step.content_changed"


class ParamsInvalid(Invalid):
    """Cannot start the step: its parameters do not match the action's input schema."""

    code = "step.params_invalid"


class SkillWithdrawn(Conflict):
    """Cannot start the step: its skill was quarantined or its version withdrawn."""

    code = "step.skill_withdrawn"
