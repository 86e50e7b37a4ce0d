"""Refusals about plans."""

from execfabric.lib.refusal import Invalid


class PlanInvalid(Invalid):
    """The plan has problems; see the list."""

    code = "plan.invalid"


class ReferenceUnresolved(Invalid):
    """A reference leads nowhere."""

    code = "plan.reference_unresolved"
