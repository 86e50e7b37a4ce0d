"""Notify: an e-mail over SMTP, or a signed webhook."""

import base64
import hashlib
import hmac
import json
import smtplib
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from pathlib import PurePosixPath
from typing import Any

from orchestration.skills.builtin.common import digest_of_key, file_list, shown
from orchestration.skills.domain.handlers import check_of, dry_run_of, handler
from orchestration.skills.domain.outcome import (
    Call,
    CallFailed,
    DryRunResult,
    Failed,
    Outcome,
    Retry,
    Succeeded,
    TargetProblem,
    Unknown,
    refused,
)
from orchestration.skills.execution import outbound
from orchestration.skills.execution.outbound import (
    AnswerLost,
    Message,
    Rules,
    Unreachable,
)
from orchestration.skills.execution.reasons import of_connection

EMAIL = "notify.email@1"
WEBHOOK = "notify.webhook@1"
SMTP_SECONDS = 30
LATER = frozenset(range(400, 500))
GOOD = range(200, 300)
BUSY = frozenset({429, 503})
NOT_CONFIGURED = (
    "Cannot send the e-mail: no mail server or sender is configured. Nothing was sent."
    " Ask an admin to configure the skill."
)
SECRET_PREFIX = "whsec_"  # noqa: S105 - a marker of the format, no secret


@handler(EMAIL)
def email(call: Call) -> Outcome:
    """Pass one message to the configured mail server."""
    if not call.config.get("host") or not call.config.get("from"):
        raise refused("notify.not_configured", NOT_CONFIGURED)
    if unlisted := _unlisted(call):
        text = (
            f"Cannot send the e-mail: the domains of {', '.join(unlisted)} are not"
            " allowed. Nothing was sent. Use other recipients, or ask an admin."
        )
        raise refused("notify.recipient", text)
    try:
        message = _mail(call)
    except ValueError as error:
        text = f"Cannot write the e-mail: {error}. Nothing was sent."
        raise refused("notify.message", text) from error
    with _connected(call.config) as server:
        return _sent(server, message)


@dry_run_of(EMAIL)
def preview_email(call: Call) -> DryRunResult:
    to = ", ".join(map(str, call.params["to"]))
    subject = shown(call.params["subject"])
    return DryRunResult(
        summary=f"Sends “{subject}” to {to}.", changes=(f"sends one e-mail to {to}",)
    )


@check_of(EMAIL)
def check_email(call: Call) -> list[TargetProblem]:
    problems = []
    if not call.config.get("host") or not call.config.get("from"):
        problems.append(TargetProblem("notify.not_configured", NOT_CONFIGURED))
    for address in _unlisted(call):
        message = f"The domain of {address} is not allowed."
        problems.append(TargetProblem("notify.recipient", message))
    return problems


@handler(WEBHOOK)
def webhook(call: Call) -> Outcome:
    webhook_id = f"msg_{digest_of_key(call)[:32]}"
    body = json.dumps(
        {"type": call.params["type"], "data": call.params["data"]}
    ).encode()
    stamp = str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "ExecFabric",
        "webhook-id": webhook_id,
        "webhook-timestamp": stamp,
    }
    secret = call.config.get("secret", "")
    if secret:
        try:
            headers["webhook-signature"] = signature(secret, webhook_id, stamp, body)
        except ValueError as error:
            text = (
                "Cannot sign the webhook: its configured secret is not valid base64."
                " Nothing was sent. Ask an admin to correct it."
            )
            raise refused("notify.not_configured", text) from error
    message = Message("POST", call.params["url"], headers, body)
    try:
        reply = outbound.send(message, Rules.of(call.config))
    except Unreachable as error:
        text = f"Cannot send the webhook: {error}. Nothing was sent."
        return Retry("notify.unreachable", text)
    except AnswerLost as error:
        text = (
            f"Sent the webhook, but received no response: {error}. Check the receiver."
        )
        return Unknown("notify.outcome_unknown", text)
    if reply.status in GOOD:
        output = {"webhook_id": webhook_id, "status": reply.status}
        return Succeeded(output=output)
    text = f"The receiver responded with status {reply.status}."
    if reply.status in BUSY:
        return Retry("notify.busy", text)
    return Failed("notify.status", text)


@dry_run_of(WEBHOOK)
def preview_webhook(call: Call) -> DryRunResult:
    url, kind = shown(call.params["url"]), shown(call.params["type"])
    return DryRunResult(
        summary=f"Posts {kind} to {url}.", changes=(f"posts one event to {url}",)
    )


