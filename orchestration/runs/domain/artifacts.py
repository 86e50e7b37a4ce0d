"""What the artifacts of a step are called, and which are expected of it."""

import hashlib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from orchestration.runs.domain.files import FILE
from orchestration.runs.domain.states import FINAL_STEP, StepState

MAX_NAME = 600
_DIGEST = 12


class ArtifactProgress(StrEnum):
    """How far one expected artifact of a run is."""

    EXPECTED = "expected"  # its step has not finished
    DONE = "done"  # its step has returned it
    MISSING = "missing"  # its step has succeeded without it
    NOT_COMING = "not_coming"  # its step was skipped, failed, rejected or cancelled


def artifact_name(title: str, *parts: str) -> str:
    """Return the name of what a step returns: `auth [3]/create/report`."""
    name = "/".join((title, *parts))
    if len(name) <= MAX_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST]
    return f"{name[: MAX_NAME - _DIGEST - 1]}~{digest}"


def named_files(
    title: str, files: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return each file of a step by the name of its artifact.

    A single file is named by its output, so that its versions form a chain even if they
    have different file names. The files of a list are named by their own names too.
    """
    used: set[str] = set()
    for output, value in files.items():
        if not isinstance(value, list):
            yield artifact_name(title, output), value[FILE]
            continue
        for reference in value:
            file = reference[FILE]
            yield _unused(artifact_name(title, output, file["name"]), used), file


def _unused(name: str, used: set[str]) -> str:
    """Return a name, with a number if a list has several files of that name."""
    unused, count = name, 1
    while unused in used:
        count += 1
        unused = f"{name[: MAX_NAME - 8]} ({count})"
    used.add(unused)
    return unused


def progress_of(state: StepState, *, is_returned: bool) -> ArtifactProgress:
    """Return how far an artifact is that a step in this state is expected to return."""
    if is_returned:
        return ArtifactProgress.DONE
    if state is StepState.SUCCEEDED:
        return ArtifactProgress.MISSING
    return (
        ArtifactProgress.NOT_COMING
        if state in FINAL_STEP
        else ArtifactProgress.EXPECTED
    )
