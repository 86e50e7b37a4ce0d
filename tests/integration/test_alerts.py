"""Alerts about what needs a person leave the service by mail and webhook."""

import json
from datetime import timedelta

import pytest

from execfabric.lib import clock
from orchestration.runs import dispatch, tasks
from orchestration.runs.control import attention, step_actions
from orchestration.runs.control.step_actions import Request
from orchestration.runs.domain.results import Failure
from orchestration.runs.keeper import alerting, sweep
from orchestration.runs.models import Alert
from orchestration.runs.pages import watch
from orchestration.runs.worker import alert_work
from tests.alert_servers import hook_server, mail_server
from tests.builders import approved, claimed, completed, driven, plan, step

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]

NO = Failure("lab.refused", "The target said no.", ran=True)
TEXT = plan(step("only"), name="A <b>plan</b>")


@pytest.fixture
def mail(settings):
    with mail_server() as inbox:
        settings.ALERT_MAIL = True
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", inbox.port
        settings.BASE_URL = "https://fabric.test"
        yield inbox


@pytest.fixture
def hook(settings):
    with hook_server() as inbox:
        settings.ALERT_WEBHOOK_URL = f"http://127.0.0.1:{inbox.port}/secret-path"
        settings.BASE_URL = "https://fabric.test"
        yield inbox


@pytest.fixture
def sent(monkeypatch):
    """Collect the hints instead of sending them to a broker."""
    hints: list[str] = []

    def send(task, messages):
        if task == dispatch.ALERT:
            hints.extend(message["alert_id"] for message in messages)

    monkeypatch.setattr(dispatch, "send_tasks", send)
    return hints


@pytest.fixture
def failed(proposer, operator):
    operator.email = "operator@fabric.test"
    operator.save()
    run = approved(TEXT, proposer, operator)
    completed(claimed(run, "only"), NO)
    run.refresh_from_db()
    assert run.state == "paused"
    return run


def look(at=None):
    """Do what the keeper does every few seconds."""
    at = at or clock.now()
    alerting.store_new(at)
    return alerting.hint_due(at)


def follow(sent, *, at=None):
    for alert_id in [sent.pop() for _ in range(len(sent))]:
        alert_work.work(alert_id=alert_id, at=at or clock.now())


def test_each_item_is_one_mail_and_one_call_and_not_one_per_sweep(
    failed, mail, hook, sent
):
    assert look() == 2
    assert look() == 0
    follow(sent)
    look()
    follow(sent)

    [message] = mail.messages
    assert message["to"] == ["operator@fabric.test"]
    assert "Subject: [ExecFabric] Failed step" in message["body"]
    assert "The target said no." in message["body"]
    assert f"https://fabric.test/runs/{failed.pk}/steps/only" in message["body"]
    assert "operator@fabric.test" not in message["body"]  # of other recipients
    mailed = Alert.objects.get(channel="mail")
    assert f"Message-ID: <{mailed.pk}@execfabric>" in message["body"]
    [call] = hook.messages
    content = json.loads(call["body"])
    called = Alert.objects.get(channel="webhook")
    assert call["key"] == content["id"] == str(called.pk)
    assert content["run_id"] == str(failed.pk)
    assert called.sent_at is not None


def test_a_step_that_fails_again_is_a_new_alert(failed, operator, hook, sent):
    look()
    follow(sent)
    row = failed.steps.get()
    step_actions.retry(Request(row.pk, "Again.", operator.actor(), clock.now()))
    look()
    completed(claimed(failed, "only"), NO)
    look()
    follow(sent)

    assert len(hook.messages) == 2
    assert hook.messages[0]["key"] != hook.messages[1]["key"]


def test_an_alert_whose_worker_dies_is_sent_again_with_the_same_id(
    failed, hook, sent, monkeypatch
):
    look()
    [alert_id] = sent
    real = alert_work._SEND["webhook"]

    def dies(alert):
        real(alert)
        raise SystemExit  # after the call, before its result is stored

    monkeypatch.setitem(alert_work._SEND, "webhook", dies)
    with pytest.raises(SystemExit):
        alert_work.work(alert_id=alert_id, at=clock.now())
    monkeypatch.setitem(alert_work._SEND, "webhook", real)
    sent.clear()
    assert look() == 0  # its try may still go on

    later = clock.now() + timedelta(minutes=2)
    assert look(later) == 1
    follow(sent, at=later)

    assert [call["key"] for call in hook.messages] == [str(alert_id)] * 2
    assert Alert.objects.get().tries == 2


