"""What the plan editor asks the server: problems, and words to complete."""

import pytest

from execfabric.lib.rights import Role
from orchestration.skills.models import Skill
from tests.api_builders import person
from tests.console_builders import signed_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]

PLAN = "id: p\ninputs: {type: object, properties: {a: {}}, required: [a]}\nsteps:\n- {id: a, skill: nop, action: pass}\n"


def test_the_problems_of_a_text_have_places_and_codes(proposer) -> None:
    response = signed_in(proposer).post("/plans/problems", {"text": PLAN})

    [problem] = response.json()["problems"]
    assert (problem["code"], problem["line"], problem["column"]) == (
        "plan.unknown_skill",
        4,
        11,
    )
    assert response["Cache-Control"] == "no-store"


def test_inputs_that_cannot_be_read_do_not_hide_the_problems_of_the_plan(
    proposer,
) -> None:
    sent = {"text": PLAN, "inputs": "["}
    response = signed_in(proposer).post("/plans/problems", sent)

    [problem] = response.json()["problems"]
    assert problem["code"] == "plan.unknown_skill"


def test_the_vocabulary_has_the_skills_that_the_user_may_use(proposer) -> None:
    found = signed_in(proposer).get("/plans/vocabulary").json()["skills"]

    slugs = [skill["slug"] for skill in found]
    files = next(skill for skill in found if skill["slug"] == "files")
    collect = next(one for one in files["actions"] if one["name"] == "collect")
    pattern = next(one for one in collect["params"] if one["name"] == "pattern")
    assert slugs == sorted(slugs)
    assert files["risk"] == "high"
    assert pattern["required"] is True
    assert pattern["type"] == "string"
    assert collect["files"] == ["collected"]


def test_a_skill_without_permission_or_in_quarantine_is_not_offered(proposer) -> None:
    client = signed_in(proposer)
    Skill.objects.filter(slug="noop").update(state="quarantined")

    found = client.get("/plans/vocabulary").json()["skills"]
    stranger = signed_in(person("newcomer", Role.PROPOSER))
    of_stranger = stranger.get("/plans/vocabulary").json()["skills"]

    assert "noop" not in [skill["slug"] for skill in found]
    assert {skill["slug"] for skill in of_stranger} <= {
        skill["slug"] for skill in found
    }


@pytest.mark.parametrize("method", ["get", "post"])
def test_only_proposers_get_answers(method, auditor) -> None:
    client = signed_in(auditor)
    response = (
        client.get("/plans/vocabulary")
        if method == "get"
        else client.post("/plans/problems", {"text": PLAN})
    )

    assert response.status_code == 403
