"""`create_token` and `create_agent`: what they print, make and refuse."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from audit.models import Event
from execfabric.identity.models import Agent, Token
from execfabric.identity.services import holder
from execfabric.lib import clock
from execfabric.lib.actor import ActorKind
from execfabric.lib.rights import Role
from tests.api_builders import person

pytestmark = pytest.mark.django_db


def printed(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_the_last_line_of_create_token_is_the_token_of_that_person() -> None:
    user = person("operator", Role.OPERATOR)

    token = printed("create_token", "operator", "--label", "laptop").splitlines()[-1]

    assert holder(token, at=clock.now()).key == f"user:{user.pk}"
    assert Token.objects.get().expires_at is None
    assert Token.objects.get().label == "laptop"
    assert not any(token.encode() in bytes(e.body) for e in Event.objects.all())


def test_a_token_for_some_days_expires() -> None:
    person("operator", Role.OPERATOR)

    printed("create_token", "operator", "--days", "2")

    found = Token.objects.get()
    assert found.expires_at == found.created_at + timedelta(days=2)


def test_the_last_line_of_create_agent_is_the_token_of_that_agent() -> None:
    owner = person("owner", Role.PROPOSER)

    token = printed("create_agent", "bot", "--owner", "owner").splitlines()[-1]

    who = holder(token, at=clock.now())
    assert (who.kind, who.name) == (ActorKind.AGENT, "bot")
    assert who.on_behalf_of == f"user:{owner.pk}"
    assert Agent.objects.get().owner == owner


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("create_token", "nobody"), id="token of nobody"),
        pytest.param(("create_agent", "bot", "--owner", "nobody"), id="no owner"),
        pytest.param(("create_token", "nobody", "--days", "0"), id="no days"),
    ],
)
def test_a_wrong_name_makes_nothing(arguments) -> None:
    with pytest.raises(CommandError) as refused:
        printed(*arguments)

    assert refused.value.returncode == 2
    assert not Token.objects.exists()
