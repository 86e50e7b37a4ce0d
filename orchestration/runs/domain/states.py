"""The states of runs, step runs, attempts, dry runs and artifacts, and all legal moves.

These tables are the specification. The README shows the first four tables and a test
compares them; the database refuses a state that is not in them.
"""

from enum import StrEnum

from execfabric.lib.machine import StateMachine


class RunState(StrEnum):
    """The state of one execution of a plan revision."""

    AWAITING_APPROVAL = (
        "awaiting_approval"  # its plan gate is open, at the start or after an edit
    )
    QUEUED = "queued"  # it is approved and waits for runs with its concurrency key
    RUNNING = "running"  # steps are released as their dependencies finish
    PAUSING = "pausing"  # pause requested; a step is still running
    PAUSED = "paused"  # nothing is running; it continues when resumed
    CANCELLING = "cancelling"  # cancel requested; a step is still running
    ABORTING = "aborting"  # a user aborts it; a step is still running
    SUCCEEDED = "succeeded"  # every step succeeded, or was skipped by a condition
    PARTIALLY_SUCCEEDED = "partially_succeeded"  # some steps succeeded, some did not
    FAILED = "failed"  # a step failed, and the plan ends the run on that
    CANCELLED = "cancelled"  # a user ended it
    REJECTED = "rejected"  # the plan or a step was rejected
    EXPIRED = "expired"  # a gate expired without a decision
    ROLLING_BACK = "rolling_back"  # completed steps are undone, the last one first
    ROLLED_BACK = "rolled_back"  # every undo that was asked for has run
    ROLLBACK_FAILED = "rollback_failed"  # an undo failed, or its outcome is unknown


class RunEvent(StrEnum):
    APPROVED = "approved"
    APPROVAL_VOIDED = "approval_voided"
    EDITED = "edited"
    EDIT_DROPPED = "edit_dropped"
    QUEUED = "queued"
    ADMITTED = "admitted"
    PAUSE_REQUESTED = "pause_requested"
    PAUSED = "paused"
    RESUMED = "resumed"
    CANCEL_REQUESTED = "cancel_requested"
    ABORT_REQUESTED = "abort_requested"
    CANCELLED = "cancelled"
    SUCCEEDED = "succeeded"
    PARTIALLY_SUCCEEDED = "partially_succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    ROLLBACK_STARTED = "rollback_started"
    ROLLED_BACK = "rolled_back"
    ROLLBACK_FAILED = "rollback_failed"


class StepState(StrEnum):
    """The state of one step of one run."""

    PENDING = "pending"  # its dependencies have not finished; nothing is resolved yet
    QUEUED = "queued"  # it waits for other steps with its concurrency key
    GATED = "gated"  # its params are resolved; it waits for its approval
    WAITING = "waiting"  # it waits for a time or an event, without a worker
    READY = "ready"  # any worker may claim it
    RUNNING = "running"  # one worker holds its lease
    BACKOFF = "backoff"  # its last attempt failed; another one follows later
    EXPANDED = "expanded"  # it has items or steps of its own, and not all have finished
    INDETERMINATE = "indeterminate"  # outcome unknown: its worker died after the intent
    FALLING_BACK = "falling_back"  # it failed; its fallback runs as another step run
    SUCCEEDED = "succeeded"  # it succeeded and its output is stored
    FAILED = "failed"  # it failed and is not retried automatically
    SKIPPED = "skipped"  # a failure, or a user after its failure, left it out
    SKIPPED_BY_CONDITION = "skipped_by_condition"  # a condition or choice left it out
    REJECTED = "rejected"  # it was rejected, or its gate expired
    CANCELLED = "cancelled"  # the run ended before it finished
    COMPENSATED = "compensated"  # it succeeded, and its undo has run
    COMPENSATION_FAILED = "compensation_failed"  # it succeeded, and its undo did not


