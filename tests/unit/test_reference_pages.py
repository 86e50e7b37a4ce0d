"""The pages about the command, the API and the settings name what there is."""

import re
from typing import Any

import pytest
from typer.main import get_command

from execfabric.api import api
from execfabric.cli.main import app
from tests.documents import DOCUMENTS, PROJECT

NOT_IN_PRODUCTION = {"EXECFABRIC_DEMO", "EXECFABRIC_DATA_DIR"}
EXTRA = re.compile(r" (\[|-|[A-Z]).*")


FILE = re.compile(
    r"`((?:execfabric|orchestration|approvals|audit|tests|static)/[\w/-]+\.\w+)`"
)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_the_files_that_a_document_names_exist(path):
    names = FILE.findall(path.read_text(encoding="utf-8"))

    assert [name for name in names if not (PROJECT / name).exists()] == []


def first_column(page: str) -> list[str]:
    """Return the code in the first cells of the tables of a page."""
    text = (PROJECT / "docs" / page).read_text(encoding="utf-8")
    cells = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    return [code for cell in cells for code in re.findall(r"`([^`]+)`", cell)]


def subcommands(command: Any, path: tuple[str, ...] = ()) -> set[str]:
    inner = getattr(command, "commands", None)
    if inner is None:
        return {" ".join(path)}
    return {name for key in inner for name in subcommands(inner[key], (*path, key))}


def test_the_page_about_the_command_lists_every_subcommand():
    known = subcommands(get_command(app))

    listed = {EXTRA.sub("", code) for code in first_column("cli.md")}

    assert {code for code in listed if code in known} == known


def test_the_page_about_the_api_lists_every_route():
    known = {
        f"{method.upper()} {path.removeprefix('/api/v1')}"
        for path, item in api.get_openapi_schema()["paths"].items()
        for method in item
    }
    codes = first_column("api.md")
    listed = {
        code.split("?")[0] for code in codes if code.split(" ")[0] in {"GET", "POST"}
    }
    listed |= {f"POST /runs/{{id}}{code}" for code in codes if code.startswith(":")}

    assert {re.sub(r"\{\w+\}", "{}", route) for route in listed} == {
        re.sub(r"\{\w+\}", "{}", route) for route in known
    }


def test_the_page_about_production_lists_every_setting():
    text = (PROJECT / "execfabric/settings.py").read_text(encoding="utf-8")
    read = set(re.findall(r'env_\w+\(\s*"([A-Z_]+)"', text))

    assert read - set(first_column("production.md")) == NOT_IN_PRODUCTION
