"""How far off a moment is, in words."""

from datetime import timedelta

import pytest

from execfabric.web.templatetags.ui import relative
from tests.builders import open_gate
from tests.console_builders import a_run, signed_in, words

WEEK = timedelta(days=7)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("delta", "said"),
    [
        pytest.param(WEEK - SECOND, "in 7 days", id="a week less a second"),
        pytest.param(
            timedelta(days=6, hours=20), "in 6 days 20 hours", id="not yet a week"
        ),
        pytest.param(
            timedelta(hours=23, minutes=31), "in 23 hours 31 minutes", id="no day yet"
        ),
        pytest.param(timedelta(days=1) - SECOND, "in 1 day", id="a day less a second"),
        pytest.param(
            timedelta(hours=3, minutes=31), "in 3 hours 31 minutes", id="hours"
        ),
        pytest.param(
            timedelta(hours=1) - SECOND, "in 1 hour", id="an hour less a second"
        ),
        pytest.param(timedelta(seconds=90.4), "in 2 minutes", id="a minute and a half"),
        pytest.param(timedelta(seconds=42), "in 42 seconds", id="seconds"),
        pytest.param(timedelta(seconds=-9), "just now", id="now"),
        pytest.param(-WEEK + SECOND, "6 days ago", id="what is past is not rounded up"),
        pytest.param(timedelta(minutes=-5), "5 minutes ago", id="minutes ago"),
    ],
)
def test_a_moment_is_told_as_far_off_as_it_is(delta, said) -> None:
    assert relative(delta) == said


def test_a_gate_of_a_week_ends_in_a_week(registry, proposer, operator) -> None:
    gate = open_gate(a_run(proposer))

    page = signed_in(operator).get(f"/gates/{gate.pk}")

    exact = gate.expires_at.strftime("%Y-%m-%d %H:%M:%S UTC")
    assert "expires in 7 days" in words(page)
    assert f'title="{exact}"' in page.content.decode()
