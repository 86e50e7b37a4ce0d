"""Reading runs: each read starts from what the asker may see."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import F, Q, QuerySet, Sum, Window
from django.db.models.functions import Length

from approvals import selectors as approvals
from approvals.models import Gate
from execfabric import database
from execfabric.accounts.authority import Right, rights_of
from execfabric.accounts.models import User
from execfabric.lib.actor import Actor, ActorKind
from orchestration.plans import selectors as plans
from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.plans.models import Plan, PlanRevision
from orchestration.runs.errors import ArtifactUnknown, RunUnknown, StepUnknown
from orchestration.runs.models import (
    Artifact,
    ArtifactUse,
    Attempt,
    LogChunk,
    Run,
    StepRun,
)
from orchestration.skills import selectors as skills
from orchestration.skills.domain.contract import ActionContract, SkillContract

LOG_PAGE = 64 * 1024
"""Characters of log that one read returns at most, and a little more."""
TAIL = 16 * 1024
"""Characters of a log that a page shows; the rest is a link away."""


@dataclass(frozen=True)
class StepDetail:
    """One step of a run with everything that its page shows."""

    step_run: StepRun
    step: StepDocument
    version: str
    """The skill version it was approved with; empty for a step without a skill."""
    action: ActionContract | None
    contract: SkillContract | None
    gate: Gate | None
    attempts: list[Attempt]
    files: list[ArtifactUse]


@dataclass(frozen=True)
class RunDetail:
    """A run with everything that its page shows."""

    run: Run
    revision: PlanRevision
    plan: Plan
    document: PlanDocument
    gate: Gate | None
    """The plan gate in force."""
    gates: list[Gate]
    """All gates it had, oldest first, without their bytes."""
    rows: list[StepRun]
    """All its steps."""
    steps: list[StepDetail]
    on_behalf_of: str
    """For an agent's run: the name of the person who answers for it."""


@dataclass(frozen=True)
class LogTail:
    """The end of a step's log."""

    text: str
    end: int
    """Where the log ends."""
    skipped: int
    """Characters before the text that are left out."""


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


def steps(run: Run) -> list[StepRun]:
    """All steps of a run in the order in which they take their turn."""
    return list(run.steps.select_related("spec").order_by("position"))


def step(by: Actor, run_id: UUID, key: str) -> StepDetail:
    """One step of a visible run.

    :raises RunUnknown: when there is no such run for `by`
    :raises StepUnknown: when the run has no such step
    """
    found = detail(by, run_id, keys=[key]).steps
    if not found:
        raise StepUnknown(run=str(run_id), step=key)
    return found[0]


def attempts(step_run: StepRun) -> list[Attempt]:
    """The tries of a step, first to last."""
    return list(step_run.attempts.order_by("fence"))


def log_text(step_run: StepRun, after: int) -> tuple[str, int]:
    """The log behind an offset in characters, and the offset to go on from."""
    chunks = LogChunk.objects.filter(step_run=step_run).order_by("offset")
    held = chunks.filter(offset__lte=after).order_by("-offset").first()
    parts: list[str] = []
    position, taken = after, 0
    behind = chunks.filter(offset__gte=held.offset if held else 0)
    for chunk in behind.iterator(chunk_size=50):
        piece = chunk.text[max(0, position - chunk.offset) :]
        parts.append(piece)
        position = max(position, chunk.offset + len(chunk.text))
        taken += len(piece)
        if taken >= LOG_PAGE:
            break
    return "".join(parts), position


_LOG_DIGEST = """
SELECT max("offset" + length(text)), encode(sha256(convert_to(string_agg(
  "offset" || ':' || extract(epoch FROM at) || ':' || text, chr(10) ORDER BY "offset"
), 'UTF8')), 'hex')
FROM runs_logchunk WHERE step_run_id = %s AND fence = %s AND "offset" < %s
"""


def log_digest(step_run_id: UUID, fence: int, *, until: int | None = None) -> str:
    """The end and the digest of what an attempt wrote; empty if it wrote nothing."""
    last = 2**62 if until is None else until
    found = database.row(_LOG_DIGEST, [step_run_id, fence, last])
    return f"{found[0]}:{found[1]}" if found and found[1] else ""


