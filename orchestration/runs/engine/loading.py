"""Load runs, and cache them in a worker between two steps.

A worker that continues a run does not read it again. When it writes, the database
compares the end of the run's stream, the run's version and the counter of what runs
depend on with the cached values, and refuses the change if any of them differs.
"""

from collections import OrderedDict
from collections.abc import Collection, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, cast
from uuid import UUID

from cachetools import LRUCache

from approvals import selectors as approvals
from approvals.domain.policy import Rule
from approvals.models import Gate
from approvals.proof import Held
from audit.services import LOCK_END, End
from execfabric.infra import database
from execfabric.lib.ids import scope_span
from orchestration.plans import selectors as plans
from orchestration.plans.domain import routing
from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.plans.domain.fallbacks import is_fallback
from orchestration.plans.domain.subplans import joined
from orchestration.plans.domain.undo import as_step, is_undo
from orchestration.plans.models import PlanRevision
from orchestration.runs.domain import rollback
from orchestration.runs.domain.progress import Progress, StepStatus
from orchestration.runs.domain.results import CHECKING
from orchestration.runs.domain.states import RunState, StepState
from orchestration.runs.engine import containers, queries
from orchestration.runs.engine.around import READ_AROUND, READ_OUTSIDE
from orchestration.runs.engine.store import RunVersions
from orchestration.runs.models import CONTAINERS, Run, StepRun, stream_of
from orchestration.skills.selectors import Pinned, pinned_from

CACHED_RUNS = 16
"""Runs that a worker caches; a row of a step is about 2 kB."""
CACHED_INPUTS = 64
"""Sub-plans of a cached run whose inputs are cached."""


