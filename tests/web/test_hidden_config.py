"""Paths and names of secrets in a skill's configuration: for those who administer it."""

import pytest
from django.urls import reverse

from execfabric.lib import clock
from execfabric.lib.actor import system
from execfabric.lib.rights import Role
from orchestration.skills.models import Skill
from orchestration.skills.services import registry as registered
from tests.api_builders import caller
from tests.builders import approved, driven, open_gate, plan, step

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]

PATH = "/srv/repositories/shop.git"
CONFIG = {
    "repositories": {"shop": PATH},
    "author": {"name": "Release robot", "email": "robot@example.com"},
}


@pytest.fixture
def configured(registry):
    by, at = system("test"), clock.now()
    draft = registered.draft_from(
        slug="git-operations", changes={"config": CONFIG}, version="9.0.0", by=by, at=at
    )
    registered.publish(version_id=draft.pk, digest=draft.digest, by=by, at=at)
    return Skill.objects.get(slug="git-operations")


@pytest.mark.parametrize(
    ("role", "sees"),
    [
        (Role.PROPOSER, False),
        (Role.OPERATOR, False),
        (Role.ADMIN, True),
        (Role.AUDITOR, True),
    ],
)
def test_configuration_values_are_for_admins_and_auditors(
    role, sees, configured, request, client
):
    person = request.getfixturevalue(str(role))
    client.force_login(person)

    config = caller(f"caller-{role}", role).get("skills/git-operations").json()
    page = client.get(reverse("skill", args=["git-operations"])).content.decode()
    version = reverse("skill_version", args=["git-operations", configured.current_id])
    pages = page + client.get(version).content.decode()

    config = config["contract"]["config"]
    assert (config == CONFIG) is sees
    assert list(config["repositories"]) == ["shop"]
    assert (PATH in pages) is sees
    assert "shop" in pages


def test_the_name_of_a_secret_is_hidden_too(proposer):
    shown = caller("other", Role.PROPOSER).get("skills/jira-write").json()

    assert shown["contract"]["config"] == {"token": "[hidden]"}


def test_a_proposer_sees_no_configuration_at_a_gate_and_an_approver_does(
    proposer, operator, worker, client
):
    run = driven(approved(plan(step("risky", "risky")), proposer, operator), worker)
    gate = open_gate(run, "risky")
    addresses = [
        reverse("gate", args=[gate.pk]),
        reverse("gate_subject", args=[gate.pk]),
        reverse("gate_value", args=[gate.pk]) + "?at=/config",
        f"/api/v1/gates/{gate.pk}",
    ]

    seen = {}
    for person in (proposer, operator):
        client.force_login(person)
        seen[person] = [client.get(address).content for address in addresses[:3]]

    assert not any(b"lab-token" in content for content in seen[proposer])
    assert all(b"lab-token" in content for content in seen[operator])
    assert gate.digest_hex.encode() in seen[proposer][0]
