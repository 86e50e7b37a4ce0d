"""People at their browsers, and runs that wait, for tests of the pages."""

import html
import re
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.test import Client

from approvals.models import Gate
from execfabric.accounts.authority import Role
from execfabric.accounts.models import User
from execfabric.lib import clock
from orchestration.runs.models import Run
from orchestration.runs.services import gates, proposals
from tests.api_builders import person

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
    """The browser of somebody who is signed in."""
    client = Client()
    client.force_login(user, backend=BACKEND)
    return client


def browser(name: str, *roles: Role) -> Client:
    """A new person in these roles, signed in."""
    return signed_in(person(name, *roles))


def a_run(by: User, *, word: Any = "hello", plan: str = PLAN) -> Run:
    """A proposed run; its plan gate is open."""
    return proposals.propose(
        text=plan, inputs={"word": word}, by=by.actor(), at=clock.now()
    )


def plan_gate(run: Run) -> Gate:
    """The plan gate of a run."""
    return Gate.objects.get(context_id=run.pk, subject_kind="run")


def step_gate(run: Run, by: User) -> Gate:
    """The gate of the run's first step, after `by` has approved the plan."""
    answer(plan_gate(run), by)
    return Gate.objects.get(context_id=run.pk, subject_kind="step")


def answer(gate: Gate, by: User, *, approve: bool = True, comment: str = "") -> Gate:
    """Somebody's answer by the service."""
    return gates.decide(
        gate_id=UUID(str(gate.pk)),
        by=by.actor(),
        approve=approve,
        digest=gate.digest_hex,
        comment=comment,
        channel="page",
        at=clock.now(),
    )


def words(response: HttpResponse) -> str:
    """The text of a page without its tags, in single spaces."""
    text = re.sub(r"<(script|style).*?</\1>", " ", response.content.decode(), flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def codes(response: HttpResponse) -> list[str]:
    """The codes of the refusals and problems that a page shows."""
    return re.findall(r'data-code="([^"]+)"', response.content.decode())


def rows(response: HttpResponse, testid: str) -> int:
    """How many parts of one sort a page has."""
    return response.content.decode().count(f'data-testid="{testid}"')
