"""Refusals of the audit log."""

from execfabric.lib.refusal import Conflict, Invalid, Missing


class StreamUnknown(Missing):
    """Unknown stream or event."""

    code = "audit.stream_unknown"


class NotInTransaction(Conflict):
    """Cannot append an event: no transaction is open. Append it with its change."""

    code = "audit.not_in_transaction"


class CursorUnknown(Invalid):
    """Invalid `before`. Pass the `next` of the previous page, unchanged."""

    code = "audit.cursor_unknown"
