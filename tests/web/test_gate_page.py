"""The gate page: what will run, shown whole, and who decided."""

import hashlib
import re

import pytest

from orchestration.runs.models import ArtifactUse, Run
from orchestration.runs.worker import work
from orchestration.skills.models import Skill
from tests.builders import (
    approved,
    decided,
    driven,
    open_gate,
    plan,
    proposed,
    step,
)
from tests.console_builders import (
    PLAN,
    a_run,
    decide,
    signed_in,
    step_gate,
    words,
)

pytestmark = pytest.mark.usefixtures("registry")
AIM = 12
"""Queries that a page may make."""


@pytest.fixture
def run(proposer, operator) -> Run:
    return a_run(proposer)


def noop_version() -> str:
    return Skill.objects.get(slug="noop").current.version


@pytest.mark.promise("S1.15", "S1.16", "S1.17")
def test_a_plan_gate_shows_each_step_with_its_tool_risk_and_undo(run, operator) -> None:
    page = signed_in(operator).get(f"/gates/{open_gate(run).pk}")

    text = words(page)
    assert page.status_code == 200
    assert page["Cache-Control"] == "no-store"
    assert "Steps run one after another" in text
    assert text.index("First hand") < text.index("second")
    assert f"noop@{noop_version()} pass" in text
    assert "Low risk" in text
    assert "Read-only" in text
    assert "no undo needed" in text
    assert "Needs its own approval before it runs" in text
    assert "word hello" in text
    assert open_gate(run).digest_hex in text


def test_a_plan_that_runs_side_by_side_says_so(proposer, operator) -> None:
    text = PLAN.replace("  steps:", "  parallel: {max: 3}\n  steps:")

    page = signed_in(operator).get(f"/gates/{open_gate(a_run(proposer, text=text)).pk}")

    assert "Steps run in parallel , at most 3 at a time" in words(page)


def test_a_step_gate_shows_the_resolved_params_and_nothing_unresolved(
    run, operator
) -> None:
    gate = step_gate(run, operator)

    text = words(signed_in(operator).get(f"/gates/{gate.pk}"))

    assert "value hello" in text
    assert "$inputs" not in text
    assert f"noop@{noop_version()} pass" in text
    assert "Can still decide: operator" in text


def test_a_step_gate_shows_which_parent_started_it_and_which_had_no_output(
    proposer, operator, worker
) -> None:
    text = plan(
        step("a", params={"n": 1}),
        step("b", params={"n": 2}),
        step(
            "join",
            after=["a", "b"],
            trigger_rule="one_success",
            params={"won": "$first.output", "other": "$b.output?"},
            approval={"reason": "Sure?"},
        ),
        parallel=True,
    )
    run = approved(text, proposer, operator)
    work.work(step_run_id=run.steps.get(key="a").id, context=worker)

    shown = words(signed_in(operator).get(f"/gates/{open_gate(run, 'join').pk}"))

    assert "Started by a , which succeeded first" in shown
    assert "No output from b , which was ready" in shown


def test_a_file_is_shown_with_its_own_name_size_and_digest(
    proposer, operator, worker
) -> None:
    text = plan(
        step("note", "write", params={"text": "x" * 4321, "name": "no\u202ete.txt"}),
        {
            "id": "publish",
            "skill": "files",
            "action": "publish",
            "dependsOn": ["note"],
            "params": {"file": "$note.files.note", "to": "notes/"},
        },
    )
    run = driven(approved(text, proposer, operator), worker)
    [use] = ArtifactUse.objects.all()

    page = signed_in(operator).get(f"/gates/{open_gate(run, 'publish').pk}")

    html = page.content.decode()
    said = html.split('data-testid="gate-sentence"')[1].split("</p>")[0]
    shown = html.split("<figcaption>All parameters")[1].split("</figure>")[0]
    for part in (said, shown):
        assert "4.3 kB" in part
        assert f'href="/artifacts/{use.artifact_id}"' in part
        assert "⟦U+202E⟧" in part
    assert f"sha256 {use.artifact_id}" in shown
    assert "text/plain" in shown


