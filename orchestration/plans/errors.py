"""Refusals about plans."""

from typing import Any

from execfabric.lib.refusal import Conflict, Denied, Invalid, Missing


class PlanInvalid(Invalid):
    """The plan is not valid. Fix the listed problems."""

    code = "plan.invalid"
    checked: Any = None
    """The check that found the problems."""


class PlanUnreadable(Conflict):
    """Cannot read the plan: a newer release wrote it."""

    code = "plan.unreadable"


class ReferenceUnresolved(Invalid):
    """A reference names a value that does not exist."""

    code = "plan.reference_unresolved"


class WaitInvalid(Invalid):
    """The time that a step waits is not valid."""

    code = "wait.invalid"


class ReferenceTooLarge(Invalid):
    """The references of a step insert too much data."""

    code = "plan.reference_too_large"


class PlanUnknown(Missing):
    """Unknown plan, or you do not have access to it."""

    code = "plan.unknown"


class RevisionUnknown(Missing):
    """The plan does not have this revision."""

    code = "plan.revision_unknown"


class PlanIdTaken(PlanInvalid):
    """The plan id belongs to another user. Choose another id, or ask the owner."""

    code = "plan.id_taken"


class PlanNotPermitted(Denied):
    """Not allowed: you do not have this right on the plan. Ask its owner."""

    code = "plan.not_permitted"


class GroupUnknown(Invalid):
    """Unknown group."""

    code = "plan.group_unknown"


class GrantInvalid(Invalid):
    """Give the right either to one user or to one group."""

    code = "plan.grant_invalid"
