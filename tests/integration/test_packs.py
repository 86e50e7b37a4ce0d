"""The plans of the packs run on a worker with the built-in skills and local targets."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from approvals.models import Gate
from execfabric.lib import clock
from orchestration.plans import examples
from orchestration.plans.services import saving
from orchestration.runs.control import proposals
from orchestration.runs.models import Run
from tests import real_worker, targets
from tests.builders import decided, end_dry_runs, open_gate
from tests.real_worker import People

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]
BLUEPRINT = {
    "service": "billing",
    "auth": "OAuth2",
    "storage": "none",
    "resilience": True,
    "flags": False,
    "version": "1.0.0",
    "ports": [{"name": "web", "number": 443}, {"name": "metrics", "number": 9100}],
}
PAYLOADS: Mapping[str, Any] = {
    "tests.finished": {"passed": 12, "failed": 0},
    "pipeline.finished": {"state": "succeeded"},
    "health.checked": {"healthy": True},
}


@pytest.fixture(scope="module")
def worker(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory):
    with real_worker.working(tmp_path_factory.mktemp("worker")):
        yield


@pytest.fixture
def console(tmp_path, proposer, operator, worker):
    """Return a function that runs a plan of a pack to its end."""
    targets.prepare(tmp_path)
    for text in examples.pack_texts():
        saving.save_plan(text=text, by=proposer.actor(), at=clock.now())

    def run(
        slug: str, inputs: Mapping[str, Any], *, approve: bool = True, **payloads: Any
    ) -> Run:
        made = proposals.start(
            slug=slug, inputs=inputs, by=proposer.actor(), at=clock.now()
        )
        end_dry_runs()
        decided(open_gate(made), operator)
        people = People(operator, payloads={**PAYLOADS, **payloads}, approve=approve)
        run = people.finish(made)
        errors = [step.error for step in run.steps.all() if step.error]
        assert errors == [] or not approve
        return run

    return run


def ended(run: Run, key: str) -> str:
    return str(run.steps.get(key=key, parent=None).state)


def git(folder: Path, *command: str) -> str:
    at = ["git", "-C", str(folder / "repository.git"), *command]
    return subprocess.run(at, check=True, capture_output=True, text=True).stdout


@pytest.mark.promise("S3.38")
def test_a_service_is_assembled_as_its_blueprint_says(console, tmp_path):
    run = console("assemble-service", {"blueprint": BLUEPRINT})

    assert run.state == "succeeded"
    # Conditions on metadata, and on feature flags.
    assert ended(run, "auth") == "succeeded"
    assert ended(run, "storage") == "skipped_by_condition"
    assert ended(run, "resilience") == "succeeded"
    assert ended(run, "flags") == "skipped_by_condition"
    branches = git(tmp_path, "branch", "--format=%(refname:short)").split()
    assert {"services/billing", "ports/billing-web", "ports/billing-metrics"} <= {
        *branches
    }
    assert committed(tmp_path, "billing-1.0.0") == [
        "auth",
        "observability",
        "resilience",
        "secrets",
    ]
    port = git(tmp_path, "show", "ports/billing-metrics:service/port.yaml")
    assert port == "name: metrics\nnumber: 9100\n"


@pytest.mark.promise("S3.44")
def test_services_share_the_sub_plans_of_what_all_of_them_need(console, tmp_path):
    everything = {"storage": "postgres", "flags": True, "ports": []}
    for service in ("billing", "shipping"):
        blueprint = {**BLUEPRINT, **everything, "service": service}
        run = console("assemble-service", {"blueprint": blueprint})
        assert run.state == "succeeded"
        assert committed(tmp_path, f"{service}-1.0.0") == [
            "auth",
            "flags",
            "observability",
            "resilience",
            "secrets",
            "storage",
        ]


def committed(folder: Path, tag: str) -> list[str]:
    """Return the names of the configuration files at a tag."""
    paths = git(folder, "ls-tree", "-r", "--name-only", tag).split()
    return [Path(path).stem for path in paths]


def test_failed_tests_release_nothing(console, tmp_path):
    failed = {"tests.finished": {"passed": 11, "failed": 1}}
    run = console("assemble-service", {"blueprint": BLUEPRINT}, **failed)

    assert ended(run, "pull-request") == "skipped_by_condition"
    assert ended(run, "release") == "skipped_by_condition"
    assert git(tmp_path, "tag") == ""


def infrastructure(folder: Path, environment: str, current: str, wanted: str) -> None:
    """Write the names of the resources of an environment, today's and those wanted."""
    target = folder / "inbox" / "infrastructure"
    target.mkdir(exist_ok=True)
    for name, rows in (("current", current), ("wanted", wanted)):
        target.joinpath(f"{environment}-{name}.csv").write_text(resources(rows))


