"""What a call writes, made fit to store: decoded, bounded, and masked across chunks."""

import codecs

from execfabric.lib.masking import Masker

LOG_LIMIT = 1024 * 1024


class LogTap:
    """Takes bytes as they come and returns text that may be stored."""

    def __init__(self, masker: Masker, limit: int = LOG_LIMIT) -> None:
        self._masked = masker.stream()
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._room = limit
        self.dropped = 0
        """Bytes that were not stored."""

    def feed(self, chunk: bytes) -> str:
        """Add bytes; return the text that is now safe to show."""
        kept = chunk[: self._room]
        self._room -= len(kept)
        self.dropped += len(chunk) - len(kept)
        return _storable(self._decode(self._masked.feed(kept)))

    def finish(self) -> str:
        """Return the rest, and a line that says how much was not stored."""
        if not self.dropped:
            return _storable(self._decode(self._masked.finish(), final=True))
        # What is held back may be the first part of a secret that was cut off.
        return f"\n[{self.dropped} bytes of output were not kept]\n"


def _storable(text: str) -> str:
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
