"""Short ways to write the JSON Schemas of actions, and words for what is not known yet."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestration.skills.domain.contract import FILE_SCHEMA, FILES_SCHEMA
from orchestration.skills.domain.outcome import File

Schema = dict[str, Any]


def record(properties: Mapping[str, Schema], required: Sequence[str] = ()) -> Schema:
    """An object with these properties and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": dict(properties),
        "required": list(required),
    }


def text(title: str, description: str, **more: Any) -> Schema:
    """A string."""
    return {"type": "string", "title": title, "description": description, **more}


def number(title: str, description: str, **more: Any) -> Schema:
    """A whole number."""
    return {"type": "integer", "title": title, "description": description, **more}


def flag(title: str, description: str, **more: Any) -> Schema:
    """A yes or no."""
    return {"type": "boolean", "title": title, "description": description, **more}


def listing(title: str, description: str, items: Schema, **more: Any) -> Schema:
    """A list."""
    return {
        "type": "array",
        "title": title,
        "description": description,
        "items": items,
        **more,
    }


def one_file(title: str, description: str) -> Schema:
    """A file by reference."""
    return {**FILE_SCHEMA, "title": title, "description": description}


def files(title: str, description: str) -> Schema:
    """One file or several by reference."""
    return {**FILES_SCHEMA, "title": title, "description": description}


def sha256(
    title: str = "SHA-256", description: str = "Of the content, in hex."
) -> Schema:
    """A digest."""
    return text(title, description, pattern="^[0-9a-f]{64}$")


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
