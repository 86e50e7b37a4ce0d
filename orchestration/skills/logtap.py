"""What a call writes, made fit to keep: decoded, bounded, and masked across chunks."""

import codecs

from execfabric.lib.masking import Masker

LOG_LIMIT = 1024 * 1024


class LogTap:
    """Takes bytes as they come and gives back text that may be stored."""

    def __init__(self, masker: Masker, limit: int = LOG_LIMIT) -> None:
        self._masker = masker
        self._overlap = max(masker.longest - 1, 0)
        self._held = ""
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._room = limit
        self.dropped = 0
        """Bytes that were not kept."""

    def feed(self, chunk: bytes) -> str:
        """Add bytes; the text that is now safe to show, often less than was added."""
        kept = chunk[: self._room]
        self._room -= len(kept)
        self.dropped += len(chunk) - len(kept)
        self._held += self._decode(kept).replace("\0", "\N{REPLACEMENT CHARACTER}")
        return self._release(self._cut())

    def finish(self) -> str:
        """The rest, and a line that says so when something was not kept."""
        if not self.dropped:
            self._held += self._decode(b"", final=True)
            return self._release(len(self._held))
        # What is held back may be the first part of a secret that was cut off.
        return f"\n[{self.dropped} bytes of output were not kept]\n"

    def _release(self, cut: int) -> str:
        text, self._held = self._held[:cut], self._held[cut:]
        return self._masker.text(text)

    def _cut(self) -> int:
        """Where the held text may be cut without cutting through a secret."""
        cut = len(self._held) - self._overlap
        while cut > 0 and self._splits(cut):
            cut -= 1
        return max(cut, 0)

    def _splits(self, cut: int) -> bool:
        if not self._overlap:
            return False
        before = self._held[max(0, cut - self._overlap) : cut]
        after = self._held[cut : cut + self._overlap]
        mask = self._masker.text
        return mask(before) + mask(after) != mask(before + after)
