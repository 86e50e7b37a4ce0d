"""What counts as text that a person can read."""

import pytest

from execfabric.lib.text import is_visible


@pytest.mark.parametrize(
    "text", ["a", " 1 ", "é", "漢", "👍", "\u200bx", "?", "\u0301e", "-"]
)
def test_text_with_a_visible_character_is_visible(text) -> None:
    assert is_visible(text)


@pytest.mark.parametrize(
    "text",
    ["", " ", "\n\t", "\u200b\u2060", "\u202e", "\u00ad", "\u3164", "\u2800", "\ufeff",
     "\u00a0", "\u115f", "\ufe0f", "\u0301", "\x00"],
)  # fmt: skip
def test_text_that_shows_nothing_is_not(text) -> None:
    assert not is_visible(text)
