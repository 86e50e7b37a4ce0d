"""Read runs, limited to those that the reader may see."""

from collections.abc import Collection, Iterable
from uuid import UUID

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Window
from django.db.models.functions import RowNumber

from approvals import selectors as approvals
from approvals.domain.states import OPEN
from approvals.models import Gate
from execfabric.identity.authority import rights_of
from execfabric.infra import database
from execfabric.lib import numbers
from execfabric.lib.actor import Actor, ActorKind
from execfabric.lib.rights import Right
from orchestration.plans import selectors as plans
from orchestration.plans.domain import undo
from orchestration.runs.domain.files import facts_of, references_in
from orchestration.runs.domain.members import SKIPPED_BY_USER
from orchestration.runs.domain.results import ABANDONED, KEPT
from orchestration.runs.domain.states import HEADS, Phase, RunState, StepState
from orchestration.runs.errors import (
    ArtifactUnknown,
    ChainUnknown,
    DryRunUnknown,
    RunUnknown,
    StepUnknown,
)
from orchestration.runs.models import (
    Artifact,
    ArtifactUse,
    ArtifactVersion,
    Attempt,
    DryRun,
    InputFile,
    NamedArtifact,
    Run,
    StepRun,
    Upload,
)

LARGE = frozenset({"inputs", "pins", "revision__body", "revision__source"})
"""Large columns of a run, which a page reads only if it shows them."""
PLANNED = frozenset({"pins", "revision__body"})
"""The large columns that define what a step does."""
OUTER = Q(parent=None) | (Q(parent__parent=None) & ~Q(parent__kind="plan"))
"""The step runs that are not inside a sub-plan."""
UUID_LENGTH = 36
ENDED_BADLY = (
    RunState.FAILED,
    RunState.PARTIALLY_SUCCEEDED,
    RunState.ROLLBACK_FAILED,
)
"""Final states of runs in which a step or an undo has failed."""
IN_USE = sorted(HEADS)
CONTENT = ("output", "files", "error")
"""Large columns of a step, which lists do not show."""
WIDE = (
    *(f"step_run__{name}" for name in (*CONTENT, "item_value", "condition")),
    *(f"step_run__run__{name}" for name in sorted(LARGE)),
)
"""Large columns behind a version of an artifact: those of its step and of its run."""


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


def reruns_of(by: Actor, run: Run) -> "QuerySet[Run, UUID]":
    """Return the ids of the visible runs that run this one again, newest first."""
    rows = visible_to(by).filter(rerun_of=run.pk).order_by("-pk")
    return rows.values_list("pk", flat=True)


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


def step(by: Actor, run_id: UUID, address: str) -> StepRun:
    """Return one step of a visible run, or one of its items: `each.3`.

    Steps inside sub-plans are named by the id of their step run.

    :raises RunUnknown: when it does not exist, or `by` may not see it
    :raises StepUnknown: when the run does not have this step
    """
    run = get(by, run_id, needs=PLANNED)
    rows = run.steps.select_related("spec")
    if step_run_id := _uuid(address):
        row = rows.filter(pk=step_run_id).first()
    else:
        key, item = _key_and_item(address)
        row = rows.filter(OUTER, key=key, item=item).first()
    if row is None:
        raise StepUnknown(run=str(run_id), step=address)
    return row


def run_of_step(by: Actor, step_run_id: UUID) -> UUID:
    """Return the visible run that a step run belongs to.

    :raises StepUnknown: when it does not exist, or `by` may not see its run
    """
    runs = visible_to(by).order_by().values("pk")
    found = StepRun.objects.filter(pk=step_run_id, run__in=runs)
    run_id = found.values_list("run_id", flat=True).first()
    if run_id is None:
        raise StepUnknown(step_run=str(step_run_id))
    return run_id


def is_late() -> Q:
    """Return the condition of runs that are late, or have a step that is."""
    steps = StepRun.objects.filter(
        run=OuterRef("pk"), breached_at__isnull=False, finished_at__isnull=True
    )
    return Q(breached_at__isnull=False) | Q(Exists(steps))


def _key_and_item(address: str) -> tuple[str, int | None]:
    before, _, last = address.rpartition(".")
    item = numbers.whole(last) if before else None
    return (address, None) if item is None else (before, item)


def _uuid(text: str) -> UUID | None:
    """Return the id in a text; no step of a plan has such a name."""
    try:
        return UUID(text) if len(text) == UUID_LENGTH else None
    except ValueError:
        return None


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


def has_unknown_attempt(step: StepRun) -> bool:
    """Return True if an attempt of this generation may still have its effect."""
    unknown = Q(phase=Phase.LOST) | Q(phase=Phase.FAILED, result__ran=None)
    return step.attempts.filter(unknown, generation=step.generation).exists()


def that_may_have_run(run: Run) -> frozenset[UUID]:
    """Return the steps of which any attempt may have had an effect."""
    began = Q(phase=Phase.LOST) | Q(phase=Phase.FAILED) & ~Q(result__ran=False)
    attempts = Attempt.objects.filter(began, step_run__run=run)
    return frozenset(attempts.values_list("step_run_id", flat=True))


