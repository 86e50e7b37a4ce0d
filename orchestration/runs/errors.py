"""Refusals about runs, steps and attempts."""

from execfabric.lib.refusal import Conflict, Denied, Invalid, Limited, Missing


class RunUnknown(Missing):
    """There is no such run, or it is not visible to you."""

    code = "run.unknown"


class StepUnknown(Missing):
    """The run has no such step."""

    code = "step.unknown"


class ArtifactUnknown(Missing):
    """There is no such file, or it is not visible to you."""

    code = "artifact.unknown"


class ArtifactTooLarge(Invalid):
    """The file is larger than a file between steps may be."""

    code = "artifact.too_large"


class ArtifactNotPlain(Invalid):
    """What should be a file of the step is a link, or lies outside its folder."""

    code = "artifact.not_plain"


class ArtifactNameInvalid(Invalid):
    """The name of the file cannot be stored."""

    code = "artifact.name_invalid"


class ArtifactNotStored(Conflict):
    """The file could not be written into the store."""

    code = "artifact.not_stored"


class ArtifactCorrupt(Conflict):
    """The stored bytes of a file are not the ones that were recorded."""

    code = "artifact.corrupt"


class DryRunUnknown(Missing):
    """Unknown dry run, or you do not have access to it."""

    code = "dry_run.unknown"


class TooManyDryRuns(Limited):
    """Too many of your dry runs are waiting. Try again when one has ended."""

    code = "dry_run.too_many"


class DryRunPending(Conflict):
    """Cannot approve yet: the dry run of this plan has not ended. Wait until it has."""

    code = "approval.dry_run_pending"


class NotControllable(Denied):
    """Only operators, admins and the run's proposer may pause, resume or cancel it."""

    code = "run.not_controllable"


class NotIndeterminate(Conflict):
    """Only a step whose outcome is unknown can be resolved."""

    code = "step.not_indeterminate"


class EvidenceRequired(Invalid):
    """Say how you know what happened."""

    code = "step.evidence_required"


class OwnOutcome(Denied):
    """You cannot settle an outcome of your own run. Ask another operator or admin."""

    code = "step.own_outcome"


class OutputInvalid(Invalid):
    """The output does not satisfy the output schema of the action."""

    code = "step.output_invalid"


class OldAttemptMayLive(Conflict):
    """The worker that held this step may still be alive; wait until its deadline has passed."""

    code = "step.old_attempt_may_live"


class ContentChanged(Conflict):
    """What would run is not what was approved."""

    code = "step.content_changed"


class ParamsInvalid(Invalid):
    """The resolved parameters do not satisfy the action's input schema."""

    code = "step.params_invalid"


class SkillWithdrawn(Conflict):
    """The skill was quarantined or its version withdrawn after the approval."""

    code = "step.skill_withdrawn"
