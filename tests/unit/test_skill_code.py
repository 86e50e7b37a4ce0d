"""What a handler's code digest notices, and what it must not."""

import gc
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from orchestration.skills import installed
from orchestration.skills.domain import code

NUMBER = count()
MOVED = """
from {} import helper
from {} import plain

def run(call):
    return plain(helper(call, limit=3))
"""
PLAIN = """
from acme.own import helper

def run(call):
    return helper(call, limit=3)
"""
OWN = """
def helper(call, limit):
    return call[:limit]
"""


CACHED = (code.digest_of, code._imports, code._path, code._source)


def forget() -> None:
    """Let the modules of the last package be found again."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme"]:
        del sys.modules[name]
    for cached in CACHED:
        cached.cache_clear()


@pytest.fixture
def digest_of(tmp_path, monkeypatch):
    """Return the digest of a handler in a new package of two modules."""

    def taken(main: str, own: str = OWN, name_of_own: str = "own") -> str:
        folder = tmp_path / str(next(NUMBER)) / "acme"
        folder.mkdir(parents=True)
        for name, text in (("__init__", ""), ("main", main), (name_of_own, own)):
            (folder / f"{name}.py").write_text(textwrap.dedent(text))
        monkeypatch.syspath_prepend(folder.parent)
        forget()
        return code.digest_of("acme.main")

    yield taken
    forget()


@pytest.mark.parametrize(
    ("main", "own"),
    [
        pytest.param('"""What it does."""\n' + PLAIN, OWN, id="docstring of module"),
        pytest.param(PLAIN + "# a remark\n", OWN, id="comment"),
        pytest.param("\n\n\n" + PLAIN.replace("=3", " =  3"), OWN, id="layout"),
        pytest.param(
            PLAIN,
            OWN.replace("    return", '    """Cut."""\n    return'),
            id="docstring",
        ),
        pytest.param(PLAIN + 'SKILL = dict(version="1.1.0")\n', OWN, id="contract"),
    ],
)
def test_what_cannot_change_behaviour_leaves_the_digest_as_it_is(main, own, digest_of):
    assert digest_of(main, own) == digest_of(PLAIN, OWN)


@pytest.mark.parametrize(
    ("main", "own"),
    [
        pytest.param(PLAIN.replace("3", "4"), OWN, id="a number"),
        pytest.param(PLAIN.replace("3", "'3'"), OWN, id="its type"),
        pytest.param(PLAIN.replace("3", "3.0"), OWN, id="a number's type"),
        pytest.param(PLAIN, OWN.replace("[:limit]", "[limit:]"), id="a helper"),
        pytest.param(PLAIN + "run = print\n", OWN, id="a statement"),
    ],
)
def test_what_can_change_behaviour_changes_the_digest(main, own, digest_of):
    assert digest_of(main, own) != digest_of(PLAIN, OWN)


def test_a_relative_import_is_covered_too(digest_of):
    main = PLAIN.replace("acme.own", ".own")

    assert digest_of(main) != digest_of(main, OWN.replace("[:limit]", "[limit:]"))


def test_a_helper_named_contract_is_covered_too(digest_of):
    main = PLAIN.replace("acme.own", "acme.contract")

    assert digest_of(main, OWN, "contract") != digest_of(
        main, OWN.replace("[:limit]", "[limit:]"), "contract"
    )


def test_of_this_project_only_the_modules_of_built_in_skills_are_covered():
    for module in installed.MODULES.values():
        covered = code._closure(module, code._is_own)

        assert all(name.startswith(f"{code.BUILTIN}.") for name in covered)
        assert not any(name.endswith(code.CONTRACT_MODULE) for name in covered)


def test_moving_the_code_of_a_built_in_skill_leaves_its_digest_as_it_is(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(code, "BUILTIN", "acme.skills")
    monkeypatch.setattr(code, "PLATFORM", code.PLATFORM | {"acme"})
    layouts = {
        "acme.skills.files": {
            "skills/files.py": MOVED.format("acme.skills.own", "acme.folders"),
            "skills/own.py": OWN,
            "folders.py": "def plain(value):\n    return value\n",
        },
        "acme.skills.files.handlers": {
            "skills/files/__init__.py": "",
            "skills/files/handlers.py": MOVED.format(
                "acme.skills.files.own", "acme.running.folders"
            ),
            "skills/files/own.py": OWN,
            "running/folders.py": "def plain(value):\n    return value\n",
        },
    }
    digests = []
    for module, files in layouts.items():
        folder = tmp_path / str(next(NUMBER))
        for name, text in files.items():
            path = folder / "acme" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.syspath_prepend(folder)
        forget()
        digests.append(code.digest_of(module))
        covered = code._closure(module, code._is_own)
        assert any(name.endswith(".own") for name in covered)
    forget()

    assert digests[0] == digests[1]


def test_a_digest_of_the_first_release_is_translated(monkeypatch):
    module = installed.MODULES["noop"]
    earlier = "0" * 64

    assert not code.is_code_of(module, earlier)
    monkeypatch.setitem(code.EARLIER, earlier, code.digest_of(module))
    assert code.is_code_of(module, earlier)
    monkeypatch.setitem(code.EARLIER, earlier, code.FORM + "0" * 64)
    assert not code.is_code_of(module, earlier)


def test_a_handler_of_a_third_party_keeps_the_digest_of_the_first_release():
    earlier = code.earlier_digest_of("tests.handlers")

    assert len(earlier) == 64
    assert code.is_code_of("tests.handlers", earlier)
    assert code.is_code_of("tests.handlers", code.digest_of("tests.handlers"))
    assert not code.is_code_of("tests.handlers", "")


def test_threads_may_take_the_first_digest_at_once() -> None:
    """The first requests after a start run in several threads of the web server."""
    modules = sorted(installed.MODULES.values())
    expected = [code.digest_of(module) for module in modules]
    # A garbage collection that runs Python code lets another thread continue.
    collect_often, switch_often = (10, 10, 10), 1e-6
    threshold, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.callbacks.append(_pass)
    gc.set_threshold(*collect_often)
    sys.setswitchinterval(switch_often)
    try:
        forget()
        with ThreadPoolExecutor(4) as threads:
            assert [*threads.map(code.digest_of, modules)] == expected
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*threshold)
        gc.callbacks.remove(_pass)


def _pass(_phase: str, _info: object) -> None:
    """Do nothing, in Python."""
