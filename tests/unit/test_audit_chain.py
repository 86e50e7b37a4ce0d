"""Whatever is done to a stream afterwards is found, and named at the right event."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.domain import chain
from audit.domain.chain import GENESIS, Fact, Link, Verified
from execfabric.lib import canonical
from execfabric.lib.actor import system

NOON = datetime(2026, 6, 1, 12, 0, 0, 123456, tzinfo=UTC)
BY = system("worker")
STREAM = "run:1"
LENGTH = 5


def a_link(seq: int, prev: bytes, *, kind: str = "step.claimed") -> Link:
    body = chain.write(
        stream=STREAM,
        seq=seq,
        prev=prev,
        fact=Fact(kind, {"n": seq}, step="s1"),
        by=BY,
        at=NOON,
        trace_id="t" * 32,
    )
    return as_link(body)


def as_link(body: bytes) -> Link:
    """Return the row that belongs to a body."""
    value = canonical.loads(body)
    return Link(
        stream=value["stream"],
        seq=value["seq"],
        kind=value["kind"],
        at=datetime.fromisoformat(value["at"]),
        actor=f"{value['actor']['kind']}:{value['actor']['id']}",
        actor_name=value["actor"]["name"],
        trace_id=value["traceId"],
        step=value["step"],
        body=body,
        hash=chain.leaf(body),
    )


def a_stream(length: int = LENGTH) -> list[Link]:
    links: list[Link] = []
    for seq in range(1, length + 1):
        links.append(a_link(seq, links[-1].hash if links else GENESIS))
    return links


def verified(links: list[Link], *, last: int = LENGTH, head: bytes = b"") -> Verified:
    """Check against the head of the untouched stream, unless told otherwise."""
    return chain.verify(STREAM, links, last_seq=last, head=head or a_stream()[-1].hash)


def edited(link: Link, **fields: Any) -> Link:
    """Return an event with other content and a hash that fits it."""
    body = canonical.dumps(canonical.loads(link.body) | fields)
    return as_link(body)


def put(links: list[Link], seq: int, link: Link) -> list[Link]:
    return [link if one.seq == seq else one for one in links]


def test_an_untouched_stream_verifies():
    found = verified(a_stream())

    assert found == Verified(STREAM, LENGTH, a_stream()[-1].hash.hex())


def test_an_empty_stream_verifies():
    assert chain.verify(STREAM, [], last_seq=0, head=GENESIS).broken is None


def test_the_leaf_hash_is_that_of_rfc_6962():
    empty = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"

    assert chain.leaf(b"").hex() == empty


@pytest.mark.parametrize("seq", range(1, LENGTH + 1))
def test_every_flipped_bit_of_an_event_is_named_at_that_event(seq):
    links = a_stream()
    target = links[seq - 1]

    for place in range(len(target.body)):
        for bit in (0x01, 0x80):
            body = bytearray(target.body)
            body[place] ^= bit
            found = verified(put(links, seq, replace(target, body=bytes(body))))
            assert found.broken is not None
            assert found.broken.seq == seq


@given(st.integers(1, LENGTH), st.integers(0, 31), st.integers(1, 255))
def test_every_changed_byte_of_a_hash_is_named_at_that_event(seq, place, mask):
    links = a_stream()
    changed = bytearray(links[seq - 1].hash)
    changed[place] ^= mask

    found = verified(put(links, seq, replace(links[seq - 1], hash=bytes(changed))))

    assert found.broken is not None
    assert found.broken.seq == seq


DONE_TO_A_STREAM = [
    pytest.param(lambda s: s[:2] + s[3:], 3, "missing", id="one deleted"),
    pytest.param(lambda s: s[1:], 1, "missing", id="the first deleted"),
    pytest.param(lambda s: s[:-1], 5, "at the end", id="the tail cut off"),
    pytest.param(lambda s: [], 1, "at the end", id="all deleted"),
    pytest.param(lambda s: [*s[:2], s[1], *s[2:]], 3, "missing", id="one doubled"),
    pytest.param(lambda s: [s[0], s[2], s[1], *s[3:]], 2, "missing", id="two swapped"),
    pytest.param(
        lambda s: [s[0], edited(s[2], seq=2), edited(s[1], seq=3), *s[3:]],
        2,
        "the hash of the previous event",
        id="two swapped with each other's place",
    ),
    pytest.param(
        lambda s: [*s, a_link(6, s[-1].hash)],
        6,
        "after the end",
        id="one added at the end",
    ),
    pytest.param(
        lambda s: put(s, 3, edited(s[2], payload={"n": 99})),
        4,
        "the hash of the previous event",
        id="one edited with its hash, not the chain",
    ),
    pytest.param(
        lambda s: [*s[:2], *rewritten(s, 3)],
        5,
        "the last event is not",
        id="the chain from one on",
    ),
    pytest.param(
        lambda s: put(s, 3, edited(s[2], prev=s[0].hash.hex())),
        3,
        "the hash of the previous event",
        id="another predecessor named",
    ),
]


def rewritten(links: list[Link], seq: int) -> list[Link]:
    """Return the stream from one event on, forged with all that follow."""
    made: list[Link] = []
    prev = links[seq - 2].hash
    for place in range(seq, LENGTH + 1):
        made.append(a_link(place, prev, kind="step.forged"))
        prev = made[-1].hash
    return made


@pytest.mark.parametrize(("change", "seq", "reason"), DONE_TO_A_STREAM)
def test_what_is_done_to_a_stream_is_found_and_named(change, seq, reason):
    found = verified(change(a_stream())).broken

    assert found is not None
    assert (found.stream, found.seq) == (STREAM, seq)
    assert reason in found.reason


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stream", "run:2"),
        ("kind", "step.succeeded"),
        ("at", datetime(2026, 6, 1, 13, tzinfo=UTC)),
        ("actor", "user:1"),
        ("actor_name", "forged-name"),
        ("trace_id", "u" * 32),
        ("step", "s2"),
    ],
)
def test_a_column_that_differs_from_the_body_is_named(field, value):
    links = a_stream()

    found = verified(put(links, 3, replace(links[2], **{field: value}))).broken

    assert found is not None
    assert found.seq == 3
    assert found.reason == f"the column {field} differs from the body"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="no JSON"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b'{"a":1,"a":2}', id="a key twice"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b'{"actor":1,"prev":"%s"}', id="an actor that is none"),
    ],
)
def test_a_body_that_is_no_event_is_a_break_and_no_crash(body):
    links = a_stream()
    body = body.replace(b"%s", links[1].hash.hex().encode())
    forged = replace(links[2], body=body, hash=chain.leaf(body))

    found = verified(put(links, 3, forged)).broken

    assert found is not None
    assert found.seq == 3
