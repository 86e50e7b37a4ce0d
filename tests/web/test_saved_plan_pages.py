"""The pages of saved plans: list, one plan, start from its form, changes, rights."""

import json

import pytest

from execfabric.identity.models import User
from execfabric.lib import clock
from orchestration.plans.models import Plan, PlanRevision
from orchestration.plans.services import saving
from orchestration.runs.models import Run
from tests.builders import may_start
from tests.console_builders import a_run, signed_in, words

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]

PLAN = """\
plan:
  id: hand-on
  name: Hand a value on   # the comment stays
  inputs:
    type: object
    properties:
      word: {type: string, title: The word, description: Any word., pattern: '^[a-z]+$'}
      size: {enum: [small, large], default: large}
      count: {type: integer, minimum: 1, maximum: 9}
      ratio: {type: number}
      sure: {type: boolean}
      day: {type: string, format: date}
      moment: {type: string, format: date-time}
      ports: {type: array, items: {type: integer}}
    required: [word]
  steps:
    - {id: first, skill: noop, action: pass, params: {value: $inputs.word}}
"""
CHANGED = PLAN.replace("id: first", "id: second").replace("Hand a", "Pass a")
TYPED = {
    "word": "hello",
    "size": "small",
    "count": "3",
    "ratio": "0.5",
    "sure": "false",
    "day": "2026-03-01",
    "moment": "2026-03-01T06:00:00+01:00",
    "ports": "[80, 443]",
}
KINDS = {
    "word": "string",
    "size": "string",
    "count": "integer",
    "ratio": "number",
    "sure": "boolean",
    "day": "string",
    "moment": "string",
    "ports": "json",
}


def fields(**changes: str) -> dict[str, str]:
    """Return the sent fields of the form that starts the plan."""
    typed = {f"input.{key}": value for key, value in (TYPED | changes).items()}
    return {"revision": "1"} | typed | {f"kind.{k}": v for k, v in KINDS.items()}


@pytest.fixture
def client(proposer: User):
    return signed_in(proposer)


@pytest.fixture
def saved(proposer: User) -> PlanRevision:
    return saving.save_plan(text=PLAN, by=proposer.actor(), at=clock.now())


def change(by: User) -> PlanRevision:
    return saving.save_plan(text=CHANGED, by=by.actor(), at=clock.now())


def test_the_list_has_owner_revisions_and_last_runs(client, saved, proposer) -> None:
    change(proposer)
    a_run(proposer, text=CHANGED)

    page = client.get("/plans")

    text = words(page)
    assert "Pass a value on hand-on" in text
    assert "proposer" in text
    assert "2 revisions" in text
    assert "Waiting for approval" in text


def test_the_list_is_searched_and_empty_pages_say_what_to_do(
    client, saved, stranger
) -> None:
    assert 'data-plan="hand-on"' in client.get("/plans?q=VALUE+hand").content.decode()
    assert "No plan matches" in words(client.get("/plans?q=other"))
    assert client.get("/plans?q=%00&after=%00").status_code == 400
    assert "Plans appear here after" in words(signed_in(stranger).get("/plans"))


def test_a_plan_has_its_form_steps_revisions_and_runs(client, saved, proposer) -> None:
    change(proposer)
    run = a_run(proposer, text=PLAN)

    page = client.get("/plans/hand-on?revision=1")

    shown = page.content.decode()
    assert 'type="date"' in shown
    assert 'name="input.ports" rows="3"' in shown
    assert '<option value="large" selected>' in shown
    assert "At least 1 and at most 9." in words(page)
    assert "For example 2026-03-01T06:00:00+01:00" in words(page)
    assert "This is an older revision." in words(page)
    assert f"/runs/{run.pk}" in shown
    assert "/plans/hand-on/diff/1/2" in shown
    assert "# the comment stays" in words(page)


