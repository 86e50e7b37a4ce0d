"""People at their browsers, and runs that wait, for tests of the pages."""

import html
import re
from typing import Any

from django.http import HttpResponse
from django.test import Client

from approvals.models import Gate
from execfabric.identity.models import User
from orchestration.runs.models import Run
from tests.builders import decided, open_gate, proposed

PLAN = """\
plan:
  id: hand-on
  name: Hand a value on
  description: It only hands on.
  inputs: {type: object, properties: {word: {type: string, title: The word}}, required: [word]}
  steps:
    - id: first
      name: First hand
      skill: noop
      action: pass
      params: {value: $inputs.word}
      approval: {reason: The boss said so}
    - {id: second, skill: noop, action: pass, dependsOn: [first], params: {value: x}}
"""
"""Its first step has a gate of its own, which opens as soon as the plan is approved."""

BACKEND = "django.contrib.auth.backends.ModelBackend"


def signed_in(user: User) -> Client:
    """Return a browser client of a signed-in user."""
    client = Client()
    client.force_login(user, backend=BACKEND)
    return client


def a_run(by: User, *, word: Any = "hello", text: str = PLAN) -> Run:
    """Propose a run; its plan gate is open."""
    return proposed(text, by, {"word": word})


def step_gate(run: Run, by: User) -> Gate:
    """Return the gate of the first step, after `by` has approved the plan."""
    decided(open_gate(run), by)
    return open_gate(run, "first")


def decide(client: Client, gate: Gate, **fields: str) -> Any:
    """Approve a gate on its page, or send other fields of its form."""
    known = {"verdict": "approve", "digest": gate.digest_hex, "comment": ""}
    return client.post(f"/gates/{gate.pk}/decide", known | fields)


def words(response: HttpResponse) -> str:
    """Return the text of a page without tags, in single spaces."""
    text = re.sub(r"</?(bdi|mark)\b[^>]*>", "", response.content.decode())
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def codes(response: HttpResponse) -> list[str]:
    """Return the codes of the refusals and problems that a page shows."""
    return re.findall(r'data-code="([^"]+)"', response.content.decode())


def rows(response: HttpResponse, testid: str) -> int:
    """How many parts of one sort a page has."""
    return response.content.decode().count(f'data-testid="{testid}"')
