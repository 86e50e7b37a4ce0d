"""A client of the API that sends too much is told to wait."""

import pytest
import time_machine
from django.test import override_settings

from execfabric.lib.rights import Role
from tests.api_builders import caller
from tests.builders import NOON

pytestmark = pytest.mark.django_db


@time_machine.travel(NOON, tick=False)
@override_settings(API_PER_MINUTE=3)
def test_too_many_requests_of_one_token_wait_and_leave_others_alone() -> None:
    one, other = caller("one", Role.OPERATOR), caller("other", Role.OPERATOR)

    answers = [one.get("me") for _ in range(5)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[-1].json()["code"] == "request.rate_limited"
    assert answers[-1].headers["Retry-After"] == "60"
    assert other.get("me").status_code == 200
