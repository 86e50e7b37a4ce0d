"""Jira: move an issue to another status, and back."""

import base64
import json
import urllib.parse
from collections.abc import Mapping
from typing import Any

from orchestration.skills.builtin.common import digest_of_key
from orchestration.skills.domain.handlers import check_of, dry_run_of, handler
from orchestration.skills.domain.outcome import (
    Call,
    CallFailed,
    DryRunResult,
    Failed,
    Outcome,
    Retry,
    Succeeded,
    Unknown,
    refused,
)
from orchestration.skills.execution import outbound
from orchestration.skills.execution.outbound import (
    AnswerLost,
    Message,
    Reply,
    Rules,
    Unreachable,
)

TRANSITION = "jira-write.transition@1"
PROPERTY = "execfabric.transition"
"""An issue property that is set with the transition and names its step."""

NO_CONTENT = 204
DENIED = frozenset({401, 403})
MISSING = 404
TOO_MANY = 429
BROKEN = 500


@handler(TRANSITION)
def transition(call: Call) -> Outcome:
    """Post the transition, unless an earlier try of this step has done so."""
    issue, wanted = call.params["issue"], call.params["status"]
    key = digest_of_key(call)[:32]
    current, note = _state(call.config, issue)
    if note.get("key") == key:
        return _moved(issue, note["previous"], current)
    if current.lower() == wanted.lower():
        return _moved(issue, current, current, changed=False)
    chosen = _chosen(call.config, issue, wanted, current)
    value = {"key": key, "previous": current}
    body: dict[str, Any] = {
        "transition": {"id": chosen["id"]},
        "properties": [{"key": PROPERTY, "value": value}],
    }
    _ask(call.config, "POST", f"{issue}/transitions", body)
    return _confirmed(call.config, issue, current, chosen["to"]["name"])


@dry_run_of(TRANSITION)
def preview(call: Call) -> DryRunResult:
    """Check with Jira that the transition is possible."""
    issue, wanted = call.params["issue"], call.params["status"]
    current, _ = _state(call.config, issue)
    if current.lower() == wanted.lower():
        return DryRunResult(
            summary=f"{issue} already has the status {current}. Nothing changes."
        )
    to = _chosen(call.config, issue, wanted, current)["to"]["name"]
    return DryRunResult(
        summary=f"Moves {issue} from {current} to {to}.",
        changes=(f"{issue}: {current} -> {to}",),
        output=_moved(issue, current, to).output,
    )


@check_of(TRANSITION)
def check(call: Call) -> None:
    """Check that the issue exists and the account may read it."""
    _state(call.config, call.params["issue"])


def _confirmed(
    config: Mapping[str, Any], issue: str, previous: str, wanted: str
) -> Outcome:
    """Read the issue again: Jira accepts a transition before its rules have run."""
    try:
        current, _ = _state(config, issue)
    except CallFailed as error:
        text = f"Jira accepted the transition, but its result is unknown: {error}"
        return Unknown("jira.outcome_unknown", text)
    if current.lower() != wanted.lower():
        text = f"Jira accepted the transition, but the status of {issue} is {current}, not {wanted}. Check the workflow in Jira."
        return Failed("jira.effect_differs", text)
    return _moved(issue, previous, current)


def _moved(
    issue: str, previous: str, status: str, *, changed: bool = True
) -> Succeeded:
    known = {"issue": issue, "previous_status": previous}
    return Succeeded(output={**known, "status": status, "changed": changed})


def _state(config: Mapping[str, Any], issue: str) -> tuple[str, Mapping[str, Any]]:
    """Return the status of an issue, and the note of the last transition by a plan."""
    query = urllib.parse.urlencode({"fields": "status", "properties": PROPERTY})
    answer = _ask(config, "GET", f"{issue}?{query}")
    note = answer.get("properties", {}).get(PROPERTY, {})
    return answer["fields"]["status"]["name"], note


def _chosen(
    config: Mapping[str, Any], issue: str, wanted: str, current: str
) -> Mapping[str, Any]:
    """Return the transition that leads to the wanted status, or has its name."""
    offered = _ask(config, "GET", f"{issue}/transitions")["transitions"]
    by_name = {item["name"].lower(): item for item in offered}
    by_target = {item["to"]["name"].lower(): item for item in offered}
    chosen: Mapping[str, Any] | None = {**by_name, **by_target}.get(wanted.lower())
    if chosen is not None:
        return chosen
    targets = ", ".join(sorted(item["to"]["name"] for item in offered)) or "none"
    message = f"Cannot move {issue} from {current} to {wanted!r}. Nothing was changed. Possible statuses: {targets}."
    raise refused("jira.no_transition", message)


def _ask(
    config: Mapping[str, Any], method: str, path: str, body: Any = None
) -> dict[str, Any]:
    base = config.get("base_url", "").rstrip("/")
    if not base:
        message = "Cannot call Jira: no address is configured. Nothing was changed. Ask an admin."
        raise refused("jira.not_configured", message)
    version = config.get("api_version", "3")
    headers = {"Accept": "application/json", "Authorization": _authorization(config)}
    content = b""
    if body is not None:
        content = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    url = f"{base}/rest/api/{version}/issue/{path}"
    # The administrator has named this host, so its address may be a private one.
    host = urllib.parse.urlsplit(base).hostname or ""
    rules = Rules(allow_hosts=frozenset({host}), only_hosts=frozenset({host}))
    try:
        reply = outbound.send(Message(method, url, headers, content), rules)
    except Unreachable as error:
        raise CallFailed(
            Retry(
                "jira.unreachable", f"Cannot reach Jira: {error}. Nothing was changed."
            )
        ) from error
    except AnswerLost as error:
        raise _without_answer(
            method, "jira.unreachable", f"Received no response from Jira: {error}."
        ) from error
    return _answer(reply, method, path)


def _without_answer(method: str, code: str, message: str) -> CallFailed:
    """Return a retry for a request that only reads, else an unknown outcome."""
    if method == "GET":
        return CallFailed(Retry(code, message))
    return CallFailed(
        Unknown("jira.outcome_unknown", f"{message} The issue may have changed.")
    )


def _authorization(config: Mapping[str, Any]) -> str:
    token = config.get("token", "")
    if not config.get("user"):
        return f"Bearer {token}"
    pair = f"{config['user']}:{token}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _answer(reply: Reply, method: str, path: str) -> dict[str, Any]:
    issue = path.partition("/")[0].partition("?")[0]
    if reply.status == NO_CONTENT:
        return {}
    if reply.status in DENIED:
        message = f"Cannot access {issue}: Jira denied access to the account. Nothing was changed."
        raise refused("jira.denied", message)
    if reply.status == MISSING:
        message = f"Unknown issue {issue}, or the account does not have access. Nothing was changed."
        raise refused("jira.no_issue", message)
    if reply.status == TOO_MANY:
        raise CallFailed(
            Retry("jira.busy", "Jira is busy: too many requests (status 429).")
        )
    if reply.status >= BROKEN:
        raise _without_answer(
            method, "jira.busy", f"Jira responded with status {reply.status}."
        )
    if not reply.status < 300:  # noqa: PLR2004
        text = reply.content[:500].decode(errors="replace")
        message = f"Jira refused the request with status {reply.status}: {text}"
        raise refused("jira.refused", message)
    try:
        answer: dict[str, Any] = json.loads(reply.content)
    except ValueError as error:
        message = "The response is not from Jira. Ask an admin to check the configured address."
        before = method == "GET"
        outcome = Failed("jira.no_jira", message, before_effect=before)
        raise CallFailed(outcome) from error
    return answer
