"""Reading runs: each read starts from what the asker may see."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Count, Q, QuerySet

from approvals import selectors as approvals
from approvals.domain.states import OPEN
from approvals.models import Gate
from execfabric import database
from execfabric.accounts.authority import Right, rights_of
from execfabric.accounts.models import User
from execfabric.lib.actor import Actor, ActorKind
from orchestration.plans import selectors as plans
from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.runs.domain.states import FINAL_RUN, RunState, StepState
from orchestration.runs.domain.sweeping import PATIENCE
from orchestration.runs.errors import (
    ArtifactUnknown,
    DryRunUnknown,
    RunUnknown,
    StepUnknown,
)
from orchestration.runs.models import (
    Artifact,
    ArtifactUse,
    Attempt,
    DryRun,
    Run,
    StepRun,
    SweepFailure,
)
from orchestration.skills import selectors as skills
from orchestration.skills.domain.contract import ActionContract, SkillContract

LARGE = frozenset({"inputs", "pins", "revision__body", "revision__source"})
"""Columns of a run that a page reads only where it shows them."""
PLANNED = frozenset({"pins", "revision__body"})
"""Those of them that say what a step does."""
CONTENT = ("output", "files", "error")
"""Columns of a step that its line in a list does not show."""


@dataclass(frozen=True)
class StepDetail:
    """One step of a run with everything that its page shows."""

    step_run: StepRun
    step: StepDocument
    on_failure: str
    """What the plan says of a failure."""
    version: str
    """The skill version it was approved with; empty for a step without a skill."""
    action: ActionContract | None
    contract: SkillContract | None
    gate: Gate | None
    attempts: list[Attempt]
    files: list[ArtifactUse]


@dataclass(frozen=True)
class RunDetail:
    """A run with all that its steps hold."""

    run: Run
    gate: Gate | None
    """The plan gate in force."""
    steps: list[StepDetail]


def visible_to(by: Actor) -> QuerySet[Run]:
    """The runs that `by` may see: all, or what they or their agents proposed."""
    runs = Run.objects.select_related("revision__plan")
    if Right.SEE_ALL in rights_of(by):
        return runs
    if by.kind is ActorKind.USER:
        return runs.filter(Q(proposer=by.key) | Q(proposer_owner=by.key))
    if by.kind is ActorKind.AGENT:
        return runs.filter(proposer=by.key)
    return runs.none()


def get(by: Actor, run_id: UUID) -> Run:
    """One visible run.

    :raises RunUnknown: when there is none, or `by` may not see it
    """
    run = visible_to(by).filter(pk=run_id).first()
    if run is None:
        raise RunUnknown(run=str(run_id))
    return run


def outline(by: Actor, run_id: UUID, *, needs: Collection[str] = ()) -> Run:
    """One visible run; of its large columns only what the caller `needs`.

    :raises RunUnknown: when there is none, or `by` may not see it
    """
    light = visible_to(by).defer(*LARGE - set(needs))
    run = light.filter(pk=run_id).first()
    if run is None:
        raise RunUnknown(run=str(run_id))
    return run


def step_states(run: Run) -> Counter[str]:
    """How many steps of a run are in each state."""
    counted = run.steps.order_by().values_list("state").annotate(count=Count("pk"))
    return Counter(dict(counted))


def step_lines(
    run: Run, first: int, end: int, *, keys: Collection[str] | None = None
) -> list[StepRun]:
    """The steps between two places without their content; only `keys`, where given."""
    lines = run.steps.filter(position__gte=first, position__lt=end)
    if keys is not None:
        lines = lines.filter(key__in=keys)
    return list(lines.defer(*CONTENT).order_by("position"))


def steps_in(run: Run, states: Collection[StepState], *, limit: int) -> list[StepRun]:
    """The first steps in one of these states, without their content."""
    found = run.steps.filter(state__in=states).defer(*CONTENT)
    return list(found.order_by("position")[:limit])


def gates_by_id(run: Run, ids: Collection[UUID]) -> dict[UUID, Gate]:
    """These gates of a run, without their content."""
    if not ids:
        return {}
    found = approvals.of_context(run.pk).filter(pk__in=ids).defer("subject")
    return {gate.pk: gate for gate in found}


def sweep_failure(run: Run) -> SweepFailure | None:
    """Return why the keeper leaves a run alone; None when it does not."""
    if RunState(run.state) in FINAL_RUN:
        return None
    found = SweepFailure.objects.filter(subject=run.pk, failures__gte=PATIENCE)
    return found.first()


def open_gates(run: Run) -> QuerySet[Gate]:
    """The gates of a run that wait for a decision, oldest first, without their content."""
    return approvals.of_context(run.pk).filter(status__in=OPEN).defer("subject")


def dry_run(by: Actor, dry_run_id: UUID) -> DryRun:
    """Return a dry run of a visible run, or one that `by` or their agent asked for.

    :raises DryRunUnknown: when there is none, or `by` may not see it
    """
    row = DryRun.objects.select_related("run__revision__plan").filter(pk=dry_run_id)
    found = row.first()
    if found is None or not _may_see(by, found):
        raise DryRunUnknown(dry_run=str(dry_run_id))
    return found


def dry_run_of(run: Run) -> DryRun | None:
    """Return the dry run of a proposed run; None for one of an older release."""
    return DryRun.objects.filter(run=run).first()


def _may_see(by: Actor, row: DryRun) -> bool:
    if row.run_id is not None:
        return visible_to(by).filter(pk=row.run_id).exists()
    return by.key in {row.actor, row.actor_owner}


def step(by: Actor, run_id: UUID, key: str) -> StepDetail:
    """One step of a visible run.

    :raises RunUnknown: when there is no such run for `by`
    :raises StepUnknown: when the run has no such step
    """
    run = outline(by, run_id, needs=PLANNED)
    row = run.steps.select_related("spec").filter(key=key).first()
    if row is None:
        raise StepUnknown(run=str(run_id), step=key)
    gates = gates_by_id(run, {row.gate_id} if row.gate_id else set())
    [found] = _details(run, [row], plans.document(run.revision), gates)
    return found


_LOG_DIGEST = """
SELECT max("offset" + length(text)), encode(sha256(convert_to(string_agg(
  "offset" || ':' || coalesce(line, -1) || ':' || extract(epoch FROM at) || ':' || text,
  chr(10) ORDER BY "offset"
), 'UTF8')), 'hex')
FROM runs_logchunk WHERE step_run_id = %s AND fence = %s AND "offset" < %s
"""


def log_digest(step_run_id: UUID, fence: int, *, until: int | None = None) -> str:
    """The end and the digest of what an attempt wrote; empty if it wrote nothing."""
    last = 2**62 if until is None else until
    found = database.row(_LOG_DIGEST, [step_run_id, fence, last])
    return f"{found[0]}:{found[1]}" if found and found[1] else ""


def artifact_visible_to(by: Actor, sha256: str) -> Artifact:
    """A file that a visible run yielded or was given.

    :raises ArtifactUnknown: when there is none, or `by` may not see it
    """
    uses = ArtifactUse.objects.filter(step_run__run__in=visible_to(by))
    found = Artifact.objects.filter(sha256=sha256, uses__in=uses).first()
    if found is None:
        raise ArtifactUnknown(sha256=sha256)
    return found


def detail(by: Actor, run_id: UUID) -> RunDetail:
    """A visible run with all that its steps hold.

    :raises RunUnknown: when there is none, or `by` may not see it
    """
    run = get(by, run_id)
    rows = list(run.steps.select_related("spec").order_by("position"))
    gates = {gate.pk: gate for gate in approvals.of_context(run.pk).defer("subject")}
    return RunDetail(
        run=run,
        gate=gates.get(run.gate_id) if run.gate_id else None,
        steps=_details(run, rows, plans.document(run.revision), gates),
    )


def name_of(owner: str) -> str:
    """The name of an agent's owner (`user:7`) now; the key where the account is gone."""
    if not owner:
        return ""
    pk = owner.removeprefix("user:")
    found = User.objects.filter(pk=pk).values_list("username", flat=True).first()
    return found or owner


