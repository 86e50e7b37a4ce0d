"""The plan page: problems at their lines, a dry run, a proposal; bad input never harms."""

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from orchestration.runs.models import Run
from tests.builders import end_dry_runs
from tests.console_builders import PLAN, codes, rows, signed_in, words

pytestmark = pytest.mark.usefixtures("registry")
ROUTES = ["/plans/check", "/plans/dry-run", "/plans/propose"]
DEEP = "[" * 1000 + "]" * 1000


@pytest.fixture
def client(proposer, operator) -> Client:
    return signed_in(proposer)


def a_file(content: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile("plan.yaml", content, content_type="application/yaml")


def test_every_problem_is_listed_with_its_code_and_line(client) -> None:
    text = PLAN.replace(
        "action: pass\n      params", "action: pas\n      colour: red\n      params"
    )

    page = client.post("/plans/check", {"text": text})

    shown = page.content.decode()
    assert {"plan.unknown_action", "plan.unknown_key"} <= set(codes(page))
    assert 'href="#L10" data-line="10"' in shown
    assert 'id="L10"' in shown
    assert "Approvals needed" not in words(page)


def test_a_valid_plan_shows_its_order_digest_and_approvals(client) -> None:
    page = client.post("/plans/check", {"text": PLAN, "inputs": "word: hello"})

    text = words(page)
    assert rows(page, "plan-problem") == 0
    assert "Ready to propose" in text
    assert "2 steps, in this order: first second" in text
    assert "Before first : The boss said so" in text


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="nothing given"),
        pytest.param({"input.word": "", "kind.word": "string"}, id="left empty"),
        pytest.param({"inputs": "word: 7"}, id="of the wrong type"),
        pytest.param({"inputs": "word: x\nother: y"}, id="one too many"),
    ],
)
def test_wrong_inputs_are_problems_at_every_button(route, fields, client) -> None:
    page = client.post(route, {"text": PLAN} | fields)

    assert "plan.input_invalid" in codes(page)
    assert "Ready to propose" not in words(page)
    assert 'name="input.word"' in page.content.decode()
    assert not Run.objects.exists()


def test_a_missing_input_is_marked_after_a_check(client) -> None:
    opened = client.get("/plans/new?example=tag-release")
    assert 'name="input.version"' in opened.content.decode()
    sent = client.post("/plans/check", {"text": PLAN, "input.word": ""})
    given = client.post("/plans/check", {"text": PLAN, "input.word": "x"})

    found = [rows(page, "input-error") for page in (opened, sent, given)]
    assert found == [0, 1, 0]


@pytest.mark.parametrize("route", ROUTES)
def test_typed_inputs_survive_an_error_in_the_plan(route, client) -> None:
    fields = {"input.word": "kept <so far>", "kind.word": "string"}

    page = client.post(route, {"text": "plan: ["} | fields)

    assert "&quot;word&quot;: &quot;kept &lt;so far&gt;&quot;" in page.content.decode()


def test_a_check_shows_a_field_for_each_input(client) -> None:
    page = client.post("/plans/check", {"text": PLAN})

    shown = page.content.decode()
    assert 'name="input.word"' in shown
    assert "The word" in words(page)


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ("{type: [string, 'null']}", 'name="input.word" rows="3"'),
        ("{type: object}", 'name="input.word" rows="3"'),
        ("true", 'name="input.word" rows="3"'),
        ("{enum: 5}", 'name="inputs"'),
    ],
)
def test_an_input_without_a_simple_type_is_written_as_text(
    schema, field, client
) -> None:
    start = PLAN.index("inputs:")
    inputs = f"inputs: {{properties: {{word: {schema}}}}}\n"
    text = PLAN[:start] + inputs + PLAN[PLAN.index("  steps:") :]

    page = client.post("/plans/check", {"text": text, "inputs": "word: x"})

    assert page.status_code == 200
    assert field in page.content.decode()


def test_typed_text_stays_on_the_page(client) -> None:
    page = client.post(
        "/plans/check", {"text": PLAN, "input.word": "<kept>", "kind.word": "string"}
    )

    shown = page.content.decode()
    assert 'value="&lt;kept&gt;"' in shown
    assert "name: Hand a value on" in shown


@pytest.mark.promise("S1.23")
def test_a_dry_run_shows_each_step_and_the_coverage(client) -> None:
    fields = {"text": PLAN, "inputs": "word: hello"}
    started = client.post("/plans/dry-run", fields)
    waiting = client.get(started["Location"])
    end_dry_runs()
    page = client.get(started["Location"])

    assert (started.status_code, waiting.status_code) == (302, 200)
    assert "Waiting for a worker." in words(waiting)
    assert 'hx-trigger="every 1s"' in waiting.content.decode()
    assert rows(page, "dry-run-step") == 2
    assert "100% previewed" in words(page)
    assert 'hx-trigger="every 1s"' not in page.content.decode()
    assert not Run.objects.exists()


