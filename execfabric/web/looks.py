"""Icon, word and tone of every state, for all badges."""

from dataclasses import dataclass
from enum import StrEnum


class Tone(StrEnum):
    """Meaning of a colour; the stylesheet has one class for each."""

    QUIET = "quiet"  # nothing happens and nothing is needed
    BUSY = "busy"  # something is running
    WAIT = "wait"  # waiting for a person or a time
    GOOD = "good"  # success
    BAD = "bad"  # failure
    ODD = "odd"  # unknown; a person has to find out


@dataclass(frozen=True)
class Look:
    icon: str
    word: str
    tone: Tone


Q, B, W, G, X, O = Tone  # noqa: E741

# fmt: off
STATES: dict[str, Look] = {
    # runs and steps
    "awaiting_approval":   Look("hand",       "Waiting for approval", W),
    "pending":             Look("dots",       "Pending",              Q),
    "gated":               Look("hand",       "Waiting for approval", W),
    "asking":              Look("pencil",     "Waiting for an answer", W),
    "waiting":             Look("clock",      "Waiting",              W),
    "ready":               Look("ready",      "Ready",                B),
    "running":             Look("running",    "Running",              B),
    "backoff":             Look("retry",      "Retrying later",       W),
    "expanded":            Look("running",    "In progress",        B),
    "indeterminate":       Look("unknown",    "Outcome unknown",      O),
    "checking":            Look("unknown",    "Checking whether it happened", O),
    "pausing":             Look("pause",      "Pausing",              W),
    "paused":              Look("pause",      "Paused",               W),
    "cancelling":          Look("stop",       "Cancelling",           W),
    "aborting":            Look("stop",       "Aborting",             W),
    "falling_back":        Look("retry",      "Falling back",         B),
    "succeeded":           Look("check",      "Succeeded",            G),
    "partially_succeeded": Look("half",       "Partly succeeded",     W),
    "failed":              Look("cross",      "Failed",               X),
    "skipped":             Look("skip",       "Skipped after failure", Q),
    "skipped_by_condition": Look("skip",      "Skipped by condition", Q),
    "cancelled":           Look("stop",       "Cancelled",            Q),
    "rejected":            Look("no",         "Rejected",             X),
    "expired":             Look("clock",      "Expired",              Q),
    "rolling_back":        Look("retry",      "Rolling back",         B),
    "rolled_back":         Look("superseded", "Rolled back",          W),
    "rollback_failed":     Look("cross",      "Rollback failed",      X),
    "compensated":         Look("superseded", "Undone",               Q),
    "compensation_failed": Look("cross",      "Undo failed",          X),
    # steps in the report of a rollback
    "undone":              Look("superseded", "Undone",               Q),
    "not_undone":          Look("cross",      "Not undone",           X),
    "unknown":             Look("unknown",    "Outcome unknown",      O),
    "late":                Look("clock",      "Late",                 X),
    # dry runs
    "queued":              Look("clock",      "Queued",               W),
    "finished":            Look("check",      "Finished",             G),
    "incomplete":          Look("half",       "Incomplete",           W),
    # gates
    "requested":           Look("hand",       "Waiting for approval", W),
    "partial":             Look("half",       "Partly approved",      W),
    "approved":            Look("check",      "Approved",             G),
    "superseded":          Look("superseded", "Superseded",           Q),
    # artifacts
    "current":             Look("check",      "Current",              G),
    "forked":              Look("half",       "Forked",               B),
    "archived":            Look("stop",       "Archived",             Q),
    "expected":            Look("dots",       "Expected",             Q),
    "missing":             Look("cross",      "Missing",              X),
    "not_coming":          Look("skip",       "Not coming",           Q),
    # skills and their versions
    "draft":               Look("pencil",     "Draft",                Q),
    "active":              Look("check",      "Active",               G),
    "deprecated":          Look("clock",      "Deprecated",           W),
    "quarantined":         Look("no",         "Quarantined",          X),
    "published":           Look("check",      "Published",            G),
    "withdrawn":           Look("stop",       "Withdrawn",            Q),
    # attempts
    "claimed":             Look("ready",      "Claimed",              B),
    "intent":              Look("running",    "Running",              B),
    "done":                Look("check",      "Done",                 G),
    "fenced":              Look("no",         "Refused",              Q),
    "lost":                Look("unknown",    "Worker lost",          O),
    # the record
    "verified":            Look("shield",     "Verified",             G),
    "broken":              Look("broken",     "Altered",              X),
}

RISKS: dict[str, Look] = {
    "low":      Look("risk-low",      "Low risk",      Q),
    "medium":   Look("risk-medium",   "Medium risk",   W),
    "high":     Look("risk-high",     "High risk",     X),
    "critical": Look("risk-critical", "Critical risk", X),
}

EFFECTS: dict[str, str] = {
    "pure":           "Read-only: changes nothing",
    "idempotent":     "Safe to repeat: a second run changes nothing more",
    "probeable":      "Not safe to repeat: the target is asked if the outcome is unknown",
    "non_idempotent": "Not safe to repeat: a second run has a second effect",
}

CHANNELS: dict[str, str] = {
    "page": "in the console",
    "api":  "through the API",
    "cli":  "through the command line",
    "carried": "carried over from an earlier run",
}
# fmt: on

UNKNOWN = Look("unknown", "Unknown", O)


def of_state(state: str) -> Look:
    return STATES.get(state, UNKNOWN)
