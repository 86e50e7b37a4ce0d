"""Who proposes and approves in the benchmark."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from django.contrib.auth.models import Group

from execfabric.identity.models import User
from execfabric.identity.people import ensure_roles
from execfabric.lib import clock
from execfabric.lib.actor import system
from execfabric.lib.rights import Role
from orchestration.runs.control import proposals
from orchestration.runs.models import Run
from tests.builders import decided, end_dry_runs, open_gate

LONGEST_S = 3600


@dataclass
class People:
    """A proposer and an operator."""

    proposer: User
    operator: User

    def propose(self, text: str, count: int) -> list[Run]:
        """Propose runs of a plan; return them when their dry runs have ended."""
        actor = self.proposer.actor()
        runs = [
            proposals.propose(text=text, inputs={}, by=actor, at=clock.now())
            for _ in range(count)
        ]
        end_dry_runs()
        return runs

    def approve(self, run: Run, step: str = "") -> None:
        """Have the operator approve a run, or one of its steps."""
        decided(open_gate(run, step), self.operator)


def people() -> People:
    """Create one user per role that is needed."""
    ensure_roles(by=system("test"), at=clock.now())
    made = []
    for role in (Role.PROPOSER, Role.OPERATOR):
        user = User.objects.create_user(f"bench-{role}")
        user.groups.add(Group.objects.get(name=str(role)))
        made.append(user)
    return People(*made)


def patiently(poll_s: float) -> Iterator[None]:
    """Give turns until the caller breaks off.

    :raises TimeoutError: when it takes far too long
    """
    until = time.monotonic() + LONGEST_S
    while time.monotonic() < until:
        yield
        time.sleep(poll_s)
    message = f"not done after {LONGEST_S} s"
    raise TimeoutError(message)
