"""Mask secret values before a worker stores or sends anything."""

import base64
import html
import json
import re
import urllib.parse
from collections.abc import Iterable, Sequence
from typing import Any

MASK = "[masked]"
SHORTEST = 4


class Masker:
    """Replace secret values and their usual encodings by a mask."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form.encode() for secret in secrets for form in _forms(secret)}
        self.forms = sorted(forms, key=len, reverse=True)
        """Forms to replace, in UTF-8, longest first."""

    def text(self, value: str) -> str:
        """Return `value` with all forms of all secrets masked."""
        if not self.forms:
            return value
        # A JSON string may have a lone surrogate, which is refused elsewhere.
        return self.content(value.encode(errors="surrogatepass")).decode(
            errors="surrogatepass"
        )

    def content(self, value: bytes) -> bytes:
        """Return `value` with all forms of all secrets masked."""
        stream = self.stream()
        return stream.feed(value) + stream.finish()

    def value(self, value: Any) -> Any:
        """Return a JSON value with all its strings masked, keys included."""
        if not self.forms:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(k)): self.value(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.value(item) for item in value]
        return value

    def stream(self) -> "MaskedStream":
        """Return a stream that masks UTF-8 text in chunks."""
        return MaskedStream(self.forms)

    def finder(self) -> "Finder":
        """Return a search for secrets in any bytes, UTF-16 included."""
        texts = [form.decode() for form in self.forms]
        wide = [
            text.encode(encoding)
            for text in texts
            for encoding in ("utf-16-le", "utf-16-be")
        ]
        return Finder([*self.forms, *wide])


class MaskedStream:
    """Mask chunks of bytes; hold back bytes that may start a secret."""

    def __init__(self, forms: Sequence[bytes]) -> None:
        self._forms = forms
        # A look-ahead matches overlapping forms too.
        self._anywhere = re.compile(b"(?=(" + b"|".join(map(re.escape, forms)) + b"))")
        self._overlap = len(forms[0]) - 1 if forms else 0
        self._held = b""
        self._covered = 0
        """Number of held bytes whose mask has been returned."""

    def feed(self, chunk: bytes) -> bytes:
        """Add bytes; return those that are safe now."""
        self._held += chunk
        return self._release(max(0, len(self._held) - self._overlap))

    def finish(self) -> bytes:
        """End the stream; return the held bytes, masked."""
        return self._release(len(self._held))

    def _release(self, limit: int) -> bytes:
        """Mask the forms that start before `limit`; return the bytes up to it."""
        parts, end = [], self._covered
        if any(form in self._held for form in self._forms):
            for match in self._anywhere.finditer(self._held):
                start, stop = match.span(1)
                if start >= limit:
                    break
                if start >= end:
                    parts += [self._held[end:start], MASK.encode()]
                end = max(end, stop)
        parts.append(self._held[end:limit])
        self._held, self._covered = self._held[limit:], max(0, end - limit)
        return b"".join(parts)


class Finder:
    """Search chunks of bytes for forms of secrets."""

    def __init__(self, forms: Sequence[bytes]) -> None:
        self._forms = forms
        self._overlap = max(map(len, forms), default=1) - 1
        self._held = b""

    def finds(self, chunk: bytes) -> bool:
        """Add bytes; return True if a form ends in them."""
        self._held += chunk
        if any(form in self._held for form in self._forms):
            return True
        self._held = self._held[max(0, len(self._held) - self._overlap) :]
        return False


def _forms(secret: str) -> set[str]:
    """Return a secret and its encodings; none for one that is too short."""
    if len(secret) < SHORTEST:
        return set()
    raw = secret.encode()
    quoted = {
        urllib.parse.quote(secret, safe=""),
        urllib.parse.quote(secret),
        urllib.parse.quote_plus(secret),
    }
    forms = {
        secret,
        raw.hex(),
        raw.hex().upper(),
        *quoted,
        *(re.sub("%..", lambda match: match[0].lower(), form) for form in quoted),
        html.escape(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
    }
    for shift in range(3):
        # Base64 encodes groups of three bytes, so a secret has three encodings. The
        # outer characters depend on the bytes around it and are dropped.
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(b"\0" * shift + raw).decode().rstrip("=")
            head = -(-shift * 8 // 6)
            tail = (len(raw) + shift) % 3
            inner = encoded[head : len(encoded) - (1 if tail else 0)]
            if len(inner) >= SHORTEST:
                forms.add(inner)
    return forms
