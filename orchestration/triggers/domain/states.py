"""The states of a schedule and of a webhook, and every legal move."""

from enum import StrEnum

from execfabric.lib.machine import StateMachine


class TriggerState(StrEnum):
    ACTIVE = "active"  # proposes runs
    PAUSED = "paused"  # proposes nothing until someone resumes it
    DELETED = "deleted"  # stored for the audit log only


class TriggerEvent(StrEnum):
    PAUSED = "paused"  # by a user, or after too many refusals in a row
    RESUMED = "resumed"
    DELETED = "deleted"


T, E = TriggerState, TriggerEvent

# fmt: off
TRIGGER: StateMachine[TriggerState, TriggerEvent] = StateMachine(
    name="trigger",
    initial=T.ACTIVE,
    rows=(
        # from      on         to
        (T.ACTIVE,  E.PAUSED,  T.PAUSED),
        (T.PAUSED,  E.RESUMED, T.ACTIVE),
        (T.ACTIVE,  E.DELETED, T.DELETED),
        (T.PAUSED,  E.DELETED, T.DELETED),
    ),
    final=frozenset({T.DELETED}),
)
# fmt: on