def signature(secret: str, webhook_id: str, stamp: str, body: bytes) -> str:
    """Return the signature of Standard Webhooks over id, time and body.

    By hand: the library standardwebhooks would save these few lines only.
    """
    encoded = secret.removeprefix(SECRET_PREFIX)
    key = base64.b64decode(encoded) if encoded != secret else secret.encode()
    signed = f"{webhook_id}.{stamp}.".encode() + body
    made = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(made).decode()}"


def _unlisted(call: Call) -> list[str]:
    allowed = {str(domain).lower() for domain in call.config.get("domains") or ()}
    if not allowed:
        return []
    to = call.params["to"]
    return [item for item in to if item.rpartition("@")[2].lower() not in allowed]


def _mail(call: Call) -> EmailMessage:
    sender: str = call.config["from"]
    message = EmailMessage()
    message["From"] = sender
    message["To"] = ", ".join(call.params["to"])
    message["Subject"] = call.params["subject"]
    # The same for every try of one step run, so that a receiver can tell a repeat.
    domain = sender.rpartition("@")[2].rstrip(">") or "localhost"
    message["Message-ID"] = f"<{digest_of_key(call)[:32]}@{domain}>"
    message.set_content(call.params["text"])
    if "html" in call.params:
        message.add_alternative(call.params["html"], subtype="html")
    for file in file_list(call.params.get("attachments", [])):
        main, _, sub = file.media_type.partition("/")
        name = PurePosixPath(file.name).name
        message.add_attachment(
            file.path.read_bytes(), maintype=main, subtype=sub, filename=name
        )
    return message


@contextmanager
def _connected(config: Mapping[str, Any]) -> Iterator[smtplib.SMTP]:
    """Sign in to the mail server for the body.

    :raises CallFailed: when that fails
    """
    try:
        server = _opened(config)
    except smtplib.SMTPAuthenticationError as error:
        text = (
            f"Cannot sign in to the mail server: {_answered(error)}. Nothing was sent."
            " Ask an admin to check its user and password."
        )
        raise refused("notify.denied", text) from error
    except (OSError, smtplib.SMTPException) as error:
        text = (
            f"Cannot reach the mail server: {of_connection(error)}. Nothing was sent."
        )
        raise CallFailed(Retry("notify.unreachable", text)) from error
    try:
        yield server
    finally:
        with suppress(OSError, smtplib.SMTPException):
            server.quit()
        server.close()


def _opened(config: Mapping[str, Any]) -> smtplib.SMTP:
    security = config.get("security", "none")
    host, port = config["host"], config.get("port", 25)
    server: smtplib.SMTP
    if security == "tls":
        context = ssl.create_default_context()
        server = smtplib.SMTP_SSL(host, port, timeout=SMTP_SECONDS, context=context)
    else:
        server = smtplib.SMTP(host, port, timeout=SMTP_SECONDS)
    if security == "starttls":
        server.starttls(context=ssl.create_default_context())
    if config.get("user"):
        server.login(config["user"], config.get("password", ""))
    return server


def _sent(server: smtplib.SMTP, message: EmailMessage) -> Outcome:
    try:
        rejected = server.send_message(message)
    except smtplib.SMTPRecipientsRefused as error:
        codes = {code for code, _ in error.recipients.values()}
        text = f"The mail server refused all recipients. Nothing was sent. {_listed(error.recipients)}"
        return _rejected(text, is_final=not codes <= LATER)
    except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
        text = (
            f"The mail server refused the e-mail: {_answered(error)}. Nothing was sent."
        )
        return _rejected(text, is_final=error.smtp_code not in LATER)
    except (OSError, smtplib.SMTPException) as error:
        text = (
            f"Lost the connection to the mail server: {of_connection(error)}. The e-mail may"
            " have been sent. Check with a recipient."
        )
        return Unknown("notify.outcome_unknown", text)
    to = [item.strip() for item in message["To"].split(",")]
    accepted = [item for item in to if item not in rejected]
    if rejected:
        text = (
            f"Sent the e-mail to {', '.join(accepted)} only. The mail server refused:"
            f" {_listed(rejected)}."
        )
        return Failed("notify.partly_refused", text)
    return Succeeded(
        output={
            "message_id": message["Message-ID"],
            "accepted": accepted,
            "refused": [],
        }
    )


def _rejected(text: str, *, is_final: bool) -> Outcome:
    if is_final:
        raise refused("notify.refused", text)
    return Retry("notify.refused", text)


def _answered(error: smtplib.SMTPResponseException) -> str:
    text = error.smtp_error
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)


def _listed(recipients: Mapping[str, tuple[int, bytes]]) -> str:
    return "; ".join(
        f"{address} ({code} {text.decode(errors='replace')})"
        for address, (code, text) in sorted(recipients.items())
    )
