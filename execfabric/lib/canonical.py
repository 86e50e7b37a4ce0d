"""One value, one byte string, one digest: RFC 8785 and SHA-256.

What is shown, what is hashed and what is executed are the same bytes, so every
digest in the product comes from here.
"""

import hashlib
import json
from typing import Any

import orjson
import rfc8785

from execfabric.lib.refusal import Invalid

Json = dict[str, Any] | list[Any] | str | int | float | bool | None

LARGEST_SAFE_INTEGER = 2**53 - 1
MAX_DEPTH = 100


class NotCanonical(Invalid):
    """The value has no canonical form (RFC 8785)."""

    code = "canonical.no_form"


def dumps(value: Json) -> bytes:
    """The RFC 8785 bytes of `value`.

    :raises NotCanonical: for NaN, infinities, integers outside +-(2**53 - 1),
        keys that are not text, lone surrogates, or nesting too deep for the stack
    """
    try:
        return _plain(value) or rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise NotCanonical(f"{NotCanonical.__doc__} {error}") from error


def loads(body: bytes) -> Any:
    """Parse JSON strictly: UTF-8, no duplicate keys, no NaN, no infinities.

    :raises NotCanonical: when the bytes are not strict JSON
    """
    try:
        # Given bytes, Python would guess the encoding and accept UTF-16.
        text = body.decode("utf-8")
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise NotCanonical(f"The text is not strict JSON: {error}") from error


def digest(domain: str, body: bytes) -> bytes:
    """SHA-256 over a domain line and the body, so that no digest serves two purposes.

    `domain` is for example `execfabric/action/v1`; 32 bytes are returned.
    """
    return hashlib.sha256(domain.encode() + b"\n" + body).digest()


def digest_of(domain: str, value: Json) -> str:
    """The digest of the canonical form of `value`, as 64 hex digits."""
    return digest(domain, dumps(value)).hex()


def _plain(value: Any) -> bytes | None:
    """Return the bytes of a plain value; None when `rfc8785` has to say.

    For plain values orjson writes what RFC 8785 asks for, and is twenty times faster: a
    test compares the two byte by byte.
    """
    try:
        if _is_plain(value):
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONEncodeError, RecursionError):
        pass
    return None


def _is_plain(value: Any) -> bool:
    """Return True if no float and no key whose order depends on UTF-16 is in `value`."""
    kind = type(value)
    if kind in _PLAIN_LEAVES:
        return True
    if kind is int:
        return bool(-LARGEST_SAFE_INTEGER <= value <= LARGEST_SAFE_INTEGER)
    if kind is list:
        return all(map(_is_plain, value))
    if kind is dict:
        # Most values are text: a call for each would cost more than its encoding.
        for key, item in value.items():
            plain_item = type(item) in _PLAIN_LEAVES or _is_plain(item)
            if not plain_item or type(key) is not str or not key.isascii():
                return False
        return True
    return False


_PLAIN_LEAVES = frozenset({str, bool, type(None)})


def check_depth(value: Any, limit: int = MAX_DEPTH) -> None:
    """Refuse values nested deeper than `limit`, without recursion.

    :raises NotCanonical: when it is deeper
    """
    layer = [value]
    for _ in range(limit + 1):
        deeper: list[Any] = []
        for item in layer:
            if isinstance(item, dict):
                deeper.extend(item.values())
            elif isinstance(item, list):
                deeper.extend(item)
        if not deeper:
            return
        layer = deeper
    raise NotCanonical(f"The value is nested deeper than {limit} levels.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        message = f"duplicate key {twice!r}"
        raise ValueError(message)
    return found


def _refuse(constant: str) -> None:
    message = f"{constant} is not JSON"
    raise ValueError(message)
