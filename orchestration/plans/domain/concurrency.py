"""How many runs, or steps of runs, may proceed at the same time under one key."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from execfabric.lib import canonical
from execfabric.lib.text import is_visible
from orchestration.plans.domain import references
from orchestration.plans.domain.fields import CONFIG, Count

MAX_KEY = 200
"""Characters of a key, as it is written and with its values."""


def _key(value: str) -> str:
    if reason := flaw(value):
        raise PydanticCustomError(
            "plan.concurrency_key", "{reason}", {"reason": reason}
        )
    return value


Key = Annotated[
    str, AfterValidator(_key), Field(json_schema_extra={"maxLength": MAX_KEY})
]


@dataclass(frozen=True, config=CONFIG)
class ConcurrencyDocument:
    """The key that runs or steps have to themselves, and how many at once."""

    key: Key
    """A text in which references are allowed, such as `deploy-$inputs.env`."""
    max: Count = 1
    """The number that may proceed at the same time."""


def flaw(key: str) -> str:
    """Return why a text cannot be a key; empty if it can."""
    if len(key) > MAX_KEY:
        return f"must be text of at most {MAX_KEY} characters"
    if not is_visible(key) or not key.isprintable():
        return "must be text without control characters, and not empty"
    return ""


def resolved(concurrency: ConcurrencyDocument, scope: references.Scope) -> str:
    """Return the key with its values; `flaw` says whether it can be used.

    :raises ReferenceUnresolved: if a reference names no value
    """
    value: Any = references.resolve(concurrency.key, scope)
    if value is None or isinstance(value, dict | list):
        return ""
    return value if isinstance(value, str) else canonical.dumps(value).decode()
