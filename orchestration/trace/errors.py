"""Refusals about the verification of the record."""

from execfabric.lib.refusal import Invalid, Missing


class RecordTooLong(Invalid):
    """This record is too long to verify while you wait; start a verification job."""

    code = "trace.too_long"


class VerificationUnknown(Missing):
    """There is no such verification."""

    code = "trace.verification_unknown"