class StepEvent(StrEnum):
    QUEUED = "queued"
    ADMITTED = "admitted"
    GATE_OPENED = "gate_opened"
    GATE_APPROVED = "gate_approved"
    GATE_REJECTED = "gate_rejected"
    GATE_VOIDED = "gate_voided"
    RELEASED = "released"
    WAIT_STARTED = "wait_started"
    STARTED = "started"
    EXPANDED = "expanded"
    REOPENED = "reopened"
    NOT_STARTED = "not_started"
    SUCCEEDED = "succeeded"
    REUSED = "reused"
    RETRY_LATER = "retry_later"
    FAILED = "failed"
    LEASE_LOST = "lease_lost"
    OUTCOME_UNKNOWN = "outcome_unknown"
    DID_NOT_HAPPEN = "did_not_happen"
    RESOLVED = "resolved"
    SKIPPED_BY_USER = "skipped_by_user"
    COMPLETED_BY_HAND = "completed_by_hand"
    FELL_BACK = "fell_back"
    RETRIED = "retried"
    REVIVED = "revived"
    SKIPPED = "skipped"
    SKIPPED_BY_CONDITION = "skipped_by_condition"
    CANCELLED = "cancelled"
    COMPENSATED = "compensated"
    COMPENSATION_FAILED = "compensation_failed"


class Phase(StrEnum):
    """The state of one attempt."""

    CLAIMED = (
        "claimed"  # of an older release, before the intent: nothing can have happened
    )
    INTENT = "intent"  # the effect may happen from now on
    DONE = "done"  # it succeeded, and the result is recorded
    FAILED = "failed"  # it failed, and that is recorded
    FENCED = "fenced"  # it certainly never began
    LOST = "lost"  # its worker was lost, or its outcome is unknown


