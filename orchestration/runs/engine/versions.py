"""Write artifacts and their versions: the only code that changes their state.

A version is written in the transaction of what causes it: the success of a step, the
success of a run, the act of a user. All artifacts of a plan share one stream, whose lock
orders the changes of their chains. It is taken after the stream of a run, never before.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import OuterRef, Q, QuerySet, Subquery

from audit import services as audit
from audit.services import Fact, RowFact
from execfabric.infra import database
from execfabric.lib import ids
from execfabric.lib.actor import Actor
from execfabric.lib.machine import StaleTransition
from orchestration.plans.domain.fallbacks import is_fallback
from orchestration.runs import history, selectors
from orchestration.runs.domain.artifacts import named_files
from orchestration.runs.domain.states import (
    ARTIFACT,
    HEADS,
    ArtifactEvent,
    ArtifactState,
    RunState,
)
from orchestration.runs.engine.loading import LoadedRun
from orchestration.runs.engine.version_sources import Returned, sources_of
from orchestration.runs.models import (
    ArtifactSource,
    ArtifactVersion,
    NamedArtifact,
    Run,
    StepRun,
)

STREAMS = "artifacts:"
"""The start of the name of each plan's stream of artifacts."""
_PROMOTE = """
UPDATE runs_artifactversion AS version
SET state = %s, current_at = %s, number = new.number, supersedes_id = new.supersedes
FROM unnest(%s::uuid[], %s::int[], %s::uuid[]) AS new (id, number, supersedes)
WHERE version.id = new.id AND version.state = %s
RETURNING version.id
"""


def stream_of(plan_id: UUID) -> str:
    return f"{STREAMS}{plan_id}"


def plan_of(stream: str) -> UUID | None:
    """Return the id of the plan whose artifacts a stream records."""
    return (
        ids.parsed(stream.removeprefix(STREAMS)) if stream.startswith(STREAMS) else None
    )


@dataclass(frozen=True)
class PendingChains:
    """What a change of a run does to the artifacts of its plan."""

    run: Run
    returned: Sequence[Returned]
    succeeds: bool
    undone: Sequence[UUID] = ()
    """The steps that the change undoes."""

    def write(self, *, by: Actor, at: datetime) -> None:
        """Draft what steps have returned; make the drafts of a succeeded run current."""
        has_drafts = self.succeeds and _drafts_of(self.run).exists()
        undone = _in_use(self.undone)
        if not (self.returned or has_drafts or undone.exists()):
            return
        change = ChainChange(self.run.revision.plan_id, by, at, self.run.trace_id)
        for returned in self.returned:
            change.draft(self.run, returned)
        if self.succeeds:
            change.promote(self.run)
        change.withdraw(undone)
        change.close()


def pending(
    loaded: LoadedRun, returned: Sequence[Returned], undone: Sequence[UUID] = ()
) -> PendingChains | None:
    """Return what a change of a run does to artifacts; None if that is nothing.

    A run that has succeeded cannot change again, so its drafts are promoted once.
    """
    succeeds = loaded.run.state == RunState.SUCCEEDED and _may_return_files(loaded)
    if not (returned or succeeds or undone):
        return None
    return PendingChains(loaded.run, returned, succeeds, undone)


def _may_return_files(loaded: LoadedRun) -> bool:
    """Return True if the contract of a pinned action names files, or is unreadable."""
    return any(
        contract is None or any(action.files for action in contract.actions)
        for contract in (pinned.readable for pinned in loaded.pinned.values())
    )


def title_of(loaded: LoadedRun, step: StepRun) -> str:
    """Return the start of the names of a step's artifacts.

    The files of a fallback are those of the step that it replaces.
    """
    while is_fallback(step.key) and step.parent_id is not None:
        step = loaded.steps[step.parent_id]
    return loaded.title(step)


