"""The registry by API: each sees what they may see."""

import pytest
from django.contrib.auth.models import Group
from guardian.shortcuts import remove_perm

from execfabric.lib.rights import Role
from orchestration.skills.models import Skill
from tests.api_builders import caller, registry

pytestmark = pytest.mark.django_db


def test_a_skill_shows_its_contract_and_releases() -> None:
    registry()
    proposer = caller("proposer", Role.PROPOSER)

    listed = proposer.get("skills").json()["items"]
    shown = proposer.get("skills/noop").json()

    assert "noop" in {skill["slug"] for skill in listed}
    assert shown["state"] == "active"
    [action] = shown["contract"]["actions"]
    assert (action["name"], action["risk"]) == ("pass", "low")
    [release] = shown["versions"]
    assert (release["version"], release["digest"]) == (
        shown["version"],
        shown["digest"],
    )


def test_a_hidden_skill_is_neither_listed_nor_shown() -> None:
    registry()
    proposer = caller("proposer", Role.PROPOSER)
    hidden = Skill.objects.get(slug="noop")
    remove_perm("view_skill", Group.objects.get(name="proposer"), hidden)

    listed = proposer.get("skills").json()["items"]
    shown = proposer.get("skills/noop")

    assert "noop" not in {skill["slug"] for skill in listed}
    assert (shown.status_code, shown.json()["code"]) == (404, "skill.unknown")
