"""Refusals about the record."""

from execfabric.lib.refusal import Conflict, Missing


class StreamUnknown(Missing):
    """There is no such stream in the record."""

    code = "audit.stream_unknown"


class NotInTransaction(Conflict):
    """An event can only be written in the transaction of the change that it records."""

    code = "audit.not_in_transaction"
