"""What people did with the previous release; run by that release's own code.

Prints what the test looks for after the upgrade, as JSON.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import django

django.setup()

from django.contrib.auth.models import Group  # noqa: E402
from execfabric.accounts.models import User  # noqa: E402
from orchestration.runs.services import (  # noqa: E402
    attempts,
    control,
    gates,
    proposals,
    work,
)
from orchestration.runs.services.results import Finished  # noqa: E402

from approvals.models import Gate  # noqa: E402
from execfabric.lib import clock  # noqa: E402
from orchestration.runs.models import Run  # noqa: E402
from orchestration.skills.models import Skill  # noqa: E402
from orchestration.skills.services import registry  # noqa: E402


def person(name: str, role: str) -> User:
    """Create a person with one role."""
    user = User.objects.create_user(name)
    user.groups.add(Group.objects.get(name=role))
    return user


PROPOSER = person("proposer", "proposer")
OPERATOR = person("operator", "operator")
ADMIN = person("admin", "admin")


def edited(slug: str, version: str, changes: dict[str, Any]) -> None:
    """Edit a skill and publish it, as an admin."""
    by = ADMIN.actor()
    draft = registry.draft_from(
        slug=slug, changes=changes, version=version, by=by, at=clock.now()
    )
    registry.publish(version_id=draft.id, digest=draft.digest, by=by, at=clock.now())


def moved(slug: str, event: str) -> None:
    """Change the state of a skill, as an admin."""
    registry.set_state(
        slug=slug, event=event, reason="Decided.", by=ADMIN.actor(), at=clock.now()
    )


MAIN = {"noop": "value"}
"""The parameter of a skill's actions that is not `mark`."""


def proposed(name: str, *actions: str, skill: str = "acme") -> Run:
    """Propose a run of a chain of these actions; its plan gate is open."""
    steps = [
        {
            "id": f"s{number}",
            "skill": skill,
            "action": action,
            "params": {MAIN.get(skill, "mark"): f"{name}-s{number}"},
            "dependsOn": [f"s{number - 1}"] if number else [],
        }
        for number, action in enumerate(actions)
    ]
    text = json.dumps({"plan": {"id": name, "name": name, "steps": steps}})
    return proposals.propose(text=text, inputs={}, by=PROPOSER.actor(), at=clock.now())


def approved(run: Run, step: str = "") -> None:
    """Approve the open gate of a run or a step, as the operator."""
    gate = Gate.objects.get(context_id=run.id, step=step, status="requested")
    gates.decide(
        gate_id=gate.id,
        by=OPERATOR.actor(),
        approve=True,
        digest=bytes(gate.digest).hex(),
        comment="",
        channel="api",
        at=clock.now(),
    )


def claimed(run: Run, key: str) -> attempts.Grip:
    """Claim a ready step and commit its intent."""
    step = run.steps.get(key=key)
    grip = attempts.claim(
        step_run_id=step.id, worker="old-worker", by=work.BY, at=clock.now()
    )
    assert grip is not None
    return grip


def driven(run: Run) -> None:
    """Run all ready steps, as a worker."""
    folder = Path(tempfile.mkdtemp(prefix="execfabric-old-"))
    bench = work.Bench(name="old-worker", home=folder)
    while ready := run.steps.filter(state="ready").first():
        work.work(step_run_id=ready.id, bench=bench)
    bench.close()


def runs() -> dict[str, Run]:
    """One run for each place where an upgrade can find it."""
    found = {
        name: proposed(name, *actions)
        for name, actions in (
            ("waiting-plan", ("mark", "asked")),
            ("waiting-step", ("mark", "asked", "mark")),
            ("approved-step", ("mark", "asked", "mark")),
            ("ready", ("mark", "mark")),
            ("paused", ("mark", "mark")),
            ("running", ("mark", "mark")),
        )
    }
    found["built-in"] = proposed("built-in", "pass", skill="noop")
    found["changing"] = proposed("changing", "mark", "mark", skill="acme-changing")
    for name, run in found.items():
        if name != "waiting-plan":
            approved(run)
    for name in ("waiting-step", "approved-step"):
        driven(found[name])
        first = found[name].steps.get(key="s0")
        assert first.state == "succeeded", first.error
    approved(found["approved-step"], "s1")
    claimed(found["running"], "s0")
    grip = claimed(found["paused"], "s0")
    run = found["paused"]
    control.pause(run_id=run.id, by=PROPOSER.actor(), at=clock.now())
    result = Finished(output={"mark": "paused-s0"}, files={})
    attempts.complete(grip, result, worker="old-worker", by=work.BY, at=clock.now())
    return found


def main() -> None:
    """Propose and approve, then edit the registry, as it is in a used installation."""
    found = runs()
    edited(
        "acme",
        "1.0.1",
        {
            "config": {"witness": os.environ["ACME_WITNESS"], "room": "ours"},
            "actions": {"raised": {"risk": "critical"}, "mark": {"timeout_s": 7.0}},
        },
    )
    edited("acme-taken", "1.1.0", {"description": "Ours."})
    edited("files", "1.0.1", {"actions": {"archive": {"risk": "high"}}})
    for slug in ("acme-bad", "notify"):
        moved(slug, "quarantined")
    for slug in ("acme-old", "jira-write"):
        moved(slug, "deprecated")
    states = {
        name: list(run.steps.order_by("position").values_list("state", flat=True))
        for name, run in found.items()
    }
    skills = dict(Skill.objects.values_list("slug", "current__version"))
    ids = {name: str(run.id) for name, run in found.items()}
    json.dump({"runs": ids, "steps": states, "skills": skills}, sys.stdout)


main()
