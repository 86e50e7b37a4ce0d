"""Text from strangers: complete on the page, with nothing in it that can deceive."""

import hashlib

import pytest

from execfabric.lib import canonical
from execfabric.web import values
from execfabric.web.shown import CLOSE, OPEN, Shown, Sort, shown, warnings_of
from execfabric.web.templatetags.shown import shown as drawn
from execfabric.web.templatetags.shown import shown_value

BIDI = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
INVISIBLE = [
    0x00AD,
    0x034F,
    0x115F,
    0x180E,
    *range(0x200B, 0x200E),
    *range(0x2060, 0x2065),
]
INVISIBLE += [0x2800, 0x3164, 0xFEFF, 0xFFA0, 0xFE0F, 0xE0100, 0x1D159, 0xFFF9, 0x2028]
TAGS = [0xE0001, *range(0xE0020, 0xE0080)]
CONTROLS = [*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0), 0x09]
SPACES = [0x00A0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000]
PRIVATE = [0xE000, 0xF8FF, 0xF0000, 0xFFFE, 0x10FFFF]
HIDDEN = [*BIDI, *INVISIBLE, *TAGS, *CONTROLS, *SPACES, *PRIVATE]


HIDDEN_FRAMES = [
    "",
    "plain words",
    "p\u0430ypal \u0440\u0430\u0443",
    "ａdmin 𝐚dmin",
    "Привет, как дела",
    "日本語のテキストとLatin",
    "a\u0336b and e\u0301\u0301\u0301\u0301",
    "\u0301 alone",
    "a" + " " * 20 + "b\n\n\n\n\nc",
    "\u05e9\u05dc\u05d5\u05dd x\u2215y",
    *(f"x{chr(code)}y" for code in HIDDEN[::7]),
]


def text_of(found: Shown) -> str:
    return "".join(piece.text for piece in found.pieces)


@pytest.mark.parametrize("code", HIDDEN, ids=lambda code: f"U+{code:04X}")
@pytest.mark.parametrize("frame", ["safe{}txt.exe", "{}", "a{0}{0}b", "日本{}語"])
def test_a_character_that_hides_or_reorders_is_never_drawn_itself(code, frame) -> None:
    character = chr(code)

    found = shown(frame.format(character))

    assert character not in text_of(found)
    assert text_of(found).count(f"{OPEN}U+{code:04X}{CLOSE}") == frame.count("{")
    assert found.warnings


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("restart payments-api in prod", id="words"),
        pytest.param("SELECT a, b\nFROM t\n\nWHERE a = 'x'", id="lines"),
        pytest.param("naïve café, Grüße", id="accents"),
        pytest.param("Привет, как дела", id="Russian words"),
        pytest.param("日本語のテキストとLatin", id="Japanese with Latin"),
        pytest.param("한국어 텍스트", id="Korean"),
        pytest.param("5 µm…", id="common signs"),
        pytest.param("", id="nothing"),
    ],
)
def test_honest_text_is_shown_as_it_is_and_without_a_warning(text) -> None:
    found = shown(text)

    assert text_of(found) == text
    assert not found.warnings


@pytest.mark.parametrize(
    ("text", "alike"),
    [
        pytest.param("p\u0430ypal", "\u0430", id="one Cyrillic letter in a Latin word"),
        pytest.param("\u0440\u0430\u0443", "\u0440\u0430\u0443", id="a word of twins"),
        pytest.param("\u039f\u039a", "\u039f\u039a", id="Greek capitals"),
        pytest.param("gοοgle", "ο", id="Greek omicron"),
        pytest.param("ａdmin", "ａ", id="full width"),
        pytest.param("𝐚dmin", "𝐚", id="mathematical"),
        pytest.param("adm\u0131n", "\u0131", id="dotless i"),
        pytest.param("https:\u2215\u2215host", "\u2215", id="division slash"),
        pytest.param("a\u2024b", "\u2024", id="one dot leader"),
        pytest.param("rm \u2212rf", "\u2212", id="minus sign"),
        pytest.param("x\uff1by", "\uff1b", id="full width semicolon"),
    ],
)
def test_a_look_alike_is_drawn_with_its_number_beside_it(text, alike) -> None:
    found = shown(text)

    for character in alike:
        assert f"{character}{OPEN}U+{ord(character):04X}{CLOSE}" in text_of(found)
    assert found.warnings


def test_nobody_can_write_a_mark_themselves() -> None:
    found = shown(f"{OPEN}U+202E{CLOSE}")

    assert text_of(found) == f"{OPEN}U+27E6{CLOSE}U+202E{OPEN}U+27E7{CLOSE}"


def test_marks_that_pile_up_or_strike_out_are_written_out() -> None:
    piled, struck = shown("a\u0301\u0301\u0301\u0301"), shown("a\u0336")

    assert text_of(piled).count("U+0301") == 2
    assert text_of(struck) == f"a{OPEN}U+0336{CLOSE}"


