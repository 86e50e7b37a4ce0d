"""Read params: files of either form, and words for what is not known yet."""

from typing import Any

from orchestration.skills.domain.outcome import File


def file_list(value: Any) -> list[File]:
    """One file or many, as a list; what is no file yet is left out."""
    given = value if isinstance(value, list) else [value]
    return [item for item in given if isinstance(item, File)]


def shown(value: Any) -> str:
    """A param in words: during planning it may still be a reference to a later value."""
    if isinstance(value, File):
        return value.name
    if isinstance(value, list):
        return ", ".join(map(shown, value))
    return str(value)
