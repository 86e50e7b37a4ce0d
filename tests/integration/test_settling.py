"""Settling an unknown outcome: by whom, with which output, and what follows."""

import pytest

from audit import selectors as record
from execfabric.identity import services as accounts
from execfabric.identity.errors import AgentsCannotDecide, RightMissing
from execfabric.lib import clock
from execfabric.lib.actor import system
from orchestration.runs.control import proposals, recovery
from orchestration.runs.engine import artifacts
from orchestration.runs.errors import OutputInvalid, OwnOutcome
from orchestration.trace.services import streams
from tests.builders import (
    approved,
    decided,
    driven,
    end_dry_runs,
    may_start,
    open_gate,
    outputs,
    plan,
    proposed,
    states,
    step,
)
from tests.web.run_builders import lost_after_intent

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]

TICKET = {"ticket": "T-17"}
USED = plan(
    step("effect", "effect"),
    step(
        "used",
        after="effect",
        params={"t": "$effect.output.ticket", "note": "$effect.files.note?"},
    ),
)


def settled(unknown, by, *, happened=True, output=None):
    return recovery.resolve(
        step_run_id=unknown.id,
        happened=happened,
        evidence="The target shows it.",
        by=by.actor(),
        at=clock.now(),
        output=output,
    )


def test_the_proposer_cannot_settle_an_outcome_of_their_own_run(
    operator, second_operator
):
    run = approved(USED, operator, second_operator)
    unknown = lost_after_intent(run, "effect")

    with pytest.raises(OwnOutcome, match="a run that you proposed"):
        settled(unknown, operator, output=TICKET)
    with pytest.raises(OwnOutcome):
        settled(unknown, operator, happened=False)

    assert states(run)["effect"] == "indeterminate"
    assert settled(unknown, second_operator, output=TICKET).state == "succeeded"


def test_the_author_of_the_plan_cannot_settle_an_outcome_of_it(
    proposer, operator, second_operator
):
    proposed(USED, operator)
    may_start(proposer)
    unknown = lost_after_intent(approved(USED, proposer, second_operator), "effect")

    with pytest.raises(OwnOutcome, match="a plan that you wrote"):
        settled(unknown, operator, output=TICKET)


def test_the_owner_of_the_proposing_agent_and_the_agent_cannot(
    operator, second_operator
):
    agent, _ = accounts.create_agent(
        name="settler", owner="operator", by=system("test"), at=clock.now()
    )
    run = proposals.propose(text=USED, inputs={}, by=agent.actor(), at=clock.now())
    end_dry_runs()
    decided(open_gate(run), second_operator)
    unknown = lost_after_intent(run, "effect")

    with pytest.raises(OwnOutcome, match="a run of your own agent"):
        settled(unknown, operator, output=TICKET)
    with pytest.raises(AgentsCannotDecide):
        settled(unknown, agent, output=TICKET)


@pytest.mark.parametrize("who", ["proposer", "auditor", "stranger"])
def test_it_takes_the_right_to_settle_outcomes(who, proposer, operator, request):
    unknown = lost_after_intent(approved(USED, proposer, operator), "effect")

    with pytest.raises(RightMissing):
        settled(unknown, request.getfixturevalue(who), output=TICKET)


@pytest.mark.parametrize(
    ("output", "says"),
    [
        pytest.param(None, "'ticket' is a required property", id="none"),
        pytest.param({}, "'ticket' is a required property", id="empty"),
        pytest.param({"ticket": 7}, "7 is not of type 'string'", id="type"),
        pytest.param(TICKET | {"more": 1}, "'more' was unexpected", id="unknown"),
        pytest.param({"ticket": {"$secret": "x"}}, "reserved key", id="secret"),
        pytest.param(TICKET | {"count": 2**60}, "exact form", id="number"),
        pytest.param({"ticket": "a\0"}, "cannot be stored", id="NUL"),
    ],
)
def test_what_happened_needs_an_output_that_satisfies_the_schema(
    output, says, proposer, operator
):
    unknown = lost_after_intent(approved(USED, proposer, operator), "effect")

    with pytest.raises(OutputInvalid, match=says):
        settled(unknown, operator, output=output)

    unknown.refresh_from_db()
    assert unknown.state == "indeterminate"


def test_the_settled_output_is_what_later_steps_get(proposer, operator, worker):
    run = approved(USED, proposer, operator)
    settled(lost_after_intent(run, "effect"), operator, output=TICKET)

    run = driven(run, worker)

    (fact,) = [
        record.envelope(event)["payload"]
        for event in record.events_after(run.stream, 0)
        if event.kind == "step.resolved"
    ]
    assert outputs(run)["used"] == {"t": "T-17", "note": None}
    assert fact["missing_files"] == ["note"]
    assert fact["evidence"] == "The target shows it."
    assert record.verify_chain(run.stream).broken is None


def test_an_action_that_promises_nothing_needs_no_output(proposer, operator):
    run = approved(plan(step("once", "once")), proposer, operator)

    assert settled(lost_after_intent(run, "once"), operator).output == {}


def test_what_did_not_happen_has_no_output(proposer, operator):
    unknown = lost_after_intent(approved(USED, proposer, operator), "effect")

    with pytest.raises(OutputInvalid, match="only valid if it happened"):
        settled(unknown, operator, happened=False, output=TICKET)


def test_files_that_the_lost_worker_stored_do_not_break_the_record(
    proposer, operator, tmp_path
):
    unknown = lost_after_intent(approved(USED, proposer, operator), "effect")
    (tmp_path / "note.txt").write_text("stored before the worker was lost")
    artifacts.store(
        {"note": tmp_path / "note.txt"},
        folder=tmp_path,
        step_run_id=unknown.id,
        at=clock.now(),
    )

    settled(unknown, operator, output=TICKET)

    tables = {
        row.table for row in streams.verify_stream(unknown.run.stream).differences
    }
    assert "runs_artifactuse" not in tables
