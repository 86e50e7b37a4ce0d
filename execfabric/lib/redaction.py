"""What of a configuration a reader sees who only needs to write plans."""

from collections.abc import Mapping
from typing import Any

HIDDEN = "[hidden]"


def without_values(value: Any) -> Any:
    """Return a configuration with its names and limits, without texts and secrets.

    Names, such as those of repositories and databases, are what a plan refers to.
    """
    if isinstance(value, Mapping):
        if value.keys() == {"$secret"}:
            return HIDDEN
        return {key: without_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_values(item) for item in value]
    return HIDDEN if isinstance(value, str) else value