def test_long_blank_stretches_are_counted_not_drawn() -> None:
    found = shown("safe" + " " * 400 + "rm" + "\n" * 90 + "end")

    assert (
        text_of(found) == f"safe{OPEN}400 spaces{CLOSE}rm{OPEN}90 line breaks{CLOSE}end"
    )
    assert found.characters == 4 + 400 + 2 + 90 + 3


def test_right_to_left_runs_are_kept_to_themselves() -> None:
    found = shown("pay 100 שלום 200")

    assert [(piece.sort, piece.text) for piece in found.pieces] == [
        (Sort.PLAIN, "pay 100 "),
        (Sort.RIGHT_TO_LEFT, "שלום"),
        (Sort.PLAIN, " 200"),
    ]


def test_text_that_is_not_in_normal_form_says_so() -> None:
    assert "NFC" in " ".join(shown("caf\u0065\u0301").warnings)


def test_spaces_at_the_ends_are_pointed_out() -> None:
    assert shown(" x").warnings == shown("x ").warnings != ()


def test_size_is_that_of_the_text_not_of_what_is_drawn() -> None:
    found = shown("a\u202e\u00e9")

    assert (found.characters, found.bytes) == (3, 6)


@pytest.mark.parametrize(
    "payload",
    [
        "<script>alert(1)</script>",
        '<div hx-get="/x" hx-trigger="load">',
        '"><img src=x onerror=alert(1)>',
        "&lt;b&gt;",
        "</bdi></mark><a href='javascript:1'>",
    ],
)
def test_markup_stays_text(payload) -> None:
    html = drawn(payload)

    assert "<script" not in html
    assert "<img" not in html
    assert "<div" not in html
    assert "<a " not in html
    assert html.startswith('<bdi class="shown" dir="ltr">')


def test_a_value_is_shown_with_every_leaf_of_it() -> None:
    value = {"a": [1, "x", None, True, {}, []], "b": {"$secret": "key"}, "c\u202e": 1.5}

    lines = values.excerpt(value).rows

    told = [
        (line.depth, text_of(line.name) if line.name else "", line.kind)
        for line in lines
    ]
    assert told == [
        (0, "a", "list"),
        (1, "", "number"),
        (1, "", "text"),
        (1, "", "nothing"),
        (1, "", "truth"),
        (1, "", "object"),
        (1, "", "numbers"),
        (0, "b", "secret"),
        (0, f"c{OPEN}U+202E{CLOSE}", "number"),
    ]


def test_a_large_value_is_drawn_from_its_start_and_counted_as_a_whole() -> None:
    value = {"long": "x" * 1_000_000 + "END", "rows": [{"n": n} for n in range(40_000)]}

    part = values.excerpt(value)
    html = shown_value(value)

    assert part.is_cut
    assert part.lines <= values.LINES
    assert part.total_lines == 1 + 1 + 80_000
    assert part.bytes == len(canonical.dumps(value))
    assert part.sha256 == hashlib.sha256(canonical.dumps(value)).hexdigest()
    assert "1.0 MB" in html
    assert len(html) < 40_000


def test_a_thousand_levels_do_not_exhaust_the_stack() -> None:
    deep: object = "the bottom"
    for level in range(1000):
        deep = {f"level-{level}": deep}

    part = values.excerpt(deep)

    assert (part.lines, part.total_lines) == (values.LINES, 1000)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("a\n" * 5000, id="lines in one text"),
        pytest.param("\u202e" * 5000, id="marks in one text"),
        pytest.param({"k" * 900_000: 1}, id="a long key"),
        pytest.param([["x"]] * 5000, id="nested lists"),
        pytest.param(list(range(200_000)), id="numbers"),
        pytest.param('"<&' * 300_000, id="characters that are escaped"),
    ],
)
def test_no_value_makes_a_large_page(value) -> None:
    html = shown_value({"value": value})

    assert len(html) < 150_000
    assert "(continues)" in html or f"{values.LINES} of " in html


@pytest.mark.parametrize(
    "text",
    [*(chr(code) for code in HIDDEN), "p\u0430ypal", "e\u0301", "\n" * 4, "a  ", " a"],
    ids=ascii,
)
def test_what_deceives_is_named_also_where_it_is_not_drawn(text) -> None:
    beyond = [{"n": n} for n in range(500)] + [{"note": f"x{text}"}]

    part = values.excerpt(beyond)

    assert part.is_cut
    assert set(part.warnings) == set(shown(f"x{text}").warnings)


@pytest.mark.parametrize("text", HIDDEN_FRAMES)
def test_warnings_are_the_same_whether_a_text_is_drawn_or_not(text) -> None:
    assert set(warnings_of(text)) == set(shown(text).warnings)


def test_a_secret_is_shown_as_a_reference() -> None:
    html = shown_value({"password": {"$secret": "smtp-password"}})

    assert "smtp-password" in html
    assert "its value is never shown" in html
