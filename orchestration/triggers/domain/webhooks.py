"""Standard Webhooks: the signature of a request, and values of its body as inputs.

The specification is at standardwebhooks.com. Its Python library reads the clock itself, and
fails on malformed headers with errors of other kinds.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestration.triggers.errors import (
    HookHeadersInvalid,
    HookSignatureInvalid,
    HookTimestampInvalid,
    MappingInvalid,
)

TOLERANCE = timedelta(minutes=5)
PREFIX = "whsec_"
VERSION = "v1"
MOST_SIGNATURES = 10
"""Signatures in one header; a sender that rotates its secret sends two."""
MOST_MAPPED = 100
LONGEST_POINTER = 500
_ID = re.compile(r"[!-~]{1,200}")
_SECONDS = re.compile(r"\d{1,11}")
_POINTER = re.compile(r"(/([^~/]|~[01])*)*")
_MISSING = object()


@dataclass(frozen=True)
class SignedHeaders:
    """The three headers of a request, in their form."""

    id: str
    timestamp: str
    signatures: tuple[bytes, ...]


def secret_text(secret: bytes) -> str:
    """Return a secret in the form that senders are given."""
    return PREFIX + base64.b64encode(secret).decode()


def signature(secret: bytes, webhook_id: str, timestamp: str, body: bytes) -> bytes:
    """Return the signature of a request."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return hmac.digest(secret, signed, hashlib.sha256)


def headers_of(headers: Mapping[str, str]) -> SignedHeaders:
    """Read the headers of a request.

    :raises HookHeadersInvalid: when one is missing or invalid
    """
    webhook_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    signatures = tuple(_signatures(headers.get("webhook-signature", "")))
    has_form = _ID.fullmatch(webhook_id) and _SECONDS.fullmatch(timestamp)
    if not has_form or not signatures:
        raise HookHeadersInvalid
    return SignedHeaders(webhook_id, timestamp, signatures)


def verify(
    signed: SignedHeaders, body: bytes, *, secrets: Iterable[bytes], at: datetime
) -> None:
    """Verify the time and the signature of a request.

    :raises HookTimestampInvalid: when it was signed too long ago, or in the future
    :raises HookSignatureInvalid: when no signature matches one of the secrets
    """
    signed_at = datetime.fromtimestamp(int(signed.timestamp), tz=UTC)
    if abs(at - signed_at) > TOLERANCE:
        raise HookTimestampInvalid
    expected = [signature(s, signed.id, signed.timestamp, body) for s in secrets]
    # All pairs are compared, so the time does not depend on which one matches.
    matches = [
        hmac.compare_digest(one, other)
        for one in expected
        for other in signed.signatures
    ]
    if not any(matches):
        raise HookSignatureInvalid


def check_mapping(mapping: Mapping[str, str]) -> None:
    """Check that each value of a mapping is a JSON Pointer (RFC 6901).

    :raises MappingInvalid: with the first one that is not
    """
    if len(mapping) > MOST_MAPPED:
        raise MappingInvalid(f"The mapping has too many inputs (max {MOST_MAPPED}).")
    for name, pointer in mapping.items():
        if len(pointer) > LONGEST_POINTER or not _POINTER.fullmatch(pointer):
            raise MappingInvalid(
                f"Invalid JSON Pointer {pointer[:100]!r} of input {name!r}: write it as"
                " /name/0/name."
            )


def mapped(mapping: Mapping[str, str], body: Any) -> dict[str, Any]:
    """Return the inputs whose values the body has; the others are left out."""
    found = {name: _value(body, pointer) for name, pointer in mapping.items()}
    return {name: value for name, value in found.items() if value is not _MISSING}


def _value(body: Any, pointer: str) -> Any:
    """Return the value that a JSON Pointer points to."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(body, dict):
            body = body.get(key, _MISSING)
        elif isinstance(body, list) and _is_index(key) and int(key) < len(body):
            body = body[int(key)]
        else:
            return _MISSING
    return body


def _is_index(key: str) -> bool:
    """Return True for an array index of RFC 6901, which has no leading zero."""
    return re.fullmatch(r"0|[1-9][0-9]{0,8}", key) is not None


def _signatures(header: str) -> Iterable[bytes]:
    for entry in header.split(" ")[:MOST_SIGNATURES]:
        version, _, text = entry.partition(",")
        if version == VERSION:
            try:
                digest = base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                continue
            if len(digest) == hashlib.sha256().digest_size:
                yield digest
