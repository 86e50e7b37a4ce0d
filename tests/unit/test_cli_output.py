"""Tables of the command on a narrow terminal, and where no person reads."""

import pytest

from execfabric.cli.output import Output
from execfabric.cli.runs import _with_items

RUN, GATE = (
    "01a1fe21-24a8-7e92-b2d8-87018e53d77d",
    "01a1fe21-24b3-79d2-8393-5df0145e3639",
)
LABEL = "A label of many words, as people write them. " * 3


@pytest.mark.parametrize("terminal", ["xterm", "dumb", ""])
def test_an_id_can_be_copied_from_a_table_on_80_columns(monkeypatch, capsys, terminal):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", terminal)

    Output(as_json=False).table(
        ["id", "run", "step", "label"], [[GATE, RUN, None, LABEL]]
    )

    table = capsys.readouterr().out
    assert f"{GATE}  {RUN}" in table
    assert table.split()[-1] == "them."
    assert (len(table.splitlines()) == 2) is (not terminal)


def test_an_empty_table_has_its_headings(capsys):
    Output(as_json=False).table(["id", "state"], [])

    assert capsys.readouterr().out.split() == ["id", "state"]


def test_a_json_value_stays_readable_as_json_on_80_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")

    Output(as_json=False).block({"summary": LABEL})

    assert LABEL in capsys.readouterr().out


def test_steps_inside_others_are_listed_with_their_paths() -> None:
    def step(key: str, *items: dict, **fields: object) -> dict:
        return {"id": key, "item": None, "plan": None, "items": [*items], **fields}

    inner = step("deep", step("last"), plan="p")
    steps = [
        step("a"),
        step("sub", step("make"), inner, plan="p"),
        step("each", step("each", step("make"), item=1, plan="p")),
    ]

    assert [path for path, _ in _with_items(steps)] == [
        "a",
        "sub",
        "sub/make",
        "sub/deep",
        "sub/deep/last",
        "each",
        "each [1]",
        "each [1]/make",
    ]