@dataclass
class LoadedRun:
    """A run with everything that an attempt is checked against."""

    run: Run
    steps: dict[UUID, StepRun]
    """The step runs in plan order; outputs and files are read on demand."""
    end: End
    outside: int | None
    approval: Held | None
    """The plan gate and its decisions; None before the first gate."""
    proposer_active: bool
    """True if the account of the proposer, and of an agent's owner, is active."""
    any_policy: bool
    pinned: dict[str, Pinned]
    """The pinned skill versions by id."""
    stops: Collection[str] = ()
    """The skills whose steps must not start; an empty text for all steps."""
    proven_until: datetime | None = None
    """The expiry of the verified plan approval; None until it is verified."""
    subplan_inputs: MutableMapping[str, dict[str, Any]] = field(
        default_factory=lambda: LRUCache(CACHED_INPUTS)
    )
    """Inputs of sub-plans that were read last, by the digest of their spec."""

    def __post_init__(self) -> None:
        steps = self.steps.values()
        planned = [step for step in steps if not is_undo(step.key)]
        self._named = {
            self._name(step): step.id for step in planned if step.item is None
        }
        self.progress = Progress(
            map(self.status, planned),
            parallel_max=self.run.parallel_max,
            on_failure=self.document.on_failure,
        )
        self.index_undos()

    def index_undos(self) -> None:
        """Collect the undo steps: the step that completed last is undone first."""
        undos = [step for step in self.steps.values() if is_undo(step.key)]
        undos.sort(key=lambda undo: rollback.order_of(self.owner(undo).completed_seq))
        self.undos = Progress(map(self.status_of_undo, undos))
        """The undo steps in the order in which they run."""

    @property
    def active(self) -> Progress | None:
        """The steps that workers may claim now; None if the run does not proceed."""
        if self.run.state == RunState.ROLLING_BACK:
            return self.undos
        return self.progress if self.run.state == RunState.RUNNING else None

    def owner(self, undo: StepRun) -> StepRun:
        """Return the step that an undo step undoes."""
        return self.steps[cast(UUID, undo.parent_id)]

    def pin(self, step: StepRun) -> dict[str, Any]:
        """Return the skill version or the saved plan that a step is bound to, or {}."""
        bound = self.owner(step) if is_undo(step.key) else step
        pin: dict[str, Any] = self.run.pins.get(self.path(bound), {})
        return pin

    @cached_property
    def document(self) -> PlanDocument:
        return plans.document(self.run.revision)

    @cached_property
    def included(self) -> dict[str, PlanRevision]:
        """The revisions of sub-plans, by the paths of their plan steps."""
        return plans.included(self.run.pins)

    @cached_property
    def included_documents(self) -> dict[str, PlanDocument]:
        """The sub-plans, by the paths of their plan steps."""
        return {path: plans.document(row) for path, row in self.included.items()}

    @cached_property
    def includes_pinned(self) -> bool:
        """True if the stored sub-plans are those that the run is bound to."""
        return all(
            plans.content_digest(row) == self.run.pins[path]["digest"]
            for path, row in self.included.items()
        )

    @cached_property
    def plan_digest(self) -> str:
        return plans.content_digest(self.run.revision)

    @cached_property
    def rules(self) -> list[Rule]:
        return approvals.policies_in_force() if self.any_policy else []

    @property
    def versions(self) -> RunVersions:
        return self.run.version, self.outside

    def named(self, key: str, around: StepRun | None) -> StepRun | None:
        """Return the step run that references to a step of a plan resolve to.

        `around` is the plan step of a sub-plan; None for the plan of the run.
        """
        step_run_id = self._named.get((around.id if around else None, key))
        return self.steps[step_run_id] if step_run_id else None

    def around(self, step: StepRun) -> StepRun | None:
        """Return the plan step that a step is inside of; None in the plan of the run."""
        while step.parent_id is not None:
            parent = self.steps[step.parent_id]
            is_part = is_fallback(step.key) or is_undo(step.key)
            if step.item is None and not is_part:
                return parent
            step = parent
        return None

    def path(self, step: StepRun) -> str:
        """Return the ids of a step and of the plan steps around it: `auth/create`."""
        around = self.around(step)
        return joined(self.path(around), step.key) if around else step.key

    def title(self, step: StepRun) -> str:
        """Return the path of a step with the items of lists: `auth [3]/create`."""
        around = self.around(step)
        return joined(self.title(around), step.label) if around else step.label

    def place_of(self, step: StepRun) -> dict[str, Any]:
        """Return the item, the container, the path and the scope of an added step."""
        place = step.instance()
        del place["step"]
        if around := self.around(step):
            place["path"] = self.title(step)
            place["scope"] = scope_span(self.run.trace_id, around.id)
        return place

    def session_of(self, step: StepRun) -> str:
        """Return the session of a sub-plan: of a plan step, or of the one around a step.

        It is empty for a step in the plan of the run.
        """
        own = step if step.has_session else self.around(step)
        return scope_span(self.run.trace_id, own.id) if own else ""

    def plan_of(self, step: StepRun) -> PlanDocument:
        """Return the plan that a step is written in."""
        around = self.around(step)
        return self.inside(around) if around else self.document

    def inside(self, step: StepRun) -> PlanDocument:
        """Return the sub-plan that a plan step runs."""
        return self.included_documents[self.path(step)]

    def planned(self, step: StepRun) -> StepDocument:
        if is_undo(step.key):
            pinned = self.pinned.get(self.pin(step).get("version_id", ""))
            readable = pinned.readable if pinned else None
            return as_step(self.planned(self.owner(step)), readable)
        return self.plan_of(step).by_key[step.key]

    def router_of(self, step: StepRun) -> StepRun | None:
        """Return the choose step that decides whether a step runs, if any."""
        key = self.plan_of(step).routers.get(step.key)
        return self.named(key, self.around(step)) if key else None

    def _name(self, step: StepRun) -> tuple[UUID | None, str]:
        around = self.around(step)
        return around.id if around else None, step.key

    def update(self, step: StepRun) -> None:
        """Replace or add a step run; `index_undos` follows added undo steps."""
        if step.id in self.steps:
            self.moved(step)
        elif not is_undo(step.key):
            self.progress.add(self.status(step))
            if step.item is None:
                self._named[self._name(step)] = step.id
        self.steps[step.id] = step

    def moved(self, step: StepRun) -> None:
        """Update the progress with the state of a step run."""
        progress = self.undos if is_undo(step.key) else self.progress
        progress.moved(
            step.id, StepState(step.state), _error_code(step), self._chosen(step)
        )

    def status_of_undo(self, step: StepRun) -> StepStatus:
        name, state = self.title(step), StepState(step.state)
        return StepStatus(step.id, name, state, error=_error_code(step))

    def status(self, step: StepRun) -> StepStatus:
        """Return a step run for the decider; an item has no trigger rule of its own."""
        document, around = self.plan_of(step), self.around(step)
        planned, scope = document.by_key[step.key], around.id if around else None
        is_part = step.item is not None or is_fallback(step.key)
        parents = () if is_part else document.counted(planned)
        router = "" if is_part else document.routers.get(step.key, "")
        inside = self.inside(step) if step.kind == planned.kind == "plan" else None
        rule, at_least = ("all_success", 0) if is_part else routing.rule_of(planned)
        return StepStatus(
            key=step.id,
            name=self.title(step),
            state=StepState(step.state),
            depends_on=tuple(self._named[scope, key] for key in parents),
            trigger_rule=rule,
            error=_error_code(step),
            at_least=at_least,
            router=self._named[scope, router] if router else None,
            chosen=self._chosen(step),
            parent=step.parent_id,
            group=containers.group_of(step, planned, inside),
            has_fallback=planned.fallback is not None and step.kind not in CONTAINERS,
            on_error=planned.on_error or "",
        )

    def _chosen(self, step: StepRun) -> frozenset[str]:
        """Return what a choose step has chosen, by the names that the decider uses."""
        chosen = chosen_by(step)
        around = self.around(step) if chosen else None
        if around is None:
            return chosen
        return frozenset(joined(self.title(around), key) for key in chosen)


