"""Refusals of verifications."""

from execfabric.lib.refusal import Invalid, Missing


class RecordTooLong(Invalid):
    """Cannot verify now: the stream has too many events. Start a verification job."""

    code = "trace.too_long"


class VerificationUnknown(Missing):
    """Unknown verification."""

    code = "trace.verification_unknown"
