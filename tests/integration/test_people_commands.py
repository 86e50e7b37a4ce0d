"""Users, roles, tokens and links by command: what each does, refuses and records."""

from datetime import timedelta
from io import StringIO
from urllib.parse import urlsplit

import pytest
from django.core.management import CommandError, call_command
from django.core.signing import Signer
from django.test import Client

from audit import selectors as record
from execfabric.identity import links, people, services
from execfabric.identity.authority import rights_of
from execfabric.identity.errors import LinkInvalid, NotSignedIn, RightMissing
from execfabric.identity.models import PasswordLink, Token, User, digest_of
from execfabric.lib import clock
from execfabric.lib.actor import system
from execfabric.lib.rights import Right, Role
from orchestration.skills.models import Skill
from tests.api_builders import agent, caller, person, registry, token_of

pytestmark = pytest.mark.django_db

PASSWORD = "a pass phrase of some length"
SETUP = system("test")


def printed(*arguments: str) -> list[str]:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue().splitlines()


def refused(*arguments: str) -> CommandError:
    with pytest.raises(CommandError) as error:
        printed(*arguments)
    return error.value


def link_of(*arguments: str) -> str:
    """Return the path of the link on the last line of a command's output."""
    return urlsplit(printed(*arguments)[-1]).path


def events() -> list[tuple[str, str]]:
    """Kind and actor of every event about accounts."""
    found = record.events_after(people.ACCOUNTS, 0)
    return [(event.kind, event.actor) for event in found]


def payloads(kind: str) -> list[dict]:
    found = record.events_after(people.ACCOUNTS, 0)
    return [record.envelope(e)["payload"] for e in found if e.kind == kind]


def set_password(path: str, password: str = PASSWORD, **fields: str):
    client = Client()
    fields = {"password": password, "again": password} | fields
    return client, client.post(path, fields)


def is_signed_in(client: Client) -> bool:
    return client.get("/").status_code == 200


def test_a_created_user_sets_a_password_once_and_is_signed_in() -> None:
    path = link_of("create_user", "ada", "--role", "operator", "--email", "a@b.example")

    client, answer = set_password(path)

    user = User.objects.get(username="ada")
    assert answer.status_code == 302
    assert is_signed_in(client)
    assert user.check_password(PASSWORD)
    assert user.email == "a@b.example"
    assert Right.DECIDE in rights_of(user.actor())
    again, refusal = set_password(path, "another pass phrase")
    assert refusal.status_code == 404
    assert not is_signed_in(again)
    assert events()[-5:] == [
        ("user.created", "system:cli"),
        ("user.roles_changed", "system:cli"),
        ("password_link.created", "system:cli"),
        ("password_link.used", user.actor().key),
        ("password.set", user.actor().key),
    ]


def test_the_link_is_stored_as_a_hash_only() -> None:
    text = link_of("create_user", "ada", "--role", "operator").rsplit("/", 1)[1]

    stored = PasswordLink.objects.get()
    assert text.encode() not in bytes(stored.sha256)
    assert not any(
        text.encode() in bytes(e.body) for e in record.search(record.Filter())
    )


def test_reading_the_page_uses_nothing_and_shows_the_rules() -> None:
    path = link_of("create_user", "ada", "--role", "operator")

    pages = [Client().get(path).content.decode() for _ in range(2)]

    assert all("at least 8 characters" in page for page in pages)
    assert set_password(path)[1].status_code == 302


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        pytest.param({"password": "short", "again": "short"}, "too short", id="short"),
        pytest.param({"again": PASSWORD + "x"}, "passwords differ", id="differ"),
        pytest.param({"password": "", "again": ""}, "required", id="empty"),
    ],
)
def test_a_refused_password_leaves_the_link_open(fields, sentence) -> None:
    path = link_of("create_user", "ada", "--role", "operator")

    client, answer = set_password(path, **fields)

    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert not is_signed_in(client)
    assert set_password(path)[1].status_code == 302


def test_a_link_of_the_previous_release_is_still_accepted() -> None:
    at = clock.now()
    person("ada", Role.OPERATOR)
    links.create_password_link(username="ada", by=SETUP, at=at)
    text = Signer(salt="execfabric.accounts.password-link").sign("token")
    PasswordLink.objects.update(sha256=digest_of(text))

    assert links.opened(text, at=at).user.username == "ada"


def test_a_newer_link_replaces_an_older_one() -> None:
    older = link_of("create_user", "ada", "--role", "operator")
    newer = link_of("password_link", "ada")

    assert Client().get(older).status_code == 404
    assert Client().get(newer).status_code == 200


def test_an_expired_link_and_one_of_a_deactivated_user_are_refused() -> None:
    at = clock.now()
    user = person("ada", Role.OPERATOR)
    text = links.create_password_link(username="ada", by=SETUP, at=at)
    links.opened(text, at=at + links.USER_LIFE - timedelta(seconds=1))

    with pytest.raises(LinkInvalid):
        links.opened(text, at=at + links.USER_LIFE)
    user.is_active = False
    user.save()
    with pytest.raises(LinkInvalid):
        links.use(text, username="", password=PASSWORD, at=at)
    assert refused("password_link", "ada").returncode == 1


@pytest.mark.parametrize("text", ["x", "a:b", "%F0%9F%98%80:x"])
def test_a_guessed_link_is_refused_without_a_query(
    text, django_assert_num_queries
) -> None:
    with django_assert_num_queries(0):
        answer = Client().get(f"/accounts/password/{text}")

    assert answer.status_code == 404