def test_typed_text_is_on_the_page_of_its_dry_run(client) -> None:
    fields = {"text": PLAN, "input.word": "<kept>", "kind.word": "string"}
    started = client.post("/plans/dry-run", fields)

    page = client.get(started["Location"])

    assert 'value="&lt;kept&gt;"' in page.content.decode()
    assert "name: Hand a value on" in page.content.decode()
    assert "Ready to propose" in words(page)


def test_the_end_of_a_dry_run_is_announced(client) -> None:
    started = client.post("/plans/dry-run", {"text": PLAN, "inputs": "word: hello"})
    state = started["Location"] + "/state"
    waiting = client.get(state, headers={"HX-Request": "true"})
    end_dry_runs()
    ended = client.get(state, headers={"HX-Request": "true"})

    assert (
        'role="status" id="dry-run-said"'
        in client.get(started["Location"]).content.decode()
    )
    assert "hx-swap-oob" not in waiting.content.decode()
    assert "Dry run ended: 100% of the steps previewed." in words(ended)


def test_a_step_that_would_fail_is_named_at_the_top(client) -> None:
    text = (
        "plan:\n  id: p\n  name: P\n  steps:\n"
        "    - {id: bad, skill: lab, action: look, params: {how: would fail}}\n"
        "    - {id: good, skill: lab, action: look, params: {how: ok}}\n"
    )
    started = client.post("/plans/dry-run", {"text": text})
    end_dry_runs()

    page = client.get(started["Location"])

    assert rows(page, "would-fail") == 1
    assert "Would fail: 1 of 2 steps. bad : The target is not there." in words(page)
    assert "50% previewed" in words(page)
    assert 'data-step="bad" data-kind="simulated" data-verdict="would_fail"' in (
        page.content.decode()
    )


def test_too_many_dry_runs_are_refused_without_losing_typed_text(
    client, settings
) -> None:
    settings.DRY_RUNS_PER_ACTOR = 1
    fields = {"text": PLAN, "input.word": "kept", "kind.word": "string"}
    client.post("/plans/dry-run", fields)

    page = client.post("/plans/dry-run", fields)

    assert page.status_code == 429
    assert codes(page)[0] == "dry_run.too_many"
    assert 'value="kept"' in page.content.decode()


def test_the_dry_run_of_another_user_is_not_shown(client, operator) -> None:
    started = client.post("/plans/dry-run", {"text": PLAN, "inputs": "word: hello"})

    for address in (started["Location"], started["Location"] + "/state"):
        assert signed_in(operator).get(address).status_code == 404


@pytest.mark.promise("S1.1", "S1.19")
def test_proposing_leads_to_a_run_that_waits_for_approval(client) -> None:
    answered = client.post(
        "/plans/propose", {"text": PLAN, "input.word": "hello", "kind.word": "string"}
    )

    run = Run.objects.get()
    assert (answered.status_code, answered["Location"]) == (302, f"/runs/{run.pk}")
    assert (run.state, run.inputs) == ("awaiting_approval", {"word": "hello"})


def test_an_uploaded_file_is_used_before_the_text_field(client) -> None:
    client.post(
        "/plans/propose",
        {"text": "nonsense", "file": a_file(PLAN.encode()), "inputs": '{"word": "x"}'},
    )

    assert Run.objects.get().revision.source == PLAN


def test_line_endings_of_browsers_do_not_change_the_plan(client) -> None:
    fields = {"text": PLAN.replace("\n", "\r\n"), "inputs": "word: x"}

    client.post("/plans/propose", fields)

    assert Run.objects.get().revision.source == PLAN


def test_fields_keep_the_types_of_the_schema(client) -> None:
    schema = (
        "{type: object, properties: {word: {type: string}, n: {type: integer},"
        " ok: {type: boolean}, left: {type: number}}}"
    )
    start = PLAN.index("inputs:")
    text = PLAN[:start] + f"inputs: {schema}\n" + PLAN[PLAN.index("  steps:") :]
    fields = {"word": "7", "n": "7", "ok": "true", "left": ""}
    kinds = {"word": "string", "n": "integer", "ok": "boolean", "left": "number"}

    client.post(
        "/plans/propose",
        {"text": text}
        | {f"input.{key}": value for key, value in fields.items()}
        | {f"kind.{key}": value for key, value in kinds.items()},
    )

    assert Run.objects.get().inputs == {"word": "7", "n": 7, "ok": True}


