"""Load runs, and cache them in a worker between two steps.

A worker that continues a run does not read it again. When it writes, the database
compares the end of the run's stream, the run's version and the counter of what runs
depend on with the cached values, and refuses the change if any of them differs.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from approvals import selectors as approvals
from approvals.domain.policy import Rule
from approvals.models import Gate
from approvals.selectors import ANY_POLICY, DECISIONS, GATE_ROW, VOTERS, Held
from audit.errors import StreamUnknown
from audit.services import LOCK_END, End
from execfabric.infra import database
from orchestration.plans import selectors as plans
from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.plans.models import PlanRevision
from orchestration.runs.domain.progress import Progress, StepStatus
from orchestration.runs.domain.states import StepState
from orchestration.runs.engine.store import RunVersions
from orchestration.runs.models import Run, StepRun, stream_of
from orchestration.skills.selectors import PINNED, Pinned, pinned_from

CACHED_RUNS = 16
"""Runs that a worker caches; a row of a step is about 2 kB."""

_NOT_OF_STEP = ("output", "files")
_NOT_OF_REVISION = ("source",)
_LOCK_RUN = (
    f"SELECT {database.columns(Run, prefix='run')} FROM runs_run AS run"
    " WHERE run.id = %s FOR UPDATE"
)
_READ_REVISION = (
    f"SELECT {database.columns(PlanRevision, but=_NOT_OF_REVISION)}"
    " FROM plans_planrevision"
    " WHERE id = (SELECT revision_id FROM runs_run WHERE id = %s)"
)
_READ_STEPS = (
    f"SELECT {database.columns(StepRun, prefix='step', but=_NOT_OF_STEP)}"
    " FROM runs_steprun AS step WHERE step.run_id = %s ORDER BY step.position"
)
# The events since `seq` name the steps that were written.
_READ_WRITTEN_STEPS = _READ_STEPS.replace(
    " ORDER",
    " AND step.seq > %s AND step.key IN"
    " (SELECT step FROM audit_event WHERE stream = %s AND seq > %s) ORDER",
)
_GATE_OF_RUN = "(SELECT gate_id FROM runs_run WHERE id = %s)"
_READ_GATE = f"{GATE_ROW} {_GATE_OF_RUN}"
_READ_DECISIONS = DECISIONS.replace("%s", _GATE_OF_RUN)
_READ_VOTERS = VOTERS.replace("%s", _GATE_OF_RUN)
# Fails closed: a proposer of any other kind is never active.
_PROPOSER_ACTIVE = """
SELECT CASE split_part(proposer, ':', 1)
  WHEN 'user' THEN EXISTS (SELECT FROM accounts_user AS person
    WHERE person.is_active AND person.id = split_part(proposer, ':', 2)::bigint)
  WHEN 'agent' THEN EXISTS (SELECT FROM accounts_agent AS agent
    JOIN accounts_user AS owner ON owner.id = agent.owner_id
    WHERE agent.is_active AND owner.is_active
    AND agent.id = split_part(proposer, ':', 2)::bigint)
  ELSE false END
FROM runs_run WHERE id = %s
"""
_READ_OUTSIDE = "SELECT value FROM runs_outside"
_READ_AROUND = f"SELECT ({_READ_OUTSIDE}), ({ANY_POLICY}), ({_PROPOSER_ACTIVE})"
_READ_PINNED = (
    f"{PINNED} (SELECT (pin.value ->> 'version_id')::uuid FROM runs_run AS run,"
    " jsonb_each(run.pins) AS pin WHERE run.id = %s)"
)


@dataclass
class LoadedRun:
    """A run with everything that an attempt is checked against."""

    run: Run
    steps: dict[UUID, StepRun]
    """In plan order. Outputs and files are left out and read on demand."""
    progress: Progress
    end: End
    outside: int | None
    approval: Held | None
    """The plan gate and its decisions; None before the first gate."""
    proposer_active: bool
    """True if the account of the proposer, and of an agent's owner, is active."""
    any_policy: bool
    pinned: dict[str, Pinned]
    """The pinned skill versions by id."""
    proven_until: datetime | None = None
    """The expiry of the verified plan approval; None until it is verified."""
    _named: dict[str, UUID] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for step in self.steps.values():
            if step.item is None and step.parent_id is None:
                self._named[step.key] = step.id

    @cached_property
    def document(self) -> PlanDocument:
        """Return the parsed plan."""
        return plans.document(self.run.revision)

    @cached_property
    def plan_digest(self) -> str:
        """Return the digest of the stored plan."""
        return plans.content_digest(self.run.revision)

    @cached_property
    def rules(self) -> list[Rule]:
        """Return the rules of the policies in force."""
        return approvals.policies_in_force() if self.any_policy else []

    @property
    def versions(self) -> RunVersions:
        """Return the versions that an optimistic change compares."""
        return RunVersions(self.run.version, self.outside)

    def named(self, key: str) -> StepRun | None:
        """Return the step run that references to this plan step resolve to."""
        step_run_id = self._named.get(key)
        return self.steps[step_run_id] if step_run_id else None

    def update(self, step: StepRun) -> None:
        """Replace or add a step run."""
        if step.id in self.steps:
            state = StepState(step.state)
            self.progress.moved(step.id, state, error_code(step))
        else:
            self.progress.add(_view(step, self.document.by_id(), self._named))
        self.steps[step.id] = step


