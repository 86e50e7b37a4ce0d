"""Tokens by API and command line: people see and revoke theirs, and no others."""

import pytest

from execfabric.identity.models import Token, User
from execfabric.lib.rights import Role
from tests.api_builders import agent, caller

pytestmark = pytest.mark.django_db


def tokens(who) -> dict[str, dict]:
    listed = who.get("tokens").json()["items"]
    return {token["holder"]: token for token in listed}


def test_a_person_lists_their_tokens_and_those_of_their_agents() -> None:
    owner = caller("owner", Role.PROPOSER)
    agent("bot", User.objects.get(username="owner"))
    caller("other", Role.ADMIN)

    assert set(tokens(owner)) == {"user:owner", "agent:bot"}
    assert owner.token not in str(tokens(owner))


def test_a_revoked_token_is_refused_from_the_next_call_on() -> None:
    owner = caller("owner", Role.PROPOSER)
    bot = agent("bot", User.objects.get(username="owner"))
    found = tokens(owner)["agent:bot"]

    for _ in range(2):
        answer = owner.post(f"tokens/{found['id']}:revoke")
        assert answer.status_code == 200
        assert answer.json()["state"] == "revoked"

    assert bot.get("me").status_code == 401
    assert owner.get("me").status_code == 200


def test_no_one_revokes_a_token_of_somebody_else() -> None:
    caller("owner", Role.PROPOSER)
    admin = caller("admin", Role.ADMIN)
    token = Token.objects.get(user__username="owner")

    answer = admin.post(f"tokens/{token.pk}:revoke")

    assert (answer.status_code, answer.json()["code"]) == (404, "auth.token_unknown")
    token.refresh_from_db()
    assert token.revoked_at is None


def test_an_agent_sees_and_revokes_no_tokens() -> None:
    caller("owner", Role.PROPOSER)
    bot = agent("bot", User.objects.get(username="owner"))
    own = Token.objects.get(agent__name="bot")

    assert bot.get("tokens").status_code == 403
    assert bot.post(f"tokens/{own.pk}:revoke").status_code == 403
