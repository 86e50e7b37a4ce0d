"""The states of a gate: this table is the specification."""

from enum import StrEnum

from execfabric.lib.machine import StateMachine


class GateStatus(StrEnum):
    # Opened by the engine. Ends with the first approval, a rejection, its expiry, or
    # a change of its subject. A crash leaves it waiting: an open gate is only a row.
    REQUESTED = "requested"
    # Some required people have approved. It permits nothing yet.
    PARTIAL = "partial"
    # Every seat is filled. It permits exactly its subject's bytes, until its expiry,
    # and is checked again at dispatch. It can still be superseded.
    APPROVED = "approved"
    # One person rejected it. Final.
    REJECTED = "rejected"
    # No decision before the deadline. Final.
    EXPIRED = "expired"
    # Its subject changed or is no longer needed. Final; a new gate may follow.
    SUPERSEDED = "superseded"


class GateEvent(StrEnum):
    COUNTED = "counted"  # an approval filled a seat, others are still open
    APPROVED = "approved"  # an approval filled the last seat
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


S, E = GateStatus, GateEvent

OPEN = frozenset({S.REQUESTED, S.PARTIAL})
"""Statuses in which a decision is still possible."""
SETTLED = frozenset(S) - OPEN
"""`settled_at` is set. An approved gate is settled, but not final."""

# fmt: off
GATE = StateMachine(
    name="gate",
    initial=S.REQUESTED,
    rows=(
        # from        on             to
        (S.REQUESTED, E.COUNTED,     S.PARTIAL),
        (S.REQUESTED, E.APPROVED,    S.APPROVED),
        (S.REQUESTED, E.REJECTED,    S.REJECTED),
        (S.REQUESTED, E.EXPIRED,     S.EXPIRED),
        (S.REQUESTED, E.SUPERSEDED,  S.SUPERSEDED),
        (S.PARTIAL,   E.COUNTED,     S.PARTIAL),
        (S.PARTIAL,   E.APPROVED,    S.APPROVED),
        (S.PARTIAL,   E.REJECTED,    S.REJECTED),
        (S.PARTIAL,   E.EXPIRED,     S.EXPIRED),
        (S.PARTIAL,   E.SUPERSEDED,  S.SUPERSEDED),
        (S.APPROVED,  E.SUPERSEDED,  S.SUPERSEDED),
    ),
    final=frozenset({S.REJECTED, S.EXPIRED, S.SUPERSEDED}),
)
# fmt: on

MEANING: dict[GateStatus, str] = {
    S.REQUESTED: "Waiting for the first decision.",
    S.PARTIAL: "More approvals are required before it runs.",
    S.APPROVED: "Approved by everyone required.",
    S.REJECTED: "Rejected. It did not run.",
    S.EXPIRED: "Expired: not enough approvals before the deadline. It did not run.",
    S.SUPERSEDED: "No longer needed: the content changed or the run was cancelled.",
}
"""The sentence for each status on the page of a gate."""
