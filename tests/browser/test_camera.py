"""The README's pictures change when the console does, and not with every minute."""

from pathlib import Path

from tests.browser.browsing import Browsing, renew

LATER = """() => document.querySelectorAll("time, .digest code").forEach((one) => {
  one.removeAttribute("data-relative");
  one.textContent = "in 27 min 31";
})"""
WITHOUT_A_BUTTON = "() => document.querySelector('.button-danger').remove()"


def test_a_picture_is_retaken_when_the_page_looks_different(
    browse: Browsing, tmp_path: Path
):
    picture = tmp_path / "styleguide.png"
    page = browse("operator")
    page.goto("/styleguide")
    renew(page, picture)
    first = picture.read_bytes()

    page.evaluate(LATER)
    assert page.screenshot() != first
    renew(page, picture)
    assert picture.read_bytes() == first

    page.evaluate(WITHOUT_A_BUTTON)
    renew(page, picture)
    assert picture.read_bytes() != first
