"""The home page of each role: what needs the user, and only what they may do."""

import re

import pytest

from execfabric.lib import clock
from execfabric.lib.rights import Role
from orchestration.skills.models import Skill
from orchestration.trace.services import jobs
from tests.api_builders import person
from tests.builders import approved, decided, driven, open_gate, proposed
from tests.console_builders import rows, signed_in, words
from tests.web.run_builders import GATED, TWO_STEPS

pytestmark = pytest.mark.usefixtures("registry")


def headings(page) -> list[str]:
    found = re.findall(r"<h2[^>]*>(.*?)</h2>", page.content.decode())
    return [re.sub("<[^>]+>", "", one) for one in found]


def stamp(page) -> str:
    [found] = re.findall(r'id="home"[^>]*data-stamp="(\w+)"', page.content.decode())
    return found


def test_a_proposer_sees_runs_that_wait_and_that_are_in_progress(
    proposer, operator, worker
) -> None:
    proposed(TWO_STEPS, proposer)
    approved(TWO_STEPS, proposer, operator)

    page = signed_in(proposer).get("/")

    assert headings(page) == [
        "Waiting for approval",
        "In progress",
        "Recently finished",
    ]
    assert "Your runs" in words(page)
    assert rows(page, "run-row") == 2


def test_an_operator_sees_pending_approvals_first_and_each_run_once(
    proposer, operator
) -> None:
    proposed(TWO_STEPS, proposer)

    page = signed_in(operator).get("/")

    assert headings(page)[0] == "Pending approvals"
    assert "1 approval waiting for you" in words(page)
    assert rows(page, "home-gate") == 1
    assert rows(page, "run-row") == 0


def test_an_admin_whom_no_gate_asks_sees_skills_and_no_approvals(proposer) -> None:
    admin = person("admin", Role.ADMIN)
    proposed(TWO_STEPS, proposer)
    Skill.objects.filter(slug="lab").update(state="quarantined")

    page = signed_in(admin).get("/")

    assert headings(page)[:2] == ["Quarantined skills", "Waiting for approval"]
    assert rows(page, "home-skill") == 1
    assert (
        "Approvals" not in words(page).split("Skip to content")[1].split("New run")[0]
    )


def test_an_auditor_sees_the_runs_of_everyone_and_the_last_verifications(
    proposer, operator
) -> None:
    auditor = person("auditor", Role.AUDITOR)
    proposed(TWO_STEPS, proposer)
    jobs.start(stream="", by=auditor.actor(), at=clock.now())

    page = signed_in(auditor).get("/")

    assert "Your runs" not in words(page)
    assert "Last verifications" in headings(page)
    assert rows(page, "home-verification") == rows(page, "run-row") == 1
    assert "New run" not in words(page)


def test_the_home_page_is_sent_again_only_after_a_change(proposer, operator) -> None:
    run = proposed(TWO_STEPS, proposer)
    client = signed_in(operator)
    seen = stamp(client.get("/"))
    ask = {"seen": seen}

    unchanged = client.get("/", ask, headers={"HX-Request": "true"})
    decided(open_gate(run), operator)
    changed = client.get("/", ask, headers={"HX-Request": "true"})

    assert unchanged.status_code == 204
    assert changed.status_code == 200
    assert "No approvals waiting for you" in words(changed)
    assert stamp(changed) != seen


def test_a_run_that_only_waits_for_an_approval_says_so_in_lists_and_filters(
    proposer, operator, worker
) -> None:
    run = driven(approved(GATED, proposer, operator), worker)
    client = signed_in(proposer)

    page = client.get("/runs", {"state": "awaiting_approval"})

    assert run.state == "running"
    assert rows(page, "run-row") == 1
    assert rows(client.get("/runs", {"state": "running"}), "run-row") == 0
    assert "Waiting for approval" in words(client.get("/"))
