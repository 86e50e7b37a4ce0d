"""What bodies of requests may use together."""

import pytest

from execfabric.web import guard as guards
from execfabric.web.body import RequestBody
from execfabric.web.guard import Guard
from execfabric.web.problems import ServiceBusy


@pytest.fixture
def guard(monkeypatch, settings) -> Guard:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    monkeypatch.setattr(guards, "SPOOLED", 50)
    return Guard(None, slots=1)


def test_uploads_that_fill_the_disk_space_leave_forms_and_pages_alone(guard) -> None:
    large, form, page = RequestBody(), RequestBody(), RequestBody()
    for _ in range(5):
        guard._take(large, b"x" * 10)

    guard._take(form, b"name=value")
    guard._take(page, b"")
    with pytest.raises(ServiceBusy):
        guard._take(large, b"x")

    large.close()


def test_what_moves_from_memory_to_disk_is_counted(guard) -> None:
    bodies = [RequestBody() for _ in range(6)]
    for body in bodies:
        guard._take(body, b"x" * 10)

    for body in bodies[:4]:
        guard._take(body, b"x")
    with pytest.raises(ServiceBusy):
        guard._take(bodies[4], b"x")

    for body in bodies:
        body.close()
