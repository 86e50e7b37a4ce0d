"""People, tokens and plans for tests that come in by the API or the command."""

import json
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import Group
from django.test import Client

from execfabric.identity import people
from execfabric.identity import services as accounts
from execfabric.identity.models import User
from execfabric.lib import clock
from execfabric.lib.actor import system
from execfabric.lib.rights import Role
from orchestration.skills import installed
from orchestration.skills.models import Skill
from orchestration.skills.services import sync
from orchestration.skills.services.sync import grant_defaults
from tests.builders import end_dry_runs
from tests.database import forged

PLAN = """\
plan:
  id: hand-on
  name: Hand a value on
  inputs: {type: object, properties: {word: {type: string}}, required: [word]}
  steps:
    - {id: first, skill: noop, action: pass, params: {value: $inputs.word}}
    - id: second
      skill: noop
      action: pass
      dependsOn: [first]
      params: {value: $first.output.value}
      approval: {reason: Somebody should look at it}
"""
"""Two steps that do nothing; the second has a gate of its own."""


@dataclass(frozen=True)
class Caller:
    """A client of the API with one token."""

    token: str
    channel: str = ""

    def get(self, path: str, **params: Any) -> Any:
        return Client().get(f"/api/v1/{path}", params, headers=self.headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        data = body if isinstance(body, str | bytes) else json.dumps(body)
        return Client().post(
            f"/api/v1/{path}",
            b"" if body is None else data,
            content_type="application/json",
            headers=self.headers | headers,
        )

    @property
    def headers(self) -> dict[str, str]:
        found = {"Authorization": f"Bearer {self.token}"}
        return found | ({"X-ExecFabric-Channel": self.channel} if self.channel else {})


def registry() -> None:
    """Publish the skill that the plan uses, and create a user who can decide."""
    person("somebody", Role.OPERATOR)
    sync.take(installed.shipped("noop"), at=clock.now())
    skill = Skill.objects.get(slug="noop")
    grant_defaults(skill, at=clock.now())


def person(name: str, *roles: Role) -> User:
    """Create an active person with these roles."""
    people.ensure_roles(by=system("test"), at=clock.now())
    user = User.objects.create_user(name)
    user.groups.set(Group.objects.filter(name__in=[str(role) for role in roles]))
    return user


def token_of(user: User, **options: Any) -> str:
    """Create a token of a person."""
    return accounts.create_token(
        holder=user,
        label="test",
        by=system("test"),
        at=clock.now(),
        **options,
    )


def caller(name: str, *roles: Role, channel: str = "") -> Caller:
    """Return an API caller for a new person."""
    return Caller(token_of(person(name, *roles)), channel)


def agent(name: str, owner: User) -> Caller:
    """Return an API caller for a new agent of a person."""
    _, token = accounts.create_agent(
        name=name, owner=owner.get_username(), by=system("test"), at=clock.now()
    )
    return Caller(token)


def a_run(by: Caller, plan: str = PLAN, word: str = "hello") -> str:
    """Propose a run and return its id."""
    made = by.post("runs", {"plan": plan, "inputs": {"word": word}})
    assert made.status_code == 201, made.content
    end_dry_runs()
    return str(made.json()["run_id"])


def open_gate(by: Caller, run: str) -> dict[str, Any]:
    """Return the open gate of a run with all its fields."""
    [row] = by.get("gates", run=run, status="open").json()["items"]
    found: dict[str, Any] = by.get(f"gates/{row['id']}").json()
    return found


def approve(by: Caller, gate: dict[str, Any], **changes: Any) -> Any:
    """Return an approval of what the gate shows."""
    body = {"approve": True, "digest": gate["digest"], "comment": ""} | changes
    return by.post(f"gates/{gate['id']}/decisions", body)


def tamper(run: str, seq: int) -> None:
    """Change one byte of an event, as only the owner of the database could."""
    changed = forged(
        "UPDATE audit_event SET body = set_byte(body, 20, get_byte(body, 20) # 1)"
        " WHERE stream = %s AND seq = %s",
        f"run:{run}",
        seq,
        tables=["audit_event"],
    )
    assert changed == 1
