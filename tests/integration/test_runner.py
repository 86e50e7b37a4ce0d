"""The runner as its worker sees it: calls, what they say, what goes in and out."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from execfabric.lib.masking import MASK
from orchestration.skills.domain.outcome import Failed, Succeeded, Unknown
from orchestration.skills.execution import Runner, discard
from orchestration.skills.execution.calls import RunnerBusy
from orchestration.skills.installed import EXTRA
from tests.integration.runner_builders import (
    a_runner,
    call_of,
    log_of,
    misfit,
    program_of,
)
from tests.skill_calls import as_file, reference

RAISED = (
    "The skill failed unexpectedly with {}. It may have had an effect. See the log."
)


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    with a_runner(tmp_path / "home", monkeypatch) as made:
        yield made


def test_a_call_answers_with_its_outcome_and_makes_no_folder_it_does_not_need(
    runner, tmp_path
):
    call = call_of("noop.pass@1", tmp_path, params={"value": {"deep": [1, "ü"]}})

    answer = runner.complete(call)

    assert answer == Succeeded(output={"value": {"deep": [1, "ü"]}})
    assert not call.workdir.exists()


def test_an_idle_round_trip_costs_well_under_a_millisecond(runner, tmp_path):
    call = call_of("noop.pass@1", tmp_path)
    took = []

    for _ in range(300):
        began = time.perf_counter()
        runner.complete(call)
        took.append(time.perf_counter() - began)

    # The best of them: the host may be busy with other things.
    assert min(took) < 0.001


def test_the_handler_sees_no_secret_of_the_worker_and_no_django(runner, tmp_path):
    call = call_of("misfit.return@1", tmp_path, params={"how": "environment"})

    answer = runner.complete(call)

    assert set(answer.output["environment"]) <= {
        "HOME", "LANG", "LC_ALL", "LC_CTYPE", "PATH", "SSL_CERT_DIR",
        "SSL_CERT_FILE", "TMPDIR", "TZ", EXTRA,
    }  # fmt: skip
    assert not {"django", "celery", "psycopg"} & set(answer.output["modules"])
    # Each of these would double the time that the program takes to start.
    assert not {"jsonschema", "pydantic"} & set(answer.output["modules"])


def test_an_exception_becomes_a_failure_without_the_values_of_locals(runner, tmp_path):
    said, answer = log_of(runner, misfit(tmp_path, "raise", message="no such thing"))

    assert answer == Unknown(
        "skill.raised", RAISED.format("RuntimeError: no such thing")
    )
    assert "RuntimeError" in said
    assert "the value of a local" not in answer.message
    assert runner.complete(call_of("noop.pass@1", tmp_path)) == Succeeded()


def test_a_handler_that_exits_fails_and_the_runner_lives_on(runner, tmp_path):
    pid = program_of(runner)

    answer = runner.complete(misfit(tmp_path, "exit"))

    assert answer == Unknown("skill.raised", RAISED.format("SystemExit: 4"))
    assert program_of(runner) == pid


def test_an_unknown_handler_is_named(runner, tmp_path):
    answer = runner.complete(call_of("nothing.here@9", tmp_path))

    assert answer == Failed(
        "skill.no_handler",
        "Cannot run the step: the handler nothing.here@9 is not installed on this worker."
        " Nothing was done. Ask an admin.",
        before_effect=True,
    )


@pytest.mark.parametrize(
    ("how", "code"),
    [
        pytest.param("none", "skill.output_invalid", id="no outcome"),
        pytest.param("set", "skill.output_invalid", id="not JSON"),
        pytest.param("nan", "skill.output_invalid", id="not a JSON number"),
        pytest.param("large", "skill.output_too_large", id="5 MiB"),
    ],
)
def test_an_answer_that_cannot_be_sent_is_a_failure(runner, tmp_path, how, code):
    call = call_of("misfit.return@1", tmp_path, params={"how": how})

    answer = runner.complete(call)

    assert isinstance(answer, Failed)
    assert answer.code == code


def test_a_flood_comes_through_to_its_last_line(runner, tmp_path):
    said, answer = log_of(runner, misfit(tmp_path, "flood", lines=30_000))

    assert isinstance(answer, Succeeded)
    assert len(said) == 3_000_000


def test_a_flood_does_not_hold_up_the_caller(runner, tmp_path):
    runner.begin(misfit(tmp_path, "flood", lines=3_000_000))
    waits = []

    for _ in range(50):
        began = time.monotonic()
        runner.poll(0.01)
        waits.append(time.monotonic() - began)

    assert max(waits) < 0.5


def test_a_second_call_has_to_wait_for_the_first(runner, tmp_path):
    runner.begin(misfit(tmp_path, "hang", ready=str(tmp_path / "ready")))

    with pytest.raises(RunnerBusy):
        runner.begin(call_of("noop.pass@1", tmp_path))


def test_secrets_come_by_reference_and_never_come_back(runner, tmp_path):
    token = "t0p/secret value"
    params = {
        "how": "say",
        "texts": [f"a {token[:7]}", f"{token[7:]} z", " t0p%2Fsecret%20val", "ue end"],
        "token": {"$secret": "token"},
        "nested": [{"again": {"$secret": "token"}}],
    }
    call = call_of("misfit.run@1", tmp_path, params=params)

    said, answer = log_of(runner, call, secrets={"token": token}.__getitem__)

    assert said == f"a {MASK} z {MASK} end"
    assert answer.output["token"] == MASK
    assert answer.output["nested"] == [{"again": MASK}]


def test_the_password_inside_an_address_is_masked_too(runner, tmp_path):
    dsn = "postgresql://loader:p%40ssword@db.example/warehouse"
    params = {
        "how": "raise",
        "message": "password p@ssword is wrong",
        "dsn": {"$secret": "d"},
    }
    call = call_of("misfit.run@1", tmp_path, params=params)

    answer = runner.complete(call, secrets={"d": dsn}.__getitem__)

    assert answer.message == RAISED.format(f"RuntimeError: password {MASK} is wrong")


def test_the_token_of_an_authorization_header_is_masked_without_its_scheme_too(
    runner, tmp_path
):
    config = {"header": {"$secret": "h"}}
    call = call_of(
        "noop.pass@1", tmp_path, params={"value": "got abc-123"}, config=config
    )

    answer = runner.complete(call, secrets={"h": "Bearer abc-123"}.__getitem__)

    assert answer.output == {"value": "got [masked]"}


def test_a_secret_that_may_not_be_had_stops_the_call_before_it_starts(runner, tmp_path):
    call = call_of("noop.pass@1", tmp_path, params={"value": {"$secret": "token"}})

    with pytest.raises(LookupError, match="the secret 'token' is not available"):
        runner.complete(call)


def test_files_come_by_digest_and_go_out_as_paths(runner, tmp_path):
    source = as_file(tmp_path / "sales.csv", "a,b\n1,2\n")
    params = {
        "sources": {"sales": reference(source)},
        "sql": "SELECT a + b AS c FROM sales",
    }
    call = call_of("data.query@1", tmp_path, params=params)

    answer = runner.complete(call, paths={source.sha256: source.path})

    assert isinstance(answer, Succeeded)
    result = answer.files["result"]
    assert isinstance(result, Path)
    assert result.read_text() == "c\n3\n"
    discard(call.workdir)
    assert not call.workdir.exists()


def test_a_file_that_was_not_handed_over_is_named(runner, tmp_path):
    source = as_file(tmp_path / "sales.csv", "a\n1\n")
    call = call_of("noop.pass@1", tmp_path, params={"value": reference(source)})

    answer = runner.complete(call)

    assert answer == Failed(
        "skill.file_missing",
        "Cannot run the step: the file 'sales.csv' is missing. Nothing was done.",
        before_effect=True,
    )