@pytest.mark.parametrize("route", ["/plans/check", "/plans/propose"])
@pytest.mark.parametrize(
    ("fields", "code"),
    [
        pytest.param({"text": ""}, "plan.not_yaml", id="empty"),
        pytest.param({"text": "plan: ["}, "plan.not_yaml", id="malformed"),
        pytest.param({"text": "a: 1\na: 2"}, "plan.duplicate_key", id="duplicate key"),
        pytest.param({"text": DEEP}, "plan.too_deep", id="a thousand levels"),
        pytest.param({"text": "x" * 1_500_000}, "plan.too_large", id="1.5 MB of text"),
        pytest.param({"text": "a: &x 1\nb: *x"}, "plan.alias", id="alias"),
        pytest.param({"text": "- 1\n- 2"}, "plan.", id="a list"),
        pytest.param({"text": "just words"}, "plan.", id="a sentence"),
    ],
)
def test_a_bad_plan_gets_a_clear_code_and_no_run(route, fields, code, client) -> None:
    page = client.post(route, fields)

    assert page.status_code in {200, 422}
    assert [found for found in codes(page) if found.startswith(code)], codes(page)
    assert not Run.objects.exists()


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"\xff\xfe\x00plan", "not UTF-8", id="binary"),
        pytest.param(b"plan\x00: 1", "null character", id="null bytes"),
        pytest.param(b"x" * 10_000_000, "10,000,000 bytes", id="10 MB"),
    ],
)
def test_a_bad_file_is_refused_with_a_reason(route, content, says, client) -> None:
    page = client.post(route, {"file": a_file(content)})

    assert page.status_code == 422
    assert says in words(page)
    assert {"plan.not_text", "plan.too_large"} & set(codes(page))
    assert not Run.objects.exists()


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("field", ["text", "inputs"])
def test_ten_megabytes_in_a_field_are_refused_by_name_and_limit(
    route, field, client
) -> None:
    page = client.post(route, {"text": PLAN} | {field: "x" * 10_000_000})
    part = client.post(route, {field: "x" * 10_000_000}, headers={"HX-Request": "true"})

    for answer in (page, part):
        assert answer.status_code == 413
        assert "max 5,242,880 bytes, 5 MB" in words(answer)
        assert "request.too_large" in words(answer)
    assert "<html" not in part.content.decode()
    assert part["HX-Retarget"] == "#refusal"
    assert codes(part) == ["request.too_large"]


def test_an_unreadable_request_is_not_called_too_large(client) -> None:
    page = client.post(
        "/plans/check", data=b"--", content_type="multipart/form-data; boundary="
    )

    assert page.status_code == 400
    assert "request.not_understood" in words(page)


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param("[1, 2]", id="a list"),
        pytest.param("word: [", id="malformed"),
        pytest.param('{"word": "a", "word": "b"}', id="duplicate key"),
        pytest.param("word: " + "[" * 1000 + "]" * 1000, id="a thousand levels"),
        pytest.param("just words", id="a sentence"),
    ],
)
def test_bad_inputs_are_refused_with_a_reason(inputs, client) -> None:
    page = client.post("/plans/propose", {"text": PLAN, "inputs": inputs})

    assert page.status_code == 422
    assert 'class="errorlist"' in page.content.decode()
    assert not Run.objects.exists()


def test_inputs_of_the_wrong_type_are_problems(client) -> None:
    fields = {"text": PLAN, "inputs": json.dumps({"word": 7})}

    page = client.post("/plans/propose", fields)

    assert page.status_code == 422
    assert "plan.input_invalid" in codes(page)


@pytest.mark.parametrize("route", ROUTES)
def test_a_user_without_the_right_to_propose_is_refused(route, auditor) -> None:
    client = signed_in(auditor)

    assert client.get("/plans/new").status_code == 403
    refused = client.post(route, {"text": PLAN})

    assert refused.status_code == 403
    assert codes(refused) == ["auth.right_missing"]


def test_examples_can_be_loaded_and_nothing_else(client) -> None:
    listed = client.get("/plans/new").content.decode()

    assert "?example=tag-release" in listed
    assert (
        "skill: git-operations"
        in client.get("/plans/new?example=tag-release").content.decode()
    )
    for name in ["../../settings", "/etc/passwd", "nothing"]:
        assert client.get("/plans/new", {"example": name}).status_code == 404


def test_markup_in_a_plan_stays_text(client) -> None:
    text = PLAN.replace("Hand a value on", "</textarea><script>alert(1)</script>")

    shown = client.post("/plans/check", {"text": text}).content.decode()

    assert "<script>alert" not in shown


def test_a_check_makes_no_more_queries_for_more_steps(
    client, django_assert_max_num_queries
) -> None:
    more = "".join(
        f"    - {{id: s{n}, skill: noop, action: pass, params: {{value: x}}}}\n"
        for n in range(50)
    )

    with django_assert_max_num_queries(24):
        client.post("/plans/check", {"text": PLAN, "inputs": "word: x"})
    with django_assert_max_num_queries(24):
        page = client.post("/plans/check", {"text": PLAN + more, "inputs": "word: x"})

    assert "52 steps" in words(page)