def test_two_workers_with_one_hint_send_once(failed, hook, sent):
    look()
    [alert_id] = sent

    tasks.send_alert(alert_id=alert_id)
    tasks.send_alert(alert_id=alert_id)

    assert len(hook.messages) == 1


def test_a_server_that_fails_is_tried_a_bounded_number_of_times_and_is_visible(
    failed, mail, hook, sent
):
    mail.refuses = hook.refuses = True
    at = clock.now()
    for _ in range(20):
        look(at)
        follow(sent, at=at)
        at += timedelta(hours=3)

    for alert in Alert.objects.all():
        assert alert.tries == alert_work.MOST_TRIES
        assert alert.given_up_at is not None
        assert alert.sent_at is None
    texts = " ".join(found.text for found in watch.findings())
    assert "1 alerts could not be sent by mail: SMTPSenderRefused" in texts
    assert "1 alerts could not be sent by webhook: The webhook answered 503." in texts
    assert "secret-path" not in texts


def test_an_alert_is_sent_once_the_server_is_back(failed, mail, sent):
    mail.refuses = True
    look()
    follow(sent)
    assert [found.code for found in watch.findings()] == ["alerts:mail"]
    mail.refuses = False
    later = clock.now() + timedelta(minutes=2)
    look(later)
    follow(sent, at=later)

    assert len(mail.messages) == 1
    assert watch.findings() == []


def test_a_server_that_is_gone_is_named_without_its_address(failed, settings, sent):
    settings.ALERT_WEBHOOK_URL = "http://127.0.0.1:1/secret-path"

    look()
    follow(sent)

    assert Alert.objects.get().error == "Cannot reach the webhook (ConnectError)."


def test_the_owner_of_an_item_gets_its_mail_and_bad_addresses_stop_no_one(
    failed, operator, second_operator, proposer, mail, sent
):
    second_operator.email = "second@fabric.test"
    second_operator.save()
    proposer.email = "not an address"
    proposer.save()
    look()
    follow(sent)
    assert mail.messages[0]["to"] == ["operator@fabric.test", "second@fabric.test"]

    row = failed.steps.get()
    step_actions.retry(Request(row.pk, "Again.", operator.actor(), clock.now()))
    completed(claimed(failed, "only"), NO)
    [item] = attention.queue(operator.actor(), at=clock.now())
    attention.take(key=item.key, by=second_operator.actor(), at=clock.now())
    look()
    follow(sent)

    assert mail.messages[1]["to"] == ["second@fabric.test"]


def test_without_an_address_the_failure_is_visible(failed, operator, mail, sent):
    operator.email = ""
    operator.save()

    look()
    follow(sent)

    assert Alert.objects.get().error.startswith("No operator, admin or owner")


def test_nothing_is_stored_while_no_channel_is_configured(failed, sent):
    assert look() == 0
    assert not Alert.objects.exists()


def test_a_source_that_fails_silences_no_other_and_no_sweep(
    failed, hook, sent, monkeypatch
):
    def broken(runs, at):
        raise RuntimeError

    broken.__name__ = "broken"
    monkeypatch.setattr(alerting, "SOURCES", [broken, *alerting.SOURCES])
    monkeypatch.setattr(sweep, "_ALERTS", alerting.AlertDuty())

    assert sweep.sweep(at=clock.now()).alerts == 1
    monkeypatch.setattr(alerting, "store_new", broken)
    monkeypatch.setattr(sweep, "_ALERTS", alerting.AlertDuty())
    assert sweep.sweep(at=clock.now()).alerts == 0


def test_a_late_run_and_an_unknown_outcome_are_alerted(
    proposer, operator, worker, hook, sent
):
    unknown = plan(step("send", "once", params={"how": "unknown"}))
    driven(approved(unknown, proposer, operator), worker)
    approved(plan(step("slow", approval=True), sla="1s"), proposer, operator)
    later = clock.now() + timedelta(seconds=10)
    sweep.sweep(at=later)
    look(later)
    follow(sent, at=later)

    titles = [json.loads(call["body"])["title"] for call in hook.messages]
    assert any(title.startswith("Outcome unknown") for title in titles)
    assert any(title.startswith("Late") for title in titles)
