"""A gate's page draws what it can read, and shows the bytes of anything else."""

import json
from typing import Any

import pytest

from approvals.models import Gate
from approvals.views import content


@pytest.mark.parametrize(
    "subject",
    [
        pytest.param([], id="no object"),
        pytest.param({"steps": [{"name": "x"}]}, id="a step without an id"),
        pytest.param({"steps": [{"id": 1}]}, id="a step whose id is a number"),
        pytest.param({"steps": None}, id="no list of steps"),
        pytest.param({"steps": [], "plan": {"document": []}}, id="another document"),
        pytest.param({"steps": [], "pins": {"a": None}}, id="a pin of nothing"),
        pytest.param({"steps": [], "dry_run": {"steps": [{}]}}, id="another report"),
        pytest.param({"skill": None}, id="no skill"),
        pytest.param({"files": None}, id="no files"),
        pytest.param({"proposer": "x"}, id="a proposer in one word"),
        pytest.param({"summary": 1}, id="a summary that is a number"),
        pytest.param({"undo": "x"}, id="an undo in one word"),
    ],
)
def test_bytes_of_another_shape_are_shown_as_they_are(subject: Any) -> None:
    body = json.dumps(subject).encode()

    drawn = content.of(Gate(subject=body))

    assert drawn.subject == {"unreadable": body.decode()}


@pytest.mark.parametrize(
    "subject",
    [
        {"step": "a", "skill": {"slug": "files"}, "action": "write", "undo": None},
        {"steps": [{"id": "a", "skill": "files"}], "pins": {"a": {"digest": "0"}}},
        {"steps": [], "dry_run": None},
    ],
)
def test_what_this_release_writes_is_read(subject: Any) -> None:
    drawn = content.of(Gate(subject=json.dumps(subject).encode()))

    assert drawn.subject == subject
