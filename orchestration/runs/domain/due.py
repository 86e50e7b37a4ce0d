"""What follows for a step from the states of others."""

from enum import StrEnum


class Due(StrEnum):
    """What a step is due for."""

    RELEASE = "release"
    FAILURE_SKIP = "failure_skip"
    CONDITION_SKIP = "condition_skip"
    STOP = "stop"
    """To be skipped because another member of its container has failed."""
    CLOSE = "close"
    """For an expanded container: all its members have finished."""
    FALL_BACK = "fall_back"
    """For a failed step: its fallback has to start."""
    END_FALLBACK = "end_fallback"
    """For a step that falls back: its fallback has finished."""