@pytest.mark.parametrize(
    ("changes", "inputs"),
    [
        pytest.param(
            {},
            {
                "word": "hello",
                "size": "small",
                "count": 3,
                "ratio": 0.5,
                "sure": False,
                "day": "2026-03-01",
                "moment": "2026-03-01T06:00:00+01:00",
                "ports": [80, 443],
            },
            id="each-type",
        ),
        pytest.param(
            dict.fromkeys(set(TYPED) - {"word"}, ""),
            {"word": "hello", "size": "large"},
            id="default",
        ),
    ],
)
def test_a_plan_is_started_from_its_form(changes, inputs, client, saved) -> None:
    answer = client.post("/plans/hand-on/start", fields(**changes))

    run = Run.objects.get()
    assert answer.url == f"/runs/{run.pk}"
    assert run.inputs == inputs
    assert run.revision == saved
    assert run.state == "awaiting_approval"


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("word", ""),
        ("word", "UPPER"),
        ("count", "0"),
        ("count", "many"),
        ("ratio", "half"),
        ("day", "2026-02-30"),
        ("moment", "tomorrow"),
        ("ports", "[80"),
        ("ports", "{a: 1}"),
        ("ports", "[80, x]"),
    ],
)
def test_an_error_is_at_its_field_and_nothing_typed_is_lost(
    name, typed, client, saved
) -> None:
    page = client.post("/plans/hand-on/start", fields(**{name: typed}))

    shown = page.content.decode()
    assert page.status_code == 422
    assert shown.count('data-testid="input-error"') == 1
    start = shown.index(f'name="kind.{name}"')
    error = shown.index('data-testid="input-error"')
    assert shown.rfind('name="kind.', 0, error) == start
    assert typed in shown[start:error]
    assert 'value="2026-03-01T06:00:00+01:00"' in shown or name == "moment"
    assert not Run.objects.exists()


@pytest.mark.parametrize(("name", "sent"), [("size", "huge"), ("sure", "perhaps")])
def test_a_value_that_a_choice_does_not_offer_is_refused(
    name, sent, client, saved
) -> None:
    page = client.post("/plans/hand-on/start", fields(**{name: sent}))

    assert page.status_code == 422
    assert page.content.decode().count('data-testid="input-error"') == 1


def test_what_the_form_shows_is_started_also_after_a_new_revision(
    client, saved, proposer
) -> None:
    change(proposer)

    client.post("/plans/hand-on/start", fields())

    assert Run.objects.get().revision.number == 1


def test_who_may_only_view_has_no_form(saved, operator, second_operator) -> None:
    client = signed_in(operator)

    page = client.get("/plans/hand-on")
    refused = client.post("/plans/hand-on/start", fields())

    assert 'data-testid="plan-start-form"' not in page.content.decode()
    assert "You can view this plan but not start it by name." in words(page)
    assert "The word" in words(page)
    assert refused.status_code == 403
    may_start(operator, "hand-on")
    assert client.post("/plans/hand-on/start", fields()).status_code == 302


@pytest.mark.parametrize(
    "path", ["", "/diff/1/1", "/revisions/1.yaml", "?revision=1", "/start", "/rights"]
)
def test_a_hidden_plan_is_not_found(path, saved, stranger) -> None:
    client = signed_in(stranger)
    send = client.post if path in {"/start", "/rights"} else client.get

    answer = send(f"/plans/hand-on{path}", {"kind": "user", "name": "x"} | fields())

    assert answer.status_code in {403, 404} if path == "/start" else 404
    assert "Hand a value" not in answer.content.decode()


def test_unknown_revisions_are_not_found(client, saved) -> None:
    for path in ("?revision=2", "/diff/1/2", f"/diff/1/{10**30}", "/revisions/0.yaml"):
        assert client.get(f"/plans/hand-on{path}").status_code == 404, path


def test_the_source_is_exactly_what_was_written(client, saved, proposer) -> None:
    run = a_run(proposer, text=PLAN)

    for path in ("/plans/hand-on/revisions/1.yaml", f"/runs/{run.pk}/plan.yaml"):
        answer = client.get(path)
        content = b"".join(answer) if answer.streaming else answer.content
        assert content.decode() == PLAN
    assert f'data-copy-from="/runs/{run.pk}/plan.yaml"' in (
        client.get(f"/runs/{run.pk}?view=plan").content.decode()
    )


def test_edit_and_propose_opens_the_exact_source(client, saved, proposer) -> None:
    run = a_run(proposer, text=PLAN)
    links = {
        f"/runs/{run.pk}": f"/plans/new?run={run.pk}",
        "/plans/hand-on": "/plans/new?plan=hand-on&amp;revision=1",
    }

    for page, link in links.items():
        assert f'href="{link}"' in client.get(page).content.decode()
        opened = client.get(link.replace("&amp;", "&"))
        assert opened.context["text"] == PLAN
        assert 'name="input.word"' in opened.content.decode()
    opened = client.get(f"/plans/new?run={run.pk}")
    assert 'name="input.word" value="hello"' in opened.content.decode()


def test_the_source_of_a_hidden_run_or_plan_is_not_opened(saved, proposer) -> None:
    run = a_run(proposer, text=PLAN)
    other = User.objects.create_user("other")
    other.groups.set(proposer.groups.all())

    for query in (f"run={run.pk}", "plan=hand-on"):
        assert signed_in(other).get(f"/plans/new?{query}").status_code == 404


