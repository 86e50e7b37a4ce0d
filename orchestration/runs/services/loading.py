"""Reading a run under its lock, and what a worker remembers of it between two steps.

A worker that goes on with a run need not read it again if nothing of it was touched
since. Nothing is taken on trust: under the lock the row versions of all that was read
are compared, so whoever changed something, by whatever way, has it read anew.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from approvals import selectors as approvals
from approvals.models import Gate
from approvals.selectors import (
    ANY_POLICY,
    DECISIONS,
    GATE_ROW,
    GATE_VERSION,
    VOTERS,
    Held,
)
from audit.errors import StreamUnknown
from audit.services import LOCK_END, End
from execfabric import database
from orchestration.plans.models import PlanRevision
from orchestration.runs.models import Run, StepRun, stream_of
from orchestration.skills.selectors import PINNED, PINNED_ROWS, Pinned, pinned_from

REMEMBERED = 16
"""Runs that a worker remembers; a row of a step is about 2 kB."""

_NOT_OF_STEP = ("output", "files")
_NOT_OF_REVISION = ("source",)
_READ_RUN = (
    f"SELECT {database.columns(Run, prefix='run')}, run.xmin::text"
    " FROM runs_run AS run WHERE run.id = %s FOR UPDATE"
)
_READ_REVISION = (
    f"SELECT {database.columns(PlanRevision, but=_NOT_OF_REVISION)}, xmin::text"
    " FROM plans_planrevision"
    " WHERE id = (SELECT revision_id FROM runs_run WHERE id = %s)"
)
_READ_STEPS = (
    f"SELECT {database.columns(StepRun, prefix='step', but=_NOT_OF_STEP)},"
    " step.xmin::text"
    " FROM runs_steprun AS step WHERE step.run_id = %s ORDER BY step.position"
)
_READ_SOME_STEPS = _READ_STEPS.replace(" ORDER", " AND step.key = ANY(%s) ORDER")
_GATE_OF_RUN = "(SELECT gate_id FROM runs_run WHERE id = %s)"
_READ_GATE = f"{GATE_ROW} {_GATE_OF_RUN}"
_READ_DECISIONS = DECISIONS.replace("%s", _GATE_OF_RUN)
_READ_VOTERS = VOTERS.replace("%s", _GATE_OF_RUN)
# Fails closed: a proposer of any other kind has no account that could be active.
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
_READ_PINNED = (
    f"{PINNED} (SELECT (pin.value ->> 'version_id')::uuid FROM runs_run AS run,"
    " jsonb_each(run.pins) AS pin WHERE run.id = %s)"
)
_LOCK = (
    "SELECT run.xmin::text, stream.last_seq, stream.head FROM runs_run AS run"
    " JOIN audit_stream AS stream ON stream.key = %s"
    " WHERE run.id = %s FOR UPDATE OF run, stream"
)
# Behind the lock, in a statement of its own: it sees what the last holder wrote.
_LOOK = (
    "SELECT (SELECT xmin::text FROM plans_planrevision WHERE id = %s),"
    f" ({GATE_VERSION} %s), ({PINNED_ROWS} ANY(%s)), ({ANY_POLICY}),"
    " (SELECT string_agg(xmin::text, ' ' ORDER BY position)"
    "   FROM runs_steprun WHERE run_id = %s)"
)


@dataclass
class Seen:
    """The row versions of what was read."""

    run: str
    revision: str
    gate: str | None
    pins: str | None
    steps: dict[str, str]
    """By step key, in the order of the plan."""


@dataclass
class Loaded:
    """A run under its lock, and what stood in the database at that moment."""

    run: Run
    steps: dict[str, StepRun]
    """By key, in the order of the plan, without outputs and files: read on demand."""
    end: End
    """The end of its stream, locked."""
    approval: Held | None
    """Its plan gate with the decisions on it; None before its first gate."""
    proposer_active: bool
    """Whether the proposer's account, and an agent's owner's, is active now."""
    any_policy: bool
    pinned: dict[str, Pinned]
    """The skill versions that its steps are bound to, by id."""
    seen: Seen


class Memory:
    """The runs that a worker worked on last. Of one process, and one thread."""

    def __init__(self) -> None:
        self._kept: OrderedDict[UUID, Loaded] = OrderedDict()

    def take(self, run_id: UUID) -> Loaded | None:
        """What is remembered of a run, which is forgotten by that."""
        return self._kept.pop(run_id, None)

    def keep(self, loaded: Loaded) -> None:
        """Remember a run as it was committed, without what steps yielded."""
        for step in loaded.steps.values():
            if "output" in step.__dict__:
                for name in _NOT_OF_STEP:
                    step.__dict__.pop(name, None)
        self._kept[loaded.run.id] = loaded
        while len(self._kept) > REMEMBERED:
            self._kept.popitem(last=False)


