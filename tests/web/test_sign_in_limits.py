"""Guessing passwords is slow, and it locks no one else out."""

import uuid
from ipaddress import ip_address

import pytest
import time_machine
from django.test import Client, override_settings

from execfabric.identity import sign_in
from execfabric.identity.models import User
from tests.builders import NOON
from tests.console_builders import words

PASSWORD = "correct horse battery staple"
ADDRESS: dict[str, str] = {}


@pytest.fixture
def name(db) -> str:
    return _person()


def _person() -> str:
    name = f"person-{uuid.uuid4().hex[:8]}"
    User.objects.create_user(name, password=PASSWORD)
    return name


@pytest.fixture(autouse=True)
def fast(settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def within_one_window():
    with time_machine.travel(NOON, tick=False):
        yield


@pytest.fixture(autouse=True)
def here(monkeypatch) -> str:
    """Return an address that no other test uses."""
    number = uuid.uuid4().int
    monkeypatch.setitem(ADDRESS, "REMOTE_ADDR", str(ip_address(number % 2**32)))
    return ADDRESS["REMOTE_ADDR"]


def tried(name: str, password: str, client: Client | None = None, **more: str):
    form = {"login": name, "password": password}
    return (client or Client()).post("/accounts/login/", form, **(ADDRESS | more))


def opens(name: str, client: Client | None = None, **more: str) -> bool:
    return tried(name, PASSWORD, client, **more).status_code == 302


def guess(name: str, times: int, **more: str) -> None:
    for _ in range(times):
        tried(name, "wrong", **more)


def test_one_address_cannot_go_on_guessing_and_is_told_how_long(name) -> None:
    guess(name, sign_in.HERE.tries)

    page = words(tried(name, PASSWORD))

    assert "Too many failed sign-ins. Try again in " in page


def test_failures_of_one_account_leave_the_others_of_that_address_alone(name) -> None:
    guess(name, 15)

    assert not opens(name)
    assert opens(_person())


def test_failures_from_elsewhere_leave_the_owner_alone(name) -> None:
    guess(name, 15, REMOTE_ADDR="198.51.100.7")

    assert opens(name)


def test_a_known_browser_is_never_locked_out_by_strangers(name) -> None:
    mine = Client()
    assert opens(name, mine)
    mine.post("/accounts/logout/")
    guess(name, 15)
    assert not opens(name)

    assert opens(name, mine)


def test_a_known_browser_has_a_budget_too(name) -> None:
    mine = Client()
    assert opens(name, mine)
    mine.post("/accounts/logout/")

    for _ in range(sign_in.KNOWN.tries):
        tried(name, "wrong", mine)

    assert not opens(name, mine)


def test_a_forged_browser_is_not_a_known_one(name, settings) -> None:
    forged = Client()
    forged.cookies[settings.KNOWN_BROWSER_COOKIE_NAME] = f'["x",["{name}"]]:1:2'
    guess(name, 5)

    assert not opens(name, forged)


def test_many_accounts_from_one_address_are_limited_together(db, monkeypatch) -> None:
    monkeypatch.setattr(sign_in, "ADDRESS", sign_in.RateLimit("few", 3, 300))
    for _ in range(3):
        guess(_person(), 1)

    assert not opens(_person())
    assert opens(_person(), REMOTE_ADDR="198.51.100.7")


def test_a_success_is_not_counted(name) -> None:
    assert all(opens(name) for _ in range(sign_in.HERE.tries + 1))


@override_settings(ALLAUTH_TRUSTED_PROXY_COUNT=1)
def test_behind_a_proxy_the_client_is_the_entry_that_the_proxy_added(name) -> None:
    for number in range(15):
        chain = f"10.0.0.{number}, 203.0.113.9"
        guess(name, 1, HTTP_X_FORWARDED_FOR=chain)

    assert not opens(name, HTTP_X_FORWARDED_FOR="203.0.113.9")
    assert opens(name, HTTP_X_FORWARDED_FOR="203.0.113.10")


def test_without_a_proxy_the_header_is_not_believed(name) -> None:
    for number in range(5):
        guess(name, 1, HTTP_X_FORWARDED_FOR=f"203.0.113.{number}")

    assert not opens(name, HTTP_X_FORWARDED_FOR="203.0.113.200")


def test_an_ipv6_client_is_its_network() -> None:
    assert sign_in.network("2001:db8::1") == sign_in.network("2001:db8::ffff:2")
    assert sign_in.network("2001:db8:0:1::1") != sign_in.network("2001:db8::1")


def test_without_redis_each_process_counts_by_itself(name, settings) -> None:
    gone = {**settings.CACHES["shared"], "LOCATION": "redis://127.0.0.1:1/0"}
    with override_settings(CACHES={**settings.CACHES, "shared": gone}):
        guess(name, sign_in.HERE.tries)

        assert not opens(name)
