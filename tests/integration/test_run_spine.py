"""A plan from proposal to its end, through the real services, runner and record."""

from contextlib import closing

import pytest

from approvals.models import Gate
from audit import selectors as record
from audit.models import Event
from orchestration.plans.errors import PlanInvalid
from orchestration.runs.domain.results import Failure, Finished
from orchestration.runs.domain.states import StepState
from orchestration.runs.models import Attempt, StepRun
from orchestration.runs.worker import work
from tests.builders import (
    a_worker,
    approved,
    chain,
    claimed,
    completed,
    decided,
    driven,
    open_gate,
    outputs,
    plan,
    proposed,
    states,
    step,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry", "path"),
]
STARTED = {StepState.READY, StepState.RUNNING}
REFUSED = Failure("lab.refused", "The target said no.")


@pytest.mark.promise("S1.6", "S1.19")
def test_nothing_runs_before_people_approved_the_plan(proposer, worker):
    run = proposed(chain(2), proposer)
    first = run.steps.get(key="s0")

    done = work.work(step_run_id=first.id, context=worker)

    assert done == 0
    assert states(run) == {"s0": "pending", "s1": "pending"}
    assert not Attempt.objects.exists()


@pytest.mark.promise("S0.4", "S0.5")
def test_an_approved_step_runs_once_and_its_result_is_kept(proposer, operator, worker):
    run = approved(plan(step("only", params={"a": 1})), proposer, operator)

    run = driven(run, worker)

    assert run.state == "succeeded"
    assert outputs(run) == {"only": {"a": 1}}
    assert run.steps.get().attempts.get().phase == "done"
    assert record.verify_chain(run.stream).broken is None


@pytest.mark.promise("S0.7", "S3.31", "S4.13", "S1.2")
def test_a_chain_runs_in_the_order_of_its_dependencies(proposer, operator, worker):
    text = plan(
        step("last", after="middle"), step("middle", after="first"), step("first")
    )
    run = driven(approved(text, proposer, operator), worker)

    ended = run.steps.order_by("finished_at", "position").values_list("key", flat=True)

    assert run.state == "succeeded"
    assert list(ended) == ["first", "middle", "last"]


def test_a_worker_takes_the_path_that_is_tested(path, proposer, operator, worker):
    run = driven(approved(chain(3), proposer, operator), worker)

    assert run.state == "succeeded"
    assert (worker.cache.taken, worker.cache.refused) == (
        3 if path == "fast" else 0,
        0,
    )


@pytest.mark.promise("S0.8", "S0.9", "S2.52", "S4.6")
def test_values_pass_from_step_to_step_with_their_types(proposer, operator, worker):
    text = plan(
        step("one", params={"list": [1, {"deep": True}], "word": "x"}),
        step(
            "two",
            after="one",
            params={
                "whole": "$one.output",
                "deep": "$one.output.list.1.deep",
                "text": "say $one.output.word for $inputs.month, $$5",
            },
        ),
        inputs={"type": "object", "properties": {"month": {"type": "string"}}},
    )
    run = driven(approved(text, proposer, operator, month="2026-05"), worker)

    assert outputs(run)["two"] == {
        "whole": {"list": [1, {"deep": True}], "word": "x"},
        "deep": True,
        "text": "say x for 2026-05, $5",
    }


@pytest.mark.promise("S0.10")
def test_files_pass_by_content_and_are_read_only_references(proposer, operator, worker):
    text = plan(
        step("make", "write", params={"text": "hello"}),
        step("use", "read", after="make", params={"file": "$make.files.note"}),
    )
    run = driven(approved(text, proposer, operator), worker)

    reference = run.steps.get(key="make").files["note"]["$file"]
    read = outputs(run)["use"]

    assert run.state == "succeeded"
    assert read == {"text": "hello", "sha256": reference["sha256"]}


@pytest.mark.promise("S0.11", "S0.12")
def test_each_risky_step_stops_for_its_own_confirmation(proposer, operator, worker):
    text = plan(
        step("safe"),
        step("first", "risky", after="safe", params={"got": "$safe.output"}),
        step("second", "risky", after="first"),
    )
    run = driven(approved(text, proposer, operator), worker)
    before = states(run)
    decided(open_gate(run, "first"), operator)
    between = states(driven(run, worker))
    decided(open_gate(run, "second"), operator)
    run = driven(run, worker)

    assert before == {"safe": "succeeded", "first": "gated", "second": "pending"}
    assert between["second"] == "gated"
    assert run.state == "succeeded"
    assert Gate.objects.filter(context_id=run.id, status="approved").count() == 3


