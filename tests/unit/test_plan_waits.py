"""Wait steps in a plan: their keys, what is reported, how a page says it."""

from datetime import UTC, datetime

import pytest

from orchestration.plans.domain import document, form, source, validation, waits
from orchestration.plans.domain.document import from_normal_form, normal_form
from orchestration.plans.domain.waiting import WaitLimits
from tests.unit.plans import Registry, check, places
from tests.unit.plans import plan as parsed

AT = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def wait(keys: str) -> str:
    return f"id: p\nsteps:\n  - {{id: w, kind: wait, {keys}}}\n"


def problems_at(text: str, approval_s: float | None = None, inputs=None):
    read = source.parse(text)
    plan, found = form.read(read)
    assert plan is not None
    checked = validation.validate(
        plan,
        read.positions,
        catalog=Registry(),
        inputs=inputs,
        limits=WaitLimits(AT, approval_s),
    )
    return [*found, *checked.problems]


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ("for: 10m", "Waits 10m."),
        ("for: 1h30m", "Waits 1h30m."),
        ("for: 250ms", "Waits 0.25s."),
        ("for: 2d", "Waits 2d."),
        ("for: 90", "Waits 1m30s."),
        (
            "until: '2026-07-01T06:00:00+01:00'",
            "Waits until 2026-07-01T06:00:00+01:00.",
        ),
        ("until: 2026-07-01T06:00:00Z", "Waits until 2026-07-01T06:00:00Z."),
    ],
)
def test_a_wait_says_how_long(keys, sentence):
    text = wait(keys)
    plan = parsed(text)

    assert problems_at(text) == []
    assert waits.sentence(plan.steps[0]) == sentence
    assert document.digest(from_normal_form(normal_form(plan))) == document.digest(plan)


@pytest.mark.parametrize(
    ("keys", "code", "column"),
    [
        pytest.param("name: W", "plan.wait_invalid", 5, id="neither"),
        pytest.param(
            "for: 1m, until: 2026-07-01T06:00:00Z", "plan.wait_invalid", 5, id="both"
        ),
        pytest.param("for: soon", "plan.wrong_type", 25, id="no duration"),
        pytest.param("for: 0s", "plan.wrong_type", 25, id="no time at all"),
        pytest.param("for: -5m", "plan.wrong_type", 25, id="negative"),
        pytest.param("for: 367d", "plan.wrong_type", 25, id="too long"),
        pytest.param("until: 2026-07-01T06:00:00", "plan.wrong_type", 25, id="no zone"),
        pytest.param("until: 2026-02-30T06:00:00Z", "plan.wrong_type", 25, id="no day"),
        pytest.param(
            "until: '0001-01-01T00:00:00+14:00'", "plan.wrong_type", 25, id="year 0"
        ),
        pytest.param("until: tomorrow", "plan.wrong_type", 25, id="words"),
        pytest.param("until: 20260701", "plan.wrong_type", 25, id="a number"),
        pytest.param(
            "until: 2027-07-01T06:00:00Z", "plan.wait_invalid", 25, id="too far away"
        ),
        pytest.param("for: 1m, skill: lab", "plan.unknown_key", 34, id="a skill"),
        pytest.param("for: 1m, params: {}", "plan.unknown_key", 34, id="params"),
    ],
)
def test_a_wrong_wait_is_marked_where_it_is(keys, code, column):
    first = problems_at(wait(keys))[0]

    assert (first.code, first.line, first.step) == (code, 3, "w")
    assert first.column == column
    assert first.severity == "error"


def test_a_time_in_the_past_is_a_warning():
    (found,) = problems_at(wait("until: '2026-06-01T12:00:00Z'"))

    assert (found.code, found.severity) == ("plan.wait_past", "warning")
    assert check(wait("until: '2026-06-01T12:00:00Z'")) == []


FORM = "form: {type: object, properties: {a: {type: string}}}"


