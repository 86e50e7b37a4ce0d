"""The list of mutants fits the code: each removes a guard that is there."""

import pytest

from tests.documents import PROJECT, between_markers
from tests.mutants import PAGE, Mutant, listed

MUTANTS = listed()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_guard_is_in_its_file_once(mutant: Mutant):
    source = (PROJECT / mutant.file).read_text(encoding="utf-8")

    assert source.count(mutant.text) == 1
    assert mutant.text != mutant.replacement


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_tests_of_a_mutant_exist(mutant: Mutant):
    files = [name.partition("::")[0] for name in mutant.tests]

    assert files
    assert all((PROJECT / name).is_file() for name in files)


def test_there_are_enough_mutants_and_the_page_has_all_of_them():
    page = between_markers(PAGE, "mutants")

    assert len(MUTANTS) >= 25
    assert len({mutant.guard for mutant in MUTANTS}) == len(MUTANTS)
    assert [m.name for m in MUTANTS if f"| {m.guard} |" not in page] == []
