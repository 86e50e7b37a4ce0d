"""Find what the versions of an attempt were made from: the files that it received."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from orchestration.runs import selectors
from orchestration.runs.models import ArtifactSource, ArtifactVersion, Run, StepRun


@dataclass(frozen=True)
class Returned:
    """The files that an attempt of a step returned, and those that it had received."""

    step: StepRun
    title: str
    files: Mapping[str, Any]
    received: Sequence[Mapping[str, Any]]


def sources_of(run: Run, returned: Returned) -> list[ArtifactSource]:
    """Return what the versions of an attempt were made from: the files it received."""
    step = returned.step
    return [
        ArtifactSource(
            step_run=step, fence=step.fence, file_id=sha256, name=name, source_id=origin
        )
        for sha256, (name, origin) in _origins(run, returned.received).items()
    ]


def _origins(
    run: Run, received: Iterable[Mapping[str, Any]]
) -> dict[str, tuple[str, UUID | None]]:
    """Return the received files by digest: the name, and the version that each was.

    The version is that of this run, else the newest one that the proposer may read.
    """
    files = {str(file["sha256"]): str(file["name"]) for file in received}
    if not files:
        return {}
    found = _newest(files, step_run__run=run.pk)
    if missing := files.keys() - found.keys():
        readable = selectors.visible_to(run.proposed_by())
        found |= _newest(missing, step_run__run__in=readable.order_by().values("pk"))
    return {sha256: (name, found.get(sha256)) for sha256, name in files.items()}


def _newest(files: Iterable[str], **of_runs: Any) -> dict[str, UUID]:
    """Return the newest version of some runs that each file is.

    A fork has the step of its origin, and would be found in its place.
    """
    rows = ArtifactVersion.objects.filter(
        file__in=[*files], forked_from=None, **of_runs
    )
    newest = rows.order_by("file_id", "-pk").distinct("file_id")
    return dict(newest.values_list("file_id", "pk"))
