"""The list of promises is whole, and only tests that passed prove one."""

from types import SimpleNamespace

import pytest

from tests import promises

COUNTS = {"S0": 25, "S1": 40, "S2": 58, "S3": 95, "S4": 13}


def ran(outcomes, nodeid, *ids, call="passed", teardown="passed", xfail=False) -> None:
    """Report a test as pytest does, phase by phase."""
    phases = {"setup": "passed", "call": call, "teardown": teardown}
    for when, outcome in phases.items():
        report = SimpleNamespace(
            nodeid=nodeid,
            when=when,
            passed=outcome == "passed",
            user_properties=[("promise", name) for name in ids],
        )
        if xfail:
            report.wasxfail = ""
        outcomes.take(report)


def proven(outcomes) -> set[str]:
    lines, _ = promises.report(outcomes.by_promise())
    return {line.split()[0] for line in lines if line[9:15] == "proven"}


def test_every_promise_is_listed_once_in_a_sentence() -> None:
    listed = promises.listed()

    assert set(listed) == {
        f"{group}.{number}"
        for group, count in COUNTS.items()
        for number in range(1, count + 1)
    }
    assert len(set(listed.values())) == sum(COUNTS.values())
    for text in listed.values():
        assert text[0].isupper()
        assert text.endswith(".")
        assert 15 < len(text) < 170


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({}, {"S0.1"}, id="passed"),
        pytest.param({"call": "failed"}, set(), id="failed"),
        pytest.param({"call": "skipped"}, set(), id="skipped"),
        pytest.param({"teardown": "failed"}, set(), id="broken afterwards"),
        pytest.param({"xfail": True}, set(), id="expected to fail"),
    ],
)
def test_only_a_test_that_passed_proves_its_promise(options, expected) -> None:
    outcomes = promises.Outcomes()

    ran(outcomes, "test_one", "S0.1", **options)

    assert proven(outcomes) == expected


def test_one_test_that_did_not_pass_takes_its_promise_back() -> None:
    outcomes = promises.Outcomes()
    ran(outcomes, "test_one[a]", "S0.1", "S0.2")

    ran(outcomes, "test_one[b]", "S0.1", call="failed")

    lines, _ = promises.report(outcomes.by_promise())
    assert proven(outcomes) == {"S0.2"}
    assert any("did not pass: test_one[b]" in line for line in lines)
    assert lines[-1].startswith("\n1 of 231 ")


def test_a_run_that_was_broken_off_leaves_no_result(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(promises, "RESULTS", tmp_path / "promises.json")
    outcomes = promises.Outcomes()
    outcomes.collect(["test_one", "test_two"])
    ran(outcomes, "test_one", "S0.1")

    promises.write(outcomes)
    unfinished = promises.RESULTS.exists()
    ran(outcomes, "test_two")
    promises.write(outcomes)

    assert not unfinished
    assert promises.main() == 0


def test_an_unknown_promise_is_an_error(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(promises, "RESULTS", tmp_path / "promises.json")
    outcomes = promises.Outcomes()
    ran(outcomes, "test_one", "S9.1")
    promises.write(outcomes)

    assert promises.main() == 1
    assert "unknown promise S9.1" in capsys.readouterr().err
