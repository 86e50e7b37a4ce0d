"""Hide the values of configurations from users who only write plans."""

from collections.abc import Mapping
from typing import Any

HIDDEN = "[hidden]"


def without_values(value: Any) -> Any:
    """Return a configuration with texts and secrets hidden.

    Its keys stay: plans refer to repositories and databases by name.
    """
    if isinstance(value, Mapping):
        if value.keys() == {"$secret"}:
            return HIDDEN
        return {key: without_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_values(item) for item in value]
    return HIDDEN if isinstance(value, str) else value
