"""A session that ends while somebody works: no dead page, and the way back."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from execfabric.lib.ids import uuid7
from orchestration.runs.models import Run
from tests.builders import open_gate
from tests.console_builders import BACKEND, a_run, signed_in, words

pytestmark = pytest.mark.usefixtures("registry")

PASSWORD = "a long pass phrase"
ARGUMENTS = {
    "pk": uuid7(),
    "slug": "noop",
    "key": "first",
    "part": "params",
    "other": uuid7(),
    "ask": "pause",
    "act": "pause",
    "verb": "retry",
    "claim": "take",
    "place": 0,
    "seq": 1,
    "before": 1,
    "number": 1,
    "after": 2,
    "suffix": "csv",
    "stream": "run:x",
    "sha256": "0" * 64,
    "token": "x" * 20,
}
NOT_PAGES = ("api", "account")


@pytest.fixture
def run(proposer, operator) -> Run:
    operator.set_password(PASSWORD)
    operator.save()
    return a_run(proposer)


def sign_in(client: Client, address: str) -> str:
    """Sign in on the page at an address; where that leads to."""
    asked = client.get(address)
    data = {"login": "operator", "password": PASSWORD}
    data["next"] = asked.context["redirect_field_value"]
    answered = client.post("/accounts/login/", data, follow=True)
    assert answered.status_code == 200
    return answered.request["PATH_INFO"]


def test_a_decision_after_the_session_has_ended_leads_back_to_its_gate(
    run, operator
) -> None:
    gate, client = open_gate(run), Client()
    fields = {"verdict": "approve", "digest": gate.digest_hex, "comment": "as agreed"}

    refused = client.post(f"/gates/{gate.pk}/decide", fields)

    assert refused.status_code == 302
    assert sign_in(client, refused["Location"]) == f"/gates/{gate.pk}"
    gate.refresh_from_db()
    assert gate.is_open


@pytest.mark.parametrize(
    ("address", "back"),
    [
        ("/plans/check", "/plans/new"),
        ("/plans/dry-run", "/plans/new"),
        ("/plans/propose", "/plans/new"),
        ("/runs/{run}/pause", "/runs/{run}"),
        ("/skills/noop/state", "/skills/noop"),
    ],
)
def test_every_form_leads_back_to_its_page(address, back, run) -> None:
    client = Client()

    refused = client.post(address.format(run=run.pk), {})

    assert sign_in(client, refused["Location"]) == back.format(run=run.pk)


def test_a_part_of_a_page_says_that_the_session_has_ended(run) -> None:
    page = f"/gates/{open_gate(run).pk}"
    asked = {"HX-Request": "true", "HX-Current-URL": f"http://testserver{page}"}

    answered = Client().get(f"{page}/steps/0", headers=asked)

    assert answered.status_code == 401
    assert answered["HX-Retarget"] == "#refusal"
    assert "Your session has ended." in words(answered)
    assert f"/accounts/login/?next={page}" in answered.content.decode()


def test_a_form_that_is_out_of_date_leads_back_to_its_page(run, operator) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(operator, backend=BACKEND)
    gate = open_gate(run)

    refused = client.post(f"/gates/{gate.pk}/decide", {"verdict": "approve"})

    assert refused.status_code == 403
    assert "This form is out of date" in words(refused)
    assert f'href="/gates/{gate.pk}/decide"' in refused.content.decode()
    back = client.get(f"/gates/{gate.pk}/decide", follow=True)
    assert back.request["PATH_INFO"] == f"/gates/{gate.pk}"


def test_no_address_of_the_console_answers_a_get_with_a_bare_405(admin) -> None:
    client = signed_in(admin)

    # Other systems deliver to a webhook, not people.
    pages = [one for one in page_names() if one.name != "hook_deliver"]
    bare = [one for one in pages if is_bare(client, one)]

    assert bare == []


def is_bare(client: Client, pattern: URLPattern) -> bool:
    wanted = pattern.pattern.regex.groupindex or pattern.pattern.converters
    arguments = {name: ARGUMENTS.get(name, uuid4()) for name in wanted}
    address = reverse(str(pattern.name), kwargs=arguments)
    return client.get(address).status_code == 405


def page_names() -> Iterator[URLPattern]:
    waiting = list(get_resolver().url_patterns)
    while waiting:
        one = waiting.pop()
        if isinstance(one, URLResolver):
            if one.app_name != "ninja" and one.namespace != "api-1.0.0":
                waiting += one.url_patterns
        elif one.name and not one.name.startswith(NOT_PAGES):
            yield one
