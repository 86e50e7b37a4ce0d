"""What the skill `jira-write` promises."""

from orchestration.skills.builtin.shapes import flag, record, text
from orchestration.skills.domain.contract import (
    ActionContract,
    DryRunKind,
    EffectClass,
    RetryRule,
    Risk,
    SkillContract,
)

TRANSITION = "jira-write.transition@1"

_TRANSITION = ActionContract(
    name="transition",
    summary="Move the issue {issue} to {status}.",
    handler=TRANSITION,
    input_schema=record(
        {
            "issue": text(
                "Issue",
                "Its key, such as PROJ-123.",
                pattern="^[A-Z][A-Z0-9_]*-[0-9]+$",
            ),
            "status": text("Status", "Name of the status to move it to.", minLength=1),
        },
        ["issue", "status"],
    ),
    output_schema=record(
        {
            "issue": text("Issue", "Its key."),
            "previous_status": text("Previous status", "Where it was before."),
            "status": text("Status", "Where it is now."),
            "changed": flag("Changed", "No when it was there already."),
        },
        ["issue", "previous_status", "status", "changed"],
    ),
    effect_class=EffectClass.IDEMPOTENT,
    risk=Risk.MEDIUM,
    timeout_s=60,
    retry=RetryRule(attempts=3),
    undo="transition",
    undo_params={
        "issue": "$self.output.issue",
        "status": "$self.output.previous_status",
    },
    dry_run=DryRunKind.NATIVE,
    checks_target=True,
)

SKILL = SkillContract(
    slug="jira-write",
    version="1.0.0",
    name="Jira",
    description="Moves issues to another status, and back.",
    domain="work-management",
    actions=(_TRANSITION,),
    config={"token": {"$secret": "jira-token"}},
    config_schema=record(
        {
            "base_url": text("Address", "Of Jira, such as https://jira.example.com."),
            "user": text(
                "User", "E-mail of the account; without it the token is a bearer's."
            ),
            "token": {"title": "Token", "description": "Of the account, as a secret."},
            "api_version": text(
                "API", "3 for Jira Cloud, 2 for Data Center.", enum=["2", "3"]
            ),
        }
    ),
    allowed=(
        "Read the status of issues, and move them by the transitions Jira offers.",
    ),
    forbidden=("Create, edit or delete issues.",),
)
