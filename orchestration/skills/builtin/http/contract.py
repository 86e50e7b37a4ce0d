"""What the skill `http` promises."""

from orchestration.skills.builtin.shapes import (
    flag,
    listing,
    number,
    one_file,
    record,
    sha256,
    text,
)
from orchestration.skills.domain.contract import (
    ActionContract,
    DryRunKind,
    EffectClass,
    Risk,
    SkillContract,
)
from orchestration.skills.execution.outbound import CONFIG_PROPERTIES, MOST_REDIRECTS

REQUEST = "http.request@1"

_STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}

_REQUEST = ActionContract(
    name="request",
    summary="Send {method} to {url}.",
    handler=REQUEST,
    input_schema=record(
        {
            "url": text("URL", "http or https, without user name.", minLength=1),
            "method": text(
                "Method",
                "GET where none is given.",
                enum=["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"],
            ),
            "headers": {**_STRINGS, "title": "Headers", "description": "To send."},
            "json": {"title": "JSON", "description": "Value to send as JSON."},
            "form": {**_STRINGS, "title": "Form", "description": "Fields to send."},
            "body": text("Body", "Text to send."),
            "file": one_file("File", "Whose content to send."),
            "expect": listing(
                "Expect",
                "Statuses that are a success (default 200 to 299).",
                {"type": "integer"},
            ),
            "redirects": number(
                "Redirects",
                "How many to follow; each is checked.",
                minimum=0,
                maximum=MOST_REDIRECTS,
            ),
            "save": flag("Save", "Keep the answer as the file `response`."),
            "name": text("Name", "Of that file.", pattern=r"^[\w-][\w.-]*$"),
        },
        ["url"],
    ),
    output_schema=record(
        {
            "status": number("Status", "Of the answer."),
            "url": text("URL", "That answered, after redirects."),
            "headers": {
                **_STRINGS,
                "title": "Headers",
                "description": "Of the answer.",
            },
            "text": text("Text", "The beginning of a textual answer."),
            "json": {
                "title": "JSON",
                "description": "The answer's value, if it is JSON.",
            },
            "bytes": number("Bytes", "Size of the answer, secrets masked."),
            "sha256": sha256(description="Of the answer, secrets masked."),
            "masked": flag("Masked", "Whether the answer held a secret of this call."),
        },
        ["status", "url", "headers", "text", "json", "bytes", "sha256", "masked"],
    ),
    effect_class=EffectClass.NON_IDEMPOTENT,
    risk=Risk.HIGH,
    timeout_s=60,
    dry_run=DryRunKind.SIMULATED,
    checks_target=True,
    files=("response",),
)

SKILL = SkillContract(
    slug="http",
    version="1.2.0",
    name="HTTP",
    description="Sends one HTTP request to an address that may be called.",
    domain="integration",
    actions=(_REQUEST,),
    config_schema=record(
        {
            **CONFIG_PROPERTIES,
            "host_headers": {
                "type": "object",
                "title": "Headers by host",
                "description": "Headers, such as credentials, that only this host gets.",
                "additionalProperties": {"type": "object"},
            },
            "timeout_s": {
                "type": "number",
                "title": "Time limit",
                "description": "Seconds to wait for the server.",
                "exclusiveMinimum": 0,
            },
            "max_bytes": number("Most bytes", "In an answer.", minimum=1),
        }
    ),
    allowed=("Call public addresses, and the hosts the configuration names.",),
    forbidden=(
        "Call loopback, private or metadata addresses that are not configured.",
        "Send one host's credentials to another.",
    ),
)