class RunCache:
    """The runs that a worker used last. Not safe for threads."""

    def __init__(self, size: int = CACHED_RUNS) -> None:
        self._size = size
        self.taken = self.refused = 0
        """The numbers of written and of refused optimistic changes."""
        self._runs: OrderedDict[UUID, LoadedRun] = OrderedDict()

    def pop(self, run_id: UUID) -> LoadedRun | None:
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
    cursors = database.pipelined(
        [
            (LOCK_END, [stream_of(run_id)]),
            (queries.LOCK_RUN, [run_id]),
            (READ_AROUND, [run_id]),
            (queries.READ_REVISION, [run_id]),
            (queries.READ_STEPS, [run_id]),
            (queries.READ_PINNED, [run_id]),
            (queries.READ_GATE, [run_id]),
            (queries.READ_DECISIONS, [run_id]),
            (queries.READ_VOTERS, [run_id]),
        ]
    )
    end, run_row, around, revision, steps, pinned, gate, decided, voted = (
        cursor.fetchall() for cursor in cursors
    )
    if not run_row:
        return None
    run = database.instance(Run, run_row[0])
    run.revision = database.instance(
        PlanRevision, revision[0], but=queries.NOT_OF_REVISION
    )
    outside, any_policy, proposer_active, stops = around[0]
    approval = None
    if gate:
        approval = approvals.held_from(database.instance(Gate, gate[0]), decided, voted)
    return LoadedRun(
        run=run,
        steps={step.id: step for step in queries.steps_from(steps)},
        end=queries.end_from(end, run.stream),
        outside=outside,
        approval=approval,
        proposer_active=proposer_active is True,
        any_policy=any_policy is True,
        pinned=pinned_from(pinned),
        stops=stops or (),
    )


def refresh(cached: LoadedRun, *, lock: bool) -> bool:
    """Update a cached run with newly written rows; return False to reload it.

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
                (queries.LOCK_RUN.removesuffix(locked), [run_id]),
                (READ_OUTSIDE, []),
                (queries.READ_WRITTEN_STEPS, [run_id, seq, stream, seq]),
            ]
        )
    )
    if not run_row:
        return False
    run = database.instance(Run, run_row[0])
    if (run.version, outside[0][0]) != cached.versions:
        return False
    written = queries.steps_from(steps)
    if any(_adds_steps(cached, step) for step in written):
        return False
    if RunState.ROLLING_BACK in {run.state} - {cached.run.state}:
        return False  # no event names the undo steps that were added
    if run.revision_id != cached.run.revision_id:
        return False  # edited since
    run.revision = cached.run.revision
    cached.run, cached.end = run, queries.end_from(end, stream)
    for step in written:
        cached.update(step)
    return True


def _adds_steps(cached: LoadedRun, step: StepRun) -> bool:
    """Return True if a written step has brought steps that the cached run lacks.

    Added steps are not among the written ones until they move. Without them a container
    would end before they have run.
    """
    known = cached.steps.get(step.id)
    if known is None:
        return True
    if step.state == StepState.FALLING_BACK:
        return cached.progress.fallback_of(step.id) is None
    is_expanded = step.kind in CONTAINERS and step.started_at is not None
    return is_expanded and known.started_at is None


def _error_code(step: StepRun) -> str:
    if step.probe_at is not None:
        return CHECKING
    return str((step.error or {}).get("code", ""))


def chosen_by(step: StepRun) -> frozenset[str]:
    """Return the steps that a choose step has chosen."""
    return frozenset((step.condition or {}).get("then", ()))