@pytest.mark.promise("S3.72", "S4.8")
def test_a_step_gate_shows_the_very_bytes_that_will_run(proposer, operator, worker):
    text = plan(
        step("safe", params={"path": "/x"}),
        step("risky", "risky", after="safe", params={"target": "$safe.output.path"}),
    )
    run = driven(approved(text, proposer, operator), worker)
    gate = open_gate(run, "risky")
    waiting = run.steps.get(key="risky")

    decided(gate, operator)
    with closing(a_worker("another worker")) as another:
        run = driven(run, another)

    executed = run.steps.get(key="risky").attempts.get().spec
    traces = {event.trace_id for event in record.events_after(run.stream, 0)}
    assert run.state == "succeeded"
    assert traces == {run.trace_id}
    assert b'"params":{"target":"/x"}' in bytes(gate.subject)
    assert bytes(gate.digest).hex() == waiting.spec_id == executed.digest
    assert bytes(gate.subject) == bytes(executed.body)


@pytest.mark.promise("S4.10")
def test_an_approval_step_pauses_the_chain_until_people_answer(
    proposer, operator, worker
):
    text = plan(
        step("before"),
        {
            "id": "ask",
            "kind": "approval",
            "depends_on": ["before"],
            "approval": {"reason": "May it go on?"},
        },
        step("after", after="ask", params={"said": "$ask.output.approved"}),
    )
    run, refused = (approved(text, proposer, operator) for _ in range(2))
    driven(run, worker)
    driven(refused, worker)
    waiting = [states(run), states(refused)]
    decided(open_gate(run, "ask"), operator)
    decided(open_gate(refused, "ask"), operator, approve=False)
    run, refused = driven(run, worker), driven(refused, worker)

    assert waiting == [
        {"before": "succeeded", "ask": "gated", "after": "pending"},
        {"before": "succeeded", "ask": "gated", "after": "pending"},
    ]
    assert run.state == "succeeded"
    assert outputs(run)["after"] == {"said": True}
    assert refused.state == "rejected"
    assert states(refused)["after"] == "cancelled"


@pytest.mark.parametrize("which", ["plan", "step"])
def test_a_no_ends_the_run_and_nothing_behind_it_runs(
    which, proposer, operator, worker
):
    run = proposed(plan(step("risky", "risky"), step("next", after="risky")), proposer)
    if which == "step":
        decided(open_gate(run), operator)
        run.refresh_from_db()
    gate = open_gate(run, "" if which == "plan" else "risky")

    decided(gate, operator, approve=False, comment="Too dear.")
    run = driven(run, worker)

    assert run.state == "rejected"
    assert set(states(run).values()) <= {"cancelled", "rejected"}
    assert not Attempt.objects.exists()


@pytest.mark.promise("S1.9", "S3.32")
@pytest.mark.parametrize(
    ("parallel", "ready"),
    [
        pytest.param(False, 1, id="one at a time without the flag"),
        pytest.param(True, 4, id="all of them with it"),
        pytest.param({"max": 2}, 2, id="as many as the plan allows"),
    ],
)
def test_steps_run_side_by_side_only_where_the_plan_says_so(
    parallel, ready, proposer, operator
):
    text = plan(*(step(f"s{n}") for n in range(4)), parallel=parallel)

    run = approved(text, proposer, operator)

    assert list(states(run).values()).count("ready") == ready


