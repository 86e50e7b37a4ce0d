"""Each kind of event of a run in words, for people; the record keeps the kinds."""

from collections.abc import Mapping
from typing import Any

# fmt: off
WORDS: dict[str, tuple[str, str]] = {
    # kind                    state it looks like     what it says
    "run.proposed":           ("draft",               "Plan proposed"),
    "run.dry_run_finished":  ("succeeded",        "Dry run finished"),
    "run.dry_run_limit_reached": ("partial",      "Dry run incomplete"),
    "run.dry_run_given_up":  ("partial",          "Dry run incomplete"),
    "run.dry_run_failed":    ("failed",           "Dry run failed"),
    "run.approved":           ("approved",            "Plan approved"),
    "run.approval_voided":    ("superseded",          "Approval no longer holds"),
    "run.pause_requested":    ("pausing",             "Pause requested"),
    "run.paused":             ("paused",              "Run paused"),
    "run.resumed":            ("running",             "Run resumed"),
    "run.cancel_requested":   ("cancelling",          "Cancel requested"),
    "run.cancelled":          ("cancelled",           "Run cancelled"),
    "run.succeeded":          ("succeeded",           "Run succeeded"),
    "run.partially_succeeded": ("partially_succeeded", "Run partly succeeded"),
    "run.failed":             ("failed",              "Run failed"),
    "run.rejected":           ("rejected",            "Run rejected"),
    "run.expired":            ("expired",             "Nobody answered in time"),
    "run.sweep_failed":       ("fenced",              "The keeper could not go on"),
    "step.added":             ("pending",             "Step added"),
    "step.gate_opened":       ("gated",               "Waits for approval"),
    "step.gate_approved":     ("approved",            "Step approved"),
    "step.gate_rejected":     ("rejected",            "Step rejected"),
    "step.gate_voided":       ("superseded",          "Approval no longer holds"),
    "step.released":          ("ready",               "Step released"),
    "step.started":           ("intent",              "Step started"),
    "step.not_started":       ("ready",               "Attempt never began"),
    "step.claimed":           ("claimed",             "A worker took the step"),
    "step.succeeded":         ("succeeded",           "Step succeeded"),
    "step.retry_later":       ("backoff",             "Attempt failed, to be tried again"),
    "step.failed":            ("failed",              "Step failed"),
    "step.lease_lost":        ("lost",                "Worker lost before anything ran"),
    "step.outcome_unknown":   ("indeterminate",       "Outcome unknown"),
    "step.resolved":          ("succeeded",           "A person said what happened"),
    "step.retried":           ("backoff",             "To be tried again"),
    "step.revived":           ("pending",             "No longer skipped"),
    "step.skipped":           ("skipped",             "Step skipped"),
    "step.cancelled":         ("cancelled",           "Step cancelled"),
    "attempt.intent":         ("intent",              "Effect begins"),
    "attempt.fenced":         ("fenced",              "Attempt refused"),
    "attempt.late_result":    ("fenced",              "Late result not taken"),
    "gate.requested":         ("requested",           "People are asked"),
    "gate.decided":           ("partial",             "Decision given"),
    "gate.approved":          ("approved",            "Gate approved"),
    "gate.rejected":          ("rejected",            "Gate rejected"),
    "gate.superseded":        ("superseded",          "Gate superseded"),
    "gate.withdrawn":         ("superseded",          "Gate withdrawn"),
    "gate.expired":           ("expired",             "Gate expired"),
    "gate.decision_refused":  ("fenced",              "Decision refused"),
}
# fmt: on

NOTES = ("reason", "comment", "message", "evidence", "worker", "code")
"""What of a payload says most, first come first shown."""


def note_of(payload: Mapping[str, Any]) -> str:
    """The sentence in a payload that a reader wants beside the event."""
    error = payload.get("error")
    sources = [payload, error] if isinstance(error, dict) else [payload]
    values = (source.get(name) for source in sources for name in NOTES)
    return next((value for value in values if value and isinstance(value, str)), "")
