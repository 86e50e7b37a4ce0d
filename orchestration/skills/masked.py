"""Secrets on their way in, and everything on its way out, where a secret may be in it."""

import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

from execfabric.lib.masking import Masker

Secrets = Callable[[str], str]
"""The value of a secret by its name; raises where the name is unknown or not allowed."""

LONGEST_MESSAGE = 4000


def resolved(value: Any, secrets: Secrets, used: set[str]) -> Any:
    """`value` with every `{"$secret": name}` replaced; `used` collects what to mask."""
    if isinstance(value, Mapping):
        if value.keys() == {"$secret"}:
            secret = secrets(value["$secret"])
            used.update(_sensitive(secret))
            return secret
        return {key: resolved(item, secrets, used) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [resolved(item, secrets, used) for item in value]
    return value


def answer_masked(frame: dict[str, Any], masker: Masker) -> dict[str, Any]:
    """An answer of the runner, masked; messages are bounded and fit for storage."""
    outcome = frame.get("outcome")
    if outcome is None:
        masked: dict[str, Any] = masker.value(frame)
        return masked
    if outcome["kind"] == "succeeded":
        # Paths are not masked: they are read once, here, and never shown.
        return {"outcome": {**outcome, "output": masker.value(outcome["output"])}}
    message = masker.text(_storable(outcome["message"]))[:LONGEST_MESSAGE]
    return {"outcome": {**outcome, "message": message}}


def _sensitive(secret: str) -> set[str]:
    """The secret and, where it is an address with a password, the password too."""
    if "://" not in secret:
        return {secret}
    try:
        password = urllib.parse.urlsplit(secret).password
    except ValueError:
        return {secret}
    if not password:
        return {secret}
    return {secret, password, urllib.parse.unquote(password)}


def _storable(text: str) -> str:
    """Without what Postgres cannot store as text: NUL and lone surrogates."""
    return (
        text.encode(errors="replace")
        .decode()
        .replace("\0", "\N{REPLACEMENT CHARACTER}")
    )
