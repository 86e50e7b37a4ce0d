"""What needs a person: the kinds, and the words for each."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

KEY = r"[a-z_]{1,30}\.[0-9a-f-]{36}(?:\.[0-9]{1,10})?"
"""The form of a key: its kind, the id of its row, and the generation of a step."""
_KEY = re.compile(KEY)


class AttentionKind(StrEnum):
    OUTCOME = "outcome"  # it is unknown whether a step had its effect
    FAILED = "failed"  # a failed step has paused its run
    ROLLBACK = "rollback"  # a rollback has stopped
    POISON = "poison"  # a step has lost its worker too often
    INPUT_EXPIRED = "input_expired"  # no one answered a form in time
    GATE = "gate"  # no one can give an approval that is missing
    SWEEP = "sweep"  # the keeper cannot change a run
    LATE = "late"  # a run or a step has not ended in time
    NO_WORKER = "no_worker"  # a ready step finds no worker


class AlertChannel(StrEnum):
    """How an alert about an item leaves the service."""

    MAIL = "mail"
    WEBHOOK = "webhook"


@dataclass(frozen=True)
class AttentionWords:
    """How a kind is shown."""

    title: str
    action: str
    """The smallest useful next action, as the text of a link."""
    state: str
    """The state whose icon and color mark it."""


# fmt: off
WORDS = {
    AttentionKind.OUTCOME: AttentionWords("Outcome unknown", "Resolve outcome", "indeterminate"),
    AttentionKind.FAILED: AttentionWords("Failed step", "Open the failed step", "failed"),
    AttentionKind.ROLLBACK: AttentionWords("Rollback stopped", "Continue the rollback", "rollback_failed"),
    AttentionKind.POISON: AttentionWords("Worker lost repeatedly", "Check the step", "lost"),
    AttentionKind.INPUT_EXPIRED: AttentionWords("Form not answered", "Resume to ask again", "expired"),
    AttentionKind.GATE: AttentionWords("No one can approve", "See who is missing", "gated"),
    AttentionKind.SWEEP: AttentionWords("Background check failed", "Open the run", "fenced"),
    AttentionKind.LATE: AttentionWords("Late", "See what it waits for", "late"),
    AttentionKind.NO_WORKER: AttentionWords("No worker", "Open the step", "ready"),
}
# fmt: on


@dataclass(frozen=True, kw_only=True)
class AttentionOwner:
    """The user who takes care of it."""

    key: str
    name: str
    since: datetime


@dataclass(frozen=True, kw_only=True)
class AttentionItem:
    """Something that needs a person."""

    kind: str
    id: str
    """The id of the row that it is about, with the generation of a step."""
    run_id: UUID
    plan: str
    proposer: str
    proposer_name: str
    text: str
    """What it is, in one sentence."""
    since: datetime | None
    step: str = ""
    address: str = ""
    """The step in addresses of pages; empty for a run."""
    gate_id: UUID | None = None
    owner: AttentionOwner | None = None

    @property
    def key(self) -> str:
        return f"{self.kind}.{self.id}"

    @property
    def words(self) -> AttentionWords:
        return WORDS[AttentionKind(self.kind)]


def is_key(text: str) -> bool:
    """Return True if a text has the form of a key."""
    return _KEY.fullmatch(text) is not None


def kind_of_failure(code: str) -> AttentionKind:
    """Return the kind of a failed step that has paused its run, by its error."""
    return _BY_CODE.get(code, AttentionKind.FAILED)


_BY_CODE = {
    "step.attempts_exhausted": AttentionKind.POISON,
    "input.expired": AttentionKind.INPUT_EXPIRED,
}