@pytest.mark.parametrize(
    ("keys", "at"),
    [
        ("kind: wait, for: 8d", "for"),
        ("kind: wait, until: 2026-06-09T12:00:00Z", "until"),
        ("kind: wait, event: {type: go}, expiresIn: 8d", "expiresIn"),
        (f"kind: input, {FORM}, ask: {{reason: Why?, expiresIn: 8d}}", "expiresIn"),
    ],
)
def test_a_wait_that_outlives_the_approval_is_a_warning(keys, at):
    text = f"id: p\nsteps:\n  - {{id: w, {keys}}}\n"
    week, longer = 7 * 86400, 8 * 86400
    (found,) = problems_at(text, week)

    assert (found.code, found.severity) == ("plan.wait_outlives_approval", "warning")
    assert "valid for 7d" in found.message
    assert found.column == text.splitlines()[2].index(f"{at}:") + 1
    assert problems_at(text, longer) == problems_at(text) == []


TIMES = """
id: p
inputs:
  properties:
    pause: {type: %s}
    at: {type: string}
  required: [pause, at]
steps:
  - {id: w, kind: wait, %s}
"""


@pytest.mark.parametrize(
    ("keys", "inputs", "sentence"),
    [
        ("for: $inputs.pause", None, "Waits as long as $inputs.pause says."),
        ("for: $inputs.pause", {"pause": "10m"}, "Waits 10m ($inputs.pause)."),
        ("until: $inputs.at", None, "Waits until $inputs.at."),
        (
            "until: '${inputs.at}'",
            {"at": "2026-07-01T06:00:00Z"},
            "Waits until 2026-07-01T06:00:00Z (${inputs.at}).",
        ),
        (
            "for: $inputs.pause",
            {"pause": "soon"},
            (
                "Cannot wait: for is $inputs.pause, and its value must be a duration such as"
                " 30s, 5m or 1h30m, at most 366d."
            ),
        ),
    ],
)
def test_a_reference_says_how_long(keys, inputs, sentence):
    text = TIMES % ("string", keys)
    plan = parsed(text)

    assert problems_at(text) == []
    assert waits.sentence(plan.steps[0], inputs) == sentence
    assert document.digest(from_normal_form(normal_form(plan))) == document.digest(plan)


@pytest.mark.parametrize(
    ("type_", "keys", "code"),
    [
        ("boolean", "for: $inputs.pause", "plan.wait_invalid"),
        ("integer", "until: $inputs.pause", "plan.wait_invalid"),
        ("array", "until: $inputs.pause", "plan.wait_invalid"),
        ("string", "for: $inputs.other", "plan.reference_unknown"),
        ("string", "until: $later.output.at", "plan.reference_unknown"),
        ("string", "for: $inputs.pause?", "plan.wrong_type"),
        ("string", "for: 'about $inputs.pause'", "plan.wrong_type"),
        ("string", "until: '${inputs.at}Z'", "plan.wrong_type"),
        ("string", "until: $", "plan.wrong_type"),
    ],
)
def test_a_reference_that_is_never_a_time_is_an_error(type_, keys, code):
    found, *others = problems_at(TIMES % (type_, keys))

    assert (found.code, found.severity, found.line) == (code, "error", 9)
    # A step whose time cannot be read has none.
    assert len(others) == (code == "plan.wrong_type")


@pytest.mark.parametrize(
    ("keys", "value", "code"),
    [
        ("for: $inputs.pause", "10m", None),
        ("for: $inputs.pause", 90, None),
        ("for: $inputs.pause", "8d", "plan.wait_outlives_approval"),
        ("for: $inputs.pause", "soon", "plan.wait_invalid"),
        ("for: $inputs.pause", -1, "plan.wait_invalid"),
        ("until: $inputs.pause", "2026-06-02T12:00:00Z", None),
        ("until: $inputs.pause", "2026-06-01T12:00:00Z", "plan.wait_past"),
        ("until: $inputs.pause", "2026-06-09T12:00:00Z", "plan.wait_outlives_approval"),
        ("until: $inputs.pause", "2028-06-01T12:00:00Z", "plan.wait_invalid"),
        ("until: $inputs.pause", "tomorrow", "plan.wait_invalid"),
        ("until: $inputs.pause", "$inputs.at", "plan.wait_invalid"),
    ],
)
def test_known_inputs_are_checked_as_times(keys, value, code):
    type_ = "number" if isinstance(value, int) else "string"
    text = TIMES % (type_, keys)
    found = problems_at(text, 7 * 86400, {"pause": value, "at": ""})

    assert [one.code for one in found][:1] == ([code] if code else [])
    assert {one.line for one in found} <= {9}


