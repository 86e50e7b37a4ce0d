"""What a call writes, made fit to store: decoded, and masked across chunks."""

import codecs

from execfabric.lib.masking import Masker


class LogTap:
    """Takes bytes as they come and returns text that may be stored."""

    def __init__(self, masker: Masker) -> None:
        self._masked = masker.stream()
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def feed(self, chunk: bytes) -> str:
        """Add bytes; return the text that is now safe to show."""
        return _storable(self._decode(self._masked.feed(chunk)))

    def finish(self) -> str:
        """Return the rest."""
        return _storable(self._decode(self._masked.finish(), final=True))


def _storable(text: str) -> str:
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
