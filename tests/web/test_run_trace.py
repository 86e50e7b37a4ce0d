"""A whole chain can be followed: its input, states, files, logs, failures and record."""

import hashlib
import json

import pytest

from audit import selectors as record
from tests.builders import approved, driven, plan, step
from tests.console_builders import rows, signed_in, words
from tests.web.run_builders import page_of, step_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]


@pytest.mark.promise("S0.18")
def test_input_states_and_files_of_a_whole_chain_are_shown(
    proposer, operator, worker
) -> None:
    text = plan(
        step("make", "write", params={"text": "$inputs.words"}),
        step("use", "read", after="make", params={"file": "$make.files.note"}),
        inputs={"type": "object", "properties": {"words": {"type": "string"}}},
    )
    run = driven(approved(text, proposer, operator, words="hello"), worker)
    client = signed_in(proposer)
    sha256 = hashlib.sha256(b"hello").hexdigest()

    page = page_of(run, client)
    inputs = client.get(f"/runs/{run.pk}/inputs.json")
    made = step_of(run, "make", client).content.decode()
    file = client.get(f"/artifacts/{sha256}/download")
    trace = client.get("/trace", {"stream": run.stream})

    assert json.loads(inputs.content) == {"words": "hello"}
    assert page.content.decode().count('data-state="succeeded"') >= 3
    assert f"/artifacts/{sha256}" in made
    assert b"".join(file) == b"hello"
    assert rows(trace, "trace-row") == record.head(run.stream)
    assert all(f"Step {key} succeeded" in words(trace) for key in ("make", "use"))


@pytest.mark.promise("S0.19")
def test_logs_failures_and_the_record_of_a_whole_chain_are_shown(
    proposer, operator, worker
) -> None:
    text = plan(
        step("talks", "secret"),
        step("fails", "misbehave", after="talks", params={"how": "fail"}),
    )
    run = driven(approved(text, proposer, operator), worker)
    client = signed_in(proposer)

    log = client.get(f"/runs/{run.pk}/steps/talks/log")
    failed = words(step_of(run, "fails", client))
    trace = client.get("/trace", {"stream": run.stream})

    assert b"the token is [masked]" in b"".join(log)
    assert "The target said no." in failed
    assert "lab.refused" in failed
    assert "Step fails failed" in words(trace)
    assert "lab.refused" in words(trace)
    assert f"Verified {record.head(run.stream)} of" in words(trace)
    assert rows(trace, "verification-broken") == 0
