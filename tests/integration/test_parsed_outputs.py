"""Fields of what a program prints, as JSON or YAML, in later steps."""

import pytest

from orchestration.skills.builtin.command.parsing import Unparsable, parsed
from orchestration.skills.domain.outcome import Failed, Succeeded
from orchestration.skills.execution.streams import TAIL
from tests.builders import approved, decided, driven, open_gate, outputs, plan, step
from tests.skill_calls import Bench

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]

FRONT_MATTER = """\
---
severity: high
since: 2026-03-01
places: [{file: a.py, line: 012}]
safe: NO
---
A review in words: it is not YAML.
{
"""


def printing(key: str, text: str, form: str) -> dict:
    params = {"argv": ["printf", "%s", text], "parse": form}
    return step(key, "run", skill="command", params=params)


@pytest.mark.promise("S4.7")
@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("yaml", FRONT_MATTER.split("---\nA", maxsplit=1)[0].removeprefix("---\n")),
        ("yaml", FRONT_MATTER),
        (
            "json",
            (
                '{"severity": "high", "since": "2026-03-01", "safe": "NO",'
                ' "places": [{"file": "a.py", "line": 12}]}'
            ),
        ),
    ],
    ids=["yaml", "front matter", "json"],
)
def test_a_later_step_refers_to_a_field_of_yaml_or_json(
    form, text, proposer, operator, worker
):
    run = approved(
        plan(
            printing("scan", text, form),
            step(
                "use",
                after="scan",
                when='steps.scan.output.parsed.severity == "high"',
                params={
                    "severity": "$scan.output.parsed.severity",
                    "line": "$scan.output.parsed.places.0.line",
                    "text": "${scan.output.parsed.since}: $scan.output.parsed.safe",
                },
            ),
        ),
        proposer,
        operator,
    )
    decided(open_gate(run, "scan"), operator)
    run = driven(run, worker)

    assert run.state == "succeeded"
    assert outputs(run)["use"] == {
        "severity": "high",
        "line": 12,
        "text": "2026-03-01: NO",
    }


@pytest.mark.parametrize(
    ("form", "text", "reason"),
    [
        ("json", "{", "Expecting property name"),
        ("json", "NaN", "NaN is not a JSON number"),
        ("json", "[1e999]", "1e999 is not a JSON number"),
        ("json", "[" * 9000, "nested too deeply"),
        ("yaml", "[" * 9000, "nested too deeply"),
        ("yaml", "a: &x [1]\nb: *x", r"aliases are not supported \(line 2\)"),
        ("yaml", "a: 1\n2: b", r"a key is not text \(line 1\)"),
        ("yaml", "? [a]\n: b", "unhashable key"),
        ("yaml", "a: !!binary aGk=", "could not determine a constructor"),
        ("yaml", "a: !!python/object/apply:os.getcwd []", "could not determine"),
        ("yaml", "a: !!python/object:os.x {}", "could not determine"),
        ("yaml", "a: !!timestamp x", "could not determine a constructor"),
        ("yaml", "a: !!bool maybe", "a value does not fit its type"),
        ("yaml", "a: !!int x", "invalid literal for int"),
        ("yaml", "a: !!float x", "could not convert string to float"),
        ("yaml", r'a: "\UFFFFFFFF"', "a value does not fit its type"),
        ("yaml", "a: 1e999", "1e999 is not a JSON number"),
        ("yaml", "a: [", r"\(line 1\)"),
    ],
)
def test_what_json_cannot_store_is_not_read(form, text, reason):
    with pytest.raises(Unparsable, match=reason):
        parsed(text, form)


def test_output_that_cannot_be_read_fails_the_step(tmp_path):
    bench = Bench(tmp_path / "calls")

    def run(*argv: str, form: str) -> Succeeded | Failed:
        return bench.run("command.run", {"argv": [*argv], "parse": form})

    empty, bad = run("true", form="yaml"), run("echo", "{", form="json")
    tagged = run("echo", "ok: !!bool maybe", form="yaml")
    large = run("head", "-c", str(TAIL + 1), "/dev/zero", form="json")
    plain = bench.run("command.run", {"argv": ["echo", "{}"]})

    assert isinstance(empty, Succeeded)
    assert empty.output["parsed"] is None
    assert {one.code for one in (bad, tagged, large)} == {"command.not_parsed"}
    assert bad.message.startswith("Cannot read the output as JSON: Expecting property")
    assert "too large: 65,537 bytes (max 65,536)" in large.message
    # A contract of an earlier version does not have the key.
    assert "parsed" not in plain.output
