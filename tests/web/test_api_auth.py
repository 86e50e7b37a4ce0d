"""Who may call the API at all."""

import re
from datetime import timedelta

import pytest
from django.test import Client

from execfabric.identity.models import Token
from execfabric.lib import clock
from execfabric.lib.rights import Role
from tests.api_builders import Caller, agent, caller, person, token_of

pytestmark = pytest.mark.django_db


def _expired() -> str:
    token = token_of(person("late", Role.OPERATOR), days=1)
    Token.objects.update(expires_at=clock.now() - timedelta(seconds=1))
    return token


def _revoked() -> str:
    token = token_of(person("revoked", Role.OPERATOR))
    Token.objects.update(revoked_at=clock.now())
    return token


def _of_inactive() -> str:
    user = person("gone", Role.OPERATOR)
    token = token_of(user)
    user.is_active = False
    user.save()
    return token


def _of_agent_whose_owner_left() -> str:
    owner = person("owner", Role.PROPOSER)
    token = agent("bot", owner).token
    owner.is_active = False
    owner.save()
    return token


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(lambda: "", id="empty"),
        pytest.param(lambda: "ef_nobody", id="unknown"),
        pytest.param(_expired, id="expired"),
        pytest.param(_revoked, id="revoked"),
        pytest.param(_of_inactive, id="holder inactive"),
        pytest.param(_of_agent_whose_owner_left, id="agent's owner inactive"),
    ],
)
def test_a_token_that_is_not_valid_opens_nothing(token) -> None:
    answer = Caller(token()).get("me")

    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.json()["code"] == "auth.not_signed_in"
    assert answer.json()["status"] == 401


def test_a_browser_session_opens_nothing() -> None:
    browser = Client()
    browser.force_login(
        person("operator", Role.OPERATOR),
        backend="django.contrib.auth.backends.ModelBackend",
    )

    answer = browser.get("/api/v1/me")

    assert answer.status_code == 401
    assert answer.json()["code"] == "auth.not_signed_in"


def test_me_names_the_person_and_their_rights() -> None:
    me = caller("auditor", Role.AUDITOR).get("me").json()

    assert (me["kind"], me["name"], me["owner"]) == ("user", "auditor", None)
    assert me["rights"] == ["config", "see_all", "trace"]


def test_me_names_an_agent_with_its_owner_and_no_right_to_decide() -> None:
    owner = person("owner", Role.OPERATOR)

    me = agent("bot", owner).get("me").json()

    assert (me["kind"], me["owner"]) == ("agent", f"user:{owner.pk}")
    assert me["rights"] == ["propose"]


def test_the_api_document_is_open_and_the_rest_of_the_tree_is_not_html() -> None:
    document = Client().get("/api/v1/openapi.json")
    nowhere = Client().get("/api/v1/no/such/route")

    assert document.json()["info"]["title"] == "ExecFabric"
    assert nowhere.status_code == 404
    assert nowhere.json()["code"] == "request.route_unknown"


def test_every_route_but_the_document_wants_a_token() -> None:
    document = Client().get("/api/v1/openapi.json").json()
    nil = "00000000-0000-7000-8000-000000000000"
    for path, methods in document["paths"].items():
        for method in methods:
            url = path.replace("{slug}", "noop").replace("{sha256}", "0" * 64)
            url = re.sub(r"\{(before|after)\}", "1", url)
            url = re.sub(r"\{[^}]+\}", nil, url)

            answer = Client().generic(method.upper(), url)

            assert answer.status_code == 401, (method, url)