class RunCache:
    """The runs that a worker used last. Not safe for threads."""

    def __init__(self, size: int = CACHED_RUNS) -> None:
        self._size = size
        self.taken = self.refused = 0
        """The numbers of optimistic changes that were written and refused."""
        self._runs: OrderedDict[UUID, LoadedRun] = OrderedDict()

    def pop(self, run_id: UUID) -> LoadedRun | None:
        """Remove and return a cached run."""
        return self._runs.pop(run_id, None)

    def put(self, loaded: LoadedRun) -> None:
        """Cache a run as it was committed."""
        self._runs[loaded.run.id] = loaded
        while len(self._runs) > self._size:
            self._runs.popitem(last=False)


def load(run_id: UUID, cached: LoadedRun | None = None) -> LoadedRun | None:
    """Lock a run and load it, refreshing the `cached` copy if that is possible.

    Each statement sees what was committed when it starts, so those after the lock see
    what its last holder wrote.

    :raises StreamUnknown: when the run has no stream
    """
    if cached is not None and refresh(cached, lock=True):
        return cached
    return _read(run_id)


def _read(run_id: UUID) -> LoadedRun | None:
    cursors = database.pipelined(
        [
            (LOCK_END, [stream_of(run_id)]),
            (_LOCK_RUN, [run_id]),
            (_READ_AROUND, [run_id]),
            (_READ_REVISION, [run_id]),
            (_READ_STEPS, [run_id]),
            (_READ_PINNED, [run_id]),
            (_READ_GATE, [run_id]),
            (_READ_DECISIONS, [run_id]),
            (_READ_VOTERS, [run_id]),
        ]
    )
    end, run_row, around, revision, steps, pinned, *gate = (
        cursor.fetchall() for cursor in cursors
    )
    if not run_row:
        return None
    run = database.instance(Run, run_row[0])
    run.revision = database.instance(PlanRevision, revision[0], but=_NOT_OF_REVISION)
    read = _steps(steps)
    outside, any_policy, proposer_active = around[0]
    return LoadedRun(
        run=run,
        steps={step.id: step for step in read},
        progress=_progress(run, read),
        end=_end(end, run.stream),
        outside=outside,
        approval=_held(*gate),
        proposer_active=proposer_active is True,
        any_policy=any_policy is True,
        pinned=pinned_from(pinned),
    )


def refresh(cached: LoadedRun, *, lock: bool) -> bool:
    """Read the new events' rows into a cached run; return False if more has changed.

    Without the lock, rows may be newer than the end of the stream, which is read first.
    The database refuses a change that is based on that.
    """
    run_id, stream, seq = cached.run.id, cached.run.stream, cached.end.seq
    locked = "" if lock else " FOR UPDATE"
    end, run_row, outside, steps = (
        cursor.fetchall()
        for cursor in database.pipelined(
            [
                (LOCK_END.removesuffix(locked), [stream]),
                (_LOCK_RUN.removesuffix(locked), [run_id]),
                (_READ_OUTSIDE, []),
                (_READ_WRITTEN_STEPS, [run_id, seq, stream, seq]),
            ]
        )
    )
    if not run_row:
        return False
    run = database.instance(Run, run_row[0])
    if RunVersions(run.version, _outside(outside)) != cached.versions:
        return False
    run.revision = cached.run.revision
    cached.run, cached.end = run, _end(end, stream)
    for step in _steps(steps):
        cached.update(step)
    return True


def error_code(step: StepRun) -> str:
    """Return the code of a step's stored error, or ""."""
    return str((step.error or {}).get("code", ""))


def _progress(run: Run, steps: Sequence[StepRun]) -> Progress:
    """Index the steps of a run, given in plan order."""
    document = plans.document(run.revision)
    planned, named = document.by_id(), {step.key: step.id for step in reversed(steps)}
    return Progress(
        [_view(step, planned, named) for step in steps],
        parallel_max=run.parallel_max,
        on_failure=document.on_failure,
    )


def _view(
    step: StepRun, planned: Mapping[str, StepDocument], named: Mapping[str, UUID]
) -> StepStatus:
    """Return a step run as the decider sees it; an added one has no dependencies."""
    of_plan = planned[step.key]
    is_added = step.item is not None or step.parent_id is not None
    return StepStatus(
        key=step.id,
        name=step.key,
        state=StepState(step.state),
        depends_on=() if is_added else tuple(named[key] for key in of_plan.depends_on),
        trigger_rule=of_plan.trigger_rule,
        error=error_code(step),
    )


def _steps(rows: Iterable[database.Row]) -> list[StepRun]:
    return [database.instance(StepRun, row, but=_NOT_OF_STEP) for row in rows]


def _held(
    gate: Sequence[database.Row],
    decided: Iterable[database.Row],
    voted: Iterable[database.Row],
) -> Held | None:
    for row in gate:
        return approvals.held_from(database.instance(Gate, row), decided, voted)
    return None


def _outside(rows: Sequence[Any]) -> int | None:
    return int(rows[0][0]) if rows else None


def _end(rows: Sequence[Any], stream: str) -> End:
    if not rows:
        raise StreamUnknown(stream=stream)
    return End(int(rows[0][0]), bytes(rows[0][1]))
