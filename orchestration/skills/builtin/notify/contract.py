"""What the skill `notify` promises."""

from orchestration.skills.builtin.shapes import files, listing, number, record, text
from orchestration.skills.domain.contract import (
    ActionContract,
    DryRunKind,
    EffectClass,
    Risk,
    SkillContract,
)
from orchestration.skills.execution.outbound import CONFIG_PROPERTIES

EMAIL = "notify.email@1"
WEBHOOK = "notify.webhook@1"

_ADDRESS = {"type": "string", "pattern": r"^[^\s@,<>]+@[^\s@,<>]+$"}

_EMAIL = ActionContract(
    name="email",
    summary="Send the e-mail “{subject}” to {to}.",
    handler=EMAIL,
    input_schema=record(
        {
            "to": listing("To", "Recipients.", _ADDRESS, minItems=1, maxItems=100),
            "subject": text("Subject", "One line.", pattern=r"^[^\r\n]+$"),
            "text": text("Text", "The message."),
            "html": text("HTML", "The message as HTML, beside the text."),
            "attachments": files("Attachments", "Files to send along."),
        },
        ["to", "subject", "text"],
    ),
    output_schema=record(
        {
            "message_id": text("Message id", "The same for every try of one step."),
            "accepted": listing("Accepted", "Recipients taken.", {"type": "string"}),
            "refused": listing("Refused", "Recipients refused.", {"type": "string"}),
        },
        ["message_id", "accepted", "refused"],
    ),
    effect_class=EffectClass.NON_IDEMPOTENT,
    risk=Risk.HIGH,
    timeout_s=120,
    dry_run=DryRunKind.SIMULATED,
    checks_target=True,
)

_WEBHOOK = ActionContract(
    name="webhook",
    summary="Post the event {type} to {url}.",
    handler=WEBHOOK,
    input_schema=record(
        {
            "url": text("URL", "Where the receiver listens.", minLength=1),
            "type": text(
                "Type", "Of the event, such as report.published.", minLength=1
            ),
            "data": {"title": "Data", "description": "Any value."},
        },
        ["url", "type", "data"],
    ),
    output_schema=record(
        {
            "webhook_id": text("Id", "The same for every try of one step."),
            "status": number("Status", "Of the receiver's answer."),
        },
        ["webhook_id", "status"],
    ),
    effect_class=EffectClass.NON_IDEMPOTENT,
    risk=Risk.HIGH,
    timeout_s=60,
    dry_run=DryRunKind.SIMULATED,
)

SKILL = SkillContract(
    slug="notify",
    version="1.0.0",
    name="Notify",
    description="Sends an e-mail over SMTP, or a signed webhook.",
    domain="communication",
    actions=(_EMAIL, _WEBHOOK),
    config_schema=record(
        {
            "host": text("Mail server", "Its name."),
            "port": number("Port", "Of the mail server.", minimum=1, maximum=65535),
            "from": text("Sender", "Address that mails come from."),
            "security": text(
                "Security", "Of the connection.", enum=["none", "starttls", "tls"]
            ),
            "user": text("User", "To sign in to the mail server with."),
            "password": {"title": "Password", "description": "As a secret."},
            "domains": listing(
                "Domains", "Where set, no other recipients.", {"type": "string"}
            ),
            "secret": {
                "title": "Signing secret",
                "description": "Of webhooks, as a secret.",
            },
            **CONFIG_PROPERTIES,
        }
    ),
    allowed=("Send to the recipients and addresses that the approver sees.",),
    forbidden=("Send to a domain or host that the configuration rules out.",),
)