@dataclass
class ChainChange:
    """One transaction on the artifacts of a plan: rows, and the events that explain them.

    The caller's transaction holds the lock of the stream from the start.
    """

    plan_id: UUID
    by: Actor
    at: datetime
    trace_id: str = ""
    facts: list[Fact] = field(default_factory=list)

    def __post_init__(self) -> None:
        audit.lock(stream_of(self.plan_id))

    def close(self) -> None:
        """Append the events."""
        stream = stream_of(self.plan_id)
        audit.append(stream, self.facts, by=self.by, at=self.at, trace_id=self.trace_id)

    def draft(self, run: Run, returned: Returned) -> None:
        """Add a draft for each file that a step of a run returned.

        The event of the first draft records the sources, which all of them share.
        """
        files = dict(named_files(returned.title, returned.files))
        artifacts = self._artifacts(files)
        sources = sources_of(run, returned) if files else []
        versions: list[ArtifactVersion] = []
        for name, file in files.items():
            version = self._version(
                artifacts[name][0],
                file_id=file["sha256"],
                file_name=file["name"],
                step_run=returned.step,
                fence=returned.step.fence,
            )
            shared = [] if versions else sources
            versions.append(version)
            new = [*artifacts[name][1], *map(history.ARTIFACT_SOURCE.born, shared)]
            self._record_new("drafted", version, new)
        ArtifactVersion.objects.bulk_create(versions)
        ArtifactSource.objects.bulk_create(sources)

    def promote(self, run: Run) -> None:
        """Make the drafts of a run the heads of their chains."""
        drafts = list(
            _drafts_of(run)
            .select_related("artifact", "step_run")
            .defer(*selectors.WIDE)
            .order_by("artifact__name", "pk")
        )
        tails = _tails({draft.artifact_id for draft in drafts})
        # After a rollback the head is not the last one of its chain.
        heads = ArtifactVersion.objects.filter(artifact__in=tails, state__in=HEADS)
        heads = heads.select_related("artifact", "step_run").defer(*selectors.WIDE)
        self._supersede(list(heads))
        for draft in drafts:
            self._promote(draft, tails.get(draft.artifact_id))
        self._write_promoted(drafts)

    def withdraw(self, versions: QuerySet[ArtifactVersion]) -> None:
        """Take the versions of an undone step out of use, and restore those before them."""
        rows = versions.select_related("artifact", "step_run").defer(*selectors.WIDE)
        for version in rows.order_by("artifact__name", "pk"):
            was = ArtifactState(version.state)
            changed = [self._move(version, ArtifactEvent.WITHDRAWN)]
            before = _before(version) if was in HEADS else None
            if before is not None:
                is_fork = before.forked_from_id is not None
                back = (
                    ArtifactEvent.FORK_RESTORED if is_fork else ArtifactEvent.RESTORED
                )
                changed.append(self._move(before, back))
            restored = before and {"version": str(before.pk), "number": before.number}
            payload = {"from": str(was), "restored": restored}
            self._record("withdrawn", version, payload, *changed)

    def _move(self, version: ArtifactVersion, event: ArtifactEvent) -> RowFact:
        was = ArtifactState(version.state)
        fields = {"state": str(ARTIFACT.next(was, event))}
        rows = ArtifactVersion.objects.filter(pk=version.pk, state=was)
        if rows.update(**fields) != 1:
            raise StaleTransition(expected=str(was))
        vars(version).update(fields)
        return history.ARTIFACT_VERSION.changed(version, fields)

    def archive(self, version: ArtifactVersion, reason: str) -> None:
        """Take a version out of use.

        :raises IllegalTransition: when it is archived
        """
        fields = {
            "archived_by": self.by.key,
            "archived_by_name": self.by.name,
            "archived_at": self.at,
            "archive_reason": reason,
        }
        was = ArtifactState(version.state)
        fields |= {"state": str(ARTIFACT.next(was, ArtifactEvent.ARCHIVED))}
        rows = ArtifactVersion.objects.filter(pk=version.pk, state=was)
        if rows.update(**fields) != 1:
            raise StaleTransition(expected=str(was))
        vars(version).update(fields)
        changed = history.ARTIFACT_VERSION.changed(version, fields)
        self._record("archived", version, {"from": str(was), "reason": reason}, changed)

    def fork(self, origin: ArtifactVersion, name: str) -> ArtifactVersion:
        """Begin another chain with a version; return its first version."""
        artifact = NamedArtifact(plan_id=self.plan_id, name=name, created_at=self.at)
        version = self._version(
            artifact,
            file_id=origin.file_id,
            file_name=origin.file_name,
            step_run=origin.step_run,
            fence=origin.fence,
            forked_from=origin,
            state=str(ARTIFACT.next(ARTIFACT.initial, ArtifactEvent.FORKED)),
            number=1,
            current_at=self.at,
        )
        NamedArtifact.objects.bulk_create([artifact])
        ArtifactVersion.objects.bulk_create([version])
        self._record_new("forked", version, [history.ARTIFACT.born(artifact)])
        return version

    def _artifacts(
        self, names: Iterable[str]
    ) -> dict[str, tuple[NamedArtifact, list[RowFact]]]:
        """Return the artifacts of the plan by name, with the rows that it adds."""
        names = list(names)
        known = NamedArtifact.objects.filter(plan=self.plan_id, name__in=names)
        artifacts: dict[str, tuple[NamedArtifact, list[RowFact]]] = {
            artifact.name: (artifact, []) for artifact in known
        }
        new = [
            NamedArtifact(plan_id=self.plan_id, name=name, created_at=self.at)
            for name in names
            if name not in artifacts
        ]
        NamedArtifact.objects.bulk_create(new)
        born = {one.name: (one, [history.ARTIFACT.born(one)]) for one in new}
        return artifacts | born

    def _version(self, artifact: NamedArtifact, **fields: Any) -> ArtifactVersion:
        return ArtifactVersion(
            artifact=artifact,
            created_by=self.by.key,
            created_by_name=self.by.name,
            created_at=self.at,
            **fields,
        )

    def _supersede(self, heads: Sequence[ArtifactVersion]) -> None:
        rows = ArtifactVersion.objects.filter(
            pk__in=[head.pk for head in heads], state__in=sorted(HEADS)
        )
        if rows.update(state=ArtifactState.SUPERSEDED) != len(heads):
            raise StaleTransition(expected="the heads of the chains")
        for head in heads:
            was = ArtifactState(head.state)
            head.state = str(ARTIFACT.next(was, ArtifactEvent.SUPERSEDED))
            changed = history.ARTIFACT_VERSION.changed(head, {"state": head.state})
            self._record("superseded", head, {"from": str(was)}, changed)

    def _promote(self, draft: ArtifactVersion, tail: ArtifactVersion | None) -> None:
        was = ArtifactState(draft.state)
        fields = {
            "state": str(ARTIFACT.next(was, ArtifactEvent.PROMOTED)),
            "number": (tail.number or 0) + 1 if tail else 1,
            "supersedes_id": tail.pk if tail else None,
            "current_at": self.at,
        }
        vars(draft).update(fields)
        changed = history.ARTIFACT_VERSION.changed(draft, fields)
        payload = {"from": str(was), "supersedes": tail and str(tail.pk)}
        self._record("promoted", draft, payload, changed)

    def _write_promoted(self, drafts: Sequence[ArtifactVersion]) -> None:
        values = [
            str(ArtifactState.CURRENT),
            self.at,
            [draft.pk for draft in drafts],
            [draft.number for draft in drafts],
            [draft.supersedes_id for draft in drafts],
            str(ArtifactState.DRAFT),
        ]
        if len(database.rows(_PROMOTE, values)) != len(drafts):
            raise StaleTransition(expected="drafts")

    def _record_new(
        self, event: str, version: ArtifactVersion, new: Iterable[RowFact]
    ) -> None:
        payload = {"sha256": version.file_id, "file": version.file_name}
        if version.forked_from_id:
            payload["forked_from"] = str(version.forked_from_id)
        born = history.ARTIFACT_VERSION.born(version)
        self._record(event, version, payload, born, *new)

    def _record(
        self, event: str, version: ArtifactVersion, payload: Any, *rows: RowFact
    ) -> None:
        about = {
            "artifact": version.artifact.name,
            "artifact_id": str(version.artifact_id),
            "version": str(version.pk),
            "number": version.number,
            "run": str(version.step_run.run_id),
        }
        component = f"artifact:{version.artifact_id}"
        fact = Fact(
            f"artifact.{event}", about | payload, component=component, rows=rows
        )
        self.facts.append(fact)


