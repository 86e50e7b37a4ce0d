"""What every built-in skill must state, and the guard, the log and the outputs."""

import os
import re

import pytest
from jsonschema import Draft202012Validator

from execfabric.lib.masking import MASK, Masker
from orchestration.skills import installed
from orchestration.skills.domain import contract, handlers
from orchestration.skills.domain.contract import DryRunKind, EffectClass, Risk
from orchestration.skills.domain.guard import Allow, touched
from orchestration.skills.domain.outcome import Failed, Succeeded
from orchestration.skills.execution.calls import local_files
from orchestration.skills.execution.masking import LogTap
from orchestration.skills.execution.outputs import storable, validate_output
from tests.skill_calls import action

SKILLS = [skill for skill in installed.contracts() if skill.slug in installed.MODULES]
ACTIONS = [
    pytest.param(skill, item, id=f"{skill.slug}.{item.name}")
    for skill in SKILLS
    for item in skill.actions
]


def test_every_built_in_module_brings_the_skill_of_its_name():
    assert [skill.slug for skill in SKILLS] == sorted(installed.MODULES)


@pytest.mark.parametrize("skill", [pytest.param(s, id=s.slug) for s in SKILLS])
def test_a_skill_says_what_it_may_and_what_it_may_not(skill):
    assert skill.description.endswith(".")
    assert skill.allowed
    assert skill.forbidden
    Draft202012Validator.check_schema(skill.config_schema)
    assert contract.from_json(contract.as_json(skill)) == skill


@pytest.mark.parametrize(("skill", "item"), ACTIONS)
def test_an_action_has_its_code_its_schemas_and_words_for_people(skill, item):
    registered = installed.find(item.handler)

    assert registered is not None
    assert (registered.dry_run is not None) == (
        item.dry_run is not DryRunKind.NONE
    ) or (item.dry_run is DryRunKind.NONE)
    assert (registered.check is not None) == item.checks_target
    probe = installed.find(item.probe) if item.probe else None
    assert (probe is not None and probe.probe is not None) == bool(item.probe)
    for schema in (item.input_schema, item.output_schema):
        Draft202012Validator.check_schema(schema)
        assert schema["additionalProperties"] is False
        for name, described in schema["properties"].items():
            assert described.get("title"), name
            assert described.get("description"), name
    asked = re.findall(r"{(\w+)}", item.summary)
    assert set(asked) <= set(item.input_schema["properties"])


@pytest.mark.parametrize(("skill", "item"), ACTIONS)
def test_an_undo_is_an_action_that_takes_what_it_is_given(skill, item):
    if not item.undo:
        assert item.undo_params == {}
        return
    undo = skill.action(item.undo)

    assert undo is not None
    assert set(item.undo_params) <= set(undo.input_schema["properties"])
    assert set(undo.input_schema["required"]) <= set(item.undo_params)
    for reference in item.undo_params.values():
        _, kind, name = reference.split(".")
        known = item.output_schema if kind == "output" else item.input_schema
        assert name in known["required"], reference


@pytest.mark.parametrize(
    ("name", "risk", "effect"),
    [
        ("noop.pass", Risk.LOW, EffectClass.PURE),
        ("files.collect", Risk.LOW, EffectClass.PURE),
        ("files.publish", Risk.HIGH, EffectClass.IDEMPOTENT),
        ("data.query", Risk.LOW, EffectClass.PURE),
        ("data.load", Risk.HIGH, EffectClass.IDEMPOTENT),
        ("git-operations.create-branch", Risk.LOW, EffectClass.IDEMPOTENT),
        ("http.request", Risk.HIGH, EffectClass.NON_IDEMPOTENT),
        ("command.run", Risk.CRITICAL, EffectClass.NON_IDEMPOTENT),
        ("notify.email", Risk.HIGH, EffectClass.NON_IDEMPOTENT),
        ("jira-write.transition", Risk.MEDIUM, EffectClass.IDEMPOTENT),
    ],
)
def test_risk_and_effect_are_as_decided(name, risk, effect):
    assert (action(name).risk, action(name).effect_class) == (risk, effect)


def test_a_key_is_registered_once():
    with pytest.raises(ValueError, match="duplicate handler"):
        handlers.handler("noop.pass@1")(lambda call: Succeeded())


INSIDE, OUTSIDE = "/nowhere/own/x", "/nowhere/other"


