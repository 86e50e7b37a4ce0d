"""What people do after the upgrade; run by this release's code beside its workers.

Takes the ids of the runs, approves what is asked, resumes what is paused, waits for
the ends, and prints what became of everything, as JSON.
"""

import json
import sys
import time
from contextlib import suppress
from typing import Any

import django

django.setup()

from approvals.models import Gate  # noqa: E402
from audit.models import Event  # noqa: E402
from execfabric.identity.models import User  # noqa: E402
from execfabric.lib import clock  # noqa: E402
from execfabric.lib.refusal import Conflict  # noqa: E402
from orchestration.runs.control import control, gates  # noqa: E402
from orchestration.runs.domain.states import FINAL_RUN, RunState  # noqa: E402
from orchestration.runs.models import Run  # noqa: E402
from orchestration.skills.models import Skill, SkillVersion  # noqa: E402

WAIT_S = 40
OPERATOR = User.objects.get(username="operator").actor()


def answered(runs: list[Any]) -> None:
    """Approve every open gate and resume every paused run, as the operator."""
    for gate in Gate.objects.filter(context_id__in=runs, status="requested"):
        with suppress(Conflict):
            gates.decide(
                gate_id=gate.id,
                by=OPERATOR,
                approve=True,
                digest=bytes(gate.digest).hex(),
                comment="",
                channel="api",
                at=clock.now(),
            )
    for run in Run.objects.filter(pk__in=runs, state=RunState.PAUSED):
        with suppress(Conflict):
            control.resume(run_id=run.id, by=OPERATOR, at=clock.now())


def skill(slug: str) -> dict[str, Any]:
    """Return the current state of a skill."""
    found = Skill.objects.select_related("current").get(slug=slug)
    assert found.current is not None
    contract = found.current.contract()
    drafts = SkillVersion.objects.filter(skill=found, state="draft")
    return {
        "state": found.state,
        "version": found.current.version,
        "config": dict(contract.config),
        "risks": {action.name: str(action.risk) for action in contract.actions},
        "timeouts": {action.name: action.timeout_s for action in contract.actions},
        "drafts": [draft.version for draft in drafts.order_by("created_at")],
    }


def main() -> None:
    """Answer, wait, print."""
    ids = json.loads(sys.argv[1])
    until = time.monotonic() + WAIT_S
    open_runs = Run.objects.filter(pk__in=ids.values()).exclude(state__in=FINAL_RUN)
    while open_runs.exists() and time.monotonic() < until:
        answered(list(ids.values()))
        time.sleep(0.2)
    found = {
        "runs": {
            name: {
                "state": (run := Run.objects.get(pk=pk)).state,
                "steps": {
                    step.key: [step.state, step.error, step.output]
                    for step in run.steps.order_by("position")
                },
                "gates": list(
                    Gate.objects.filter(context_id=pk)
                    .order_by("requested_at")
                    .values_list("step", "status", "reasons")
                ),
            }
            for name, pk in ids.items()
        },
        "skills": {
            slug: skill(slug) for slug in Skill.objects.values_list("slug", flat=True)
        },
        "events": Event.objects.count(),
    }
    json.dump(found, sys.stdout)


main()