def test_other_kinds_have_no_wait():
    text = "id: p\nsteps:\n  - {id: a, kind: approval, for: 10m}\n"

    assert places(check(text)) == [("plan.unknown_key", 3, 29)]


def test_later_steps_know_the_output_of_a_wait():
    text = """
        id: p
        steps:
          - {id: w, kind: wait, for: 1m}
          - {id: a, kind: approval, dependsOn: [w], approval: {reason: '${w.output.until}'}}
          - {id: b, kind: approval, dependsOn: [w], approval: {reason: '${w.output.end}'}}
    """

    assert [one.code for one in check(text)] == ["plan.reference_unknown"]


PAID = "event: {type: invoice.paid, key: $inputs.invoice}"
EVENTS = """
id: p
inputs: {type: object, properties: {invoice: {type: string}, many: {type: array}}, required: [invoice, many]}
steps:
  - {id: w, kind: wait, %s}
"""


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (PAID, "Waits for event invoice.paid with key $inputs.invoice."),
        (f"{PAID}, expiresIn: 14d", None),
        ("event: {type: go}, expires_in: 1h", "Waits for event go, at most 1h."),
        ("event: {type: go, key: 'n-${inputs.invoice}'}", None),
    ],
)
def test_a_wait_names_its_event(keys, sentence):
    text = EVENTS % keys
    plan = parsed(text)

    assert check(text) == []
    assert sentence in {None, waits.sentence(plan.steps[0])}
    assert document.digest(from_normal_form(normal_form(plan))) == document.digest(plan)


@pytest.mark.parametrize(
    ("keys", "code", "at"),
    [
        pytest.param("event: {key: a}", "plan.missing_key", "event", id="no type"),
        pytest.param("event: {type: 'a b'}", "plan.wrong_value", "type", id="bad type"),
        pytest.param("event: go", "plan.wrong_type", "event", id="no object"),
        pytest.param("event: {type: a, k: b}", "plan.unknown_key", "k: b", id="a key"),
        pytest.param(
            "event: {type: a, key: $inputs.n}",
            "plan.reference_unknown",
            "key",
            id="input",
        ),
        pytest.param(
            "event: {type: a, key: $b.output}",
            "plan.reference_unknown",
            "key",
            id="step",
        ),
        pytest.param(
            "event: {type: a, key: $inputs.many}",
            "plan.wait_invalid",
            "key",
            id="a list",
        ),
        pytest.param("event: {type: a}, for: 1m", "plan.wait_invalid", "{id", id="two"),
        pytest.param(
            "for: 1m, expiresIn: 1d", "plan.wait_invalid", "expiresIn", id="no event"
        ),
        pytest.param(
            "event: {type: a}, expiresIn: x", "plan.wrong_type", "expiresIn", id="time"
        ),
    ],
)
def test_a_wrong_event_is_marked_where_it_is(keys, code, at):
    text = EVENTS % keys
    first = check(text)[0]

    column = text.splitlines()[4].index(at) + 1
    assert (first.code, first.line, first.step, first.column) == (code, 5, "w", column)


def test_any_field_of_a_payload_may_be_used():
    text = (EVENTS % PAID) + (
        "  - {id: a, kind: approval, dependsOn: [w], approval: {reason: '${w.output.x}'}}\n"
    )

    assert check(text) == []
