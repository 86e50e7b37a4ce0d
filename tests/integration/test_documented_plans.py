"""Every plan in the documents is valid, is dry-run, and runs if its targets are local."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from django.db.models import Max

from approvals.models import INPUT, Gate
from execfabric.identity.models import User
from execfabric.lib import canonical, clock
from orchestration.plans.domain import asking, source
from orchestration.plans.services import check, saving
from orchestration.runs.control import answers, events, uploads
from orchestration.runs.domain.states import FINAL_RUN, DryRunState
from orchestration.runs.keeper import sweep
from orchestration.runs.models import EventWait, Run
from tests import targets
from tests.builders import OPEN, approved, decided, driven, proposed
from tests.documents import PROJECT, all_blocks

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry", "operator")]

PATTERNS = "docs/patterns.md"
EXAMPLES = sorted((PROJECT / "orchestration/plans/examples").glob("*.yaml"))
INPUTS: dict[str, dict[str, Any]] = {
    "check-service": {"service": "shop"},
    "greet-someone": {"name": "Ada"},
    "assemble-module": {
        "blueprint": {"name": "shop", "tests": False, "pages": ["start", "help"]}
    },
    "hello": {"name": "Ada"},
    "package-sizes": {"minimum": 1},
    "publish-monthly-report": {"month": "2024-01"},
    "publish-package-report": {"minimum": 1},
    "publish-packages": {"letters": "a"},
    "ship-when-paid": {"invoice": "2026-017"},
    "tag-release": {"version": "1.0.0"},
}
FILE = {"count-amounts": "amounts"}
"""The input of a plan that is a file."""
INSIDE = {"check-service"}
"""Plans that other plans run in a step."""
REMOTE = {
    "text-and-types": "calls an API and a web hook",
    "load-package-sizes": "loads into the warehouse of the demo; see the browser tests",
    "plan-001": "needs a Jira",
    "three-angles": "calls a web hook",
}
"""Plans that reach other hosts: checked and dry-run, not executed."""
WITH_ITS_SKILL = {"greet-someone"}
"""Plans whose skill is in the document too: test_documented_commands.py runs them."""


def documented() -> dict[str, str]:
    """Return every plan of the documents and examples by its id."""
    texts = [path.read_text() for path in EXAMPLES]
    # test_patterns.py runs the plans of its page.
    texts += [block.text for block in all_blocks("yaml") if block.document != PATTERNS]
    plans = {source.parse(text).value["plan"]["id"]: text for text in texts}
    assert len(plans) == len(texts), "two plans have the same id"
    return plans


ALL = documented()
PLANS = {key: text for key, text in ALL.items() if key not in WITH_ITS_SKILL}
LOCAL = sorted(PLANS.keys() - REMOTE.keys())


@pytest.fixture(autouse=True)
def saved(proposer: User) -> None:
    """Save the plans that other plans of the documents run in a step."""
    by, at = proposer.actor(), clock.now()
    for key in sorted(INSIDE):
        saving.save_plan(text=PLANS[key], by=by, at=at)


def inputs_of(key: str, proposer: User) -> dict[str, Any]:
    """Return inputs for a plan, with an uploaded file if it needs one."""
    if key not in FILE:
        return INPUTS.get(key, {})
    content = b"region,amount\nnorth,7\nsouth,5\n"
    file = uploads.store(
        chunks=[content], name="amounts.csv", by=proposer.actor(), at=clock.now()
    )
    return {FILE[key]: str(file.pk)}


def test_the_lists_name_plans_of_the_documents():
    assert ALL.keys() >= INPUTS.keys() | FILE.keys() | REMOTE.keys() | WITH_ITS_SKILL


@pytest.mark.parametrize("key", PLANS)
def test_every_plan_in_the_documents_is_valid(key, proposer):
    by = proposer.actor()
    checked = check.check(
        text=PLANS[key],
        inputs=inputs_of(key, proposer),
        by=by,
        files=uploads.finder(by, clock.now()),
    )

    assert [one for one in checked.problems if one.severity == "error"] == []
    assert checked.valid


@pytest.mark.parametrize("key", REMOTE)
def test_a_plan_with_remote_targets_is_dry_run(key, proposer):
    run = proposed(PLANS[key], proposer, INPUTS.get(key, {}))

    assert run.dry_run.state == DryRunState.FINISHED


@pytest.fixture
def local_targets(tmp_path: Path, registry: list[str]) -> None:
    targets.prepare(tmp_path)


def answered(gate: Gate, by: User) -> None:
    """Answer a form with its examples and defaults."""
    form = canonical.loads(bytes(gate.subject))["form"]
    answers.answer(
        gate_id=gate.pk,
        by=by.actor(),
        digest=gate.digest_hex,
        values=asking.example_of(form) or {},
        channel="api",
        at=clock.now(),
    )


def waiting_until(run: Run) -> datetime | None:
    """Return the end of the last wait of a run."""
    return run.steps.filter(state="waiting").aggregate(at=Max("not_before"))["at"]


@pytest.mark.usefixtures("local_targets")
@pytest.mark.parametrize("key", LOCAL)
def test_a_plan_with_local_targets_runs(key, proposer, operator, worker):
    run = driven(
        approved(PLANS[key], proposer, operator, **inputs_of(key, proposer)), worker
    )
    while run.state not in FINAL_RUN and run.state != "paused":
        for gate in Gate.objects.filter(context_id=run.id, status__in=OPEN):
            if gate.subject_kind == INPUT:
                answered(gate, operator)
            else:
                decided(gate, operator)
        for wait in EventWait.objects.filter(step_run__run=run, match=None):
            events.send(
                type=wait.type,
                key=wait.key,
                payload={"amount": 120},
                by=operator.actor(),
                at=clock.now(),
            )
        if ends_at := waiting_until(run):
            sweep.sweep(at=ends_at)
        run = driven(run, worker)

    errors = [step.error for step in run.steps.all() if step.error]
    assert (run.state, errors) == ("succeeded", [])
