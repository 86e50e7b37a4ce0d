"""What an output may hold, before anybody keeps it."""

from functools import reduce

import pytest

from execfabric.lib.canonical import LARGEST_SAFE_INTEGER
from orchestration.skills.execution.outputs import storable


@pytest.mark.parametrize(
    "value",
    [
        LARGEST_SAFE_INTEGER,
        -LARGEST_SAFE_INTEGER,
        1.5,
        True,
        None,
        "text",
        {"a": [1, {"b": 2}]},
    ],
)
def test_json_that_every_reader_holds_exactly_can_be_kept(value):
    assert storable(value)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"id": LARGEST_SAFE_INTEGER + 1}, id="an id of 64 bits"),
        pytest.param([-(2**80)], id="an integer of any size"),
        pytest.param(1e300, id="a float that stands for a large integer"),
        pytest.param("a\0b", id="a NUL character"),
        pytest.param({"\ud800": 1}, id="half a character"),
        pytest.param({"$secret": "name"}, id="a reference to a secret"),
        pytest.param([{"$file": {}}], id="a reference to a file"),
        pytest.param(
            reduce(lambda inner, _: [inner], range(900), 1.5), id="900 levels"
        ),
    ],
)
def test_what_is_lost_or_could_be_taken_for_more_cannot_be_kept(value):
    assert not storable(value)
