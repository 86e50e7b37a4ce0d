"""The base of every refusal: a fact as a name, a sentence for people, a stable code."""

from enum import StrEnum
from typing import Any, ClassVar


class RefusalKind(StrEnum):
    """What sort of no it is; each interface maps it to its own signal."""

    DENIED = "denied"  # the actor may not; HTTP 403, exit 4
    MISSING = (
        "missing"  # there is no such thing, or not for this actor; HTTP 404, exit 5
    )
    CONFLICT = "conflict"  # the state has moved on; HTTP 409, exit 1
    INVALID = "invalid"  # the input is wrong; HTTP 422, exit 2
    LIMITED = "limited"  # too many requests from this actor; HTTP 429, exit 1
    UNAVAILABLE = "unavailable"  # not now, for no one; HTTP 503, exit 1


class Refusal(Exception):
    """The request was refused.

    Subclasses set `code` (stable, for tests, the record and clients) and
    `kind`. Their docstring's first line is the sentence a person reads, unless
    `message` says it better. `details` carries named plain values.
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
    """There is no such thing, or it is not visible to you."""

    code = "not_found"
    kind = RefusalKind.MISSING


class Conflict(Refusal):
    """The state has moved on; reload and look again."""

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
        """Seconds to wait before the next try."""


class Limited(Later):
    """You have sent too many requests; wait before you send the next one."""

    code = "limited"
    kind = RefusalKind.LIMITED


class Unavailable(Later):
    """The service cannot do this now; try again later."""

    code = "unavailable"
    kind = RefusalKind.UNAVAILABLE
