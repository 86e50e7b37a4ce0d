"""Signing in and out: recorded, closed to strangers, and at one click in the demo only."""

import pytest
from django.contrib.auth.models import Group
from django.test import Client, override_settings

from audit import selectors as audit
from execfabric.identity import adapter, demo, people
from execfabric.identity.models import User
from execfabric.lib import clock
from execfabric.lib.actor import system
from execfabric.lib.rights import Role
from tests.console_builders import codes, words

PASSWORD = "correct horse battery staple"


@pytest.fixture
def ada(db) -> User:
    return User.objects.create_user("ada", password=PASSWORD)


@pytest.fixture
def demo_people(db) -> None:
    people.ensure_roles(by=system("test"), at=clock.now())
    for person in demo.USERS:
        user = User.objects.create_user(person.username)
        user.groups.add(Group.objects.get(name=str(person.role)))


def sign_in(client: Client, name: str, password: str):
    return client.post("/accounts/login/", {"login": name, "password": password})


def recorded() -> list[tuple[str, str]]:
    events = audit.events_after(adapter.STREAM, 0)
    return [
        (event.kind, audit.envelope(event)["payload"]["username"]) for event in events
    ]


def is_signed_in(client: Client) -> bool:
    return client.get("/").status_code == 200


def test_signing_in_and_out_is_on_record(ada) -> None:
    client = Client()

    sign_in(client, "ada", PASSWORD)
    assert is_signed_in(client)
    client.post("/accounts/logout/")

    assert not is_signed_in(client)
    assert recorded() == [("sign_in.succeeded", "ada"), ("sign_in.ended", "ada")]


@pytest.mark.parametrize("name", ["ada", "nobody-of-that-name"])
def test_a_failed_try_is_on_record_and_tells_nothing_about_accounts(ada, name) -> None:
    page = sign_in(Client(), name, "a wrong password")

    assert page.status_code == 200
    assert "Wrong user name or password." in words(page)
    assert recorded() == [("sign_in.failed", name)]


def test_an_account_that_is_switched_off_cannot_sign_in(ada) -> None:
    ada.is_active = False
    ada.save()
    client = Client()

    sign_in(client, "ada", PASSWORD)

    assert not is_signed_in(client)
    assert [kind for kind, _ in recorded()] == ["sign_in.failed"]


def test_nobody_signs_up_by_themselves(db) -> None:
    answer = Client().post(
        "/accounts/signup/", {"username": "eve", "password1": PASSWORD}
    )

    assert answer.status_code == 404
    assert not User.objects.filter(username="eve").exists()


def test_a_get_request_does_not_sign_out(ada) -> None:
    client = Client()
    client.force_login(ada, backend="django.contrib.auth.backends.ModelBackend")

    client.get("/accounts/logout/")

    assert is_signed_in(client)


@override_settings(DEMO_MODE=True)
@pytest.mark.parametrize("role", list(Role))
def test_in_demo_mode_one_click_signs_one_in_per_role(demo_people, role) -> None:
    client = Client()
    offered = client.get("/accounts/login/").content.decode()
    assert f'data-testid="demo-{role}"' in offered

    client.post("/accounts/demo/", {"username": f"demo-{role}"})

    assert is_signed_in(client)
    assert recorded() == [("sign_in.succeeded", f"demo-{role}")]


@override_settings(DEMO_MODE=False)
@pytest.mark.parametrize("role", list(Role))
def test_outside_demo_mode_nobody_is_offered_and_the_click_is_refused(
    demo_people, role
) -> None:
    client = Client()
    assert 'data-testid="demo-' not in client.get("/accounts/login/").content.decode()

    answer = client.post("/accounts/demo/", {"username": f"demo-{role}"})

    assert answer.status_code == 403
    assert codes(answer) == ["auth.demo_mode_off"]
    assert not is_signed_in(client)
    assert recorded() == []


@override_settings(DEMO_MODE=True)
def test_the_click_opens_no_account_but_those_of_the_demo(demo_people, ada) -> None:
    client = Client()

    answer = client.post("/accounts/demo/", {"username": "ada"})

    assert codes(answer) == ["auth.demo_user_unknown"]
    assert not is_signed_in(client)


@override_settings(DEMO_MODE=True)
def test_the_click_needs_the_pages_own_token(demo_people) -> None:
    client = Client(enforce_csrf_checks=True)

    answer = client.post("/accounts/demo/", {"username": "demo-admin"})

    assert answer.status_code == 403
    assert not is_signed_in(client)


@override_settings(DEMO_MODE=True)
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("/runs", "/runs"),
        ("https://elsewhere.example/", "/"),
        ("//elsewhere.example", "/"),
    ],
)
def test_after_signing_in_one_stays_on_this_site(demo_people, wanted, expected) -> None:
    answer = Client().post(
        "/accounts/demo/", {"username": "demo-operator", "next": wanted}
    )

    assert answer["Location"] == expected