@pytest.mark.parametrize(
    ("event", "args", "allow", "refused"),
    [
        ("open", (OUTSIDE, "r", os.O_RDONLY), Allow(), False),
        ("open", (OUTSIDE, "w", os.O_WRONLY | os.O_CREAT), Allow(), True),
        ("open", (OUTSIDE, "r+", os.O_RDWR), Allow(), True),
        ("open", (OUTSIDE, None, os.O_RDONLY | os.O_TRUNC), Allow(), True),
        ("open", (OUTSIDE.encode(), "a", os.O_APPEND), Allow(), True),
        ("open", (INSIDE, "w", os.O_WRONLY), Allow(), False),
        ("open", ("/nowhere/own", "w", os.O_WRONLY), Allow(), False),
        ("open", ("/nowhere/ownership", "w", os.O_WRONLY), Allow(), True),
        ("open", ("/nowhere/own/../other", "w", os.O_WRONLY), Allow(), True),
        ("open", ("relative", "w", os.O_WRONLY), Allow(), True),
        ("open", (5, "w", os.O_WRONLY), Allow(), False),
        ("open", ("/dev/null", "w", os.O_WRONLY), Allow(), False),
        ("os.remove", (OUTSIDE, -1), Allow(), True),
        ("os.remove", (INSIDE, -1), Allow(), False),
        ("os.rename", (INSIDE, OUTSIDE, -1, -1), Allow(), True),
        ("os.rename", (OUTSIDE, INSIDE, -1, -1), Allow(), True),
        ("os.symlink", (OUTSIDE, INSIDE, -1), Allow(), False),
        ("os.mkdir", (OUTSIDE, 0o777, -1), Allow(), True),
        ("os.chmod", (OUTSIDE, 0o777, -1), Allow(), True),
        ("os.truncate", (7, 0), Allow(), False),
        ("socket.connect", (None, ("127.0.0.1", 1)), Allow(), True),
        ("socket.connect", (None, ("127.0.0.1", 1)), Allow(network=True), False),
        ("socket.getaddrinfo", ("a", 1, 0, 0, 0), Allow(), True),
        ("subprocess.Popen", ("git", ["git", "rev-parse"], None, None), Allow(), True),
        ("subprocess.Popen", ("git", ["/usr/bin/git", "-c", "a=b", "-C", "/", "--git-dir=x",
         "rev-parse", "HEAD"], None, None), Allow(programs=("git rev-parse",)), False),
        ("subprocess.Popen", ("git", ["git", "push"], None, None),
         Allow(programs=("git rev-parse",)), True),
        ("subprocess.Popen", ("sh", "git rev-parse; rm x", None, None),
         Allow(programs=("git rev-parse",)), True),
        ("os.system", (b"true",), Allow(programs=("true",)), True),
        ("os.fork", (), Allow(), True),
        ("import", ("os", None, None, None, None), Allow(), False),
    ],
)  # fmt: skip
def test_the_guard_tells_looking_from_touching(event, args, allow, refused):
    what = touched(event, args, workdir="/nowhere/own", allow=allow)

    assert bool(what) is refused, what


SECRET = 'p"ss/wörd+1'


@pytest.mark.parametrize(
    "form", [SECRET, "p%22ss%2Fw%C3%B6rd%2B1", 'p\\"ss/w\\u00f6rd+1']
)
def test_a_secret_is_masked_wherever_the_chunks_are_cut(form):
    said = f"the token is {form}, and {form} again".encode()

    for cut in range(len(said) + 1):
        tap = LogTap(Masker([SECRET]))
        text = tap.feed(said[:cut]) + tap.feed(said[cut:]) + tap.finish()
        assert text == f"the token is {MASK}, and {MASK} again", cut


def test_one_byte_at_a_time_gives_the_same_text():
    said = f"a {SECRET} b hunter2pass c hunter d".encode()
    tap = LogTap(Masker([SECRET, "hunter", "hunter2pass"]))

    text = "".join(tap.feed(said[i : i + 1]) for i in range(len(said))) + tap.finish()

    assert text == f"a {MASK} b {MASK} c {MASK} d"


def test_text_that_cannot_be_stored_or_decoded_is_replaced():
    tap = LogTap(Masker([]))

    text = tap.feed(b"a\0b \xff \xc3") + tap.feed(b"\xa4") + tap.finish()

    assert text == "a\ufffdb \ufffd ä"


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        pytest.param({"value": 1}, "", id="as promised"),
        pytest.param({"other": 1}, "Additional properties", id="an unknown property"),
        pytest.param({"value": "a\0b"}, "cannot be stored", id="a NUL character"),
        pytest.param({"value": ["\ud800"]}, "cannot be stored", id="half a character"),
        pytest.param(
            {"value": {"$secret": "dsn"}},
            "reserved key '$secret'",
            id="a forged secret",
        ),
        pytest.param(
            {"value": [{"$file": {}}]}, "reserved key '$file'", id="a forged file"
        ),
    ],
)
def test_an_output_is_what_its_action_promised(output, expected):
    outcome = Succeeded(output=output)

    checked = validate_output(action("noop.pass"), outcome)

    if not expected:
        assert checked is outcome
    else:
        assert isinstance(checked, Failed)
        assert checked.code == "skill.output_invalid"
        assert expected in checked.message
        assert not storable(output) or "Additional" in expected


@pytest.mark.parametrize("how", ["undeclared", "missing", "link", "outside"])
def test_a_file_that_was_not_promised_or_is_no_plain_file_of_the_call_is_refused(
    tmp_path, how
):
    workdir, outside = tmp_path / "work", tmp_path / "outside"
    workdir.mkdir()
    outside.write_text("x")
    path, name = workdir / "result.csv", "result"
    if how == "undeclared":
        path.write_text("x")
        name = "another"
    elif how == "link":
        path.symlink_to(outside)
    elif how == "outside":
        path = workdir / "../outside"
    outcome = Succeeded(output={"rows": 0, "columns": []}, files={name: path})

    checked = validate_output(action("data.query"), outcome, workdir)

    assert isinstance(checked, Failed)
    assert checked.code == "skill.output_invalid"


def test_the_files_a_value_names_are_found_at_any_depth():
    def file(digest: str) -> dict:
        return {"$file": {"sha256": digest, "name": "n", "size": 0}}

    value = {"a": file("1"), "b": [file("2"), {"c": {"d": [file("3")]}}], "e": 1}

    assert local_files(value) == {"1", "2", "3"}
    assert local_files([]) == local_files("x") == set()
