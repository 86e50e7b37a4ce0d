"""The registry's pages: rights hold in lists and counts; a version is reviewed, then published."""

import re
from dataclasses import replace

import pytest
import yaml
from django.contrib.auth.models import Group
from django.test import Client
from guardian.shortcuts import assign_perm, remove_perm

from audit import selectors as record
from execfabric.lib import clock
from orchestration.skills import installed
from orchestration.skills.domain.examples import example_step
from orchestration.skills.execution import input_problems
from orchestration.skills.models import Skill, SkillVersion
from orchestration.skills.services import sync
from tests.console_builders import codes, rows, signed_in, words

pytestmark = pytest.mark.usefixtures("registry")
AIM = 13
"""Queries that a page may make."""


@pytest.fixture
def client(admin) -> Client:
    return signed_in(admin)


def hide(slug: str) -> None:
    """Take the right to see a skill from every group."""
    skill = Skill.objects.get(slug=slug)
    for group in Group.objects.all():
        remove_perm("skills.view_skill", group, skill)


def an_edit(slug: str, version: str, **changes: str) -> dict[str, str]:
    """Return the edit form of a skill, with some fields changed."""
    contract = Skill.objects.get(slug=slug).current.contract()
    fields = {
        "version": version,
        "description": contract.description,
        "allowed": "\n".join(contract.allowed),
        "forbidden": "\n".join(contract.forbidden),
        "config": "{}",
    }
    for action in contract.actions:
        fields[f"risk__{action.name}"] = str(action.risk)
        fields[f"timeout__{action.name}"] = str(action.timeout_s)
        fields[f"attempts__{action.name}"] = str(action.retry.attempts)
    return fields | changes


def a_draft(client: Client, slug: str = "noop", **changes: str) -> SkillVersion:
    """Create a draft through the edit page."""
    made = client.post(f"/skills/{slug}/edit", an_edit(slug, "9.0.0", **changes))
    assert made.status_code == 302, words(made)
    return SkillVersion.objects.get(skill__slug=slug, version="9.0.0")


def test_the_list_shows_each_skill_with_its_version_risk_and_actions(client) -> None:
    page = client.get("/skills")

    text = words(page)
    assert rows(page, "skill-row") == Skill.objects.count()
    git = Skill.objects.get(slug="git-operations")
    assert f"git-operations@{git.current.version}" in text
    assert "create-branch" in text
    assert "Critical risk" in text


def test_a_hidden_skill_is_neither_listed_counted_found_nor_opened(client) -> None:
    hide("git-operations")

    page = client.get("/skills")
    searched = client.get("/skills?q=git-operations")

    assert "git-operations" not in page.content.decode()
    assert f"active {Skill.objects.count() - 1}" in words(page)
    assert rows(searched, "skill-row") == 0
    assert client.get("/skills/git-operations").status_code == 404
    assert client.get("/skills/git-operations/edit").status_code == 404
    version = SkillVersion.objects.get(skill__slug="git-operations")
    address = f"/skills/git-operations/versions/{version.pk}"
    assert client.get(address).status_code == 404


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=branches", {"git-operations"}),
        ("domain=work-management", {"jira-write"}),
        ("state=quarantined", set()),
        ("source=built-in&q=noop", {"noop"}),
        ("state=nonsense", None),
        ("after=notify", {"report"}),
    ],
)
def test_facets_narrow_the_list(query, found, client) -> None:
    page = client.get(f"/skills?{query}")

    assert page.status_code == 200
    listed = {
        slug
        for slug in Skill.objects.values_list("slug", flat=True)
        if f'data-skill="{slug}"' in page.content.decode()
    }
    assert found is None or listed == found


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("send mail", "notify"),
        ("email", "notify"),
        ("create-branch", "git-operations"),
        ("query", "data"),
        ("database", "data"),
        ("shell", "command"),
        ("ticket", "jira-write"),
        ("copy file", "files"),
    ],
)
def test_a_search_lists_the_expected_skill_first(query, expected, client) -> None:
    page = client.get("/skills", {"q": query}).content.decode()

    assert re.findall(r'data-skill="([^"]*)"', page)[0] == expected
    assert f"match “{query}”" in page or f"matches “{query}”" in page


def test_facet_counts_follow_the_search(client) -> None:
    page = words(client.get("/skills?q=create-branch"))

    assert "engineering 1" in page
    assert "active 1" in page
    assert "communication" not in page


def test_without_a_match_close_skills_are_offered(client) -> None:
    page = client.get("/skills?q=comit+files")
    nothing = words(client.get("/skills?q=xyzzyplugh"))

    assert "No skill matches “comit files”. Similar skills:" in words(page)
    assert 'data-skill="git-operations"' in page.content.decode()
    assert "Use fewer or other words, or show all skills" in nothing