def test_the_authors_words_stand_apart_as_claims(run, operator) -> None:
    gate = step_gate(run, operator)

    page = signed_in(operator).get(f"/gates/{gate.pk}").content.decode()

    why = page[page.index('data-testid="gate-reasons"') : page.index("Proposer</h2>")]
    claims = page[page.index('data-testid="gate-claims"') :]
    assert "The boss said so" not in why
    assert "The boss said so" in claims
    assert "It only hands on." in claims


def test_the_page_is_drawn_from_the_stored_bytes_alone(run, operator) -> None:
    gate = step_gate(run, operator)
    Run.objects.filter(pk=run.pk).update(inputs={"word": "changed since"})

    text = words(signed_in(operator).get(f"/gates/{gate.pk}"))

    assert "value hello" in text
    assert "changed since" not in text


def test_the_digest_can_be_computed_from_what_the_page_gives(run, operator) -> None:
    gate = open_gate(run)

    given = signed_in(operator).get(f"/gates/{gate.pk}/subject.json")

    domain = gate.digest_domain.encode()
    computed = hashlib.sha256(domain + b"\n" + given.content).hexdigest()
    assert computed == gate.digest_hex
    assert given["Content-Disposition"].startswith("attachment")


HOSTILE = {
    "right to left override": ("fdp\u202eexe", "⟦U+202E⟧"),
    "zero width": ("ad\u200bmin", "⟦U+200B⟧"),
    "tag character": ("ok\U000e0041", "⟦U+E0041⟧"),
    "escape sequence": ("\x1b[2Jclean", "⟦U+001B⟧"),
    "look-alike": ("p\u0430ypal.com", "а⟦U+0430⟧"),
    "markup": ("<script>alert(1)</script>", "&lt;script&gt;"),
    "htmx": ('<i hx-post="/x" hx-trigger="load">', "&lt;i hx-post=&quot;/x&quot;"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_values_are_marked_and_never_act(name, proposer, operator) -> None:
    payload, mark = HOSTILE[name]
    gate = step_gate(a_run(proposer, word=payload), operator)

    page = signed_in(operator).get(f"/gates/{gate.pk}").content.decode()

    assert re.sub(r"</?(mark|bdi)[^>]*>", "", page).count(mark)
    assert payload not in page


@pytest.mark.promise("S3.69")
def test_the_gate_page_lists_who_decided_when_how_and_with_which_words(
    proposer, operator, second_operator
) -> None:
    two = {"reason": "Two must look", "groups": [{"group": "operator", "count": 2}]}
    run = approved(plan(step("only", approval=two)), proposer, operator)
    gate = open_gate(run, "only")
    decide(signed_in(operator), gate, comment="as agreed")
    client = signed_in(second_operator)

    waiting = client.get(f"/gates/{gate.pk}").content.decode()
    decide(client, gate, verdict="reject", comment="not today")
    settled = client.get(f"/gates/{gate.pk}").content.decode()

    for page, told in (
        (waiting, [("operator", "as agreed")]),
        (settled, [("operator", "as agreed"), ("second-operator", "not today")]),
    ):
        part = page.split('data-testid="gate-decisions"')[1].split("</ul>")[0]
        assert part.count("<li") == part.count("in the console") == len(told)
        for decision, (name, comment) in zip(
            gate.decisions.order_by("at"), told, strict=False
        ):
            assert decision.voter_name == name
            assert decision.at.isoformat()[:19] in part
            assert name in part
            assert comment in part


def test_more_decisions_make_no_more_queries(
    run, operator, second_operator, django_assert_max_num_queries
) -> None:
    gate = open_gate(run)
    client = signed_in(operator)

    with django_assert_max_num_queries(AIM):
        client.get(f"/gates/{gate.pk}")

    decided(gate, second_operator)
    with django_assert_max_num_queries(AIM):
        client.get(f"/gates/{gate.pk}")


def test_more_steps_make_no_more_queries(
    proposer, operator, django_assert_max_num_queries
) -> None:
    many = plan(*(step(f"s{n}", approval={"reason": "Look"}) for n in range(30)))
    gate = open_gate(proposed(many, proposer))
    client = signed_in(operator)

    with django_assert_max_num_queries(AIM):
        page = client.get(f"/gates/{gate.pk}")

    assert "30 steps" in words(page)
