"""Read runs; each read starts from what the reader may see."""

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
"""Large columns of a run, which a page reads only if it shows them."""
PLANNED = frozenset({"pins", "revision__body"})
"""The large columns that define what a step does."""
CONTENT = ("output", "files", "error")
"""Large columns of a step, which lists do not show."""


def visible_to(by: Actor) -> QuerySet[Run]:
    """Return the runs that `by` may see: all, or those they or their agents proposed."""
    runs = Run.objects.select_related("revision__plan")
    if Right.SEE_ALL in rights_of(by):
        return runs
    if by.kind is ActorKind.USER:
        return runs.filter(Q(proposer=by.key) | Q(proposer_owner=by.key))
    if by.kind is ActorKind.AGENT:
        return runs.filter(proposer=by.key)
    return runs.none()


def get(by: Actor, run_id: UUID, *, needs: Collection[str] = LARGE) -> Run:
    """Return a visible run with only those large columns that the caller `needs`.

    :raises RunUnknown: when it does not exist, or `by` may not see it
    """
    run = visible_to(by).defer(*LARGE - set(needs)).filter(pk=run_id).first()
    if run is None:
        raise RunUnknown(run=str(run_id))
    return run


def gates_by_id(run: Run, rows: Iterable[StepRun]) -> dict[UUID | None, Gate]:
    """Return the gates of some steps of a run by id, without their content."""
    ids = {row.gate_id for row in rows if row.gate_id}
    gates = approvals.of_context(run.pk).filter(pk__in=ids).defer("subject")
    return {gate.pk: gate for gate in gates}


def open_gates(run: Run) -> QuerySet[Gate]:
    """Return the open gates of a run, oldest first, without their content."""
    return approvals.of_context(run.pk).filter(status__in=OPEN).defer("subject")


def dry_run(by: Actor, dry_run_id: UUID) -> DryRun:
    """Return a dry run of a visible run, or one that `by` or their agent requested.

    :raises DryRunUnknown: when it does not exist, or `by` may not see it
    """
    mine = Q(run=None) & (Q(actor=by.key) | Q(actor_owner=by.key))
    rows = DryRun.objects.select_related("run__revision__plan")
    row = rows.filter(Q(run__in=visible_to(by)) | mine, pk=dry_run_id).first()
    if row is None:
        raise DryRunUnknown(dry_run=str(dry_run_id))
    return row


def step(by: Actor, run_id: UUID, key: str) -> StepRun:
    """Return one step of a visible run.

    :raises RunUnknown: when it does not exist, or `by` may not see it
    :raises StepUnknown: when the run does not have this step
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
    """Return length and digest of an attempt's log, or "" if it is empty."""
    end = 2**62 if until is None else until
    row = database.row(_LOG_DIGEST, [step_run_id, fence, end])
    return f"{row[0]}:{row[1]}" if row and row[1] else ""


def artifact_visible_to(by: Actor, sha256: str) -> Artifact:
    """Return a file that a step of a visible run returned or received.

    :raises ArtifactUnknown: when it does not exist, or `by` may not see it
    """
    uses = ArtifactUse.objects.filter(step_run__run__in=visible_to(by))
    artifact = Artifact.objects.filter(sha256=sha256, uses__in=uses).first()
    if artifact is None:
        raise ArtifactUnknown(sha256=sha256)
    return artifact
