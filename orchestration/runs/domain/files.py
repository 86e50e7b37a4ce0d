"""References to stored files, and which names a file may have."""

import mimetypes
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

FILE = "$file"
KEYS = frozenset({"sha256", "name", "size", "media_type"})
PLAIN = "application/octet-stream"
MAX_UPLOAD_NAME = 200
"""Bytes of the name of an uploaded file."""


def facts_of(name: str, size: int) -> dict[str, Any]:
    """Return what a reference says about a file besides its digest."""
    media_type = mimetypes.guess_type(name)[0] or PLAIN
    return {"name": name, "size": size, "media_type": media_type}


def reference(sha256: str, name: str, size: int) -> dict[str, Any]:
    return {FILE: {"sha256": sha256, **facts_of(name, size)}}


def references_in(inputs: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the files among the stored inputs of a run, by name of the input."""
    for name, value in inputs.items():
        file = value.get(FILE) if isinstance(value, dict) else None
        if isinstance(file, dict) and file.keys() >= KEYS:
            yield name, file


def returned_files(files: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the files that a step returned, by the names of their uses."""
    for name, value in files.items():
        for item in value if isinstance(value, list) else [value]:
            yield f"{name}/{item[FILE]['name']}", item[FILE]


def as_ids(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return stored inputs as a user writes them, with an id for each file."""
    files = {name: file["sha256"] for name, file in references_in(inputs)}
    return {**inputs, **files}


def with_names(
    inputs: Mapping[str, Any], given: Mapping[str, Any], earlier: Mapping[str, Any]
) -> dict[str, Any]:
    """Return inputs in which each file of `earlier` that is still given has its name.

    A digest does not name a file: two inputs may have the same content.
    """
    kept = {
        name: {FILE: file}
        for name, file in references_in(earlier)
        if name in inputs and given.get(name) == file["sha256"]
    }
    return {**inputs, **kept}


def name_flaw(name: str) -> str:
    """Return why a file in a folder cannot have this name, or ""."""
    if not name or name in {".", ".."} or "/" in name or "\\" in name:
        return "its name must be a plain file name, without a folder"
    if any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in name):
        return "its name has control characters"
    if len(name.encode()) > MAX_UPLOAD_NAME:
        return f"its name is too long (max {MAX_UPLOAD_NAME} bytes)"
    return ""
