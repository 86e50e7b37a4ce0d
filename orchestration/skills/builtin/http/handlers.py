"""HTTP: one request to an address that may be called."""

import hashlib
import json
import urllib.parse
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestration.skills.builtin.common import digest_of_key, shown, storable_text
from orchestration.skills.domain.handlers import check_of, dry_run_of, handler
from orchestration.skills.domain.outcome import (
    Call,
    DryRunResult,
    Failed,
    File,
    Outcome,
    Retry,
    Succeeded,
    Unknown,
)
from orchestration.skills.execution import outbound, storable
from orchestration.skills.execution.outbound import (
    AnswerLost,
    Message,
    Reply,
    Rules,
    Unreachable,
)

REQUEST = "http.request@1"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
TEXT_LIMIT = 64 * 1024
JSON_LIMIT = 256 * 1024
BUSY = frozenset({429, 503})
GOOD = range(200, 300)
SECONDS = 30.0


@handler(REQUEST)
def request(call: Call) -> Outcome:
    """Send the request; an expected status is a success."""
    message = _message(call)
    hosts: Mapping[str, Mapping[str, str]] = call.config.get("host_headers", {})
    try:
        reply = outbound.send(
            message, Rules.of(call.config), headers_for=lambda host: hosts.get(host, {})
        )
    except Unreachable as error:
        text = f"Cannot send the request: {error}. Nothing was sent."
        return Retry("http.unreachable", text)
    except AnswerLost as error:
        if message.method.upper() in SAFE:
            return Retry("http.no_answer", f"Received no response: {error}.")
        text = f"Sent the request, but received no response: {error}. Check the target."
        return Unknown("http.outcome_unknown", text)
    call.log(f"{message.method} {reply.url}: {reply.status}")
    return _outcome(call, message, reply)


@dry_run_of(REQUEST)
def preview(call: Call) -> DryRunResult:
    """Describe the request without looking up its host."""
    method, url = call.params.get("method", "GET"), shown(call.params["url"])
    _check_address(call)
    size = len(_content(call.params)[0])
    return DryRunResult(
        summary=f"Sends {method} to {url}.",
        changes=(f"sends {method} {url} with {size} bytes",),
    )


@check_of(REQUEST)
def check(call: Call) -> None:
    _check_address(call)


def _check_address(call: Call) -> None:
    """Check the address without looking up its host."""
    rules = Rules.of(call.config)
    outbound.resolve(call.params["url"], rules, outbound.written_address)


def _message(call: Call) -> Message:
    content, media_type = _content(call.params)
    headers = {"User-Agent": "ExecFabric", "Accept": "*/*"}
    if media_type:
        headers["Content-Type"] = media_type
    headers |= call.params.get("headers", {})
    # A target that knows this header acts once for all attempts of one step run.
    headers["Idempotency-Key"] = digest_of_key(call)
    return Message(
        method=call.params.get("method", "GET"),
        url=call.params["url"],
        headers=headers,
        content=content,
        timeout_s=min(call.deadline_s, call.config.get("timeout_s", SECONDS)),
        largest=call.config.get("max_bytes", outbound.LARGEST_BODY),
        redirects=call.params.get("redirects", 0),
    )


def _content(params: Mapping[str, Any]) -> tuple[bytes, str]:
    if "json" in params:
        return json.dumps(params["json"]).encode(), "application/json"
    if "form" in params:
        form = urllib.parse.urlencode(params["form"])
        return form.encode(), "application/x-www-form-urlencoded"
    file = params.get("file")
    if isinstance(file, File):
        return file.path.read_bytes(), file.media_type
    if "body" in params:
        return str(params["body"]).encode(), "text/plain; charset=utf-8"
    return b"", ""


def _outcome(call: Call, message: Message, reply: Reply) -> Outcome:
    expected = call.params.get("expect") or GOOD
    if reply.status not in expected:
        text = f"{reply.url} responded with status {reply.status}."
        safe = message.method.upper() in SAFE
        if reply.status in BUSY or (safe and reply.status >= 500):  # noqa: PLR2004
            return Retry("http.busy", text)
        return Failed("http.status", f"{text} {_text(reply)[:500]}")
    if reply.truncated:
        limit = call.config.get("max_bytes", outbound.LARGEST_BODY)
        text = f"The response is too large (max {limit} bytes). The request was sent."
        return Failed("http.too_large", text)
    content = call.masker.content(reply.content)
    masked = content != reply.content
    reply = replace(reply, content=content)
    output = {
        "status": reply.status,
        "url": reply.url,
        "headers": dict(reply.headers),
        "text": _text(reply),
        "json": _json(reply),
        "bytes": len(reply.content),
        "sha256": hashlib.sha256(reply.content).hexdigest(),
        "masked": masked,
    }
    if not call.params.get("save", False):
        return Succeeded(output=output)
    path = call.workdir / call.params.get("name", "response")
    path.write_bytes(reply.content)
    return Succeeded(output=output, files={"response": path})


def _text(reply: Reply) -> str:
    """Return the start of a text body without characters that cannot be stored."""
    media_type = _media_type(reply)
    textual = media_type.startswith("text/") or media_type.endswith(
        ("json", "xml", "javascript", "x-www-form-urlencoded")
    )
    if not textual:
        return ""
    return storable_text(reply.content[:TEXT_LIMIT])


def _media_type(reply: Reply) -> str:
    return reply.headers.get("content-type", "").partition(";")[0].strip()


def _json(reply: Reply) -> Any:
    if not _media_type(reply).endswith("json") or len(reply.content) > JSON_LIMIT:
        return None
    try:
        value = json.loads(reply.content)
    except (ValueError, RecursionError):
        return None
    # A value that looks like a reference, or cannot be stored, is returned as text only.
    return value if storable(value) else None
