"""Characters that look like others (UTS 39).

Our own tables, because confusable-homoglyphs does not know full-width letters, slashes
that are not "/", or Latin letters such as a dotless i. Python has no script property,
so the first word of a character's name is used.
"""

import unicodedata
from functools import cache

LATIN = "LATIN"
EAST_ASIAN = frozenset({"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", LATIN})
"""Scripts that may be mixed in one word."""
ANY = frozenset(
    {"COMBINING", "DIGIT", "MODIFIER", "SUPERSCRIPT", "SUBSCRIPT", "VULGAR"}
)
# fmt: off
SCRIPTS = frozenset(
    {
        "LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "HEBREW", "ARABIC", "DEVANAGARI",
        "BENGALI", "THAI", "GEORGIAN", "HANGUL", "ETHIOPIC", "CHEROKEE", "COPTIC",
        "GLAGOLITIC", "GOTHIC", "DESERET", "LISU", "KHMER", "LAO", "TIBETAN",
        "MYANMAR", "TAMIL", "TELUGU", "KANNADA", "MALAYALAM", "SINHALA", "MONGOLIAN",
        "HIRAGANA", "KATAKANA", "BOPOMOFO", "CJK", "OSAGE", "VAI", "YI", "TIFINAGH",
        "NKO", "SYRIAC", "RUNIC", "OGHAM", "CANADIAN", "GUJARATI", "GURMUKHI", "ORIYA",
        "LYCIAN", "CARIAN", "LYDIAN", "OSMANYA", "WARANG",
    }
)
# fmt: on

# Letters that look like a Latin one in common fonts. A word of such letters alone looks
# Latin although it does not mix scripts.
_CYRILLIC = "аеорсухіјѕһԁԛԝӏАВЕКМНОРСТУХІЈЅҺԚԜӀҮүѵѴЬ"
_GREEK = "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧονραιυγ"
_ARMENIAN = "օոսհցզղքԼՕՍՈՏ"
_CHEROKEE = "ᎠᎡᎢᎥᎩᎪᎫᎬᎳᎵᎷᎻᎽᏀᏂᏃᏎᏏᏒᏔᏙᏚᏞᏟᏢᏦᏧᏴᏳ"
_LATIN_TWINS = "ıɑɡɩʟɪʀᴀᴄᴅᴇᴊᴋᴍᴏᴘᴛᴜᴠᴡᴢꜱȷſƖǀǃ"
TWINS = frozenset(_CYRILLIC + _GREEK + _ARMENIAN + _CHEROKEE)

ORDINARY = frozenset("…™")
"""Common in prose, and visibly different from the characters they stand for."""

SIGNS = frozenset(
    "\u2044\u2215\u29f8\u2571\u3033\u2216\u29f5\u29f9"  # slashes
    "\u2024\u2027\u0660\u06d4\u0701\u0702"  # full stops
    "\u2010\u2011\u2012\u2212\u02d7\u2796"  # hyphens and minus
    "\u02d0\ua789\u2236\u05c3\u0589\u0703\u0704\u16ec"  # colons
    "\u037e\u061b\u201a\u066b\u060c"  # semicolons and commas
    "\u02bc\u02b9\u02bb\u02bd\u02c8\u2032\u05f3\u05f4\u2033\u02ba"  # apostrophes, quotes
    "\u2223\u01c0\u05c0\u2758\u23d0\u2502"  # vertical bars
    "\u01c3\u2d51\u203c"  # exclamation marks
    "\u204e\u2217\u066d"  # asterisks
    "\u02dc\u223c\u2053"  # tildes
    "\u02c2\u2039\u276e\u02c3\u203a\u276f"  # angle brackets
    "\u2768\u2769\u2772\u2773\u2774\u2775"  # brackets
    "\u2797\u2795\uff0b\u16eb\u02c4\u02c6"  # operators
)


def suspects(word: str) -> frozenset[str]:
    letters = [character for character in word if not character.isascii()]
    compatible = frozenset(c for c in letters if is_compatibility(c))
    scripts = {script for character in word if (script := script_of(character))}
    if len(scripts) > 1 and not scripts <= EAST_ASIAN:
        home = LATIN if LATIN in scripts else script_of(word[0])
        mixed = frozenset(c for c in letters if script_of(c) not in {"", home})
        return mixed | compatible | _twins(letters)
    drawn = [c for c in word if c.isalpha()]
    if drawn and not word.isascii() and all(c in TWINS for c in drawn):
        return frozenset(drawn) | compatible
    return compatible | _twins(letters)


@cache
def script_of(character: str) -> str:
    """Return a script such as `LATIN`, or "" for a character of all scripts."""
    if character.isascii():
        return LATIN if character.isalpha() else ""
    first = unicodedata.name(character, "").partition(" ")[0].partition("-")[0]
    if first in ANY or not character.isalpha():
        return ""
    return first if first in SCRIPTS else ""


@cache
def is_compatibility(character: str) -> bool:
    """Return True for a variant of ASCII: full width, mathematical, enclosed."""
    if character.isascii() or character in ORDINARY:
        return False
    plain = unicodedata.normalize("NFKC", character)
    return plain != character and plain.isascii() and not plain.isspace()


def _twins(letters: list[str]) -> frozenset[str]:
    return frozenset(c for c in letters if c in _LATIN_TWINS)