def test_the_first_admin_chooses_name_and_password() -> None:
    path = link_of("first_admin_link")
    page = Client().get(path).content.decode()
    assert "Create the first admin" in page

    client, answer = set_password(path, username="root-of-all")

    user = User.objects.get()
    assert answer.status_code == 302
    assert is_signed_in(client)
    assert user.username == "root-of-all"
    assert Right.REGISTRY in rights_of(user.actor())
    assert ("user.created", "system:first-admin-link") in events()
    assert ("password.set", user.actor().key) in events()
    assert printed("first_admin_link") == []


@pytest.mark.parametrize("name", ["", "a b", "somebody", "SomeBody"])
def test_a_name_that_the_first_admin_cannot_have_leaves_the_link_open(name) -> None:
    person("somebody", Role.PROPOSER)
    path = link_of("first_admin_link")

    _, answer = set_password(path, username=name)

    assert answer.status_code == 422
    assert User.objects.count() == 1
    assert Client().get(path).status_code == 200


def test_the_first_admins_link_is_void_once_an_admin_can_sign_in() -> None:
    path = link_of("first_admin_link")
    set_password(link_of("create_user", "ada", "--role", "admin"))

    _, answer = set_password(path, username="mallory")

    assert answer.status_code == 404
    assert not User.objects.filter(username="mallory").exists()


def test_an_admin_without_a_password_does_not_void_the_first_admins_link() -> None:
    path = link_of("first_admin_link")
    printed("create_user", "ada", "--role", "admin")

    assert Client().get(path).status_code == 200
    assert Client().get(link_of("first_admin_link")).status_code == 200
    assert Client().get(path).status_code == 404


@pytest.mark.parametrize(
    ("arguments", "code", "returncode"),
    [
        pytest.param(("ada",), "auth.user_exists", 1, id="taken"),
        pytest.param(("ADA",), "auth.user_exists", 1, id="taken in another case"),
        pytest.param(("a b",), "auth.name_invalid", 2, id="space"),
        pytest.param(("a\0b",), "auth.name_invalid", 2, id="NUL"),
        pytest.param(("a" * 151,), "auth.name_invalid", 2, id="too long"),
        pytest.param(("eve", "--email", "no"), "auth.email_invalid", 2, id="email"),
    ],
)
def test_a_user_that_cannot_be_created_is_refused(arguments, code, returncode) -> None:
    person("ada")

    error = refused("create_user", *arguments, "--role", "operator")

    assert str(error).startswith(code)
    assert error.returncode == returncode
    assert User.objects.count() == 1


def test_set_role_replaces_roles_and_records_before_and_after() -> None:
    user = person("ada", Role.OPERATOR)

    printed("set_role", "ada", "proposer", "auditor")

    assert Right.DECIDE not in rights_of(user.actor())
    [change] = payloads("user.roles_changed")
    assert (change["before"], change["after"]) == (
        ["operator"],
        ["auditor", "proposer"],
    )
    printed("set_role", "ada", "none")
    assert rights_of(user.actor()) == frozenset()
    assert refused("set_role", "nobody", "operator").returncode == 2


def test_a_role_that_does_not_change_is_no_event() -> None:
    person("ada", Role.OPERATOR)

    printed("set_role", "ada", "operator")

    assert payloads("user.roles_changed") == []


def test_a_deactivated_user_loses_session_and_token_at_once() -> None:
    client, _ = set_password(link_of("create_user", "ada", "--role", "operator"))
    token = printed("create_token", "ada")[-1]

    printed("set_active", "ada", "off")

    assert not is_signed_in(client)
    with pytest.raises(NotSignedIn):
        services.holder(token, at=clock.now())
    printed("set_active", "ada", "on")
    assert services.holder(token, at=clock.now()).name == "ada"
    assert [kind for kind, _ in events()][-2:] == ["user.deactivated", "user.activated"]


def test_a_deactivated_agent_is_refused_at_once() -> None:
    bot = agent("bot", person("owner", Role.PROPOSER))

    printed("set_active", "bot", "off", "--agent")

    assert bot.get("me").status_code == 401
    assert events()[-1] == ("agent.deactivated", "system:cli")


def test_tokens_are_listed_and_revoked_by_command() -> None:
    who = caller("ada", Role.OPERATOR)
    agent("bot", User.objects.get(username="ada"))
    listed = printed("list_tokens")
    assert len(listed) == 2
    assert who.token not in " ".join(listed)
    [line] = printed("list_tokens", "ada")

    printed("revoke_token", line.split()[0])

    assert who.get("me").status_code == 401
    assert printed("list_tokens", "ada")[0].split()[2] == "revoked"
    assert events()[-1] == ("token.revoked", "system:cli")
    unknown = refused("revoke_token", "00000000-0000-7000-8000-000000000000")
    assert unknown.returncode == 5


def test_revoking_twice_is_one_event() -> None:
    token_of(person("ada"))
    pk = str(Token.objects.get().pk)

    printed("revoke_token", pk)
    printed("revoke_token", pk)

    assert len(payloads("token.revoked")) == 1


def test_groups_and_object_rights_are_recorded_when_they_change() -> None:
    registry()
    by, at = SETUP, clock.now()
    skill = Skill.objects.get(slug="noop")
    granted = payloads("right.granted")
    assert {"group": "admin", "on": "skill:noop", "right": "publish_skill"} in granted
    assert [kind for kind, _ in events()].count("group.created") == len(Role)

    people.set_object_rights(
        skill, {"view_skill": [Role.ADMIN]}, label="skill:noop", by=by, at=at
    )

    assert {fact["group"] for fact in payloads("right.revoked")} == {
        "proposer",
        "operator",
        "auditor",
    }
    assert len(payloads("right.granted")) == len(granted)


def test_no_user_administers_accounts_by_a_service() -> None:
    admin = person("ada", Role.ADMIN).actor()

    with pytest.raises(RightMissing):
        people.set_roles(username="ada", roles=[], by=admin, at=clock.now())