def test_each_action_has_an_example_step_that_fits_its_schema(client) -> None:
    for contract in map(installed.shipped, installed.FOLDERS):
        page = client.get(f"/skills/{contract.slug}")
        assert rows(page, "skill-example") == len(contract.actions)
        for action in contract.actions:
            [example] = yaml.safe_load(example_step(contract.slug, action))
            problems = input_problems(action, example.get("params", {}))
            of_files = [text for text in problems if "must be a file" in text]
            assert problems == of_files, (action.name, problems)


@pytest.mark.promise("S1.40")
def test_a_skill_shows_what_it_may_and_must_not_do_and_each_action(client) -> None:
    page = client.get("/skills/files")

    text = words(page)
    assert "Allowed" in text
    assert "Not allowed" in text
    assert rows(page, "skill-action") == 4
    assert "Safe to repeat: a second run changes nothing more" in text
    assert "Publish {file} to {to}." in text
    assert "pattern" in text


def test_the_edit_page_says_what_can_be_configured(client) -> None:
    page = client.get("/skills/jira-write/edit")

    keys = words(page).partition("Configuration keys")[2]
    assert all(key in keys for key in ("base_url", "api_version", "token", "user"))
    assert "Address of Jira, such as https://jira.example.com." in keys


def test_an_edit_makes_a_draft_that_is_reviewed_and_then_published(client) -> None:
    draft = a_draft(client, risk__pass="high", description="Hands on, carefully.")
    address = f"/skills/noop/versions/{draft.pk}"

    review = client.get(address)
    published = client.post(f"{address}/publish", {"digest": draft.digest})

    shown = review.content.decode()
    assert 'data-what="risk raised"' in shown
    assert 'data-what="description"' in shown
    assert shown.index("risk raised") < shown.index('data-what="description"')
    assert draft.digest in shown
    assert published.status_code == 302
    skill = Skill.objects.get(slug="noop")
    assert skill.current_id == draft.pk
    assert skill.current.contract().action("pass").risk == "high"
    kinds = [event.kind for event in record.events_after("registry", 0)]
    assert kinds[-2:] == ["skill.drafted", "skill.published"]


@pytest.mark.parametrize(
    ("slug", "changes", "what"),
    [
        ("files", {"risk__publish": "low"}, "risk lowered"),
        ("files", {"attempts__publish": "9"}, "attempts"),
        ("files", {"forbidden": ""}, "forbidden operation removed"),
        ("files", {"allowed": "Everything."}, "allowed operation added"),
    ],
)
def test_what_makes_a_skill_looser_comes_first_and_is_called_so(
    slug, changes, what, client
) -> None:
    page = client.get(
        f"/skills/{slug}/versions/{a_draft(client, slug, **changes).pk}"
    ).content.decode()

    first = page[page.index('data-testid="skill-diff"') :]
    assert first.index("difference-looser") == first.index("difference-")
    assert f'data-what="{what}"' in page
    assert "weakens a safeguard" in page


def test_a_draft_that_changed_since_it_was_seen_is_not_published(client) -> None:
    draft = a_draft(client)
    again = an_edit("noop", "9.0.0", description="Something else.")
    client.post(f"/skills/noop/edit?draft={draft.pk}", again)

    refused = client.post(
        f"/skills/noop/versions/{draft.pk}/publish", {"digest": draft.digest}
    )

    assert refused.status_code == 409
    assert codes(refused) == ["skill.digest_stale"]
    draft.refresh_from_db()
    assert draft.state == "draft"


@pytest.mark.parametrize("digest", ["", "short", "z" * 64])
def test_publishing_without_the_seen_digest_is_refused(digest, client) -> None:
    draft = a_draft(client)

    refused = client.post(
        f"/skills/noop/versions/{draft.pk}/publish", {"digest": digest}
    )

    assert refused.status_code == 422
    draft.refresh_from_db()
    assert draft.state == "draft"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        pytest.param({"version": "one"}, 422, id="no version number"),
        pytest.param({"version": "1.0.1"}, 409, id="taken"),
        pytest.param({"config": "{"}, 422, id="broken JSON"),
        pytest.param({"config": '{"a": 1, "a": 2}'}, 422, id="duplicate key"),
        pytest.param({"config": "[]"}, 422, id="a list"),
        pytest.param({"config": '{"a": NaN}'}, 422, id="not a number"),
        pytest.param({"config": "[" * 1000 + "]" * 1000}, 422, id="a thousand levels"),
        pytest.param({"timeout__pass": "0"}, 422, id="no time"),
        pytest.param({"attempts__pass": "-1"}, 422, id="negative attempts"),
        pytest.param({"risk__pass": "none"}, 422, id="unknown risk"),
    ],
)
def test_a_wrong_edit_is_refused_and_what_was_typed_stays(
    changes, status, client
) -> None:
    fields = {"version": "9.0.0"} | changes

    page = client.post(
        "/skills/noop/edit", an_edit("noop", **fields, description="Kept text.")
    )

    assert page.status_code == status
    assert "Kept text." in page.content.decode()
    assert SkillVersion.objects.filter(skill__slug="noop").count() == 1