def test_a_plan_is_saved_from_the_new_run_page(client) -> None:
    answer = client.post("/plans/save", {"text": PLAN, "inputs": ": not yaml ["})

    assert answer.url == "/plans/hand-on"
    assert not Run.objects.exists()
    assert PlanRevision.objects.get().source == PLAN
    assert "Revision 1 of hand-on is saved." in words(client.get(answer.url))


def test_a_plan_that_cannot_be_saved_stays_on_the_page(client, operator) -> None:
    saving.save_plan(text=PLAN, by=operator.actor(), at=clock.now())

    page = client.post("/plans/save", {"text": CHANGED})

    assert page.status_code == 422
    assert "The plan id 'hand-on' belongs to operator." in words(page)
    assert "Pass a value on" in page.content.decode()
    assert page.context["problems"][0]["line"] == 2
    assert client.post("/plans/save", {"text": "plan: ["}).status_code == 422
    assert PlanRevision.objects.count() == 1


def test_the_changes_between_revisions_are_shown_by_step(
    client, saved, proposer
) -> None:
    change(proposer)

    page = client.get("/plans/hand-on/diff/1/2")

    shown = page.content.decode()
    assert 'data-step="second" data-change="added"' in shown
    assert 'data-step="first" data-change="removed"' in shown
    assert "Before Hand a value on After Pass a value on" in words(page)
    same = client.get("/plans/hand-on/diff/1/1")
    assert "No differences" in words(same)


def test_the_owner_gives_and_takes_back_rights(client, saved, operator) -> None:
    grant = {"kind": "user", "name": "operator", "right": "start", "change": "grant"}

    given = client.post("/plans/hand-on/rights", grant, follow=True)
    taken = client.post(
        "/plans/hand-on/rights", grant | {"change": "revoke"}, follow=True
    )

    assert "The user operator can now start this plan." in words(given)
    assert given.content.decode().count('data-testid="plan-grant"') == 1
    assert "can no longer start this plan." in words(taken)
    assert 'data-testid="plan-grant"' not in taken.content.decode()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "nobody"}, "Unknown user"),
        ({"name": ""}, "required"),
        ({"kind": "group", "name": "x"}, "Unknown group"),
    ],
)
def test_a_wrong_grant_keeps_what_was_typed(changes, says, client, saved) -> None:
    grant = {"kind": "user", "name": "operator", "right": "edit", "change": "grant"}

    page = client.post("/plans/hand-on/rights", grant | changes)

    assert page.status_code == 422
    assert says in words(page)
    assert '<option value="edit" selected>' in page.content.decode()


def test_only_owner_and_admins_see_the_form_for_rights(saved, operator, admin) -> None:
    grant = {"kind": "user", "name": "operator", "right": "view", "change": "grant"}

    assert (
        "grant-form" not in signed_in(operator).get("/plans/hand-on").content.decode()
    )
    refused = signed_in(operator).post("/plans/hand-on/rights", grant)
    assert refused.status_code == 403
    assert "grant-form" in signed_in(admin).get("/plans/hand-on").content.decode()
    assert signed_in(admin).post("/plans/hand-on/rights", grant).status_code == 302


def test_a_page_lists_only_visible_runs(saved, proposer, operator) -> None:
    other = User.objects.create_user("other")
    other.groups.set(proposer.groups.all())
    may_start(other, "hand-on")
    run = a_run(proposer, text=PLAN)

    for path in ("/plans", "/plans/hand-on"):
        assert "Waiting for approval" not in words(signed_in(other).get(path))
    assert (
        f"/runs/{run.pk}" in signed_in(operator).get("/plans/hand-on").content.decode()
    )


def test_hostile_text_stays_text(client) -> None:
    text = json.dumps(
        {
            "plan": {
                "id": "bad",
                "name": "<script>alert(1)</script>",
                "description": "<b>x",
                "inputs": {"properties": {"<i>": {"title": "<u>", "default": '"><xx'}}},
                "steps": [{"id": "a", "skill": "noop", "action": "pass"}],
            }
        }
    )
    client.post("/plans/save", {"text": text})
    client.post("/plans/save", {"text": text.replace("<b>x", "<em>y")})

    for path in ("", "/bad", "/bad/diff/1/2"):
        shown = client.get(f"/plans{path}").content.decode()
        for tag in ("<script>alert", "<b>x", "<em>y", "<i>", "<u>", '"><xx'):
            assert tag not in shown, (path, tag)


def test_the_list_makes_no_more_queries_for_more_plans(
    client, saved, proposer, django_assert_max_num_queries
) -> None:
    with django_assert_max_num_queries(14):
        client.get("/plans")
    for number in range(5):
        text = PLAN.replace("hand-on", f"plan-{number}")
        saving.save_plan(text=text, by=proposer.actor(), at=clock.now())

    with django_assert_max_num_queries(14):
        client.get("/plans")
    assert Plan.objects.count() == 6
