"""One admin alone cannot weaken a safeguard."""

import pytest
from django.contrib.auth.models import Group

from audit import selectors as record
from execfabric.identity.models import User
from execfabric.lib import clock
from execfabric.lib.actor import system
from execfabric.lib.rights import Role
from orchestration.skills.errors import ReasonRequired, SecondAdminRequired
from orchestration.skills.models import Skill, SkillVersion
from orchestration.skills.services import registry
from tests.builders import plan, proposed, step
from tests.console_builders import codes, signed_in, words

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]

LOWER = {"actions": {"witness-gated": {"risk": "low"}}}
PUBLISHING = plan(step("effect", "witness-gated", params={"mark": "x"}))


@pytest.fixture
def second_admin(admin):
    """Another admin."""
    user = User.objects.create_user("second-admin")
    user.groups.add(Group.objects.get(name=str(Role.ADMIN)))
    return user


def a_draft(admin, changes=LOWER, number="9.0.0"):
    """Create a draft of the laboratory's next version."""
    return registry.draft_from(
        slug="lab", changes=changes, version=number, by=admin.actor(), at=clock.now()
    )


def published(draft, by, reason=""):
    """Publish the draft as an admin."""
    return registry.publish(
        version_id=draft.pk,
        digest=draft.digest,
        reason=reason,
        by=by.actor(),
        at=clock.now(),
    )


def test_the_admin_who_lowered_a_risk_cannot_publish_it(admin) -> None:
    before = Skill.objects.get(slug="lab").current

    with pytest.raises(SecondAdminRequired) as refused:
        published(a_draft(admin), admin, "It is safe.")

    assert refused.value.details["weakened"] == ["witness-gated risk lowered"]
    assert Skill.objects.get(slug="lab").current == before


def test_whoever_edited_the_draft_counts_as_its_author(admin, second_admin) -> None:
    draft = a_draft(admin)
    draft = registry.update_draft(
        version_id=draft.pk,
        changes={"description": "Other words."},
        by=second_admin.actor(),
        at=clock.now(),
    )

    with pytest.raises(SecondAdminRequired):
        published(draft, second_admin, "It is safe.")


@pytest.mark.parametrize("reason", ["", "  ", "\u200b\u2060"])
def test_the_second_admin_must_say_why(reason, admin, second_admin) -> None:
    with pytest.raises(ReasonRequired):
        published(a_draft(admin), second_admin, reason)


def test_a_second_admin_publishes_with_a_reason_and_the_record_tells_it(
    admin, second_admin, proposer
) -> None:
    proposed(PUBLISHING, proposer)
    draft = a_draft(admin)
    browser = signed_in(second_admin)
    address = f"/skills/lab/versions/{draft.pk}"
    page = words(browser.get(address))

    answer = browser.post(
        f"{address}/publish", {"digest": draft.digest, "reason": "Nobody reads it."}
    )

    assert "lab-plan" in page
    assert answer.status_code == 302
    assert Skill.objects.get(slug="lab").current == draft
    last = record.envelope(record.events_after("registry", 0)[-1])
    assert last["actor"]["name"] == "second-admin"
    assert last["payload"]["reason"] == "Nobody reads it."
    assert last["payload"]["weakened"] == ["witness-gated risk lowered"]
    assert last["payload"]["plans"] == ["lab-plan"]


def test_the_page_tells_the_author_that_another_admin_must_publish(admin) -> None:
    draft = a_draft(admin)
    browser = signed_in(admin)

    page = browser.get(f"/skills/lab/versions/{draft.pk}")
    answer = browser.post(
        f"/skills/lab/versions/{draft.pk}/publish",
        {"digest": draft.digest, "reason": "It is safe."},
    )

    assert "Another admin must publish this version" in words(page)
    assert f"Publish {draft.version}" not in words(page)
    assert (answer.status_code, codes(answer)) == (
        403,
        ["skill.second_admin_required"],
    )


def test_one_admin_may_publish_what_is_stricter_or_neutral(admin) -> None:
    stricter = {"description": "New words.", "actions": {"echo": {"risk": "high"}}}

    published(a_draft(admin, stricter), admin)

    assert Skill.objects.get(slug="lab").current.version == "9.0.0"


@pytest.mark.parametrize(
    "column", ["created_by", "edited_by", "published_by_name", "published_at"]
)
def test_the_database_keeps_who_wrote_and_published_a_version(column, admin) -> None:
    version = published(a_draft(admin, {"description": "New."}), admin)
    other = {"edited_by": ["user:1"], "published_at": clock.now()}

    with pytest.raises(Exception, match="never changes"):
        SkillVersion.objects.filter(pk=version.pk).update(
            **{column: other.get(column, "system:other")}
        )


def test_the_product_itself_may_publish_what_it_ships(admin) -> None:
    draft = a_draft(admin)

    published_by_setup = registry.publish(
        version_id=draft.pk, digest=draft.digest, by=system("setup"), at=clock.now()
    )

    assert published_by_setup.state == "published"
