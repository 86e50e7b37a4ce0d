"""The names of artifacts: stable between runs, and different within one."""

import pytest

from orchestration.runs.domain.artifacts import (
    MAX_NAME,
    ArtifactProgress,
    artifact_name,
    named_files,
    progress_of,
)
from orchestration.runs.domain.states import FINAL_STEP, StepState


def file(name: str) -> dict:
    return {"$file": {"sha256": "0" * 64, "name": name, "size": 1}}


def names(title: str, files: dict) -> list[str]:
    return [name for name, _ in named_files(title, files)]


def test_a_single_file_is_named_by_its_output():
    assert names("make", {"note": file("a.txt")}) == ["make/note"]
    assert names("make", {"note": file("b.txt")}) == ["make/note"]


def test_files_of_a_list_are_named_by_their_names_too_and_never_twice():
    files = {"found": [file("a.csv"), file("b.csv"), file("a.csv"), file("a.csv")]}

    assert names("get [3]", files) == [
        "get [3]/found/a.csv",
        "get [3]/found/b.csv",
        "get [3]/found/a.csv (2)",
        "get [3]/found/a.csv (3)",
    ]
    taken = {"found": [file("a"), file("a"), file("a (2)")]}
    assert len(set(names("get", taken))) == 3


def test_a_long_name_is_cut_and_stays_different():
    one = artifact_name("s" * MAX_NAME, "note")
    other = artifact_name("s" * MAX_NAME, "other")

    assert len(one) == len(other) == MAX_NAME
    assert one != other
    long = {"found": [file("x" * MAX_NAME)] * 3}
    assert {len(name) <= MAX_NAME for name in names("get", long)} == {True}
    assert len(set(names("get", long))) == 3


@pytest.mark.parametrize("state", StepState)
def test_what_is_returned_is_done_and_what_has_ended_without_it_is_not_coming(state):
    assert progress_of(state, is_returned=True) is ArtifactProgress.DONE
    without = progress_of(state, is_returned=False)
    if state is StepState.SUCCEEDED:
        assert without is ArtifactProgress.MISSING
    elif state in FINAL_STEP:
        assert without is ArtifactProgress.NOT_COMING
    else:
        assert without is ArtifactProgress.EXPECTED
