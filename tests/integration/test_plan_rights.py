"""Rights on saved plans: who may see, start, change and share them."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group

from execfabric.identity.errors import AccountUnknown
from execfabric.identity.models import User
from execfabric.lib import clock
from execfabric.lib.refusal import Refusal
from execfabric.lib.rights import Role
from orchestration.plans import selectors
from orchestration.plans.domain.rights import PlanRight
from orchestration.plans.errors import (
    GrantInvalid,
    GroupUnknown,
    PlanIdTaken,
    PlanNotPermitted,
    PlanUnknown,
)
from orchestration.plans.models import Plan, PlanRevision
from orchestration.plans.services import rights
from tests.builders import plan, proposed, step
from tests.integration.saved_plan_builders import (
    OTHER,
    TEXT,
    VIEW,
    events,
    grant,
    save,
    start,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]
START = PlanRight.START
EDIT = PlanRight.EDIT


def revoke(right: PlanRight, by: User, **holder: str) -> Plan:
    return rights.revoke(
        slug="lab-plan", right=right, **holder, by=by.actor(), at=clock.now()
    )


@pytest.mark.parametrize("first", [save, proposed])
@pytest.mark.parametrize("then", [save, proposed])
def test_only_the_owner_adds_revisions(first: Any, then: Any, proposer, second) -> None:
    text, changed = plan(step("a")), plan(step("b"))
    first(text, proposer)

    with pytest.raises(PlanIdTaken) as caught:
        then(changed, second)

    assert caught.value.code == "plan.id_taken"
    assert "belongs to proposer. Choose another id, or ask" in caught.value.message
    assert [item["code"] for item in caught.value.details["problems"]] == [
        "plan.id_taken"
    ]
    assert PlanRevision.objects.count() == 1
    then(changed, proposer)
    assert PlanRevision.objects.count() == 2


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.ADMIN])
def test_a_role_does_not_give_the_right_to_change_or_start_a_plan(
    role, proposer, second
) -> None:
    save(TEXT, proposer)
    second.groups.set([Group.objects.get_or_create(name=str(role))[0]])

    with pytest.raises(PlanIdTaken):
        save(OTHER, second)
    with pytest.raises(PlanNotPermitted):
        start(second)


@pytest.mark.parametrize("holder", [{"user": "second"}, {"group": "proposer"}])
@pytest.mark.parametrize(
    ("right", "works"),
    [
        pytest.param(None, (False, False, False), id="none"),
        pytest.param(VIEW, (True, False, False), id="view"),
        pytest.param(START, (True, True, False), id="start"),
        pytest.param(EDIT, (True, True, True), id="edit"),
    ],
)
def test_each_right_gives_what_it_says(right, works, holder, proposer, second) -> None:
    save(TEXT, proposer)
    if right is not None:
        grant(right, proposer, **holder)

    sees = _works(lambda: selectors.get(second.actor(), "lab-plan"))
    starts = _works(lambda: start(second))
    edits = _works(lambda: save(OTHER, second))

    assert (sees, starts, edits) == works


def test_a_revoked_right_ends_at_once_and_both_are_recorded(proposer, second) -> None:
    save(TEXT, proposer)
    grant(START, proposer, user="second")
    grant(START, proposer, user="second")
    start(second)

    revoke(START, proposer, user="second")
    revoke(START, proposer, user="second")

    with pytest.raises(PlanUnknown):
        start(second)
    fact = {"plan": "lab-plan", "right": "start", "holder": "user second"}
    assert events()[1:] == [("plan.right_granted", fact), ("plan.right_revoked", fact)]
    assert selectors.grants(Plan.objects.get()) == []


def test_only_the_owner_and_admins_give_rights(
    proposer, second, admin, operator, agent
) -> None:
    save(TEXT, proposer)
    grant(EDIT, proposer, user="second")

    for by in (second, operator):
        with pytest.raises(PlanNotPermitted):
            grant(VIEW, by, user="second")
    with pytest.raises(PlanNotPermitted):
        rights.grant(
            slug="lab-plan", right=VIEW, user="second", by=agent, at=clock.now()
        )
    grant(VIEW, admin, group="auditor")

    granted = [(one.kind, one.name) for one in selectors.grants(Plan.objects.get())]
    assert granted == [("group", "auditor"), ("user", "second")]


@pytest.mark.parametrize(
    ("holder", "error"),
    [
        ({}, GrantInvalid),
        ({"user": "second", "group": "proposer"}, GrantInvalid),
        ({"user": "nobody"}, AccountUnknown),
        ({"user": "a\0b"}, AccountUnknown),
        ({"group": "nobody"}, GroupUnknown),
        ({"group": "a\0b"}, GroupUnknown),
    ],
)
def test_a_right_needs_one_known_holder(holder, error, proposer) -> None:
    save(TEXT, proposer)

    with pytest.raises(error):
        grant(VIEW, proposer, **holder)

    assert len(events()) == 1


def test_a_newcomer_sees_plans_of_their_own_and_others_by_role(
    proposer, second, operator, admin, auditor, stranger
) -> None:
    save(TEXT, proposer)
    save(plan(step("a"), id="mine", name="My own"), second)
    everything = ["lab-plan", "mine"]
    seen = {
        proposer: ["lab-plan"], second: ["mine"], stranger: [],
        operator: everything, admin: everything, auditor: everything,
    }  # fmt: skip

    for user, slugs in seen.items():
        plans = selectors.visible_to(user.actor()).order_by("slug")
        assert [each.slug for each in plans] == slugs, user


def test_a_deactivated_owner_may_do_nothing(proposer) -> None:
    save(TEXT, proposer)
    proposer.is_active = False
    proposer.save()

    assert not selectors.visible_to(proposer.actor()).exists()
    assert not _works(lambda: start(proposer))
    assert not _works(lambda: grant(VIEW, proposer, group="proposer"))


def _works(act: Callable[[], Any]) -> bool:
    try:
        act()
    except Refusal:
        return False
    return True
