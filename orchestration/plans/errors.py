"""Refusals about plans."""

from execfabric.lib.refusal import Conflict, Invalid


class PlanInvalid(Invalid):
    """The plan has problems; see the list."""

    code = "plan.invalid"


class PlanUnreadable(Conflict):
    """Cannot read the plan: a newer release wrote it."""

    code = "plan.unreadable"


class ReferenceUnresolved(Invalid):
    """A reference leads nowhere."""

    code = "plan.reference_unresolved"


class ReferenceTooLarge(Invalid):
    """The references of a step bring in more than a step may take."""

    code = "plan.reference_too_large"
