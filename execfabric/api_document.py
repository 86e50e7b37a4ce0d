"""The error responses that the API document lists for every operation."""

from http import HTTPStatus
from typing import Any

from execfabric.web.problems import PROBLEM

SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "A refusal (RFC 9457). `code` is stable. `request_id` is also in the server's log.",
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
    },
    "required": ["type", "title", "status", "code", "detail"],
}
REFUSALS = {
    HTTPStatus.BAD_REQUEST: "The request cannot be parsed.",
    HTTPStatus.UNAUTHORIZED: "The token is missing, unknown, expired or revoked.",
    HTTPStatus.FORBIDDEN: "Your role or kind of account does not allow this.",
    HTTPStatus.NOT_FOUND: "It does not exist, or you do not have access to it.",
    HTTPStatus.METHOD_NOT_ALLOWED: "The path does not support this method; see `Allow`.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "The input is not valid. Nothing was stored.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests; see `Retry-After`.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Temporarily unavailable; see `Retry-After`.",
}
CHANGE_REFUSALS = {
    HTTPStatus.CONFLICT: "The state has changed since you read it.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The request is too large.",
}
BYTES = {"type": "string", "format": "binary"}


def describe(document: dict[str, Any]) -> None:
    """Add the shared error responses to each operation."""
    document["components"]["schemas"]["Problem"] = SCHEMA
    for operations in document["paths"].values():
        for method, operation in operations.items():
            refusals = REFUSALS if method == "get" else REFUSALS | CHANGE_REFUSALS
            responses = operation["responses"]
            for response in responses.values():
                _name_bytes(response)
            for status, sentence in refusals.items():
                responses.setdefault(int(status), _refusal(sentence))


def _refusal(sentence: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": sentence, "content": {PROBLEM: {"schema": schema}}}


def _name_bytes(response: dict[str, Any]) -> None:
    """Set the media type of a file; Ninja documents everything as JSON."""
    content = response.get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    if schema.get("format") == BYTES["format"]:
        response["content"] = {"application/octet-stream": {"schema": BYTES}}