def undos_left() -> QuerySet[StepRun]:
    """Return undos that have not succeeded, and that no user has decided on."""
    codes = [SKIPPED_BY_USER, ABANDONED, KEPT]
    decided = Q(error__code__in=codes, error__isnull=False)
    undos = StepRun.objects.filter(key__endswith=undo.SUFFIX)
    return undos.exclude(state=StepState.SUCCEEDED).exclude(decided)


def artifact_visible_to(by: Actor, sha256: str) -> Artifact:
    """Return a file of a visible run, or one that `by` or their agent uploaded.

    It has the name of a visible use: others may have named the same bytes differently.

    :raises ArtifactUnknown: when it does not exist, or `by` may not see it
    """
    artifact = Artifact.objects.filter(sha256=sha256).first()
    name = _visible_name(by, sha256) if artifact else None
    if artifact is None or name is None:
        raise ArtifactUnknown(sha256=sha256)
    return as_named(artifact, name)


def as_named(artifact: Artifact, name: str) -> Artifact:
    """Return a file with a name that it has in one place, and the type of that name."""
    artifact.name = name
    artifact.media_type = facts_of(name, artifact.size)["media_type"]
    return artifact


def _visible_name(by: Actor, sha256: str) -> str | None:
    runs = visible_to(by)
    uses = ArtifactUse.objects.filter(artifact=sha256, step_run__run__in=runs)
    for use in uses.order_by("pk").values_list("name", flat=True)[:1]:
        return use.partition("/")[2]
    inputs = InputFile.objects.filter(artifact=sha256, run__in=runs)
    for row in inputs.select_related("run").order_by("pk")[:1]:
        return str(dict(references_in(row.run.inputs))[row.name]["name"])
    uploads = uploads_of(by).filter(artifact=sha256).order_by("-created_at")
    return uploads.values_list("name", flat=True).first()


def versions_visible_to(by: Actor) -> QuerySet[ArtifactVersion]:
    """Return the versions of artifacts that steps of visible runs have returned.

    A fork is also a fact about its plan: only those who may see the plan see it, and who
    made it.
    """
    runs = visible_to(by).order_by().values("pk")
    rows = ArtifactVersion.objects.filter(step_run__run__in=runs)
    in_plan = Q(artifact__plan__in=plans.visible_to(by).values("pk"))
    rows = rows.filter(Q(forked_from=None) | in_plan | Q(created_by=by.key))
    rows = rows.select_related("file", "artifact__plan", "step_run")
    return rows.defer(*WIDE)


def artifacts_visible_to(by: Actor) -> QuerySet[NamedArtifact]:
    """Return the artifacts with a visible version."""
    versions = versions_visible_to(by).filter(artifact=OuterRef("pk"))
    return NamedArtifact.objects.filter(Exists(versions)).select_related("plan")


def named_artifact(by: Actor, artifact_id: UUID) -> NamedArtifact:
    """Return an artifact with a visible version.

    :raises ChainUnknown: when it does not exist, or `by` may not see it
    """
    artifact = artifacts_visible_to(by).filter(pk=artifact_id).first()
    if artifact is None:
        raise ChainUnknown(artifact=str(artifact_id))
    return artifact


def artifact_version(
    by: Actor, artifact_id: UUID, version_id: UUID | None = None
) -> ArtifactVersion:
    """Return a visible version of an artifact, by default the one in use.

    :raises ChainUnknown: when it does not exist, or `by` may not see it
    """
    rows = versions_visible_to(by).filter(artifact=artifact_id)
    chosen = Q(pk=version_id) if version_id else Q(state__in=IN_USE)
    version = rows.filter(chosen).first()
    if version is None:
        raise ChainUnknown(artifact=str(artifact_id))
    return version


def readable_files(by: Actor, digests: Collection[str]) -> set[str]:
    """Return which of these files `by` may read."""
    runs = visible_to(by).order_by().values("pk")
    used = ArtifactUse.objects.filter(artifact__in=digests, step_run__run__in=runs)
    inputs = InputFile.objects.filter(artifact__in=digests, run__in=runs)
    uploads = uploads_of(by).filter(artifact__in=digests)
    each = (rows.values_list("artifact_id", flat=True) for rows in (used, inputs))
    return {*uploads.values_list("artifact_id", flat=True)}.union(*each)


def uploads_of(by: Actor) -> QuerySet[Upload]:
    """Return the uploads of `by` and of their agents."""
    return Upload.objects.filter(Q(actor=by.key) | Q(actor_owner=by.key))


def last_failed(by: Actor, slug: str) -> Run:
    """Return the newest visible run of a plan that failed or that a failure has paused.

    :raises RunUnknown: when there is none
    """
    paused = Q(state=RunState.PAUSED, failures__gt=0)
    failed = visible_to(by).filter(paused | Q(state__in=ENDED_BADLY))
    run = failed.defer(*LARGE).filter(revision__plan__slug=slug).order_by("-pk").first()
    if run is None:
        raise RunUnknown(f"Plan {slug!r} has no failed run that you have access to.")
    return run


def latest_of_plans(by: Actor, plan_ids: Collection[UUID], count: int) -> QuerySet[Run]:
    """Return the newest visible runs of each plan, without their large columns."""
    newest = Window(
        RowNumber(), partition_by=[F("revision__plan_id")], order_by=F("pk").desc()
    )
    runs = visible_to(by).defer(*LARGE).filter(revision__plan__in=plan_ids)
    return runs.annotate(rank=newest).filter(rank__lte=count).order_by("-pk")