class AttemptEvent(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    NOT_STARTED = "not_started"
    LOST = "lost"


class DryRunState(StrEnum):
    """The state of one dry run of a plan."""

    QUEUED = "queued"  # any worker may claim it
    RUNNING = "running"  # one worker holds its lease
    FINISHED = "finished"  # every step was tried; some may fail
    INCOMPLETE = "incomplete"  # a limit, or the lack of a worker, ended it early
    FAILED = "failed"  # the dry run itself failed


class DryRunEvent(StrEnum):
    CLAIMED = "claimed"
    LEASE_LOST = "lease_lost"
    FINISHED = "finished"
    LIMIT_REACHED = "limit_reached"
    GIVEN_UP = "given_up"
    FAILED = "failed"


class ArtifactState(StrEnum):
    """The state of one version of an artifact."""

    DRAFT = "draft"  # a step returned it; its run has not succeeded yet
    CURRENT = "current"  # of the run that succeeded last; the head of the chain
    FORKED = "forked"  # the head of a chain that begins with another one's version
    SUPERSEDED = "superseded"  # a later version has replaced it
    WITHDRAWN = "withdrawn"  # its step was undone
    ARCHIVED = "archived"  # a user took it out of use, with a reason


class ArtifactEvent(StrEnum):
    PROMOTED = "promoted"
    FORKED = "forked"
    SUPERSEDED = "superseded"
    WITHDRAWN = "withdrawn"
    RESTORED = "restored"
    FORK_RESTORED = "fork_restored"
    ARCHIVED = "archived"


R, E, S, T = RunState, RunEvent, StepState, StepEvent
P, A = Phase, AttemptEvent
D, V = DryRunState, DryRunEvent
F, G = ArtifactState, ArtifactEvent

# fmt: off
RUN: StateMachine[RunState, RunEvent] = StateMachine(
    name="run",
    initial=R.AWAITING_APPROVAL,
    rows=(
        # from                on                     to
        (R.AWAITING_APPROVAL, E.APPROVED,            R.RUNNING),
        (R.AWAITING_APPROVAL, E.REJECTED,            R.REJECTED),
        (R.AWAITING_APPROVAL, E.EXPIRED,             R.EXPIRED),
        (R.AWAITING_APPROVAL, E.EDIT_DROPPED,        R.PAUSED),
        (R.AWAITING_APPROVAL, E.CANCEL_REQUESTED,    R.CANCELLING),
        (R.RUNNING,           E.APPROVAL_VOIDED,     R.AWAITING_APPROVAL),
        (R.RUNNING,           E.QUEUED,              R.QUEUED),
        (R.RUNNING,           E.PAUSE_REQUESTED,     R.PAUSING),
        (R.RUNNING,           E.CANCEL_REQUESTED,    R.CANCELLING),
        (R.RUNNING,           E.ABORT_REQUESTED,     R.ABORTING),
        (R.RUNNING,           E.SUCCEEDED,           R.SUCCEEDED),
        (R.RUNNING,           E.PARTIALLY_SUCCEEDED, R.PARTIALLY_SUCCEEDED),
        (R.RUNNING,           E.FAILED,              R.FAILED),
        (R.RUNNING,           E.REJECTED,            R.REJECTED),
        (R.RUNNING,           E.EXPIRED,             R.EXPIRED),
        (R.QUEUED,            E.ADMITTED,            R.RUNNING),
        (R.QUEUED,            E.PAUSE_REQUESTED,     R.PAUSING),
        (R.QUEUED,            E.CANCEL_REQUESTED,    R.CANCELLING),
        (R.QUEUED,            E.ABORT_REQUESTED,     R.ABORTING),
        (R.PAUSING,           E.PAUSED,              R.PAUSED),
        (R.PAUSING,           E.RESUMED,             R.RUNNING),
        (R.PAUSING,           E.CANCEL_REQUESTED,    R.CANCELLING),
        (R.PAUSING,           E.ABORT_REQUESTED,     R.ABORTING),
        (R.PAUSED,            E.RESUMED,             R.RUNNING),
        (R.PAUSED,            E.EDITED,              R.AWAITING_APPROVAL),
        (R.PAUSED,            E.CANCEL_REQUESTED,    R.CANCELLING),
        (R.PAUSED,            E.ABORT_REQUESTED,     R.ABORTING),
        (R.PAUSED,            E.REJECTED,            R.REJECTED),
        (R.PAUSED,            E.EXPIRED,             R.EXPIRED),
        (R.CANCELLING,        E.CANCELLED,           R.CANCELLED),
        (R.ABORTING,          E.CANCEL_REQUESTED,    R.CANCELLING),
        (R.ABORTING,          E.FAILED,              R.FAILED),
        (R.RUNNING,            E.ROLLBACK_STARTED,    R.ROLLING_BACK),
        (R.PAUSED,             E.ROLLBACK_STARTED,    R.ROLLING_BACK),
        (R.SUCCEEDED,          E.ROLLBACK_STARTED,    R.ROLLING_BACK),
        (R.PARTIALLY_SUCCEEDED,E.ROLLBACK_STARTED,    R.ROLLING_BACK),
        (R.FAILED,             E.ROLLBACK_STARTED,    R.ROLLING_BACK),
        (R.CANCELLED,          E.ROLLBACK_STARTED,    R.ROLLING_BACK),
        (R.REJECTED,           E.ROLLBACK_STARTED,    R.ROLLING_BACK),
        (R.EXPIRED,            E.ROLLBACK_STARTED,    R.ROLLING_BACK),
        (R.ROLLED_BACK,        E.ROLLBACK_STARTED,    R.ROLLING_BACK),
        (R.ROLLBACK_FAILED,    E.ROLLBACK_STARTED,    R.ROLLING_BACK),
        (R.ROLLING_BACK,      E.ROLLED_BACK,         R.ROLLED_BACK),
        (R.ROLLING_BACK,      E.ROLLBACK_FAILED,     R.ROLLBACK_FAILED),
    ),
    final=frozenset({
        R.SUCCEEDED, R.PARTIALLY_SUCCEEDED, R.FAILED, R.CANCELLED, R.REJECTED, R.EXPIRED,
        R.ROLLED_BACK, R.ROLLBACK_FAILED,
    }),
)

STEP_RUN: StateMachine[StepState, StepEvent] = StateMachine(
    name="step run",
    initial=S.PENDING,
    rows=(
        # from             on                 to
        (S.PENDING,       T.QUEUED,          S.QUEUED),
        (S.PENDING,       T.GATE_OPENED,     S.GATED),
        (S.PENDING,       T.RELEASED,        S.READY),
        (S.PENDING,       T.WAIT_STARTED,    S.WAITING),
        (S.PENDING,       T.STARTED,         S.RUNNING),
        (S.PENDING,       T.EXPANDED,        S.EXPANDED),
        (S.PENDING,       T.REOPENED,        S.EXPANDED),
        (S.PENDING,       T.SUCCEEDED,       S.SUCCEEDED),
        (S.PENDING,       T.REUSED,          S.SUCCEEDED),
        (S.PENDING,       T.FAILED,          S.FAILED),
        (S.PENDING,       T.SKIPPED,         S.SKIPPED),
        (S.PENDING,       T.SKIPPED_BY_CONDITION, S.SKIPPED_BY_CONDITION),
        (S.PENDING,       T.CANCELLED,       S.CANCELLED),
        (S.QUEUED,        T.ADMITTED,        S.PENDING),
        (S.QUEUED,        T.SKIPPED,         S.SKIPPED),
        (S.QUEUED,        T.CANCELLED,       S.CANCELLED),
        (S.GATED,         T.GATE_APPROVED,   S.READY),
        (S.GATED,         T.SUCCEEDED,       S.SUCCEEDED),
        (S.GATED,         T.GATE_REJECTED,   S.REJECTED),
        (S.GATED,         T.FAILED,          S.FAILED),
        (S.GATED,         T.GATE_VOIDED,     S.PENDING),
        (S.GATED,         T.SKIPPED,         S.SKIPPED),
        (S.GATED,         T.CANCELLED,       S.CANCELLED),
        (S.WAITING,       T.SUCCEEDED,       S.SUCCEEDED),
        (S.WAITING,       T.FAILED,          S.FAILED),
        (S.WAITING,       T.SKIPPED,         S.SKIPPED),
        (S.WAITING,       T.CANCELLED,       S.CANCELLED),
        (S.READY,         T.STARTED,         S.RUNNING),
        (S.READY,         T.GATE_VOIDED,     S.PENDING),
        (S.READY,         T.FAILED,          S.FAILED),
        (S.READY,         T.SKIPPED,         S.SKIPPED),
        (S.READY,         T.CANCELLED,       S.CANCELLED),
        (S.RUNNING,       T.SUCCEEDED,       S.SUCCEEDED),
        (S.RUNNING,       T.RETRY_LATER,     S.BACKOFF),
        (S.RUNNING,       T.FAILED,          S.FAILED),
        (S.RUNNING,       T.LEASE_LOST,      S.READY),
        (S.RUNNING,       T.NOT_STARTED,     S.READY),
        (S.RUNNING,       T.OUTCOME_UNKNOWN, S.INDETERMINATE),
        (S.RUNNING,       T.CANCELLED,       S.CANCELLED),
        (S.BACKOFF,       T.RELEASED,        S.READY),
        (S.BACKOFF,       T.SKIPPED,         S.SKIPPED),
        (S.BACKOFF,       T.CANCELLED,       S.CANCELLED),
        (S.EXPANDED,      T.SUCCEEDED,       S.SUCCEEDED),
        (S.EXPANDED,      T.FAILED,          S.FAILED),
        (S.EXPANDED,      T.CANCELLED,       S.CANCELLED),
        (S.INDETERMINATE, T.RESOLVED,        S.SUCCEEDED),
        (S.INDETERMINATE, T.FAILED,          S.FAILED),
        (S.INDETERMINATE, T.NOT_STARTED,     S.READY),
        (S.INDETERMINATE, T.DID_NOT_HAPPEN,  S.READY),
        (S.INDETERMINATE, T.CANCELLED,       S.CANCELLED),
        (S.FAILED,        T.FELL_BACK,       S.FALLING_BACK),
        (S.FAILED,        T.RETRIED,         S.PENDING),
        (S.FAILED,        T.SKIPPED_BY_USER, S.SKIPPED),
        (S.FAILED,        T.COMPLETED_BY_HAND, S.SUCCEEDED),
        (S.FALLING_BACK,  T.SUCCEEDED,       S.SUCCEEDED),
        (S.FALLING_BACK,  T.FAILED,          S.FAILED),
        (S.FALLING_BACK,  T.GATE_REJECTED,   S.REJECTED),
        (S.FALLING_BACK,  T.CANCELLED,       S.CANCELLED),
        (S.SKIPPED,       T.REVIVED,         S.PENDING),
        (S.REJECTED,      T.RETRIED,         S.PENDING),
        (S.REJECTED,      T.SKIPPED_BY_USER, S.SKIPPED),
        (S.REJECTED,      T.COMPLETED_BY_HAND, S.SUCCEEDED),
        (S.CANCELLED,     T.RETRIED,         S.PENDING),
        (S.SUCCEEDED,     T.COMPENSATED,     S.COMPENSATED),
        (S.SUCCEEDED,     T.COMPENSATION_FAILED, S.COMPENSATION_FAILED),
        (S.COMPENSATION_FAILED, T.COMPENSATED, S.COMPENSATED),
    ),
    final=frozenset({
        S.SUCCEEDED, S.FAILED, S.SKIPPED, S.SKIPPED_BY_CONDITION, S.REJECTED, S.CANCELLED,
        S.COMPENSATED, S.COMPENSATION_FAILED,
    }),
)

ATTEMPT: StateMachine[Phase, AttemptEvent] = StateMachine(
    name="attempt",
    initial=P.INTENT,
    rows=(
        # from      on             to
        (P.INTENT,  A.SUCCEEDED,   P.DONE),
        (P.INTENT,  A.FAILED,      P.FAILED),
        (P.INTENT,  A.NOT_STARTED, P.FENCED),
        (P.INTENT,  A.LOST,        P.LOST),
        (P.CLAIMED, A.LOST,        P.LOST),
    ),
    final=frozenset({P.DONE, P.FAILED, P.FENCED, P.LOST}),
)

DRY_RUN: StateMachine[DryRunState, DryRunEvent] = StateMachine(
    name="dry run",
    initial=D.QUEUED,
    rows=(
        # from       on               to
        (D.QUEUED,  V.CLAIMED,       D.RUNNING),
        (D.QUEUED,  V.GIVEN_UP,      D.INCOMPLETE),
        (D.RUNNING, V.FINISHED,      D.FINISHED),
        (D.RUNNING, V.LIMIT_REACHED, D.INCOMPLETE),
        (D.RUNNING, V.FAILED,        D.FAILED),
        (D.RUNNING, V.LEASE_LOST,    D.QUEUED),
        (D.RUNNING, V.GIVEN_UP,      D.INCOMPLETE),
    ),
    final=frozenset({D.FINISHED, D.INCOMPLETE, D.FAILED}),
)

ARTIFACT: StateMachine[ArtifactState, ArtifactEvent] = StateMachine(
    name="artifact version",
    initial=F.DRAFT,
    rows=(
        # from          on             to
        (F.DRAFT,       G.PROMOTED,    F.CURRENT),
        (F.DRAFT,       G.FORKED,      F.FORKED),
        (F.DRAFT,       G.WITHDRAWN,   F.WITHDRAWN),
        (F.DRAFT,       G.ARCHIVED,    F.ARCHIVED),
        (F.CURRENT,     G.SUPERSEDED,  F.SUPERSEDED),
        (F.CURRENT,     G.WITHDRAWN,   F.WITHDRAWN),
        (F.CURRENT,     G.ARCHIVED,    F.ARCHIVED),
        (F.FORKED,      G.SUPERSEDED,  F.SUPERSEDED),
        (F.FORKED,      G.ARCHIVED,    F.ARCHIVED),
        (F.SUPERSEDED,  G.WITHDRAWN,   F.WITHDRAWN),
        (F.SUPERSEDED,  G.RESTORED,    F.CURRENT),
        (F.SUPERSEDED,  G.FORK_RESTORED, F.FORKED),
        (F.SUPERSEDED,  G.ARCHIVED,    F.ARCHIVED),
        (F.WITHDRAWN,   G.ARCHIVED,    F.ARCHIVED),
    ),
    final=frozenset({F.ARCHIVED}),
)
# fmt: on

FINAL_RUN = RUN.final
PROCEEDING = frozenset({R.RUNNING, R.ROLLING_BACK})
"""States of runs whose ready steps workers may claim."""
FINAL_STEP = STEP_RUN.final
STOPPING_RUN = frozenset({R.PAUSING, R.CANCELLING, R.ABORTING})
"""States of runs that wait for their running steps."""
ENDING_RUN = frozenset({R.CANCELLING, R.ABORTING})
"""States of runs that end once their running steps have finished."""
FINAL_DRY_RUN = DRY_RUN.final
AT_WORK = frozenset({S.READY, S.RUNNING, S.BACKOFF})
"""States of steps that run, or will run without another decision."""
WITH_OUTPUT = frozenset({S.SUCCEEDED, S.COMPENSATED, S.COMPENSATION_FAILED})
"""States of steps that have succeeded, also if they were undone since."""
HELD = frozenset({S.QUEUED, S.GATED, S.WAITING, S.INDETERMINATE})
"""States of steps that wait for a user, a time or another run."""
UNSTARTED = S.PENDING, S.QUEUED, S.GATED, S.WAITING, S.READY, S.BACKOFF
"""States of steps that have not finished and are not running."""
HEADS = frozenset({F.CURRENT, F.FORKED})
"""States of the one version of an artifact that is in use."""
NUMBERED = HEADS | {F.SUPERSEDED}
"""States of versions that are or were the head of their chain."""
DELEGATED = frozenset({S.FALLING_BACK})
"""States of steps whose outcome is that of another step run."""
