"""Python's encoder, where it is used, refuses what the library of RFC 8785 refuses."""

import pytest
import rfc8785

from execfabric.lib import canonical


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_what_is_nested_deeply_is_written_as_the_library_writes_it(wrap):
    value = 1
    for _ in range(700):
        value = wrap(value)

    assert canonical.dumps(value) == rfc8785.dumps(value)