def test_an_admin_changes_the_state_with_a_reason(client) -> None:
    silent = client.post("/skills/noop/state", {"event": "quarantined", "reason": ""})
    done = client.post(
        "/skills/noop/state", {"event": "quarantined", "reason": "It misbehaved."}
    )

    assert silent.status_code == 422
    assert codes(silent) == ["skill.reason_required"]
    assert done.status_code == 302
    assert Skill.objects.get(slug="noop").state == "quarantined"
    assert "Its steps do not start" in words(client.get("/skills/noop"))
    last = record.events_after("registry", 0)[-1]
    assert (last.kind, last.actor_name) == ("skill.quarantined", "admin")


@pytest.mark.parametrize("who", ["proposer", "operator", "auditor"])
def test_only_who_may_publish_edits_publishes_or_changes_states(
    who, client, request
) -> None:
    draft = a_draft(client)
    other = signed_in(request.getfixturevalue(who))
    address = f"/skills/noop/versions/{draft.pk}"

    answers = [
        other.get("/skills/noop/edit"),
        other.post("/skills/noop/edit", an_edit("noop", "9.1.0")),
        other.post("/skills/noop/state", {"event": "deprecated", "reason": "x"}),
        other.get(address),
        other.post(f"{address}/publish", {"digest": draft.digest}),
    ]

    assert {answer.status_code for answer in answers} <= {403, 404}
    page = other.get("/skills/noop")
    assert "9.0.0" not in words(page)
    assert rows(page, "skill-state-form") == 0
    assert Skill.objects.get(slug="noop").state == "active"


def test_a_shipped_version_waits_for_an_admin_who_has_changed_the_skill(
    client, operator
) -> None:
    draft = a_draft(client, risk__pass="high", config="{}")
    client.post(f"/skills/noop/versions/{draft.pk}/publish", {"digest": draft.digest})
    sync.take(
        replace(
            installed.shipped("noop"),
            version="1.1.0",
            description="Hands it on, better.",
        ),
        at=clock.now(),
    )
    waiting = SkillVersion.objects.get(skill__slug="noop", state="draft")

    listed, page = client.get("/skills"), client.get("/skills/noop")
    review = client.get(f"/skills/noop/versions/{waiting.pk}")
    client.post(
        f"/skills/noop/versions/{waiting.pk}/publish", {"digest": waiting.digest}
    )

    assert rows(listed, "skill-waiting") == rows(page, "skill-waiting") == 1
    assert f"Review and publish {waiting.version}" in words(page)
    assert "Hands it on, better." in words(review)
    assert "risk raised" not in words(review)
    assert "risk lowered" not in words(review)
    assert rows(signed_in(operator).get("/skills"), "skill-waiting") == 0
    current = Skill.objects.get(slug="noop").current
    assert current.pk == waiting.pk
    assert current.contract().action("pass").risk == "high"
    assert rows(client.get("/skills"), "skill-waiting") == 0


def test_a_draft_of_one_skill_is_not_found_under_another(client) -> None:
    draft = a_draft(client)

    assert client.get(f"/skills/files/versions/{draft.pk}").status_code == 404
    assert client.get(f"/skills/files/edit?draft={draft.pk}").status_code == 404
    assert client.get("/skills/files/edit?draft=nonsense").status_code == 404


def test_more_skills_make_no_more_queries(
    client, django_assert_max_num_queries
) -> None:
    before = Skill.objects.get(slug="noop")
    for place in range(30):
        extra = Skill.objects.create(
            slug=f"extra-{place}",
            name="Extra",
            state="active",
            current=before.current,
            created_at=before.created_at,
        )
        assign_perm("skills.view_skill", Group.objects.get(name="admin"), extra)

    with django_assert_max_num_queries(AIM):
        page = client.get("/skills")

    assert rows(page, "skill-row") == Skill.objects.count() > 30


@pytest.mark.parametrize("who", ["proposer", "operator", "admin"])
def test_the_pages_of_a_skill_need_few_queries(
    who, client, request, django_assert_max_num_queries
) -> None:
    draft = a_draft(client)
    published = Skill.objects.get(slug="noop").current_id
    reader = signed_in(request.getfixturevalue(who))

    for part in ("", "/edit", f"/versions/{published}", f"/versions/{draft.pk}"):
        with django_assert_max_num_queries(AIM):
            reader.get(f"/skills/noop{part}")
