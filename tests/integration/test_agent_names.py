"""An agent has one name and one owner; no command hands its token to anyone else."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from execfabric.identity.models import Agent, Token
from execfabric.identity.services import holder
from execfabric.lib import clock
from execfabric.lib.rights import Role
from tests.api_builders import agent, person

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("owner", ["first", "second"])
def test_an_existing_agent_is_refused_and_no_token_is_made(owner) -> None:
    first = person("first", Role.PROPOSER)
    person("second", Role.ADMIN)
    agent("bot", first)
    out = StringIO()

    with pytest.raises(CommandError, match=r"auth\.agent_exists") as refused:
        call_command("create_agent", "bot", "--owner", owner, stdout=out)

    assert refused.value.returncode == 1
    assert out.getvalue() == ""
    assert Token.objects.count() == 1
    assert Agent.objects.get().owner == first


def test_another_token_of_an_agent_is_made_by_its_name() -> None:
    agent("bot", person("owner", Role.PROPOSER))
    out = StringIO()

    call_command("create_token", "bot", "--agent", stdout=out)

    assert holder(out.getvalue().strip(), at=clock.now()).name == "bot"


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("create_token", "gone"), id="token of a person"),
        pytest.param(("create_token", "bot", "--agent"), id="token of their agent"),
        pytest.param(("create_agent", "other", "--owner", "gone"), id="new agent"),
    ],
)
def test_a_deactivated_owner_gets_no_new_token(arguments) -> None:
    gone = person("gone", Role.PROPOSER)
    agent("bot", gone)
    gone.is_active = False
    gone.save()

    with pytest.raises(CommandError, match=r"auth\.account_inactive"):
        call_command(*arguments)

    assert Token.objects.count() == 1


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("create_agent", "a\0b", "--owner", "owner"), id="NUL"),
        pytest.param(("create_agent", "a\u202eb", "--owner", "owner"), id="bidi"),
        pytest.param(("create_agent", "a" * 101, "--owner", "owner"), id="long name"),
        pytest.param(("create_agent", " ", "--owner", "owner"), id="blank name"),
        pytest.param(("create_token", "owner", "--label", "x" * 101), id="long label"),
        pytest.param(("create_token", "owner", "--label", "a\0"), id="NUL in label"),
        pytest.param(("create_token", "owner", "--days", "99999999"), id="days"),
        pytest.param(("create_token", "a\0b"), id="NUL in a user name"),
    ],
)
def test_text_that_cannot_be_stored_is_refused(arguments) -> None:
    person("owner", Role.PROPOSER)

    with pytest.raises(CommandError, match=r"^auth\.") as refused:
        call_command(*arguments)

    assert refused.value.returncode == 2
    assert not Token.objects.exists()