def _drafts_of(run: Run) -> QuerySet[ArtifactVersion]:
    """Return the drafts of the steps of a run, and of those whose results it has reused."""
    reused = StepRun.objects.filter(run=run.pk, reused_from__isnull=False)
    mine = Q(step_run__run=run.pk) | Q(step_run__in=reused.values("reused_from"))
    return ArtifactVersion.objects.filter(mine, state=ArtifactState.DRAFT)


def _in_use(steps: Sequence[UUID]) -> QuerySet[ArtifactVersion]:
    """Return the versions that steps have returned, and that are not out of use."""
    out = [ArtifactState.ARCHIVED, ArtifactState.WITHDRAWN]
    # A fork is another user's artifact, and has the step of its origin.
    rows = ArtifactVersion.objects.filter(step_run__in=steps, forked_from=None)
    return rows.exclude(state__in=out)


def _before(version: ArtifactVersion) -> ArtifactVersion | None:
    """Return the newest version before one that is not out of use."""
    chain = ArtifactVersion.objects.filter(artifact=version.artifact_id)
    rows = chain.filter(number__lt=version.number, state=ArtifactState.SUPERSEDED)
    rows = rows.select_related("artifact", "step_run").defer(*selectors.WIDE)
    return rows.order_by("-number").first()


def _tails(artifacts: Iterable[UUID]) -> dict[UUID, ArtifactVersion]:
    """Return the version with the highest number of each chain."""
    chain = ArtifactVersion.objects.filter(artifact=OuterRef("pk"))
    numbered = chain.filter(number__isnull=False).order_by("-number")
    # One look at the unique index for each chain: a chain may have any length.
    last = Subquery(numbered.values("pk")[:1])
    chains = NamedArtifact.objects.filter(pk__in=[*artifacts])
    tails = ArtifactVersion.objects.filter(pk__in=chains.values_list(last))
    rows = tails.select_related("artifact", "step_run").defer(*selectors.WIDE)
    return {tail.artifact_id: tail for tail in rows}
