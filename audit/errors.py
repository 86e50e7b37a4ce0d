"""Refusals about the record."""

from execfabric.lib.refusal import Conflict, Invalid, Missing


class StreamUnknown(Missing):
    """There is no such stream in the record."""

    code = "audit.stream_unknown"


class NotInTransaction(Conflict):
    """An event can only be written in the transaction of the change that it records."""

    code = "audit.not_in_transaction"


class CursorUnknown(Invalid):
    """Invalid `before`: pass the `next` of the page before, unchanged."""

    code = "audit.cursor_unknown"
