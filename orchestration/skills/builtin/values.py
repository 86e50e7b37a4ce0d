"""Read params that may be files, or references to later values."""

from typing import Any

from orchestration.skills.domain.outcome import File


def file_list(value: Any) -> list[File]:
    """Return one or more files as a list, without values that are not known yet."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, File)]


def shown(value: Any) -> str:
    """Return a param as text; in a dry run it may be a reference to a later value."""
    if isinstance(value, File):
        return value.name
    if isinstance(value, list):
        return ", ".join(map(shown, value))
    return str(value)
