"""Refusals about runs, steps and attempts."""

from execfabric.lib.refusal import (
    Conflict,
    Denied,
    Invalid,
    Limited,
    Missing,
    RefusalKind,
)
from orchestration.runs.errors.failures import ActReasonRequired as ActReasonRequired
from orchestration.runs.errors.failures import AttentionTaken as AttentionTaken
from orchestration.runs.errors.failures import AttentionUnknown as AttentionUnknown
from orchestration.runs.errors.failures import DispatchStopped as DispatchStopped
from orchestration.runs.errors.failures import (
    EarlierAttemptUnknown as EarlierAttemptUnknown,
)
from orchestration.runs.errors.failures import EditChangesNothing as EditChangesNothing
from orchestration.runs.errors.failures import EditNotWritable as EditNotWritable
from orchestration.runs.errors.failures import EvidenceRequired as EvidenceRequired
from orchestration.runs.errors.failures import FailureSettled as FailureSettled
from orchestration.runs.errors.failures import FailureUnknown as FailureUnknown
from orchestration.runs.errors.failures import NothingToUndo as NothingToUndo
from orchestration.runs.errors.failures import NotIndeterminate as NotIndeterminate
from orchestration.runs.errors.failures import OldAttemptMayLive as OldAttemptMayLive
from orchestration.runs.errors.failures import OutputInvalid as OutputInvalid
from orchestration.runs.errors.failures import OwnCompletion as OwnCompletion
from orchestration.runs.errors.failures import OwnOutcome as OwnOutcome
from orchestration.runs.errors.failures import PlanEditedSince as PlanEditedSince
from orchestration.runs.errors.failures import PreviewChanged as PreviewChanged
from orchestration.runs.errors.failures import (
    RerunOutcomeUnknown as RerunOutcomeUnknown,
)
from orchestration.runs.errors.failures import (
    RerunStepUnresolved as RerunStepUnresolved,
)
from orchestration.runs.errors.failures import RollbackBlocked as RollbackBlocked
from orchestration.runs.errors.failures import (
    RollbackReasonRequired as RollbackReasonRequired,
)
from orchestration.runs.errors.failures import (
    RollbackTargetInvalid as RollbackTargetInvalid,
)
from orchestration.runs.errors.failures import RunStuck as RunStuck
from orchestration.runs.errors.failures import StepActRefused as StepActRefused
from orchestration.runs.errors.failures import StepTriedSince as StepTriedSince
from orchestration.runs.errors.failures import StopLifted as StopLifted
from orchestration.runs.errors.failures import StopReasonRequired as StopReasonRequired
from orchestration.runs.errors.failures import StopSkillUnknown as StopSkillUnknown
from orchestration.runs.errors.failures import StopUnknown as StopUnknown


class RunUnknown(Missing):
    """Unknown run, or you do not have access to it."""

    code = "run.unknown"


class RunNotEnded(Conflict):
    """Cannot run it again: the run has not ended. Resume it, or cancel it first."""

    code = "run.not_ended"


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


class ArtifactNotShown(Missing):
    """This file has no preview. Download it instead."""

    code = "artifact.not_shown"


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


class ArtifactUnreadable(Conflict):
    """Cannot reuse the earlier result: its files cannot be read. Retry the step to run it."""

    code = "artifact.unreadable"


class ChainUnknown(Missing):
    """Unknown artifact or version, or you do not have access to it."""

    code = "artifact.chain_unknown"


class ArtifactNotYours(Denied):
    """You may not archive this version. Ask an operator."""

    code = "artifact.not_yours"


class ArchiveReasonRequired(Invalid):
    """Cannot archive the version: a reason is required."""

    code = "artifact.reason_required"


class VersionArchived(Conflict):
    """Cannot fork the version: it is archived. Choose another version."""

    code = "artifact.archived"


class ForkNameInvalid(Invalid):
    """Cannot fork the version: the name is not valid."""

    code = "artifact.fork_name_invalid"


class ForkNameTaken(Conflict):
    """Cannot fork the version: the plan has an artifact of this name. Choose another."""

    code = "artifact.name_taken"


class UploadTooLarge(Invalid):
    """Cannot upload the file: it is too large."""

    code = "upload.too_large"
    kind = RefusalKind.TOO_LARGE


class UploadEmpty(Invalid):
    """Cannot upload the file: it is empty. Choose a file with content."""

    code = "upload.empty"


class UploadNameInvalid(Invalid):
    """Cannot upload the file: its name is not valid."""

    code = "upload.name_invalid"


class UploadMalformed(Invalid):
    """Cannot upload the file: send its bytes as the body, not as a form."""

    code = "upload.malformed"
    kind = RefusalKind.UNREADABLE


class TooManyUploads(Limited):
    """Cannot upload the file: too many of your uploads are unused. Use them first."""

    code = "upload.too_many"


class InputFileGone(Conflict):
    """Cannot use the file: it is no longer stored. Upload it again."""

    code = "upload.gone"


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
    """Only operators, admins and the proposer may pause, resume or end a run."""

    code = "run.not_controllable"


class ContentChanged(Conflict):
    """Cannot start the step: its content has changed since it was approved."""

    code = "step.content_changed"


class ParamsInvalid(Invalid):
    """Cannot start the step: its parameters do not match the action's input schema."""

    code = "step.params_invalid"


class SkillWithdrawn(Conflict):
    """Cannot start the step: its skill was quarantined or its version withdrawn."""

    code = "step.skill_withdrawn"


class ConditionUndecided(Invalid):
    """Cannot start the step: its condition is neither true nor false."""

    code = "step.condition_failed"


class ConditionsTooSlow(Invalid):
    """Cannot start the step: the conditions of the run name too much. Retry the step."""

    code = "step.conditions_too_slow"


class ItemsInvalid(Invalid):
    """Cannot expand the step: forEach needs another list."""

    code = "step.for_each_invalid"


class ItemsTooMany(Invalid):
    """Cannot expand the step: the list has too many items."""

    code = "step.too_many_items"


class StepsTooMany(Invalid):
    """Cannot start the step: the run would have too many steps."""

    code = "step.too_many_steps"


class SpecsTooLarge(Invalid):
    """Cannot start the step: the parameters of the steps that start are too large."""

    code = "step.params_too_large"


class OutputTooLarge(Invalid):
    """The outputs of all items are too large."""

    code = "step.output_too_large"


class EventInvalid(Invalid):
    """Cannot send the event: it is not valid."""

    code = "event.invalid"


class EventTooLarge(Invalid):
    """Cannot send the event: its payload is too large."""

    code = "event.too_large"


class EventUnknown(Missing):
    """Unknown event, or you do not have access to it."""

    code = "event.unknown"


class EventKeyInvalid(Invalid):
    """Cannot wait for the event: its key is not a text or a number (max 200)."""

    code = "event.key_invalid"


class ValuesRequired(Invalid):
    """This step asks for values. Answer its form instead of approving it."""

    code = "input.values_required"


class NotAnInput(Conflict):
    """This approval does not ask for values. Approve or reject it."""

    code = "input.not_asked"


class AnswerInvalid(Invalid):
    """The answer does not match the form. Nothing was stored."""

    code = "input.invalid"


class AlreadyAnswered(Conflict):
    """You have already answered with other values. An answer cannot be changed."""

    code = "input.already_answered"


class ConcurrencyKeyInvalid(Invalid):
    """Cannot start the step: its concurrency key cannot be used."""

    code = "step.concurrency_key_invalid"
