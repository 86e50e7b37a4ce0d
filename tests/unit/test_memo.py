"""The cache by digest: equal bytes are read once, and the cache stays bounded."""

from execfabric.lib.memo import DigestCache


def test_equal_bytes_are_read_once_and_the_oldest_make_room() -> None:
    reads: list[bytes] = []

    def decode(body: bytes) -> str:
        reads.append(body)
        return body.decode()

    read = DigestCache(decode, max_bytes=10)

    assert [read(b"aaaa"), read(b"aaaa"), read(b"bbbb")] == ["aaaa", "aaaa", "bbbb"]
    assert reads == [b"aaaa", b"bbbb"]

    read(b"cccc")
    assert [read(b"bbbb"), read(b"aaaa")] == ["bbbb", "aaaa"]
    assert reads == [b"aaaa", b"bbbb", b"cccc", b"aaaa"]


def test_bytes_larger_than_the_cache_are_read_every_time() -> None:
    reads: list[bytes] = []

    def measure(body: bytes) -> int:
        reads.append(body)
        return len(body)

    read = DigestCache(measure, max_bytes=3)

    assert [read(b"aaaa"), read(b"aaaa")] == [4, 4]
    assert len(reads) == 2
