"""The base of every refusal: a named exception with a stable code and a sentence."""

from enum import StrEnum
from typing import Any, ClassVar


class RefusalKind(StrEnum):
    """The kind of a refusal; `web.problems.STATUS` maps it to an HTTP status."""

    UNREADABLE = "unreadable"  # the request cannot be parsed
    UNAUTHENTICATED = "unauthenticated"  # the sender is unknown
    DENIED = "denied"  # the actor is not allowed
    MISSING = "missing"  # it does not exist, or is not visible to the actor
    CONFLICT = "conflict"  # the state has changed
    TOO_LARGE = "too_large"  # the request is too large
    INVALID = "invalid"  # the input is wrong
    LIMITED = "limited"  # too many requests from this actor
    UNAVAILABLE = "unavailable"  # the service cannot do it now


class Refusal(Exception):
    """The request was refused.

    Subclasses set `code` (stable, for tests, the audit log and clients) and `kind`.
    The first line of their docstring is the sentence for the user, unless `message`
    replaces it. `details` holds named plain values.
    """

    code: ClassVar[str] = "refused"
    kind: ClassVar[RefusalKind] = RefusalKind.CONFLICT

    def __init__(self, message: str = "", **details: Any) -> None:
        first_line = (type(self).__doc__ or self.code).strip().splitlines()[0]
        self.message = message or first_line
        self.details = details
        super().__init__(self.message)


class Denied(Refusal):
    """You are not allowed to do this."""

    code = "denied"
    kind = RefusalKind.DENIED


class Missing(Refusal):
    """It does not exist, or you do not have access to it."""

    code = "not_found"
    kind = RefusalKind.MISSING


class Conflict(Refusal):
    """The state has changed. Reload the page."""

    code = "conflict"
    kind = RefusalKind.CONFLICT


class Invalid(Refusal):
    """The input is not valid."""

    code = "invalid"
    kind = RefusalKind.INVALID


class Later(Refusal):
    """The same request may succeed later."""

    def __init__(self, message: str = "", *, retry_after: int, **details: Any) -> None:
        super().__init__(message, retry_after=retry_after, **details)
        self.retry_after = retry_after
        """Seconds to wait before trying again."""


class Limited(Later):
    """Too many requests. Wait before you send the next one."""

    code = "limited"
    kind = RefusalKind.LIMITED


class Unavailable(Later):
    """The service is unavailable. Try again later."""

    code = "unavailable"
    kind = RefusalKind.UNAVAILABLE