@pytest.mark.promise("S4.1", "S4.4")
def test_parallel_branches_run_at_once_and_join_when_all_are_done(proposer, operator):
    text = plan(
        step("left"),
        step("right"),
        step("join", after=["left", "right"], params={"l": "$left.output"}),
        parallel=True,
    )
    run = approved(text, proposer, operator)
    left, right = claimed(run, "left", "one"), claimed(run, "right", "two")
    both = states(run)

    completed(left)
    between = states(run)["join"]
    completed(right)

    assert both == {"left": "running", "right": "running", "join": "pending"}
    assert between == "pending"
    assert states(run)["join"] in STARTED


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        pytest.param(
            [{}, {"trigger_rule": "all_success"}],
            ("pending", "skipped"),
            id="S4.1",
            marks=pytest.mark.promise("S4.1"),
        ),
        pytest.param(
            [{"trigger_rule": "one_success"}], ("started", "started"), id="S4.2"
        ),
        pytest.param(
            [{"trigger_rule": "all_done"}],
            ("pending", "started"),
            id="S4.3",
            marks=pytest.mark.promise("S4.3"),
        ),
    ],
)
def test_a_trigger_rule_says_when_a_join_fires(rules, expected, proposer, operator):
    for rule in rules:
        text = plan(
            step("good"),
            step("bad"),
            step("join", after=["good", "bad"], **rule),
            parallel=True,
            onFailure="continue",
        )
        run = approved(text, proposer, operator)
        good, bad = claimed(run, "good", "one"), claimed(run, "bad", "two")
        found = []

        for lease, result in ((good, Finished({}, {})), (bad, REFUSED)):
            completed(lease, result)
            state = states(run)["join"]
            found.append("started" if state in STARTED else state)

        assert tuple(found) == expected


@pytest.mark.promise("S1.7")
def test_a_plan_with_problems_is_refused_with_all_of_them(proposer):
    text = plan(
        step("a", after="b"),
        step("b", after="a"),
        step("c", "no-such-action"),
        step("d", params={"x": "$a.output.y"}),
    )

    with pytest.raises(PlanInvalid) as refused:
        proposed(text, proposer)

    codes = {problem["code"] for problem in refused.value.details["problems"]}
    assert {"plan.cycle", "plan.unknown_action", "plan.reference_not_ancestor"} <= codes
    assert not StepRun.objects.exists()


@pytest.mark.promise("S0.20", "S1.25")
def test_the_record_tells_the_whole_chain_in_order(proposer, operator, worker):
    run = driven(approved(chain(2), proposer, operator), worker)

    events = record.events_after(run.stream, 0)
    told = [(event.kind, event.step) for event in events]

    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert told[0] == ("run.proposed", "")
    assert told[-1] == ("run.succeeded", "")
    assert [one for one in told if one[1]] == [
        ("step.released", "s0"),
        ("step.started", "s0"),
        ("step.succeeded", "s0"),
        ("step.started", "s1"),
        ("step.succeeded", "s1"),
    ]
    assert {event.trace_id for event in events} == {run.trace_id}


@pytest.mark.promise("S3.18", "S3.19")
def test_every_event_is_one_envelope_with_trace_session_and_component(
    proposer, operator, worker
):
    run = approved(plan(step("risky", "risky")), proposer, operator)
    decided(open_gate(run, "risky"), operator)
    run = driven(run, worker)

    bodies = [record.envelope(event) for event in record.events_after(run.stream, 0)]
    for body in bodies:
        assert body["traceId"] == run.trace_id
        assert body["at"].endswith("Z")
        assert set(body["actor"]) >= {"kind", "id", "name"}
    attempt, of_run = run.steps.get().attempts.get().session_id, run.trace_id[:16]
    assert attempt != of_run
    assert [(b["kind"], b["sessionId"], b["componentTag"]) for b in bodies] == [
        ("run.proposed", of_run, "run:lab-plan"),
        ("gate.requested", of_run, "gate:run"),
        ("run.dry_run_finished", of_run, "run:lab-plan"),
        ("gate.decided", of_run, "gate:run"),
        ("gate.approved", of_run, "gate:run"),
        ("run.approved", of_run, "run:lab-plan"),
        ("gate.requested", of_run, "gate:risky"),
        ("step.gate_opened", of_run, "step:risky"),
        ("gate.decided", of_run, "gate:risky"),
        ("gate.approved", of_run, "gate:risky"),
        ("step.gate_approved", of_run, "step:risky"),
        ("step.started", attempt, "step:risky"),
        ("step.succeeded", attempt, "step:risky"),
        ("run.succeeded", of_run, "run:lab-plan"),
    ]
    [started] = [b for b in bodies if b["kind"] == "step.started"]
    assert started["payload"]["session"] == attempt


def test_every_event_names_the_component_it_is_about():
    events = Event.objects.all()

    tags = {record.envelope(event)["componentTag"] for event in events}

    assert "skill:files" in tags
    assert all(":" in tag for tag in tags)
