"""The form view of the plan editor: each change is a change of the text."""

import json
import re
from html import unescape

import pytest

from orchestration.plans.domain import source
from orchestration.plans.services import form_view
from tests.console_builders import signed_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]

PLAN = """\
# My plan
plan:
  id: p
  inputs: {type: object, properties: {a: {type: string}}, required: [a]}
  steps:
    - id: one   # first
      skill: files
      action: collect
      params: {pattern: 'x*'}
    - {id: two, skill: files, action: publish, dependsOn: [one], params: {file: $one.files.collected, to: b}}
"""


class Form:
    def __init__(self, user, text: str = PLAN) -> None:
        self.client = signed_in(user)
        self.text = text
        self.send()

    def send(self, act: str = "", opened: str = "", **values) -> str:
        fields = {f"field:{json.dumps(json.loads(k))}": v for k, v in values.items()}
        sent = {"text": self.text, "act": act, "open": opened, **fields}
        response = self.client.post("/plans/new/form", sent)
        assert response.status_code == 200
        self.html = response.content.decode()
        found = re.search(
            r'<textarea id="form-view-text"[^>]*>\n(.*?)</textarea>',
            self.html,
            re.DOTALL,
        )
        self.text = unescape(found[1])
        return self.html

    def put(self, path: list, value) -> str:
        return self.send(opened=str(path[1]), **{json.dumps(path): value})

    @property
    def steps(self) -> list:
        return source.parse(self.text).value["plan"]["steps"]


def test_a_step_is_added_changed_moved_and_deleted_in_the_text(proposer) -> None:
    form = Form(proposer)
    assert form.text == PLAN
    form.send("add:data query")
    assert form.steps[2] == {"id": "query", "skill": "data", "action": "query"}
    assert (
        'name="field:[&quot;steps&quot;, 2, &quot;params&quot;, &quot;sql&quot;]"'
        in form.html
    )
    assert "required" in form.html
    form.put(["steps", 2, "params", "sql"], "SELECT 1")
    form.put(["steps", 2, "params", "sources"], "{rows: $one.files.collected}")
    form.put(["steps", 2, "dependsOn"], ["", "one", "two"])
    form.put(["steps", 2, "when"], "inputs.a != 'x'")
    form.put(["steps", 2, "approval"], ["", "true"])
    form.put(["steps", 2, "approval", "reason"], "Look first")
    assert form.steps[2] == {
        "id": "query",
        "skill": "data",
        "action": "query",
        "dependsOn": ["one", "two"],
        "when": "inputs.a != 'x'",
        "params": {"sql": "SELECT 1", "sources": {"rows": "$one.files.collected"}},
        "approval": {"reason": "Look first"},
    }
    assert "# My plan" in form.text
    assert "id: one   # first" in form.text
    form.put(["steps", 0, "id"], "first")
    assert form.steps[1]["params"]["file"] == "$first.files.collected"
    form.send("up:2")
    assert [step["id"] for step in form.steps] == ["first", "query", "two"]
    form.send("delete:2", opened="2")
    assert [step["id"] for step in form.steps] == ["first", "query"]
    form.send("add:approval")
    assert form.steps[2]["kind"] == "approval"
    form.send("input:env", opened="plan")
    assert "env: {type: string}" in form.text


def test_problems_are_at_their_fields_and_cards(proposer) -> None:
    form = Form(proposer)
    form.put(["steps", 1, "params", "file"], "$onne.files.collected")
    about = form.html.partition(
        "[&quot;steps&quot;, 1, &quot;params&quot;, &quot;file&quot;]"
    )[2]
    assert "plan.reference_unknown" in about.partition('class="field')[0]
    assert "1 problem" in form.html.partition('id="head-1"')[2]
    assert "problem" not in form.html.partition('id="head-0"')[2].partition("<li")[0]

    before = form.text
    form.put(["steps", 0, "id"], "not an id")
    assert "Invalid id &#x27;not an id&#x27;." in form.html
    assert 'value="not an id"' in form.html
    form.put(["steps", 0, "id"], "two")
    assert "Duplicate step id" in form.html
    form.send(opened="0", **{'["steps", 0]': "id: [broken"})
    assert "Invalid YAML" in form.html
    assert "[broken" in form.html
    assert form.text == before
    form.send("line:6")
    assert 'data-open="0"' in form.html


