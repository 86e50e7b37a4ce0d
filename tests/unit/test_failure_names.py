"""The names of failures: a table, and every name has events."""

import pytest

from orchestration.runs.domain.failure_names import RULES, FailureName, name_of
from orchestration.runs.pages.event_words import WORDS


def error(code: str) -> dict:
    return {"error": {"code": code, "message": "It failed.", "ran": None}}


@pytest.mark.parametrize(
    ("kind", "payload", "name"),
    [
        ("step.failed", error("lab.refused"), "Failed"),
        ("step.failed", error("step.timed_out"), "TimedOut"),
        ("step.retry_later", error("step.timed_out"), "TimedOut"),
        ("step.failed", error("wait.expired"), "TimedOut"),
        ("step.failed", error("step.condition_failed"), "RoutingFailed"),
        ("step.failed", {"error": "unreadable"}, "Failed"),
        ("step.outcome_unknown", error("step.timed_out"), "Escalated"),
        ("step.sla_breached", {"elapsed_ms": 12}, "TimedOut"),
        ("run.failed", {}, "Failed"),
        ("run.sweep_failed", {"code": "run.sweep_failed"}, "CoordinatorHalted"),
        ("run.cancelled", {}, "Terminated"),
        ("step.succeeded", {}, None),
        ("run.paused", {}, None),
    ],
)
def test_an_event_has_the_name_of_its_failure(kind, payload, name) -> None:
    assert name_of(kind, payload) == name


def test_every_name_has_a_rule_and_every_rule_real_events() -> None:
    assert {rule.name for rule in RULES} == set(FailureName)
    assert {kind for rule in RULES for kind in rule.kinds} <= set(WORDS)
