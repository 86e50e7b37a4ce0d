"""Find out if a request took effect, by a second one that only reads: the plan gives it."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestration.skills.builtin.http.handlers import GOOD, SECONDS

# Private there: with other names, the code of runs that are approved would have changed.
from orchestration.skills.builtin.http.handlers import _json as json_of
from orchestration.skills.builtin.http.handlers import _text as text_of
from orchestration.skills.domain.handlers import probe
from orchestration.skills.domain.outcome import (
    Call,
    CannotTell,
    DidHappen,
    DidNotHappen,
    ProbeResult,
)
from orchestration.skills.execution import outbound
from orchestration.skills.execution.outbound import (
    AnswerLost,
    Message,
    Reply,
    Rules,
    Unreachable,
)


@probe("http.request-probe@1")
def answered(call: Call) -> ProbeResult:
    """Send the probe of the plan, and read its status and its JSON.

    Only a status that the plan names as `absent` says that there was no effect.
    """
    asked, hosts = call.params["probe"], call.config.get("host_headers", {})
    try:
        reply = outbound.send(
            _message(call),
            Rules.of(call.config),
            headers_for=lambda host: hosts.get(host, {}),
        )
    except (Unreachable, AnswerLost) as error:
        return CannotTell(f"Cannot ask {asked['url']}: {error}.")
    return _judged(call, reply)


def _judged(call: Call, reply: Reply) -> ProbeResult:
    asked = call.params["probe"]
    text = f"{reply.url} responded with status {reply.status}"
    is_good = reply.status in asked.get("expect", GOOD) and not reply.truncated
    is_absent = reply.status in asked.get("absent", ())
    if is_absent and not ("expect" in asked and is_good):
        return DidNotHappen(f"{text}.")
    if is_absent or not is_good or not {"expect", "json"} & asked.keys():
        return CannotTell(f"{text}, which proves nothing.")
    body = json_of(reply)
    if "json" in asked and not _contains(body, asked["json"]):
        return CannotTell(f"{text}, and its JSON lacks what proves the effect.")
    if call.params.get("save", False):
        return CannotTell(f"{text}: it happened, but its response cannot be saved.")
    output = _output(call, reply)
    return DidHappen(f"{text}, as the probe of the plan expects.", output)


def _message(call: Call) -> Message:
    asked = call.params["probe"]
    headers = {"User-Agent": "ExecFabric", "Accept": "*/*", **asked.get("headers", {})}
    return Message(
        method=asked.get("method", "GET"),
        url=asked["url"],
        headers=headers,
        timeout_s=min(call.deadline_s, call.config.get("timeout_s", SECONDS)),
        largest=call.config.get("max_bytes", outbound.LARGEST_BODY),
    )


def _contains(value: Any, wanted: Any) -> bool:
    """Return True if a JSON value has the wanted one, with more keys in objects."""
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and all(
            key in value and _contains(value[key], item) for key, item in wanted.items()
        )
    return bool(value == wanted) and isinstance(value, bool) is isinstance(wanted, bool)


def _output(call: Call, reply: Reply) -> dict[str, Any]:
    masked = replace(reply, content=call.masker.content(reply.content))
    return {
        "status": reply.status,
        "url": reply.url,
        "headers": dict(reply.headers),
        "text": text_of(masked),
        "json": json_of(masked),
        "bytes": len(masked.content),
        "sha256": hashlib.sha256(masked.content).hexdigest(),
        "masked": masked.content != reply.content,
    }
