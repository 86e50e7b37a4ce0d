"""Secrets never leave the worker: values are masked before anything is stored or sent."""

import base64
import html
import json
import urllib.parse
from collections.abc import Iterable
from typing import Any

MASK = "[masked]"
SHORTEST = 4


class Masker:
    """Replaces secret values, and the forms they are usually leaked in, by a mask."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in _forms(secret)}
        self._forms = sorted(forms, key=len, reverse=True)

    @property
    def longest(self) -> int:
        """Length of the longest form: how much text a streaming caller holds back."""
        return len(self._forms[0]) if self._forms else 0

    def text(self, value: str) -> str:
        """`value` with every known form of every secret replaced."""
        for form in self._forms:
            value = value.replace(form, MASK)
        return value

    def value(self, value: Any) -> Any:
        """A JSON value with every string in it, keys included, masked."""
        if not self._forms:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(k)): self.value(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.value(item) for item in value]
        return value


def _forms(secret: str) -> set[str]:
    """The literal and its derived forms; too short a secret would mask everything."""
    if len(secret) < SHORTEST:
        return set()
    raw = secret.encode()
    forms = {
        secret,
        raw.hex(),
        raw.hex().upper(),
        urllib.parse.quote(secret, safe=""),
        urllib.parse.quote_plus(secret),
        html.escape(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
    }
    for shift in range(3):
        # Base64 works in groups of three bytes, so the same secret has three
        # encodings; the outer characters depend on its neighbours and are dropped.
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(b"\0" * shift + raw).decode().rstrip("=")
            head = -(-shift * 8 // 6)
            tail = (len(raw) + shift) % 3
            inner = encoded[head : len(encoded) - (1 if tail else 0)]
            if len(inner) >= SHORTEST:
                forms.add(inner)
    return forms
