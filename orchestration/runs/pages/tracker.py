"""The artifacts that a run is expected to return, and those that it has returned.

The contracts of its actions say which files they return.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from execfabric.lib.actor import Actor
from orchestration.plans import selectors as plans
from orchestration.plans.domain.document import StepDocument
from orchestration.plans.domain.fallbacks import is_fallback
from orchestration.plans.domain.subplans import joined
from orchestration.plans.domain.undo import is_undo
from orchestration.runs import selectors
from orchestration.runs.domain.artifacts import (
    ArtifactProgress,
    artifact_name,
    progress_of,
)
from orchestration.runs.domain.states import StepState
from orchestration.runs.models import CONTAINERS, ArtifactVersion, Run, StepRun
from orchestration.runs.pages.places import StepPlace, StepPlaces
from orchestration.skills import selectors as skills
from orchestration.skills.selectors import Pinned

SHOWN = 200
"""Maximum artifacts that are listed; the counts are of all."""
ANY = "[*]"
"""The item shown for a list whose items are not known yet."""
WORDS = {
    ArtifactProgress.MISSING: "missing",
    ArtifactProgress.NOT_COMING: "not coming",
}


@dataclass(frozen=True)
class TrackedArtifact:
    """One expected artifact of a run."""

    name: str
    step: StepRun
    """The step that is to return it, or the one around that step."""
    progress: ArtifactProgress
    versions: tuple[ArtifactVersion, ...] = ()
    """The versions of it that the run has made; several for a list of files."""


@dataclass(frozen=True)
class RunArtifacts:
    """The expected artifacts of a run, in the order of its steps."""

    run: Run
    artifacts: list[TrackedArtifact]
    counts: Counter[ArtifactProgress] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return self.counts.total()

    @property
    def done(self) -> int:
        return self.counts[ArtifactProgress.DONE]

    @property
    def words(self) -> str:
        """Return how many artifacts are done, missing and not coming, as text."""
        noun = "artifact" if self.total == 1 else "artifacts"
        others = [
            f"{self.counts[progress]:,} {word}"
            for progress, word in WORDS.items()
            if self.counts[progress]
        ]
        return ", ".join([f"{self.done:,} of {self.total:,} {noun} done", *others])

    @property
    def more(self) -> int:
        return self.total - len(self.artifacts)


def tracked(by: Actor, run_id: UUID, *, limit: int = SHOWN) -> RunArtifacts:
    """Return the expected artifacts of a visible run, and which are done.

    :raises RunUnknown: when there is none, or `by` may not see it
    """
    run = selectors.get(by, run_id, needs=selectors.PLANNED)
    versions = _versions(run)
    rows = list(run.steps.defer("output", "error", "item_value").order_by("position"))
    expected = [*_Expected(run, rows).all()]
    returned = _by_expected(versions, {name for name, _, _ in expected})
    found = [
        TrackedArtifact(
            name=name,
            step=row,
            progress=progress_of(
                StepState(row.state),
                is_returned=name in returned or output in row.files,
            ),
            versions=tuple(returned.pop(name, ())),
        )
        for name, output, row in expected
    ]
    # A fallback may return other files than its step.
    found += [
        TrackedArtifact(name, each[0].step_run, ArtifactProgress.DONE, tuple(each))
        for name, each in returned.items()
    ]
    counts = Counter(artifact.progress for artifact in found)
    return RunArtifacts(run, found[:limit], counts)


def _versions(run: Run) -> Iterable[ArtifactVersion]:
    rows = ArtifactVersion.objects.filter(step_run__run=run, forked_from=None)
    rows = rows.select_related("artifact", "file", "step_run")
    return rows.defer(*selectors.WIDE).order_by("pk")


def _by_expected(
    versions: Iterable[ArtifactVersion], names: set[str]
) -> dict[str, list[ArtifactVersion]]:
    """Group versions by the expected artifact; those of a list are one."""
    found: dict[str, list[ArtifactVersion]] = defaultdict(list)
    for version in versions:
        name = version.artifact.name
        of_list = name.rpartition("/")[0]
        is_of_list = name not in names and of_list in names
        found[of_list if is_of_list else name].append(version)
    return found


class _Expected:
    """The artifacts that the contracts of a run's actions name."""

    def __init__(self, run: Run, rows: list[StepRun]) -> None:
        self._run = run
        self._rows = rows
        self._places = StepPlaces(run)
        self._expanded = {row.parent_id for row in rows if not _is_part(row.key)}
        self._included = plans.included_documents(run.pins)
        self._pinned = _pinned(run)

    def all(self) -> Iterator[tuple[str, str, StepRun]]:
        """Yield the name of each artifact, its output and its step run."""
        for row in self._rows:
            if _is_part(row.key) or row.pk in self._expanded:
                continue
            place = self._places.of(row)
            for title, output in self._of(row, place):
                yield artifact_name(title, output), output, row

    def _of(self, row: StepRun, place: StepPlace) -> Iterator[tuple[str, str]]:
        """Yield title and output of what a step is expected to return."""
        title = place.title
        if row.kind in CONTAINERS and place.step.for_each is not None:
            if row.item is None and row.state == StepState.SUCCEEDED:
                return  # Its list is empty.
            # An item that runs a sub-plan is a container too, and has an index.
            title = title if row.item is not None else f"{title} {ANY}"
        yield from self._of_planned(place.step, place.path, title)

    def _of_planned(
        self, step: StepDocument, path: str, title: str
    ) -> Iterator[tuple[str, str]]:
        if step.kind != "plan":
            for output in self._outputs(path):
                yield title, output
            return
        for inner in self._included[path].steps:
            own = f"{inner.id} {ANY}" if inner.for_each is not None else inner.id
            yield from self._of_planned(
                inner, joined(path, inner.id), joined(title, own)
            )

    def _outputs(self, path: str) -> tuple[str, ...]:
        pin = self._run.pins.get(path, {})
        version = self._pinned.get(pin.get("version_id", ""))
        action = version.action(pin["action"]) if version else None
        return action.files if action else ()


def _is_part(key: str) -> bool:
    return is_fallback(key) or is_undo(key)


def _pinned(run: Run) -> Mapping[str, Pinned]:
    ids = {pin["version_id"] for pin in run.pins.values() if "version_id" in pin}
    return skills.pinned(ids)
