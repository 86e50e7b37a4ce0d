"""Jira: move an issue to another status, and back."""

import base64
import hashlib
import json
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from orchestration.skills import outbound
from orchestration.skills.builtin.jira_contract import SKILL, TRANSITION
from orchestration.skills.domain.handlers import check_of, dry_run_of, handler
from orchestration.skills.domain.outcome import (
    Call,
    DryRun,
    Failed,
    Outcome,
    Retry,
    Succeeded,
    TargetProblem,
)
from orchestration.skills.outbound import (
    AnswerLost,
    Message,
    OutboundRefused,
    Reply,
    Rules,
    Unreachable,
)

__all__ = ["SKILL"]

PROPERTY = "execfabric.transition"
"""An issue property that is set with the transition and says which step made it."""

NO_CONTENT = 204
DENIED = frozenset({401, 403})
MISSING = 404
TOO_MANY = 429
BROKEN = 500


class JiraRefused(Exception):
    """Jira is not reachable or will not; `later` says whether to try again."""

    def __init__(self, code: str, message: str, *, later: bool = False) -> None:
        super().__init__(message)
        self.outcome = Retry(code, message) if later else Failed(code, message)


@handler(TRANSITION)
def transition(call: Call) -> Outcome:
    """Post the transition, unless an earlier try of this step has done so."""
    issue, wanted = call.params["issue"], call.params["status"]
    key = hashlib.sha256(call.idempotency_key.encode()).hexdigest()[:32]
    try:
        current, noted = _state(call.config, issue)
        if noted.get("key") == key:
            return _moved(issue, noted["previous"], wanted)
        if current.lower() == wanted.lower():
            return _moved(issue, current, current, changed=False)
        chosen = _chosen(call.config, issue, wanted, current)
        value = {"key": key, "previous": current}
        body: dict[str, Any] = {
            "transition": {"id": chosen["id"]},
            "properties": [{"key": PROPERTY, "value": value}],
        }
        _ask(call.config, "POST", f"{issue}/transitions", body)
    except JiraRefused as error:
        return error.outcome
    return _moved(issue, current, chosen["to"]["name"])


@dry_run_of(TRANSITION)
def preview(call: Call) -> DryRun:
    """Ask Jira where the issue is and whether it can go there."""
    issue, wanted = call.params["issue"], call.params["status"]
    try:
        current, _ = _state(call.config, issue)
        if current.lower() == wanted.lower():
            return DryRun(summary=f"{issue} is {current} already; nothing changes.")
        to = _chosen(call.config, issue, wanted, current)["to"]["name"]
    except JiraRefused as error:
        return DryRun(summary=f"Would fail: {error}")
    return DryRun(
        summary=f"Moves {issue} from {current} to {to}.",
        changes=(f"{issue}: {current} -> {to}",),
        output={
            "issue": issue,
            "previous_status": current,
            "status": to,
            "changed": True,
        },
    )


@check_of(TRANSITION)
def check(call: Call) -> Sequence[TargetProblem]:
    """Whether the issue exists and the account may read it."""
    try:
        _state(call.config, call.params["issue"])
    except JiraRefused as error:
        return [TargetProblem(error.outcome.code, error.outcome.message)]
    return []


def _moved(issue: str, previous: str, status: str, *, changed: bool = True) -> Outcome:
    known = {"issue": issue, "previous_status": previous}
    return Succeeded(output={**known, "status": status, "changed": changed})


def _state(config: Mapping[str, Any], issue: str) -> tuple[str, Mapping[str, Any]]:
    """The issue's status, and what the last transition by a plan noted."""
    query = urllib.parse.urlencode({"fields": "status", "properties": PROPERTY})
    found = _ask(config, "GET", f"{issue}?{query}")
    noted = found.get("properties", {}).get(PROPERTY, {})
    return found["fields"]["status"]["name"], noted


def _chosen(
    config: Mapping[str, Any], issue: str, wanted: str, current: str
) -> Mapping[str, Any]:
    """The transition that leads to the wanted status, or bears its name."""
    offered = _ask(config, "GET", f"{issue}/transitions")["transitions"]
    by_name = {item["name"].lower(): item for item in offered}
    by_target = {item["to"]["name"].lower(): item for item in offered}
    chosen: Mapping[str, Any] | None = {**by_name, **by_target}.get(wanted.lower())
    if chosen is not None:
        return chosen
    targets = ", ".join(sorted(item["to"]["name"] for item in offered)) or "nowhere"
    message = f"{issue} cannot go from {current} to {wanted}, only to: {targets}."
    raise JiraRefused("jira.no_transition", message)


def _ask(
    config: Mapping[str, Any], method: str, path: str, body: Any = None
) -> dict[str, Any]:
    base = config.get("base_url", "").rstrip("/")
    if not base:
        raise JiraRefused("jira.not_configured", "No Jira address is configured.")
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
    except OutboundRefused as error:
        raise JiraRefused(error.code, error.message) from error
    except (Unreachable, AnswerLost) as error:
        # Safe to repeat: the property tells whether the transition took place.
        raise JiraRefused("jira.unreachable", str(error), later=True) from error
    return _answer(reply, path)


def _authorization(config: Mapping[str, Any]) -> str:
    token = config.get("token", "")
    if not config.get("user"):
        return f"Bearer {token}"
    pair = f"{config['user']}:{token}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _answer(reply: Reply, path: str) -> dict[str, Any]:
    issue = path.partition("/")[0].partition("?")[0]
    if reply.status == NO_CONTENT:
        return {}
    if reply.status in DENIED:
        raise JiraRefused(
            "jira.denied", f"Jira does not let the account reach {issue}."
        )
    if reply.status == MISSING:
        message = f"There is no issue {issue}, or the account may not see it."
        raise JiraRefused("jira.no_issue", message)
    if reply.status == TOO_MANY or reply.status >= BROKEN:
        raise JiraRefused("jira.busy", f"Jira answered {reply.status}.", later=True)
    if not reply.status < 300:  # noqa: PLR2004
        said = reply.content[:500].decode(errors="replace")
        raise JiraRefused("jira.refused", f"Jira answered {reply.status}: {said}")
    try:
        found: dict[str, Any] = json.loads(reply.content)
    except ValueError as error:
        message = "What answered at the configured address is no Jira."
        raise JiraRefused("jira.no_jira", message) from error
    return found
