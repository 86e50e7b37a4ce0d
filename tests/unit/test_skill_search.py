"""What a search over skills finds."""

import pytest

from orchestration.skills import installed
from orchestration.skills.domain.search import search

BUILT_IN = {slug: installed.shipped(slug) for slug in installed.FOLDERS}


def best(text: str) -> tuple[str, ...]:
    """Return the skills that a search finds, best first."""
    matches = search(text, BUILT_IN).matches
    return tuple(sorted(matches, key=lambda slug: (-matches[slug].score, slug)))


@pytest.mark.parametrize(
    ("text", "slug", "action"),
    [
        ("send mail", "notify", "email"),
        ("mail mail", "notify", "email"),
        ("Send an e-mail", "notify", "email"),
        ("email", "notify", "email"),
        ("create-branch", "git-operations", "create-branch"),
        ("create branch", "git-operations", "create-branch"),
        ("query", "data", "query"),
        ("database", "data", "load"),
        ("shell", "command", "run"),
        ("run a script", "command", "run"),
        ("ticket", "jira-write", "transition"),
        ("copy file", "files", "collect"),
        ("copy files", "files", "collect"),
        ("zip", "files", "archive"),
        ("tagging", "git-operations", "tag"),
        ("attachments", "notify", "email"),
        ("redirects", "http", "request"),
    ],
)
def test_a_search_finds_the_skill_and_the_action(text, slug, action) -> None:
    assert best(text)[:1] == (slug,)
    assert action in search(text, BUILT_IN).matches[slug].actions


def test_every_word_must_match() -> None:
    assert best("send branch") == ()
    assert best("") == tuple(sorted(BUILT_IN))


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("comit", "git-operations"),
        ("qeury", "data"),
        ("branch of a ship", "git-operations"),
    ],
)
def test_without_a_match_the_closest_skills_are_offered(text, slug) -> None:
    found = search(text, BUILT_IN)

    assert found.matches == {}
    assert slug in found.near


def test_nonsense_finds_nothing() -> None:
    found = search("xyzzyplugh", BUILT_IN)

    assert (found.matches, found.near) == ({}, {})


def test_a_skill_without_a_readable_contract_is_found_by_its_slug() -> None:
    assert [*search("acme", {"acme": None}).matches] == ["acme"]