def log_pieces(step_run: StepRun) -> Iterator[str]:
    """The whole log of a step, piece by piece."""
    chunks = LogChunk.objects.filter(step_run=step_run).order_by("offset")
    yield from chunks.values_list("text", flat=True).iterator(chunk_size=50)


def log_tails(run: Run | UUID, after: Mapping[int, int]) -> dict[int, LogTail]:
    """Per position what its step has written behind an offset, at most a tail of it.

    Steps that have written nothing since are left out.
    """
    fresh = ~Q(step_run__position__in=after.keys())
    for position, offset in after.items():
        fresh |= Q(step_run__position=position, offset__gte=offset)
    from_end = Window(
        Sum(Length("text")),
        partition_by=F("step_run_id"),
        order_by=F("offset").desc(),
    )
    chunks = (
        LogChunk.objects.filter(fresh, step_run__run=run)
        .annotate(from_end=from_end, size=Length("text"))
        .filter(from_end__lt=TAIL + F("size"))
        .order_by("step_run_id", "offset")
        .values_list("step_run__position", "offset", "text")
    )
    tails: dict[int, LogTail] = {}
    for position, offset, text in chunks:
        known = tails.get(position)
        whole = (known.text if known else "") + text
        end = offset + len(text)
        whole = whole[-TAIL:]
        skipped = end - len(whole) - after.get(position, 0)
        tails[position] = LogTail(whole, end, max(0, skipped))
    return tails


def gates_of(run: Run) -> list[Gate]:
    """All gates of a run, oldest first, those of the past too."""
    return list(approvals.of_context(run.pk))


def artifact_visible_to(by: Actor, sha256: str) -> Artifact:
    """A file that a visible run yielded or was given.

    :raises ArtifactUnknown: when there is none, or `by` may not see it
    """
    uses = ArtifactUse.objects.filter(step_run__run__in=visible_to(by))
    found = Artifact.objects.filter(sha256=sha256, uses__in=uses).first()
    if found is None:
        raise ArtifactUnknown(sha256=sha256)
    return found


def detail(
    by: Actor, run_id: UUID, *, keys: Collection[str] | None = None
) -> RunDetail:
    """A visible run as its page shows it; of its steps only `keys`, where given.

    :raises RunUnknown: when there is none, or `by` may not see it
    """
    run = get(by, run_id)
    every = steps(run)
    rows = [row for row in every if keys is None or row.key in keys]
    document = plans.document(run.revision)
    planned = {item.id: item for item in document.steps}
    gates = {gate.pk: gate for gate in approvals.of_context(run.pk).defer("subject")}
    tries, files = _attempts_by_step(rows), _files_by_step(rows)
    pinned = skills.pinned(pin["version_id"] for pin in run.pins.values())

    def shown(row: StepRun) -> StepDetail:
        pin: dict[str, Any] = run.pins.get(row.key, {})
        version = pinned.get(pin.get("version_id", ""))
        asked = planned[row.key]
        return StepDetail(
            step_run=row,
            step=asked,
            version=pin.get("version", ""),
            action=version.action(asked.action) if version else None,
            contract=version.readable if version else None,
            gate=gates.get(row.gate_id) if row.gate_id else None,
            attempts=tries[row.pk],
            files=files[row.pk],
        )

    return RunDetail(
        run=run,
        revision=run.revision,
        plan=run.revision.plan,
        document=document,
        gate=gates.get(run.gate_id) if run.gate_id else None,
        gates=list(gates.values()),
        rows=every,
        steps=[shown(row) for row in rows],
        on_behalf_of=_name_of(run.proposer_owner),
    )


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


def _name_of(owner: str) -> str:
    """The name of an agent's owner (`user:7`) now; the key where the account is gone."""
    if not owner:
        return ""
    pk = owner.removeprefix("user:")
    found = User.objects.filter(pk=pk).values_list("username", flat=True).first()
    return found or owner
