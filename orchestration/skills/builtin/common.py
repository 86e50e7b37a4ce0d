"""What the built-in skills share: identify a call, and read its params."""

import hashlib
from typing import Any

from orchestration.skills.domain.outcome import Call, File


def digest_of_key(call: Call) -> str:
    """Return a SHA-256 that is the same for each attempt of one step run."""
    return hashlib.sha256(call.idempotency_key.encode()).hexdigest()


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


def storable_text(content: bytes | bytearray) -> str:
    """Decode text without what Postgres cannot store: invalid UTF-8 and NUL."""
    return content.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
