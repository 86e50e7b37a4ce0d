"""Publishing and retiring policies."""

import pytest

from approvals import selectors
from approvals.domain.policy import ActionFacts, Rule, demands
from approvals.domain.seats import Requirement
from approvals.models import Policy
from approvals.services import policies as approvals
from audit import selectors as record
from execfabric.lib.refusal import Refusal
from tests.integration.approvals_builders import (
    ENGINE,
    LATER,
    NOON,
    a_person,
    an_agent,
)

pytestmark = pytest.mark.django_db

PUBLISHING = ActionFacts("files", "publish", "medium", "non_idempotent")


def a_draft(**fields) -> Rule:
    known = {
        "name": "publishing",
        "reason": "Customers see what is published.",
        "requirements": (Requirement("operator", 1),),
        "skill": "files",
    }
    return Rule(**(known | fields))


@pytest.fixture
def admin():
    a_person("operator-one", "operator")
    return a_person("admin", "admin")


def test_a_published_policy_asks_for_its_actions_until_it_is_retired(admin) -> None:
    approvals.publish_policy(draft=a_draft(), by=admin, at=NOON)

    demand = demands(PUBLISHING, selectors.policies_in_force())

    assert demand.requirements == (Requirement("operator", 1),)
    assert demand.reasons == ("Customers see what is published.",)
    assert demand.versions == ("publishing@1",)
    approvals.retire_policy(name="publishing", reason="obsolete", by=admin, at=LATER)
    assert not demands(PUBLISHING, selectors.policies_in_force()).needed


def test_a_new_version_retires_the_one_before_and_keeps_it(admin) -> None:
    approvals.publish_policy(draft=a_draft(), by=admin, at=NOON)

    approvals.publish_policy(draft=a_draft(expires_after_s=60), by=admin, at=LATER)

    assert [rule.key for rule in selectors.policies_in_force()] == ["publishing@2"]
    versions = Policy.objects.order_by("version").values_list("version", "retired_at")
    assert list(versions) == [(1, LATER), (2, None)]


def test_publishing_and_retiring_are_in_the_record(admin) -> None:
    approvals.publish_policy(draft=a_draft(), by=admin, at=NOON)
    approvals.retire_policy(name="publishing", reason="obsolete", by=admin, at=LATER)

    published, retired = record.events_after("policy", 0)

    assert published.actor == admin.key
    assert record.envelope(published)["payload"] == {
        "name": "publishing",
        "version": 1,
        "order": 100,
        "skill": "files",
        "action": "",
        "risk_at_least": "",
        "effect_class": "",
        "requirements": [{"group": "operator", "count": 1}],
        "expires_after_s": None,
        "reason": "Customers see what is published.",
    }
    assert record.envelope(retired)["payload"] == {
        "name": "publishing",
        "version": 1,
        "reason": "obsolete",
    }


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        pytest.param({"name": " "}, "policy.invalid", id="no name"),
        pytest.param({"reason": ""}, "policy.invalid", id="no sentence"),
        pytest.param({"requirements": ()}, "policy.invalid", id="asks nobody"),
        pytest.param({"risk_at_least": "huge"}, "policy.invalid", id="unknown risk"),
        pytest.param({"effect_class": "none"}, "policy.invalid", id="unknown effect"),
        pytest.param({"expires_after_s": 0}, "policy.invalid", id="no time"),
        pytest.param(
            {"requirements": (Requirement("operator", 3),)},
            "approval.unsatisfiable",
            id="more people than there are",
        ),
        pytest.param(
            {"requirements": (Requirement("ghosts", 1),)},
            "approval.unsatisfiable",
            id="a group that is not there",
        ),
    ],
)
def test_a_policy_that_could_not_work_is_not_published(admin, fields, code) -> None:
    with pytest.raises(Refusal) as refused:
        approvals.publish_policy(draft=a_draft(**fields), by=admin, at=NOON)

    assert refused.value.code == code
    assert not Policy.objects.exists()


@pytest.mark.parametrize(
    ("who", "code"),
    [
        pytest.param("operator", "auth.right_missing", id="operator"),
        pytest.param("auditor", "auth.right_missing", id="auditor"),
        pytest.param("agent", "auth.agents_cannot_decide", id="an admin's agent"),
        pytest.param("product", "auth.right_missing", id="the product itself"),
    ],
)
def test_only_an_admin_publishes_and_retires(admin, who, code) -> None:
    by = {
        "operator": lambda: a_person("operator-two", "operator"),
        "auditor": lambda: a_person("auditor", "auditor"),
        "agent": lambda: an_agent("robot", admin),
        "product": lambda: ENGINE,
    }[who]()
    approvals.publish_policy(draft=a_draft(), by=admin, at=NOON)

    with pytest.raises(Refusal) as publishing:
        approvals.publish_policy(draft=a_draft(), by=by, at=LATER)
    with pytest.raises(Refusal) as retiring:
        approvals.retire_policy(name="publishing", reason="x", by=by, at=LATER)

    assert (publishing.value.code, retiring.value.code) == (code, code)
    assert [rule.key for rule in selectors.policies_in_force()] == ["publishing@1"]


def test_a_policy_that_is_not_in_force_cannot_be_retired(admin) -> None:
    with pytest.raises(Refusal) as refused:
        approvals.retire_policy(name="publishing", reason="x", by=admin, at=NOON)

    assert refused.value.code == "policy.unknown"
