"""The texts of the product are gathered completely, for the people who read them."""

import ast

from tests.reading import contracts, python_code, templates
from tests.reading.text import DOCSTRING, ERROR, PROJECT, UI, Text
from tests.reading.words import forbidden

STORED = {"Nobody knows whether step {…} had its effect."}
"""Sentences that older releases have stored, which the code must still recognize."""
PYTHON = '''
"""Read a file."""
LIMIT = 3
"""Files at most."""
class Missing(Refusal):
    """Unknown file."""
def read(name):
    """Return the file."""
    log.info("File was read: %s", name)
    raise Missing(f"Cannot read {name}: it is gone.")
def label():
    return Field(label="Name", value="a technical-string", text="Ask an admin.")
'''
TEMPLATE = """{# Not this #}<p title="Of the file">Read by
<strong>{{ name }}</strong> {% if late %}late{% else %}in time{% endif %}.</p>
<script>Not this</script>{% digest value "file digest" %}<h2>Files</h2>"""


def test_python_texts_are_gathered_by_kind():
    reader = python_code._Reader(PROJECT / "a.py", {"Missing"}, {"Missing"})

    texts = {(t.kind, t.line, t.words) for t in reader.read(ast.parse(PYTHON))}

    assert texts == {
        (DOCSTRING, 2, "Read a file."),
        (DOCSTRING, 4, "Files at most."),
        (ERROR, 6, "Unknown file."),
        (DOCSTRING, 8, "Return the file."),
        (ERROR, 10, "Cannot read {…}: it is gone."),
        (UI, 12, "Name"),
        (UI, 12, "Ask an admin."),
    }


def test_template_texts_are_gathered():
    page = PROJECT / "a.html"

    texts = {(t.line, t.words) for t in templates.of_template(page, TEMPLATE)}

    assert texts == {
        (1, "Of the file"),
        (1, "Read by {…} [late / in time]."),
        (3, "file digest"),
        (3, "Files"),
    }


def test_the_word_list_finds_what_it_should():
    def found(words, kind=DOCSTRING):
        return len(list(forbidden(Text("a.py", 1, kind, words))))

    assert found("Whether somebody waits anew.") == 3
    assert found("Return True if `nobody` waits.") == 0
    assert found("The id stands for a run.", UI) == 0


def test_no_text_has_a_forbidden_word():
    texts = [*python_code.texts(), *templates.texts(), *contracts.texts()]

    assert [
        f"{text.path}:{text.line}: {complaint}"
        for text in texts
        if text.words not in STORED
        for complaint in forbidden(text)
    ] == []