def test_what_cannot_be_written_stays_in_its_field(proposer) -> None:
    form = Form(proposer)
    form.put(["steps", 0, "params", "pattern"], "a\x7fb")
    assert form.steps[0]["params"]["pattern"] == "a\x7fb"
    before = form.text
    form.send(opened="0", **{'["steps", 0, "retry"]': "---\nattempts: 2"})
    assert "<code>---</code>" in form.html
    assert "attempts: 2</textarea>" in form.html
    assert form.text == before
    form.send(opened="0", **{'["steps", 0, "retry"]': "{attempts: 012}"})
    assert "plan.leading_zero" in form.html
    names = [f"p{number}" for number in range(22)]
    params = "\n".join(f"      {name}: old" for name in names)
    form = Form(proposer, f"id: p\nsteps:\n  - id: a\n    params:\n{params}\n")
    keys = [json.dumps(["steps", 0, "params", name]) for name in names]
    form.send(opened="0", **dict.fromkeys(keys, "new"))
    assert form.text.count(": new") == 20
    assert form.html.count("At most 20 fields can change at once.") == 2
    assert form.html.count('value="new"') == 22


def test_a_list_where_an_object_belongs_is_named_and_stays(proposer) -> None:
    text = """\
id: p
inputs: [1]
steps:
  - {id: a, skill: files, action: collect, approval: [operator], params: [1]}
  - {id: b, skill: files, action: collect, params: []}
  - id: c
    skill: files
    action: collect
    approval:
      - operator
    params:
      - a: b
"""
    form = Form(proposer, text)
    for path in (
        ["steps", 0, "approval", "reason"],
        ["steps", 0, "params", "pattern"],
        ["steps", 1, "params", "pattern"],
        ["steps", 2, "approval", "reason"],
        ["steps", 2, "params", "pattern"],
    ):
        form.put(path, "typed here")
        name = f"<code>{path[2]}</code> must be an object here, not a list."
        assert name in form.html
        assert "typed here" in form.html
        assert form.text == text
    form.send("input:env", opened="plan")
    assert "<code>inputs</code> must be an object here, not a list." in form.html
    assert form.text == text


def test_a_position_that_is_none_of_a_step_opens_and_changes_nothing(proposer) -> None:
    form = Form(proposer)
    for position in ("²", "٣", "-1", "2", "9" * 5_000, ""):
        form.send(opened=position)
        assert form.html.count('aria-expanded="true"') == 0
        for act in ("open", "line", "delete", "up", "down"):
            if (act, position) != ("line", "2"):
                form.send(f"{act}:{position}", opened=position)
                assert form.html.count('aria-expanded="true"') == 0
    assert form.text == PLAN


@pytest.mark.parametrize(
    ("path", "typed", "shown"),
    [
        (["steps", 1, "dependsOn"], ["", "three"], "three"),
        (["steps", 1, "dependsOn"], [""], ""),
        (["steps", 1, "approval"], ["", "true"], "true"),
    ],
)
def test_a_box_that_cannot_be_written_is_refused_as_it_was_ticked(
    proposer, monkeypatch, path, typed, shown
) -> None:
    form = Form(proposer, PLAN + "    - {id: three, kind: approval}\n")
    before = form.text
    monkeypatch.setattr(form_view, "MAX_CHANGES", 0)

    form.put(path, typed)

    assert form.text == before
    name = 'name="field:' + json.dumps(path).replace('"', "&quot;") + '"'
    after = form.html.rpartition(name)[2].partition('class="field')[0]
    [of] = re.findall(r'data-of="([\w-]+)" data-invalid data-refused', after)
    assert f'id="{of}"' in form.html
    boxes = re.findall(rf'{re.escape(name)} value="(\w+)"( checked)?', form.html)
    assert [value for value, is_checked in boxes if is_checked] == [shown] * bool(shown)


def test_a_text_that_is_no_form_says_so_and_stays(proposer) -> None:
    for text, reason in (
        ("plan: [", "Invalid YAML"),
        ("- a", "not a plan that can be shown as a form"),
        ("id: a\nsteps:\n" + "- {id: a, kind: approval}\n" * 201, "201 steps"),
        ("id: " + "a" * 250_000, "250,004 characters"),
        (
            f"inputs: {{properties: {{{'k' + ': {}, k'.join(map(str, range(201)))}: {{}}}}}}",
            "201 inputs",
        ),
    ):
        form = Form(proposer, text)
        assert "Cannot show this text as a form." in form.html
        assert reason in form.html
        assert form.text == text
    form = Form(proposer, "")
    assert form.text == ""
    form.send("add:wait")
    assert form.steps[0]["kind"] == "wait"
