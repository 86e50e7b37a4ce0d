"""Who sees, archives and makes a fork: its plan counts, not only the run of its origin."""

from typing import Any

import pytest

from execfabric.identity.models import User
from execfabric.lib import clock
from execfabric.lib.rights import Role
from orchestration.plans.domain.rights import PlanRight
from orchestration.plans.services import rights, saving
from orchestration.runs.control import artifacts
from orchestration.runs.models import ArtifactVersion
from tests.api_builders import Caller, agent, caller, token_of
from tests.builders import approved, driven, plan, step
from tests.console_builders import signed_in, words

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]
SECRET = "secret-takeover"


@pytest.fixture
def origin(proposer, operator, worker) -> ArtifactVersion:
    """Return a version of the proposer; the operator has another plan."""
    text = plan(step("make", "write", params={"text": "one"}))
    driven(approved(text, proposer, operator), worker)
    hidden = plan(step("say"), id=SECRET)
    saving.save_plan(text=hidden, by=operator.actor(), at=clock.now())
    return ArtifactVersion.objects.get()


def forked(by: User, version: ArtifactVersion, name: str, **fields: Any) -> Any:
    return artifacts.fork(
        artifact_id=version.artifact_id,
        version_id=version.pk,
        name=name,
        by=by.actor(),
        at=clock.now(),
        **fields,
    )


def changed(
    act: Any, right: PlanRight, user: str, by: User, slug: str = SECRET
) -> None:
    act(slug=slug, right=right, user=user, by=by.actor(), at=clock.now())


def archived(api: Caller, version: ArtifactVersion) -> tuple[int, str]:
    body = {"reason": "Old.", "version": str(version.pk)}
    answer = api.post(f"artifacts/{version.artifact_id}:archive", body)
    return answer.status_code, answer.json().get("code", "")


def test_a_fork_is_hidden_from_those_who_may_not_see_its_plan(
    proposer, operator, origin
) -> None:
    fork = forked(operator, origin, "hidden name", plan=SECRET)
    own = origin.artifact.plan.slug
    changed(rights.grant, PlanRight.EDIT, "operator", proposer, slug=own)
    again = forked(operator, fork, "offer", plan=own)
    client, api = signed_in(proposer), Caller(token_of(proposer))
    path = f"artifacts/{fork.artifact_id}"

    names = {item["name"] for item in api.get("artifacts").json()["items"]}
    assert names == {"make/note", "offer"}
    for query in ({"q": "hidden"}, {"plan": SECRET}):
        assert api.get("artifacts", **query).json()["items"] == []
    assert api.get(path).json()["code"] == "artifact.chain_unknown"
    assert api.post(f"{path}:fork", {"name": "mine"}).status_code == 404
    assert archived(api, fork) == (404, "artifact.chain_unknown")
    lineage = api.get(f"artifacts/{origin.artifact_id}").json()["lineage"]
    assert lineage["made"] == []
    offered = api.get(f"artifacts/{again.artifact_id}").json()
    assert offered["versions"][0]["forked_from"] is None
    assert [one["version"] for one in offered["lineage"]["sources"]] == [None]
    for page in (
        "artifacts",
        path,
        f"artifacts/{origin.artifact_id}",
        f"artifacts/{again.artifact_id}",
        f"artifacts/{origin.file_id}",
    ):
        text = words(client.get(f"/{page}"))
        assert {part for part in (SECRET, "hidden name") if part in text} == set(), page
    assert client.get(f"/{path}").status_code == 404

    operators = Caller(token_of(operator))
    assert operators.get(path).json()["versions"][0]["forked_from"] == str(origin.pk)
    assert caller("reader", Role.AUDITOR).get(path).status_code == 200
    changed(rights.grant, PlanRight.VIEW, "proposer", operator)
    assert api.get(path).status_code == 200
    assert archived(api, fork) == (403, "artifact.not_yours")
    assert "Archive version" not in words(client.get(f"/{path}"))
    # Who may edit the plan of a fork may archive it.
    assert archived(api, again) == (200, "")
    assert archived(operators, fork) == (200, "")


def test_who_made_a_fork_sees_and_archives_it_without_rights_on_its_plan(
    proposer, operator, origin
) -> None:
    changed(rights.grant, PlanRight.EDIT, "proposer", operator)
    fork = forked(proposer, origin, "given", plan=SECRET)
    bot = agent("bot", proposer)
    by_agent = forked(proposer, origin, "more", plan=SECRET)
    changed(rights.revoke, PlanRight.EDIT, "proposer", operator)
    api = Caller(token_of(proposer))

    assert api.get(f"artifacts/{fork.artifact_id}").status_code == 200
    assert bot.get(f"artifacts/{by_agent.artifact_id}").status_code == 404
    assert archived(bot, fork)[0] == 403
    assert archived(api, fork) == (200, "")
    proposer.groups.clear()
    assert archived(api, by_agent)[0] in {401, 403, 404}


def test_a_fork_needs_the_right_to_edit_its_plan(
    proposer, operator, second_operator, worker
) -> None:
    text = plan(step("make", "write", params={"text": "one"}), id=SECRET)
    saving.save_plan(text=text, by=second_operator.actor(), at=clock.now())
    changed(rights.grant, PlanRight.START, "proposer", second_operator)
    driven(approved(text, proposer, operator), worker)
    version = ArtifactVersion.objects.get()
    path = f"artifacts/{version.artifact_id}"
    client, api = signed_in(proposer), Caller(token_of(proposer))

    for fields in ({}, {"plan": SECRET}):
        refused = api.post(f"{path}:fork", {"name": "release/binary"} | fields)
        code = refused.json()["code"]
        assert (refused.status_code, code) == (403, "plan.not_permitted")
    page = {"name": "release/binary", "plan": "", "version": str(version.pk)}
    assert client.post(f"/{path}/fork", page).status_code == 403
    assert f'name="plan" maxlength="100" value="{SECRET}"' not in (
        client.get(f"/{path}").content.decode()
    )
    assert ArtifactVersion.objects.count() == 1
    changed(rights.grant, PlanRight.EDIT, "proposer", second_operator)
    made = api.post(f"{path}:fork", {"name": "release/binary"})
    assert made.status_code == 201
