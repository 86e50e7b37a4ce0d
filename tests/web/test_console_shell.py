"""The frame of every page: who sees which place, what no cache keeps, what may run."""

import re
from pathlib import Path

import pytest
from django.test import Client, override_settings
from django.urls import reverse

from approvals.domain.states import GateStatus
from execfabric.lib.rights import Role
from execfabric.web.looks import RISKS, STATES
from orchestration.runs.domain.states import RunState, StepState
from orchestration.skills.domain.states import SkillState, VersionState
from tests.api_builders import person
from tests.console_builders import signed_in, words

OPEN_PAGES = ("home", "runs", "skills")
EVERY_STATE = [
    str(state)
    for kind in (RunState, StepState, GateStatus, SkillState, VersionState)
    for state in kind
]


def places(page) -> list[str]:
    navigation = page.content.decode().split('<nav class="nav"')[1].split("</nav>")[0]
    return re.findall(r"</svg><span>([\w ]+)</span>", navigation)


@pytest.mark.parametrize("name", [*OPEN_PAGES, "inbox", "plan_new", "trace"])
def test_whoever_is_not_signed_in_is_sent_to_the_sign_in_page(db, name) -> None:
    answer = Client().get(reverse(name))

    assert answer.status_code == 302
    assert answer["Location"].startswith(reverse("account_login"))


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        pytest.param(
            [Role.PROPOSER],
            [
                "Home",
                "Attention",
                "Runs",
                "New run",
                "Plans",
                "Artifacts",
                "Schedules",
                "Skills",
            ],
            id="proposer",
        ),
        pytest.param(
            [Role.OPERATOR],
            [
                "Home",
                "Approvals",
                "Attention",
                "Runs",
                "New run",
                "Plans",
                "Artifacts",
                "Schedules",
                "Skills",
                "Audit log",
            ],
            id="operator",
        ),
        pytest.param(
            [Role.AUDITOR],
            [
                "Home",
                "Attention",
                "Runs",
                "Plans",
                "Artifacts",
                "Schedules",
                "Skills",
                "Audit log",
            ],
            id="auditor",
        ),
        pytest.param(
            [],
            ["Home", "Attention", "Runs", "Plans", "Artifacts", "Schedules", "Skills"],
            id="no role",
        ),
    ],
)
def test_the_navigation_leads_only_where_ones_rights_do(db, roles, expected) -> None:
    page = signed_in(person("somebody", *roles)).get("/")

    assert places(page) == expected


@pytest.mark.parametrize("name", OPEN_PAGES)
def test_pages_are_kept_by_no_cache_and_run_only_our_own_scripts(
    registry, operator, name
) -> None:
    page = signed_in(operator).get(reverse(name))

    assert page["Cache-Control"] == "no-store"
    policy = page["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "style-src 'self'" in policy
    assert "unsafe" not in policy
    text = page.content.decode()
    assert not re.findall(r"<script(?![^>]* src=)", text)
    assert not re.findall(r"<[^>]+ (?:style|on\w+)=", text)


@pytest.mark.parametrize("name", OPEN_PAGES)
def test_a_page_has_one_first_heading_and_a_way_past_the_navigation(
    registry, operator, name
) -> None:
    text = signed_in(operator).get(reverse(name)).content.decode()

    assert text.count("<h1") == 1
    assert '<a class="skip" href="#main">' in text
    assert 'id="main"' in text


@pytest.mark.parametrize("state", EVERY_STATE)
def test_every_state_has_an_icon_a_word_and_a_tone_of_its_own(state) -> None:
    look = STATES[state]

    assert look.word
    assert look.icon in icons()


def test_every_risk_is_told_apart_without_colour() -> None:
    assert len({look.word for look in RISKS.values()}) == len(RISKS)
    assert len({look.icon for look in RISKS.values()}) == len(RISKS)


def test_the_style_guide_shows_every_state_in_development(db, operator) -> None:
    page = signed_in(operator).get("/styleguide")

    shown = set(re.findall(r'data-state="(\w+)"', page.content.decode()))
    assert shown >= set(STATES)


@override_settings(PRODUCTION=True)
def test_there_is_no_style_guide_in_production(db, operator) -> None:
    assert signed_in(operator).get("/styleguide").status_code == 404


def test_an_unknown_address_says_that_nothing_was_changed(db, operator) -> None:
    page = signed_in(operator).get("/no-such-page")

    assert page.status_code == 404
    assert "Nothing was changed" in words(page)


@pytest.mark.parametrize(
    ("cookie", "expected"), [("dark", True), ('x" onload=', False)]
)
def test_the_chosen_theme_is_in_the_page_from_its_first_byte(
    db, operator, cookie, expected
) -> None:
    client = signed_in(operator)
    client.cookies["theme"] = cookie

    text = client.get("/").content.decode()

    assert ('<html lang="en" data-theme="dark">' in text) is expected
    assert "onload" not in text


def icons() -> set[str]:
    sprite = Path("static/execfabric/icons.svg").read_text(encoding="utf-8")
    return set(re.findall(r'<symbol id="([\w-]+)"', sprite))
