"""Where a file comes from and where it goes, in the runs that a reader may see.

A file moves only inside of a run: as an input of it, or from one of its steps to later
ones. So the steps that received it are among the steps of the runs that have it, and
their approved parameters name it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from execfabric.infra import database
from execfabric.lib import canonical
from execfabric.lib.actor import Actor
from orchestration.runs import selectors
from orchestration.runs.domain.files import references_in
from orchestration.runs.models import ArtifactUse, InputFile, Run, StepRun

RUNS = 20
"""Maximum number of runs in a lineage, the newest first."""
STEPS = 100
"""Maximum number of steps listed on each side."""
FILES = 50
"""Maximum number of files listed for one step."""
_RECEIVERS = """
SELECT step.id, spec.body FROM runs_steprun step
JOIN runs_execspec spec ON spec.digest = step.spec_id
WHERE step.run_id = ANY(%s) AND position(%s::bytea IN spec.body) > 0
ORDER BY step.run_id DESC, step.position LIMIT %s
"""


@dataclass(frozen=True)
class LinkedFile:
    """A file next to this one in the lineage."""

    sha256: str
    name: str
    size: int


@dataclass(frozen=True)
class LinkedStep:
    """A step that returned or received a file, with the files on its other side."""

    step: StepRun
    files: tuple[LinkedFile, ...] = ()
    """The files that it received, for a producer; else those that it returned."""


@dataclass(frozen=True)
class RunInput:
    """A run that was proposed with the file."""

    run: Run
    name: str


@dataclass(frozen=True)
class Lineage:
    """One step of the way backwards and forwards from a file."""

    inputs: tuple[RunInput, ...] = ()
    producers: tuple[LinkedStep, ...] = ()
    receivers: tuple[LinkedStep, ...] = ()
    is_cut: bool = field(default=False)
    """True if more than RUNS runs or STEPS steps have the file."""


def lineage_of(by: Actor, sha256: str) -> Lineage:
    """Return which runs and steps of visible runs have the file."""
    visible = selectors.visible_to(by)
    with_file = visible.filter(
        Q(pk__in=InputFile.objects.filter(artifact=sha256).values("run"))
        | Q(pk__in=ArtifactUse.objects.filter(artifact=sha256).values("step_run__run"))
    )
    newest = with_file.order_by("-pk")
    runs = [*newest.values_list("pk", flat=True)[: RUNS + 1]]
    listed = runs[:RUNS]
    inputs = InputFile.objects.filter(artifact=sha256, run__in=listed)
    rows = inputs.select_related("run__revision__plan").order_by("-run", "name")
    producers, receivers = _producers(sha256, listed), _receivers(sha256, listed)
    return Lineage(
        inputs=tuple(RunInput(row.run, row.name) for row in rows),
        producers=producers[:STEPS],
        receivers=receivers[:STEPS],
        is_cut=len(runs) > RUNS or max(len(producers), len(receivers)) > STEPS,
    )


def _producers(sha256: str, runs: Iterable[UUID]) -> tuple[LinkedStep, ...]:
    """Return the steps that returned a file, with the files that they received."""
    steps = _steps(Q(artifact_uses__artifact=sha256, run__in=[*runs]), with_spec=True)
    return tuple(
        LinkedStep(step, _received(bytes(step.spec.body) if step.spec else b""))
        for step in steps[: STEPS + 1]
    )


def _receivers(sha256: str, runs: Iterable[UUID]) -> tuple[LinkedStep, ...]:
    """Return the steps that received a file, with the files that they returned."""
    rows = database.rows(_RECEIVERS, [[*runs], sha256.encode(), STEPS + 1])
    ids = [
        step_id
        for step_id, body in rows
        if sha256 in {file.sha256 for file in _received(bytes(body))}
    ]
    steps = _steps(Q(pk__in=ids), with_spec=False)
    return tuple(LinkedStep(step, _returned(step.files)) for step in steps)


def _steps(wanted: Q, *, with_spec: bool) -> QuerySet[StepRun]:
    related = ("run__revision__plan", "spec") if with_spec else ("run__revision__plan",)
    steps = StepRun.objects.filter(wanted).select_related(*related)
    return steps.defer("output", "error").order_by("-run", "position").distinct()


def _received(body: bytes) -> tuple[LinkedFile, ...]:
    """Return the files in the parameters of a step."""
    files = canonical.loads(body).get("files", []) if body else []
    return _linked(files)


def _returned(files: Mapping[str, Any]) -> tuple[LinkedFile, ...]:
    each = [
        {"file": item}
        for value in files.values()
        for item in (value if isinstance(value, list) else [value])
    ]
    return _linked(file for one in each for _, file in references_in(one))


def _linked(files: Iterable[Mapping[str, Any]]) -> tuple[LinkedFile, ...]:
    unique = {
        (file["sha256"], file["name"]): LinkedFile(
            file["sha256"], file["name"], file["size"]
        )
        for file in files
    }
    return tuple(unique.values())[:FILES]
