"""Replaying the columns that events set, and naming what is stored otherwise."""

from typing import Any

from audit.domain.rows import LONGEST, Replay, RowDifference, RowFact, plain

DEFAULTS = {"state": "draft", "size": 0}


def replayed(*rows: RowFact, older: bool = False) -> Replay:
    replay = Replay("s")
    for row in rows:
        replay.add({"rows": [row.as_json()]})
    if older:
        replay.add({})
    return replay


def compared(replay: Replay, stored: dict[str, dict[str, Any]]) -> list[Any]:
    return list(replay.differences("t", stored.items(), defaults=DEFAULTS))


def test_the_last_value_of_each_column_counts():
    replay = replayed(
        RowFact("t", "1", {"state": "open"}, new=True),
        RowFact("t", "1", {"size": 3}),
        RowFact("t", "1", {"state": "done"}),
    )

    assert compared(replay, {"1": {"state": "done", "size": 3}}) == []
    assert compared(replay, {"1": {"state": "open", "size": 3}}) == [
        RowDifference("s", "t", "1", "state", "'done'", "'open'")
    ]


def test_a_column_that_nobody_set_has_its_default():
    replay = replayed(RowFact("t", "1", {}, new=True))

    assert compared(replay, {"1": {"state": "draft", "size": 0}}) == []
    [found] = compared(replay, {"1": {"state": "draft", "size": 1}})
    assert (found.column, found.recorded, found.found) == ("size", "0", "1")


def test_a_row_that_is_recorded_as_new_again_starts_from_the_defaults():
    replay = replayed(
        RowFact("t", "1", {"size": 3}, new=True), RowFact("t", "1", {}, new=True)
    )

    assert compared(replay, {"1": {"state": "draft", "size": 0}}) == []


def test_missing_and_unknown_rows_are_named():
    replay = replayed(RowFact("t", "1", {}, new=True))

    assert compared(replay, {"2": {"state": "draft", "size": 0}}) == [
        RowDifference("s", "t", "2", "", "", "a row"),
        RowDifference("s", "t", "1", "", "a row", ""),
    ]


def test_rows_from_before_columns_were_recorded_are_not_covered():
    replay = replayed(RowFact("t", "1", {"state": "open"}), older=True)

    stored = {"1": {"state": "open", "size": 7}, "2": {"state": "draft", "size": 0}}
    assert compared(replay, stored) == [None, None]
    stored["1"]["state"] = "done"
    assert [item for item in compared(replay, stored) if item] == [
        RowDifference("s", "t", "1", "state", "'open'", "'done'")
    ]


def test_long_values_are_recorded_as_their_digest():
    assert plain({"a": 1.0}) == '{"a":1}'
    assert plain("x" * LONGEST) == "x" * LONGEST
    assert str(plain("x" * (LONGEST + 1))).startswith("sha256:")
    assert str(plain(b"")).startswith("sha256:e3b0c442")
    assert (plain(None), plain(True), plain(7)) == (None, True, 7)
