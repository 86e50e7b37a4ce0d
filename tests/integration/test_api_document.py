"""Schemathesis against the API document, for each role: the API does what it says.

One role gets all boundary cases of each operation, and the others the valid ones. In the long
form, `make schemathesis` (`EXAMPLES=200`, `ROLES=operator,agent`), every role gets all.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from execfabric.lib.rights import Role
from tests.api_builders import Caller, a_run, agent, caller, open_gate, person, registry
from tests.web_server import serving

pytestmark = [
    pytest.mark.django_db(transaction=True),
    # Thousands of requests, one after the other.
    pytest.mark.timeout(3600),
]

FEW = 2
EXAMPLES = int(os.environ.get("EXECFABRIC_SCHEMATHESIS_EXAMPLES", str(FEW)))
EVERYONE = "anonymous,proposer,operator,admin,auditor,agent"
ROLES = os.environ.get("EXECFABRIC_SCHEMATHESIS_ROLES", EVERYONE).split(",")
LONGEST_RUN = 3600
PHASES = "examples,coverage,fuzzing"
CHECKS = ",".join(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
        "unsupported_method",
        "allow_header_conformance",
    ]
)
SEED = "20260601"
THOROUGH = "operator"
"""The role that gets all boundary cases, also those that no role may send."""
ONLY_VALID = '[phases.coverage.generation]\nmode = "positive"\n'


def callers() -> dict[str, Caller | None]:
    """Return a caller for each role, an agent, and one without a token."""
    made: dict[str, Caller | None] = {
        str(role): caller(f"the-{role}", role) for role in Role
    }
    made["agent"] = agent("the-agent", person("the-owner", Role.ADMIN))
    return made | {"anonymous": None}


def configuration(proposer: Caller, operator: Caller) -> str:
    """Ids of things that exist, without which every path would answer 404."""
    run = a_run(proposer)
    gate = open_gate(operator, run)["id"]
    step = operator.get(f"runs/{run}").json()["steps"][0]["step_run_id"]
    return (
        f'[parameters]\n"path.run_id" = "{run}"\n"path.gate_id" = "{gate}"\n'
        f'"path.step_run_id" = "{step}"\n"path.slug" = "noop"\n'
    )


def run_schemathesis(url: str, who: Caller | None, folder: Path) -> str:
    """Run Schemathesis as `who`; return its report, empty if it found nothing."""
    token = ["-H", f"Authorization: Bearer {who.token}"] if who else []
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run"),
            *(f"{url}/api/v1/openapi.json", "--checks", CHECKS, "--phases", PHASES),
            *("--max-examples", str(EXAMPLES), "--seed", SEED),
            "--generation-deterministic",
            *(
                "--request-timeout",
                "60",
                "--continue-on-failure",
                "--suppress-health-check",
                "all",
            ),
            *("--warnings", "off", "--no-color", *token),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LONGEST_RUN,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout[-20_000:] + done.stderr


@pytest.mark.parametrize("role", ROLES)
def test_the_api_answers_each_role_as_its_document_says(tmp_path, role) -> None:
    registry()
    who = callers()
    proposer, operator = who["proposer"], who["operator"]
    assert proposer
    assert operator
    settings = configuration(proposer, operator)
    if role != THOROUGH and EXAMPLES == FEW:
        settings += ONLY_VALID
    (tmp_path / "schemathesis.toml").write_text(settings)

    with serving(tmp_path, EXECFABRIC_API_PER_MINUTE="1000000") as url:
        report = run_schemathesis(url, who[role], tmp_path)

    if report:
        print(report, (tmp_path / "server.log").read_text()[-20_000:])
    assert not report
