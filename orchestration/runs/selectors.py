"""Reading runs: each read starts from what the asker may see."""

from collections.abc import Collection, Iterable
from uuid import UUID

from django.db.models import Q, QuerySet

from approvals import selectors as approvals
from approvals.domain.states import OPEN
from approvals.models import Gate
from execfabric.identity.authority import rights_of
from execfabric.infra import database
from execfabric.lib.actor import Actor, ActorKind
from execfabric.lib.rights import Right
from orchestration.runs.errors import (
    ArtifactUnknown,
    DryRunUnknown,
    RunUnknown,
    StepUnknown,
)
from orchestration.runs.models import Artifact, ArtifactUse, DryRun, Run, StepRun

LARGE = frozenset({"inputs", "pins", "revision__body", "revision__source"})
"""Columns of a run that a page reads only where it shows them."""
PLANNED = frozenset({"pins", "revision__body"})
"""Those of them that say what a step does."""
CONTENT = ("output", "files", "error")
"""Columns of a step that its line in a list does not show."""


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


def get(by: Actor, run_id: UUID, *, needs: Collection[str] = LARGE) -> Run:
    """One visible run; of its large columns only what the caller `needs`.

    :raises RunUnknown: when there is none, or `by` may not see it
    """
    run = visible_to(by).defer(*LARGE - set(needs)).filter(pk=run_id).first()
    if run is None:
        raise RunUnknown(run=str(run_id))
    return run


def gates_by_id(run: Run, rows: Iterable[StepRun]) -> dict[UUID | None, Gate]:
    """The gates of some steps of a run, without their content."""
    ids = {row.gate_id for row in rows if row.gate_id}
    found = approvals.of_context(run.pk).filter(pk__in=ids).defer("subject")
    return {gate.pk: gate for gate in found}


def open_gates(run: Run) -> QuerySet[Gate]:
    """The gates of a run that wait for a decision, oldest first, without their content."""
    return approvals.of_context(run.pk).filter(status__in=OPEN).defer("subject")


def dry_run(by: Actor, dry_run_id: UUID) -> DryRun:
    """Return a dry run of a visible run, or one that `by` or their agent asked for.

    :raises DryRunUnknown: when there is none, or `by` may not see it
    """
    mine = Q(run=None) & (Q(actor=by.key) | Q(actor_owner=by.key))
    rows = DryRun.objects.select_related("run__revision__plan")
    found = rows.filter(Q(run__in=visible_to(by)) | mine, pk=dry_run_id).first()
    if found is None:
        raise DryRunUnknown(dry_run=str(dry_run_id))
    return found


def step(by: Actor, run_id: UUID, key: str) -> StepRun:
    """Return one step of a visible run.

    :raises RunUnknown: when there is no such run for `by`
    :raises StepUnknown: when the run has no such step
    """
    run = get(by, run_id, needs=PLANNED)
    row = run.steps.select_related("spec").filter(key=key).first()
    if row is None:
        raise StepUnknown(run=str(run_id), step=key)
    return row


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
