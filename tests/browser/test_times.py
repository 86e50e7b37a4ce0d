"""A page that stays open says the same of a moment as one that is reloaded."""

from datetime import timedelta

import pytest
from playwright.sync_api import expect

from execfabric.web.templatetags.ui import relative
from tests.browser.browsing import Browsing

ADDED = """(seconds) => {
  const one = document.createElement("time");
  one.dataset.relative = "";
  one.dataset.testid = "moment";
  one.dateTime = new Date(Date.now() + seconds * 1000).toISOString();
  document.querySelector("main").append(one);
}"""


@pytest.mark.parametrize(
    "delta",
    [
        timedelta(days=7) - timedelta(seconds=1),
        timedelta(days=6, hours=20),
        timedelta(hours=23, minutes=31, seconds=10),
        timedelta(hours=3, minutes=31, seconds=10),
        timedelta(minutes=4, seconds=10),
        timedelta(seconds=-400),
        timedelta(days=-3),
    ],
    ids=str,
)
def test_the_page_counts_in_the_words_of_the_server(browse: Browsing, delta: timedelta):
    page = browse("auditor")

    page.evaluate(ADDED, delta.total_seconds())

    expect(page.get_by_test_id("moment")).to_have_text(relative(delta))