def _details(
    run: Run,
    rows: list[StepRun],
    document: PlanDocument,
    gates: Mapping[UUID, Gate],
) -> list[StepDetail]:
    tries, files = _attempts_by_step(rows), _files_by_step(rows)
    pins = [run.pins[row.key] for row in rows if row.key in run.pins]
    pinned = skills.pinned(pin["version_id"] for pin in pins)

    def shown(row: StepRun) -> StepDetail:
        pin: dict[str, Any] = run.pins.get(row.key, {})
        version = pinned.get(pin.get("version_id", ""))
        asked = document.step(row.key)
        return StepDetail(
            step_run=row,
            step=asked,
            on_failure=document.on_failure,
            version=pin.get("version", ""),
            action=version.action(asked.action) if version else None,
            contract=version.readable if version else None,
            gate=gates.get(row.gate_id) if row.gate_id else None,
            attempts=tries[row.pk],
            files=files[row.pk],
        )

    return [shown(row) for row in rows]


def _attempts_by_step(rows: list[StepRun]) -> dict[UUID, list[Attempt]]:
    found: dict[UUID, list[Attempt]] = defaultdict(list)
    for attempt in Attempt.objects.filter(step_run__in=rows).order_by("fence"):
        found[attempt.step_run_id].append(attempt)
    return found


def _files_by_step(rows: list[StepRun]) -> dict[UUID, list[ArtifactUse]]:
    found: dict[UUID, list[ArtifactUse]] = defaultdict(list)
    uses = ArtifactUse.objects.filter(step_run__in=rows).select_related("artifact")
    for use in uses.order_by("name", "pk"):
        found[use.step_run_id].append(use)
    return found