def resources(names: str) -> str:
    """Return a file with a resource for each letter, or the file itself."""
    if "\n" in names:
        return names
    return "".join(["name,size\n", *(f"{name},1\n" for name in names)])


def steps_of_gates(run: Run) -> list[str]:
    gates = Gate.objects.filter(context_id=run.pk).order_by("requested_at")
    assert {gate.status for gate in gates} == {"approved"}
    return [gate.step or "plan" for gate in gates]


@pytest.mark.promise("S3.73")
@pytest.mark.parametrize(
    ("environment", "current", "wanted", "approved_by"),
    [
        ("test", "ab", "abc", ["plan"]),
        ("test", "ab", "ac", ["plan", "approve"]),
        ("production", "ab", "abc", ["plan", "approve"]),
    ],
    ids=["automatically", "by a person: removes", "by a person: production"],
)
def test_a_change_is_previewed_approved_and_applied(
    environment, current, wanted, approved_by, console, tmp_path
):
    infrastructure(tmp_path, environment, current, wanted)

    run = console("change-infrastructure", {"environment": environment})

    assert run.state == "succeeded"
    # First the preview of the plan, then what it would change, then the approval.
    assert run.dry_run.state == "finished"
    changes = len({*wanted} ^ {*current})
    assert run.steps.get(key="what-if").output["rows"] == changes
    assert steps_of_gates(run) == approved_by
    order = [
        run.steps.get(key=key).finished_at
        for key in ("what-if", "report", "approve", f"apply-{environment}")
    ]
    assert order == sorted(order)
    applied = git(tmp_path, "show", f"main:infrastructure/{environment}.csv")
    assert applied == resources(wanted)


@pytest.mark.parametrize("current", ["ab", "abc"], ids=["equal", "rejected"])
def test_without_a_difference_or_an_approval_nothing_is_applied(
    current, console, tmp_path
):
    infrastructure(tmp_path, "test", current, "ab")

    run = console("change-infrastructure", {"environment": "test"}, approve=False)

    is_equal = current == "ab"
    assert run.state == ("succeeded" if is_equal else "rejected")
    assert ended(run, "approve") == ("skipped_by_condition" if is_equal else "rejected")
    assert git(tmp_path, "ls-tree", "HEAD") == ""


def test_a_change_of_test_leaves_production_as_it_is(console, tmp_path):
    infrastructure(tmp_path, "production", "p", "pqr")
    infrastructure(tmp_path, "test", "a", "ab")

    assert steps_of_gates(
        console("change-infrastructure", {"environment": "production"})
    ) == ["plan", "approve"]
    assert steps_of_gates(
        console("change-infrastructure", {"environment": "test"})
    ) == ["plan"]

    assert git(tmp_path, "show", "main:infrastructure/production.csv") == resources(
        "pqr"
    )
    assert git(tmp_path, "show", "main:infrastructure/test.csv") == resources("ab")


@pytest.mark.parametrize(
    ("current", "wanted", "changes"),
    [
        (
            "name,version\nweb,1.1\nqueue,1\nqueue,1\n",
            "name,version\nweb,1.10\nqueue,1\n",
            3,
        ),
        ("cpu,memory\n1,2\n", "memory,cpu\n1,2\n", 2),
    ],
    ids=["values", "columns"],
)
def test_resources_are_compared_and_applied_as_they_are_written(
    current, wanted, changes, console, tmp_path
):
    infrastructure(tmp_path, "test", current, wanted)

    run = console("change-infrastructure", {"environment": "test"})

    assert run.steps.get(key="what-if").output["rows"] == changes
    assert steps_of_gates(run) == ["plan", "approve"]
    assert git(tmp_path, "show", "main:infrastructure/test.csv") == wanted


def test_only_the_front_ends_that_are_enabled_are_built(console, tmp_path):
    blueprint = {"product": "shop", "web": True, "mobile": False, "admin": True}

    run = console("build-front-ends", {"blueprint": blueprint})

    assert run.state == "succeeded"
    assert (ended(run, "web"), ended(run, "mobile"), ended(run, "admin")) == (
        "succeeded",
        "skipped_by_condition",
        "succeeded",
    )
    page = (tmp_path / "published" / "shop" / "index.html").read_text()
    assert run.steps.get(key="web").output["sha256"] in page


@pytest.mark.promise("S3.45")
@pytest.mark.parametrize("healthy", [True, False])
def test_a_release_is_switched_only_if_it_is_healthy(console, tmp_path, healthy):
    checked = {"health.checked": {"healthy": healthy}}
    run = console("switch-release", {"version": "2.0.0"}, **checked)

    published = tmp_path / "published"
    assert (published / "live" / "index.html").exists() is healthy
    assert (published / "green" / "index.html").exists() is not healthy
    assert ended(run, "switch") == ("succeeded" if healthy else "skipped_by_condition")
