"""What pages and the API show of a step while and after its target is asked."""

from datetime import timedelta

import pytest

from execfabric.lib import clock
from orchestration.runs.control import probes
from orchestration.runs.domain import outcome
from orchestration.runs.domain.probes import ProbeAnswer, Probed
from tests.api_builders import Caller, token_of
from tests.console_builders import signed_in, words
from tests.integration.probe_builders import ABSENT, job_of, lose_worker, run_of
from tests.web.run_builders import page_of, step_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry", "witness"),
]
CHECKING = "Checking whether step “effect” happened"
HOSTILE = "<script>alert(1)</script> No connection."


@pytest.fixture
def run(proposer, operator, monkeypatch):
    monkeypatch.setattr(outcome, "KILL_MARGIN", timedelta(hours=-1))
    made = run_of(proposer, operator)
    lose_worker(made)
    made.refresh_from_db()
    return made


def of_api(run, by):
    listed = Caller(token_of(by)).get(f"runs/{run.pk}").json()
    step = next(each for each in listed["steps"] if each["id"] == "effect")
    return listed["waiting_for"], step["probe"]


def test_a_check_is_shown_while_it_runs_and_a_user_may_decide_meanwhile(run, operator):
    client = signed_in(operator)
    assert CHECKING in words(page_of(run, client))
    job_of(run)

    page, step = words(page_of(run, client)), words(step_of(run, "effect", client))
    assert CHECKING in page
    assert "Checking whether it happened" in page
    assert "A worker checks whether it happened." in step
    resolve = words(client.get(f"/runs/{run.pk}/steps/effect/resolve"))
    assert "A worker checks whether it happened." in resolve
    assert "Record outcome" in resolve
    assert "Outcome unknown" not in words(client.get("/attention"))
    waiting, probe = of_api(run, operator)
    assert [wait["kind"] for wait in waiting] == ["probe"]
    assert (probe["is_checking"], probe["tries"], probe["answer"]) == (True, 1, None)


def test_a_check_without_an_answer_is_shown_to_the_person_who_decides(run, operator):
    client = signed_in(operator)
    probed = Probed(ProbeAnswer.CANNOT_TELL, HOSTILE, log="line <b>1</b>")
    probes.answer(job_of(run), probed, at=clock.now())

    for page in (
        step_of(run, "effect", client),
        client.get(f"/runs/{run.pk}/steps/effect/resolve"),
    ):
        text = page.content.decode()
        assert "It could not tell." in text
        assert "<script>alert" not in text
        assert "No connection." in text
        assert "line &lt;b&gt;1" in text
    assert "A check could not tell" in words(page_of(run, client))
    assert "Outcome unknown" in words(client.get("/attention"))
    waiting, probe = of_api(run, operator)
    assert [wait["kind"] for wait in waiting] == ["outcome"]
    assert (probe["is_checking"], probe["answer"]) == (False, "cannot_tell")
    assert probe["evidence"] == HOSTILE


def test_the_answer_stays_readable_and_its_events_have_words(run, operator):
    client = signed_in(operator)
    probes.answer(job_of(run), ABSENT, at=clock.now())

    assert "It did not happen." in words(step_of(run, "effect", client))
    events = words(page_of(run, client, view="events"))
    assert "Check started" in events
    assert "Did not happen" in events
    assert ABSENT.evidence in events
    assert of_api(run, operator)[1]["answer"] == "did_not_happen"