def load(run_id: UUID, memory: Memory | None = None) -> Loaded | None:
    """Lock a run and read it with all that an attempt is checked against.

    Each statement sees what was committed when it starts, so those behind the lock
    see what its last holder wrote.

    :raises StreamUnknown: when the run has no stream
    """
    known = memory.take(run_id) if memory else None
    if known is not None and _brought_up_to_date(known):
        return known
    return _read(run_id)


def _read(run_id: UUID) -> Loaded | None:
    cursors = database.pipelined(
        [
            (_READ_RUN, [run_id]),
            (_READ_REVISION, [run_id]),
            (_READ_STEPS, [run_id]),
            (LOCK_END, [stream_of(run_id)]),
            (ANY_POLICY, []),
            (_READ_PINNED, [run_id]),
            (_PROPOSER_ACTIVE, [run_id]),
            (_READ_GATE, [run_id]),
            (_READ_DECISIONS, [run_id]),
            (_READ_VOTERS, [run_id]),
        ]
    )
    run_row, revision, step_rows, end, policy, pinned, active, *approval = cursors
    row = run_row.fetchone()
    if row is None:
        return None
    *values, run_version = row
    run = database.instance(Run, values)
    *values, revision_version = revision.fetchone() or ()
    run.revision = database.instance(PlanRevision, values, but=_NOT_OF_REVISION)
    steps, versions = _steps(step_rows.fetchall())
    pins = pinned_from(pinned.fetchall())
    gate_row, decided, voted = (cursor.fetchall() for cursor in approval)
    gate, gate_version = _gate(gate_row)
    seen = Seen(run_version, revision_version, gate_version, _rows_of(pins), versions)
    return Loaded(
        run=run,
        steps=steps,
        end=_end(end.fetchone(), run.stream),
        approval=approvals.held_from(gate, decided, voted) if gate else None,
        proposer_active=active.fetchone() == (True,),
        any_policy=policy.fetchone() == (True,),
        pinned=pins,
        seen=seen,
    )


def _brought_up_to_date(known: Loaded) -> bool:
    """Lock the run; whether what is remembered of it is what stands there now."""
    run, seen = known.run, known.seen
    pins = [*map(UUID, known.pinned)]
    # Who may decide changes without touching a row of the run: read each time.
    lock, look, active, decided, voted = database.pipelined(
        [
            (_LOCK, [run.stream, run.id]),
            (_LOOK, [run.revision_id, run.gate_id, pins, run.id]),
            (_PROPOSER_ACTIVE, [run.id]),
            (DECISIONS, [run.gate_id]),
            (VOTERS, [run.gate_id]),
        ]
    )
    locked, looked = lock.fetchone(), look.fetchone()
    if locked is None or looked is None:
        return False
    *rows, known.any_policy, steps = looked
    if (locked[0], *rows) != (seen.run, seen.revision, seen.gate, seen.pins):
        return False
    known.end = _end(locked[1:], run.stream)
    known.proposer_active = active.fetchone() == (True,)
    if known.approval is not None:
        gate = known.approval.gate
        known.approval = approvals.held_from(gate, decided.fetchall(), voted.fetchall())
    return _steps_brought_up_to_date(known, (steps or "").split())


def _steps_brought_up_to_date(known: Loaded, versions: list[str]) -> bool:
    """Read the steps that somebody else has written; whether they are still the same.

    Versions come in the order of positions, so they belong to the keys as they were
    read only while no step has another key or place.
    """
    seen = known.seen.steps
    if len(versions) != len(seen):
        return False
    pairs = zip(seen.items(), versions, strict=True)
    changed = [key for (key, version), now in pairs if version != now]
    if not changed:
        return True
    steps, read = _steps(database.rows(_READ_SOME_STEPS, [known.run.id, changed]))
    known.steps |= steps
    seen |= read
    places = [step.position for step in known.steps.values()]
    return len(steps) == len(changed) and places == sorted(set(places))


def _steps(rows: Sequence[database.Row]) -> tuple[dict[str, StepRun], dict[str, str]]:
    steps, versions = {}, {}
    for *values, version in rows:
        step = database.instance(StepRun, values, but=_NOT_OF_STEP)
        steps[step.key], versions[step.key] = step, version
    return steps, versions


def _gate(rows: Sequence[database.Row]) -> tuple[Gate | None, str | None]:
    for *values, version in rows:
        return database.instance(Gate, values), version
    return None, None


def _rows_of(pinned: dict[str, Pinned]) -> str | None:
    return " ".join(pinned[key].rows for key in sorted(pinned)) or None


def _end(row: Sequence[Any] | None, stream: str) -> End:
    if row is None:
        raise StreamUnknown(stream=stream)
    return End(int(row[0]), bytes(row[1]))
