"""Canonical JSON (RFC 8785) and SHA-256: one value, one byte string, one digest.

Every digest of the product is computed here, because what is shown, hashed and
executed must be the same bytes.
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
    """The value has no canonical JSON form (RFC 8785)."""

    code = "canonical.no_form"


def dumps(value: Json) -> bytes:
    """Return the RFC 8785 bytes of `value`.

    :raises NotCanonical: for NaN, infinities, integers outside +-(2**53 - 1),
        keys that are not text, lone surrogates, or nesting too deep for the stack
    """
    try:
        return _plain(value) or rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise NotCanonical(
            f"Cannot write canonical JSON (RFC 8785): {error}."
        ) from error


def loads(body: bytes) -> Any:
    """Parse JSON strictly: UTF-8, no duplicate keys, no NaN, no infinities.

    :raises NotCanonical: when the bytes are not strict JSON
    """
    try:
        # From bytes, Python would guess the encoding and accept UTF-16.
        text = body.decode("utf-8")
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise NotCanonical(f"Cannot read the JSON: {error}.") from error


def digest(domain: str, body: bytes) -> bytes:
    """Return the SHA-256 over a domain line and the body.

    The domain, such as `execfabric/action/v1`, separates digests by purpose.
    """
    return hashlib.sha256(domain.encode() + b"\n" + body).digest()


def digest_of(domain: str, value: Json) -> str:
    """Return the digest of the canonical form of `value`, as 64 hex digits."""
    return digest(domain, dumps(value)).hex()


def _plain(value: Any) -> bytes | None:
    """Return the bytes of a plain value; None if only `rfc8785` can encode it.

    For plain values orjson writes the same bytes, and is twenty times faster; a test
    compares the two.
    """
    try:
        if _is_plain(value):
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONEncodeError, RecursionError):
        pass
    return None


def _is_plain(value: Any) -> bool:
    """Return True if `value` has no float, large integer or non-ASCII key."""
    kind = type(value)
    if kind in _PLAIN_LEAVES:
        return True
    if kind is int:
        return bool(-LARGEST_SAFE_INTEGER <= value <= LARGEST_SAFE_INTEGER)
    if kind is list:
        return all(map(_is_plain, value))
    if kind is dict:
        # Most values are text, and a call costs more than encoding one.
        for key, item in value.items():
            plain_item = type(item) in _PLAIN_LEAVES or _is_plain(item)
            if not plain_item or type(key) is not str or not key.isascii():
                return False
        return True
    return False


_PLAIN_LEAVES = frozenset({str, bool, type(None)})


def check_depth(value: Any, limit: int = MAX_DEPTH) -> None:
    """Raise `NotCanonical` if a value is nested deeper than `limit`."""
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
    raise NotCanonical(f"The value is nested too deeply (max {limit} levels).")


def check_numbers(value: Any) -> None:
    """Raise `NotCanonical` for a number that the database would return as another.

    It returns 1e16 as an integer, which has no canonical form.
    """
    rest = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, dict):
            rest.extend(item.values())
        elif isinstance(item, list):
            rest.extend(item)
        elif isinstance(item, int | float) and abs(item) > LARGEST_SAFE_INTEGER:
            largest = f"{LARGEST_SAFE_INTEGER:,}"
            raise NotCanonical(f"It has a number that is too large (max {largest}).")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                message = f"duplicate key {key!r}"
                raise ValueError(message)
            seen.add(key)
    return value


def _refuse(constant: str) -> None:
    message = f"{constant} is not JSON"
    raise ValueError(message)
