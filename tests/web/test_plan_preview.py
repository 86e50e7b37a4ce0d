"""What the page of a new run shows while a plan is typed, and plans to start from."""

import pytest

from execfabric.lib.rights import Role
from orchestration.runs.models import Upload
from tests.api_builders import person
from tests.console_builders import PLAN, a_run, codes, rows, signed_in, words

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]
WORD = {"input.word": "", "kind.word": "string"}


def test_the_preview_of_a_valid_plan_has_approvals_graph_and_new_inputs(
    proposer,
) -> None:
    page = signed_in(proposer).post("/plans/preview", {"text": PLAN, "shown": ""})

    shown = page.content.decode()
    assert 'name="input.word"' in shown
    assert "Fill in the required inputs" in words(page)
    assert "Before first : The boss said so" in words(page)
    assert rows(page, "graph-node") == 2
    assert "<html" not in shown


def test_fields_that_are_shown_already_are_not_replaced(proposer) -> None:
    sent = {"text": PLAN, "shown": "string:word", **WORD, "input.word": "x"}
    page = signed_in(proposer).post("/plans/preview", sent)

    assert 'name="input.word"' not in page.content.decode()
    assert "Ready to propose" in words(page)


def test_a_text_that_cannot_be_read_leaves_the_fields(proposer) -> None:
    sent = {"text": "plan: [", "shown": "string:word", **WORD}
    page = signed_in(proposer).post("/plans/preview", sent)

    assert codes(page)
    assert "inputs-card" not in page.content.decode()


def test_an_empty_text_shows_neither_problems_nor_fields(proposer) -> None:
    page = signed_in(proposer).post("/plans/preview", {"text": " ", "shown": "x"})

    assert codes(page) == []
    assert 'id="inputs"' in page.content.decode()


def test_a_preview_stores_nothing_and_needs_the_right_to_propose(proposer) -> None:
    signed_in(proposer).post("/plans/preview", {"text": PLAN})
    auditor = signed_in(person("auditor", Role.AUDITOR))

    assert auditor.post("/plans/preview", {"text": PLAN}).status_code == 403
    assert not Upload.objects.exists()


def test_a_skill_is_put_into_a_new_plan(proposer) -> None:
    client = signed_in(proposer)

    skill = client.get("/skills/files")
    page = client.get("/plans/new?skill=files&action=publish")

    assert "?skill=files&amp;action=publish" in skill.content.decode()
    assert "skill: files" in words(page)
    assert "action: publish" in words(page)
    checked = client.post("/plans/check", {"text": page.context["text"]})
    assert {"plan.syntax", "plan.invalid"}.isdisjoint(codes(checked))
    assert client.get("/plans/new?skill=files&action=none").status_code == 404
    assert client.get("/plans/new?skill=none").status_code == 404


def test_a_run_is_started_again_with_its_inputs(proposer) -> None:
    run = a_run(proposer, word="again")
    client = signed_in(proposer)
    slug = run.revision.plan.slug

    shown = client.get(f"/runs/{run.pk}").content.decode()
    page = client.get(f"/plans/{slug}?run={run.pk}").content.decode()

    assert f'href="/plans/{slug}?run={run.pk}#start"' in shown
    assert 'name="input.word" value="again"' in page


def test_a_run_of_another_plan_cannot_be_started_again_there(proposer) -> None:
    run = a_run(proposer)
    other = a_run(proposer, text=PLAN.replace("hand-on", "other"))
    client = signed_in(proposer)

    assert client.get(f"/plans/other?run={run.pk}").status_code == 404
    assert client.get(f"/plans/other?run={other.pk}").status_code == 200


def test_the_page_of_a_plan_draws_its_graph(proposer) -> None:
    run = a_run(proposer)

    page = signed_in(proposer).get(f"/plans/{run.revision.plan.slug}")

    shown = page.content.decode()
    assert rows(page, "graph-node") == 2
    assert 'href="#step-first"' in shown
    assert 'id="step-first"' in shown


CONDITIONAL = """\
plan:
  id: enabled
  blueprint:
    type: object
    properties: {web: {type: boolean}, ports: {type: array}}
    required: [web, ports]
  steps:
    - {id: web, skill: noop, action: pass, when: blueprint.web}
    - {id: pack, skill: noop, action: pass, dependsOn: [web]}
    - {id: each, skill: noop, action: pass, forEach: $blueprint.ports, as: port}
"""
OFF = {"input.blueprint": '{"web": false, "ports": [1]}', "kind.blueprint": "json"}


def test_a_new_run_shows_what_its_blueprint_leaves_out(proposer) -> None:
    sent = {"text": CONDITIONAL, **OFF}
    page = signed_in(proposer).post("/plans/preview", sent)

    assert "web : Its condition is false with these inputs" in words(page)
    assert "pack : All steps before it are left out." in words(page)
    assert rows(page, "left-out") == 1
    assert page.content.decode().count('class="graph-state"') == 4


def test_the_start_of_a_saved_plan_says_which_steps_can_run(proposer) -> None:
    client = signed_in(proposer)
    client.post("/plans/save", {"text": CONDITIONAL})
    opened = client.get("/plans/enabled").content.decode()

    off = client.post("/plans/enabled/start/preview", OFF)
    on = {**OFF, "input.blueprint": '{"web": true, "ports": []}'}
    wrong = {**OFF, "input.blueprint": '{"web": 7}'}

    assert 'hx-post="/plans/enabled/start/preview"' in opened
    assert "1 of 3 steps can run" in words(off)
    enabled = words(client.post("/plans/enabled/start/preview", on))
    assert "3 of 3 steps can run" in enabled
    assert "can run" not in words(client.post("/plans/enabled/start/preview", wrong))


def test_the_packs_can_be_opened(proposer) -> None:
    client = signed_in(proposer)

    page = client.get("/plans/new")
    opened = client.get("/plans/new?example=assemble-service")

    assert rows(page, "packs") == 1
    assert "Assemble a service" in words(opened)
    assert client.get("/plans/new?example=../forms").status_code == 404
