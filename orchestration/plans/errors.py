"""Refusals about plans."""

from execfabric.lib.refusal import Conflict, Invalid


class PlanInvalid(Invalid):
    """The plan is not valid. Fix the listed problems."""

    code = "plan.invalid"


class PlanUnreadable(Conflict):
    """Cannot read the plan: a newer release wrote it."""

    code = "plan.unreadable"


class ReferenceUnresolved(Invalid):
    """A reference names a value that does not exist."""

    code = "plan.reference_unresolved"


class ReferenceTooLarge(Invalid):
    """The references of a step insert too much data."""

    code = "plan.reference_too_large"
