"""The documents inside the product: rendering, links, who may read them."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from execfabric.help import documents
from execfabric.lib.rights import Role
from tests.api_builders import person
from tests.console_builders import signed_in
from tests.documents import DOCUMENTS, PROJECT

LINK = re.compile(r'href="([^"]*)"')
MARKDOWN_LINK = re.compile(r"\]\(([^)\s]+)\)")
SLUGS = sorted(documents.slugs())


def anchors(slug: str) -> set[str]:
    return set(re.findall(r'<h\d id="([^"]*)"', documents.document(slug).html))


@pytest.mark.parametrize("slug", SLUGS)
def test_a_document_is_a_page_for_every_signed_in_user(db, slug) -> None:
    answer = signed_in(person("reader")).get(reverse("help_page", args=[slug]))

    text = answer.content.decode()
    assert answer.status_code == 200
    assert text.count("<h1") == 1
    assert "```" not in text
    assert "<!-- states" not in text


@pytest.mark.parametrize("slug", SLUGS)
def test_the_links_of_a_page_lead_to_pages_and_headings(slug) -> None:
    for href in LINK.findall(documents.document(slug).html):
        address, _, anchor = href.partition("#")
        target = re.fullmatch(r"/help/([\w-]+)/", address)
        if target:
            assert target[1] in documents.slugs(), href
        elif address:
            assert address.startswith("https://"), href
        if anchor:
            assert anchor in anchors(target[1] if target else slug), href


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_the_links_of_a_document_lead_to_files(path) -> None:
    for link in MARKDOWN_LINK.findall(path.read_text()):
        address, _, anchor = link.partition("#")
        if not address.startswith("https://"):
            target = path.parent / address if address else path
            assert target.exists(), link
            if anchor and target.parent == PROJECT / "docs":
                assert anchor in anchors(target.stem), link


def test_the_list_names_every_document() -> None:
    listed = set(LINK.findall(documents.document(documents.INDEX).html))

    others = documents.slugs() - {documents.INDEX}
    assert {reverse("help_page", args=[slug]) for slug in others} <= listed


def test_pictures_are_served(db) -> None:
    client = signed_in(person("reader"))

    for name in documents.images():
        answer = client.get(reverse("help_image", args=[name]))
        assert answer["Content-Type"] == "image/png"
        assert answer.content.startswith(b"\x89PNG")


@pytest.mark.parametrize("address", ["/help/nothing/", "/help/images/nothing.png"])
def test_an_unknown_page_is_not_found(db, address) -> None:
    answer = signed_in(person("reader", Role.ADMIN)).get(address)

    assert answer.status_code == 404


def test_every_page_leads_to_the_help(db) -> None:
    page = signed_in(person("reader")).get("/")

    assert f'href="{reverse("help")}"' in page.content.decode()


def test_help_needs_a_session(db) -> None:
    assert Client().get(reverse("help")).status_code == 302


def test_markup_that_could_run_is_removed() -> None:
    text = "# A\n\n<script>x</script> <b onclick='x'>b</b> [a](javascript:x) ![b](x:y)"

    html = documents.render("a", text).html

    assert "script" not in html.replace("javascript:x", "")
    assert "onclick" not in html
    assert "href" not in html


def test_the_help_links_of_templates_lead_to_the_glossary() -> None:
    templates = (PROJECT / "templates").rglob("*.html")
    used = {
        anchor
        for path in templates
        for anchor in re.findall(r'\{% help_link "([\w-]+)" %\}', path.read_text())
    }

    assert used == {"risk", "effect-class", "approval", "service-level"}
    assert used <= anchors("glossary")
